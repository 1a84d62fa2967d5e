"""The answers that an operator remembers: which commit begins a build."""

from types import SimpleNamespace
from typing import Any

import pytest

from strata_operator import settings
from strata_operator.imagebuild import answers, case, memory, questions
from support import imagebuilds as ib

pytestmark = pytest.mark.asyncio
OLD, NEW = "a" * 40, "b" * 40
ASKED = questions.Commit("https://git.example/a.git", "main", "", 20.0)


class Server:
    """A git server at `commit`, and a poller that has `polled` it last."""

    def __init__(self) -> None:
        self.commit = OLD
        self.polled: Any = None
        self.asked = 0

    async def resolve(self, _namespace: str, _asked: questions.Commit) -> questions.Resolved:
        self.asked += 1
        return questions.Resolved(self.commit, "refs/heads/main")

    def known(self, _key: object, _asked: questions.Polled) -> Any:
        return self.polled


def made(server: Server) -> answers.Answers:
    frame: Any = SimpleNamespace(kube=None, settings=settings.Settings("strata-system"), authorities="")
    watch: Any = SimpleNamespace(seen=None, ahead=None)
    return answers.Answers(frame, SimpleNamespace(), memory.Memory(lambda: ib.NOW), server, watch)  # type: ignore[arg-type]


async def test_many_that_begin_at_once_are_one_look_at_the_source():
    server = Server()
    asks, seen = made(server), case.Observed(ib.build())
    for polled in (None, questions.Resolved(OLD), questions.Unseen("no")):
        server.polled = polled
        assert (await asks.answer(seen, ASKED)).commit == OLD
    assert server.asked == 1


async def test_a_commit_that_polling_has_found_meanwhile_begins_a_build_and_not_the_one_that_is_remembered():
    server = Server()
    asks, seen = made(server), case.Observed(ib.build())
    await asks.answer(seen, ASKED)
    server.commit, server.polled = NEW, questions.Resolved(NEW)
    assert (await asks.answer(seen, ASKED)).commit == NEW
    assert (await asks.answer(seen, ASKED)).commit == NEW
    assert server.asked == 2
