"""What a server says of a file in the headers of its answer: its name and its time. Pure."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import unquote, urlsplit

UNNAMED: Final = "__unnamed__"  # BuildKit's name for what neither the URL nor the server names
MAX_TIME: Final = 2**33


def file_name(url: str, disposition: str = "", final_url: str = "") -> str:
    """What the file is called: by the URL as written, else by Content-Disposition, else by where redirects led. Pure.

    UNNAMED if none gives a name.
    """
    names = (_last_part(url), _disposition_name(disposition), _last_part(final_url))
    return next(filter(None, names), UNNAMED)


def _last_part(url: str) -> str:
    try:
        path = urlsplit(url).path
    except ValueError:  # brackets that hold no IPv6 address
        return ""
    return _usable(unquote(path).rstrip("/").rpartition("/")[2])


def _disposition_name(header: str) -> str:
    """RFC 6266, filename* before filename."""
    from email.message import Message
    from email.utils import collapse_rfc2231_value

    message = Message()
    message["content-disposition"] = header[:4096].replace("\r", "").replace("\n", "")
    try:
        params: list[tuple[str, Any]] = message.get_params([], "content-disposition")  # RFC 2231 values are tuples
        found = [value for name, value in params if name == "filename"]
        extended = [collapse_rfc2231_value(value) for value in found if isinstance(value, tuple)]
    except (ValueError, TypeError):  # of parts without a number, of character sets that are none
        return ""
    name = next(iter([*extended, *(value for value in found if isinstance(value, str))]), "")
    return _usable(name.replace("\\", "/").rpartition("/")[2])


def is_name(name: str) -> bool:
    """Whether a file can be called `name`."""
    bad = name in ("", ".", "..") or "/" in name or any(ord(char) < 32 or "\ud800" <= char <= "\udfff" for char in name)
    return not bad and len(name.encode()) <= 255


def _usable(name: str) -> str:
    return name if is_name(name) else ""


def parse_time(header: str) -> int:
    """Unix seconds of an HTTP date, 0 if there is none that can be read. Pure."""
    from email.utils import parsedate_to_datetime

    try:
        return max(0, min(int(parsedate_to_datetime(header).timestamp()), MAX_TIME))
    except (ValueError, TypeError, OverflowError, IndexError):
        return 0
