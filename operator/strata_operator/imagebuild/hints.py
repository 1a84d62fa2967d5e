"""What a webhook tells of: look at a git repository now, for all that are built from it. The poller sees to it that a
thousand hints are few looks, and that a hint which comes during one is another."""

from __future__ import annotations

import functools
import urllib.parse
from collections.abc import Callable

from strata_operator import kube
from strata_operator.imagebuild.triggers import poller


def for_source(polling: poller.Poller) -> Callable[[kube.Object], None]:
    """Takes an ImageBuild whose git source may have moved; others that are polled or have a webhook are looked at, too."""

    def hint(build: kube.Object) -> None:
        repository = canonical(_url(build))
        if repository:
            polling.hint(lambda _key, url: canonical(url) == repository)

    return hint


@functools.lru_cache(maxsize=8192)
def canonical(url: str) -> str:
    """One text for the ways in which people write the URL of a repository, over https and ssh alike; what is no URL stands
    as it is. Two repositories of one text are looked at once too often, and that is all."""
    try:
        parts = urllib.parse.urlsplit(url if "://" in url else f"ssh://{url.replace(':', '/', 1)}")
    except ValueError:  # brackets that hold no IPv6 address: the ImageBuild says so itself
        return url
    path = parts._replace(scheme="", netloc="", fragment="").geturl()
    return f"{parts.hostname}/{path.strip('/').removesuffix('.git')}" if parts.hostname else url


def _url(body: kube.Object) -> str:
    return str((((body.get("spec") or {}).get("source") or {}).get("git") or {}).get("url") or "")
