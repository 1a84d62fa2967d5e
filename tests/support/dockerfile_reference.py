"""BuildKit's reading of Dockerfiles: the program in tests/differential/frontend, asked over pipes."""

from __future__ import annotations

import base64
import functools
import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from support import go_programs

SOURCE = Path(__file__).parents[1] / "differential" / "frontend"


class Panic(Exception):
    """The packages of the reference failed in a way that they do not mean to."""


class Reference:
    """One running program; questions are answered in order."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [go_programs.ensure(SOURCE, "1 to 5 minutes")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def close(self) -> None:
        """Ends the program."""
        self._process.communicate(timeout=30)

    def ask(self, kind: str, **question: Any) -> Any:
        """The answer to one question; bytes travel as base64, which is how Go reads them."""
        assert self._process.stdin
        assert self._process.stdout
        plain = {name: _plain(value) for name, value in question.items() if value is not None}
        self._process.stdin.write(json.dumps({"Kind": kind, **plain}).encode() + b"\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        if isinstance(answer, dict) and "panic" in answer:
            raise Panic(f"{kind} {question}: {answer['panic']}")
        return answer

    def parse(self, source: bytes, env: dict[str, str] | None = None) -> dict[str, Any]:
        """Stages and instructions, each also with the variables of `env` expanded; or error, start, end."""
        answer: dict[str, Any] = self.ask("parse", Source=source, Env=_pairs(env))
        return answer

    def expand(self, words: Sequence[str], env: dict[str, str], escape: str = "\\") -> list[dict[str, Any]]:
        """{result, words} or {error} for each word."""
        answer: list[dict[str, Any]] = self.ask("expand", Words=list(words), Env=_pairs(env), Escape=escape)
        return answer


@functools.cache
def _shared() -> Reference:
    return Reference()


def shared() -> Reference:
    """One for the whole run."""
    return _shared()


def _pairs(env: dict[str, str] | None) -> list[str]:
    return [f"{name}={value}" for name, value in (env or {}).items()]


def _plain(value: Any) -> Any:
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value
