"""A Job that ends and is deleted before the status tells of its pod, and its operator with it: nobody knows of it.

The API server refuses the status that would tell of it, so that the next operator finds what a kill in the Job's first
seconds leaves.
"""

from __future__ import annotations

from support import e2e, faults, gates

PHASE = "object.status.current.phase"
FOLLOWS = {"triggers": {"baseImages": {"pollInterval": "1h"}}}


def _unseen(home: e2e.Namespace, operator: faults.Operator, name: str, **spec: object) -> str:
    """Build `name` up to that moment, and past it; gives the digest that the lost Job had pushed."""
    told = f"object.metadata.name == '{name}' && has({PHASE}) && !({PHASE} in ['Pending', 'Starting'])"
    with gates.refused(home, {"imagebuilds/status": told}):
        home.apply(e2e.image_build(name, f"FROM busybox:1.36\nLABEL a={name}\n", **spec))
        home.until("its tag", lambda: home.tags(name)[name], name=name, seconds=90)
        digest = home.tags(name)[name]["latest"]["digest"]
        with operator.frozen():
            assert home.status(name)["current"]["phase"] == "Starting"
            home("delete", "job", *home.jobs(name), "--cascade=foreground")
    return str(digest)


def test_what_it_had_pushed_is_not_built_again(home, operator, jobs):
    digest = _unseen(home, operator, "unseen")
    status = home.wait("unseen", seconds=120)
    assert [(b["number"], b["result"], b["digest"]) for b in status["builds"]] == [(1, "Succeeded", digest)]
    assert {key[1:]: len(made) for key, made in jobs.attempts("unseen").items()} == {(1, 1): 1}


def test_what_follows_its_bases_is_built_again_for_nobody_knows_which_it_had(home, operator, jobs):
    digest = _unseen(home, operator, "unseen-follower", **FOLLOWS)
    status = home.wait("unseen-follower", seconds=120)
    assert [(b["number"], b["result"], b["digest"]) for b in status["builds"]] == [(1, "Succeeded", digest)]
    assert {key[1:]: len(made) for key, made in jobs.attempts("unseen-follower").items()} == {(1, 1): 2}
    assert status["baseImages"]
