"""Log lines: JSON or plain text, each with the key of the object that the current task works for."""

from __future__ import annotations

import contextvars
import json
import logging
import sys

#: Set by the queue around each reconcile, e.g. "imagebuild team/web"; tasks started inside inherit it.
current: contextvars.ContextVar[str] = contextvars.ContextVar("key", default="")


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S") + f".{int(record.msecs):03d}",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if key := current.get():
            line["key"] = key
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


class PlainFormatter(logging.Formatter):
    """For a terminal."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s", "%H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  the base class's name
        text = super().formatMessage(record)
        return f"{text} [{current.get()}]" if current.get() else text


def configure(log_format: str, level: str) -> None:
    """Send all logging to stderr. kopf's line per event is silenced: what happens is logged by who does it."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if log_format == "json" else PlainFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    logging.getLogger("kopf.objects").setLevel(logging.WARNING)
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
