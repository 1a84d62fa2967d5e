"""What a webhook tells of: look at a git repository now, for all that are built from it. The poller sees to it that a
thousand hints are few looks, and that a hint which comes during one is another."""

from __future__ import annotations

import functools
import urllib.parse
from collections.abc import Callable
from typing import Final

from strata_operator import kube, names
from strata_operator.imagebuild import memory, questions
from strata_operator.imagebuild.triggers import poller

_OFTEN: Final = 60.0  # seconds between two looks at an ImageBuild because of deliveries, which strangers can make


def for_source(polling: poller.Poller) -> Callable[[kube.Object], None]:
    """Takes an ImageBuild whose git source may have moved; others that are polled or have a webhook are looked at, too."""

    def hint(build: kube.Object) -> None:
        repository = canonical(_url(build))
        if repository:
            polling.hint(lambda _key, url: canonical(url) == repository)

    return hint


def for_deaf(known: memory.Memory, wake: Callable[[names.Key], None]) -> Callable[[kube.Object], None]:
    """Takes an ImageBuild of whose webhook no token can be read: it is to say so now, not at its next look within the hour."""

    def hint(build: kube.Object) -> None:
        key, secret = kube.place(build), build["spec"]["triggers"]["webhook"]["secretRef"]["name"]
        if not known.recall(("deaf", key), _OFTEN):
            known.learn(("deaf", key), True)
            known.learn(questions.Webhook(secret).of(key.namespace), False)
            wake(key)

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
