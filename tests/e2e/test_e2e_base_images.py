"""Images that are the bases of others, on the cluster: what is built when one of them moves, and what then moves."""

from __future__ import annotations

import random

from support import e2e

TRIGGERS = {"baseImages": {"pollInterval": "1m"}}
#: Text that no compression makes small: a layer of it is some 130 KB.
LARGE = "".join(random.Random(7).choices("0123456789abcdefghijklmnopqrstuvwxyz", k=200_000))


def base(text: str, dockerfile: str = "FROM busybox:1.36\nCOPY base.txt /\n", **spec) -> e2e.Body:
    return e2e.image_build("base", dockerfile, source={"inline": {"base.txt": text}}, **spec)


def based_on(home: e2e.Namespace, name: str, other: str) -> e2e.Body:
    host = home.status(e2e.REGISTRY, "registry")["endpoints"]["push"]
    text = f'FROM {host}/{home.name}/{other}\nCOPY large.txt /{name}/\nCMD ["cat", "/base.txt"]\n'
    return e2e.image_build(name, text, source={"inline": {"large.txt": LARGE}}, triggers=TRIGGERS)


def ended(home: e2e.Namespace, name: str, number: int) -> e2e.Body:
    """The status once build `number` has succeeded."""

    def done() -> e2e.Body | None:
        status = home.status(name)
        success = status.get("lastSuccess", {}).get("number", 0) >= number
        return status if success and status["current"]["phase"] == "Succeeded" else None

    found: e2e.Body = home.until(f"build {number} of {name}", done, seconds=240, name=name)
    return found


def test_a_chain_is_built_in_order_when_its_base_moves_and_no_layer_of_a_copy_moves(home, times):
    first = home.build(base("one"))
    middle = home.build(based_on(home, "middle", "base"))
    top = home.build(based_on(home, "top", "middle"))
    assert middle["metrics"]["pushedBytes"] > 100_000
    assert middle["baseImages"][0]["digest"] == first["digest"]
    home.apply(base("two"))
    moved = ended(home, "base", 2)
    for name, before, below in (("middle", middle, moved), ("top", top, None)):
        after = ended(home, name, 2)
        below = below or home.status("middle")
        assert after["builds"][0]["reason"] == "BaseImageChanged"
        assert [b["digest"] for b in after["baseImages"]] == [below["digest"]]
        assert after["current"]["baseImages"][0]["previous"] == before["baseImages"][0]["digest"]
        assert after["metrics"]["pushedBytes"] < 20_000
        assert (after["metrics"]["cacheHits"], after["metrics"]["cacheMisses"]) == (1, 0)
        times(f"{name}, base moved", after["metrics"])
    assert home.run(home.status("top")["image"], "top") == "two"
    assert [home.status(name)["current"]["number"] for name in ("base", "middle", "top")] == [2, 2, 2]
    notes = home.notes("middle")
    assert any(first["digest"] in note and moved["digest"] in note for note in notes), notes


def test_images_that_are_made_from_one_another_do_not_chase_each_other(home):
    home("delete", "imagebuild", "--ignore-not-found", "middle", "top")
    home.build(base("three"))
    home.build(based_on(home, "round", "base"))
    host = home.status(e2e.REGISTRY, "registry")["endpoints"]["push"]
    circular = f"FROM {host}/{home.name}/round\nCOPY base.txt /\n"
    home.apply(base("four", circular, triggers=TRIGGERS))
    home.wait("round", "Polling", "False", reason="BaseImageCycle")
    said = home.wait("base", "Polling", "False", reason="BaseImageCycle")
    text = next(c["message"] for c in said["conditions"] if c["type"] == "Polling")
    assert f"{home.name}/base → {home.name}/round → {home.name}/base" in text
    numbers = [home.status(name)["current"]["number"] for name in ("base", "round")]
    for step, text in enumerate(("five", "six"), start=1):
        home.apply(base(text, circular, triggers=TRIGGERS))
        ended(home, "base", numbers[0] + step)
    assert [home.status(name)["current"]["number"] for name in ("base", "round")] == [numbers[0] + 2, numbers[1]]


def test_what_lacks_its_base_or_fails_for_it_is_built_once_that_has_come_or_was_mended(home):
    """Two that are applied together for the first time: nothing has ever succeeded that would tell of their bases."""
    host = home.status(e2e.REGISTRY, "registry")["endpoints"]["push"]
    text = f"FROM {host}/{home.name}/below AS below\nFROM scratch\nCOPY --from=below /needed.txt /\n"
    home.apply(e2e.image_build("above", text, triggers={"baseImages": {"pollInterval": "6h"}}))
    home.wait("above", "Stalled", "True", reason="BaseImageNotFound")
    below = "FROM scratch\nCOPY . /\n"
    home.build(e2e.image_build("below", below, source={"inline": {"other.txt": "1"}}))
    digest = home.status("below")["digest"]

    def tried() -> bool:
        current = home.status("above")["current"]
        return current["phase"] == "Failed" and current.get("usedBaseImages", [{}])[0].get("digest") == digest

    home.until("a try on the base that has come", tried, seconds=120, name="above")
    home.apply(e2e.image_build("below", below, source={"inline": {"needed.txt": "1"}}))
    ended(home, "below", 2)
    mended = ended(home, "above", 1)
    assert (mended["builds"][0]["reason"], mended["builds"][0]["result"]) == ("BaseImageChanged", "Succeeded")
    assert [base["digest"] for base in mended["baseImages"]] == [home.status("below")["digest"]]


def test_a_step_that_its_base_breaks_is_run_again_once_that_was_mended(baseline):
    def tool(script: str) -> e2e.Body:
        return e2e.image_build("tool", "FROM busybox:1.36\nCOPY tool.sh /\n", source={"inline": {"tool.sh": script}})

    first = baseline.build(tool("exit 1\n"))
    host = baseline.status(e2e.REGISTRY, "registry")["endpoints"]["push"]
    user = f"FROM {host}/{baseline.name}/tool\nRUN sh /tool.sh\n"
    baseline.apply(e2e.image_build("user", user, triggers=TRIGGERS))
    failed = baseline.wait("user", "Stalled", "True", reason="RunFailed")
    assert [base["digest"] for base in failed["current"]["usedBaseImages"]] == [first["digest"]]
    baseline.apply(tool("echo fine\n"))
    ended(baseline, "tool", 2)
    mended = ended(baseline, "user", 1)
    assert [b["reason"] for b in mended["builds"]] == ["BaseImageChanged", "SpecChanged"]
