"""Who is based on whom, and whether that goes round in a circle."""

import pytest

from strata_operator import names
from strata_operator.imagebuild import chains
from support import imagebuilds as ib

HOST = "registry.example:5000"


def key(name: str) -> names.Key:
    return names.Key("team", name)


def node(
    name: str, *based_on: str, follows: bool = True, phase: str = "Succeeded", suspend: bool = False
) -> chains.Node:
    body = ib.build(name, suspend=suspend, triggers={"baseImages": {"pollInterval": "1h"}} if follows else {})
    body["status"] = {
        "repository": f"team/{name}",
        "tags": ["latest", "v1"],
        "baseImages": [{"name": f"{HOST}/team/{base}", "digest": ib.DIGEST} for base in based_on],
        "current": {"number": 1, "phase": phase},
    }
    return chains.node(body, (HOST, "localhost:5000", ""))


def test_bases_that_a_failed_build_has_told_of_count_too():
    body = ib.build("b", triggers={"baseImages": {"pollInterval": "1h"}})
    used = [{"name": f"{HOST}/team/a", "digest": ""}]
    for phase, found in (("Failed", {key("b")}), ("Running", set())):
        body["status"] = {"current": {"number": 1, "phase": phase, "usedBaseImages": used}}
        assert graph(a=node("a"), b=chains.node(body, (HOST,))).users(node("a").images) == found


def graph(**nodes: chains.Node) -> chains.Chains:
    made = chains.Chains()
    for name, one in nodes.items():
        made.note(key(name), one)
    return made


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("debian", ("docker.io", "library/debian", "latest")),
        ("debian:12", ("docker.io", "library/debian", "12")),
        ("a.b:5000/c/d", ("a.b:5000", "c/d", "latest")),
        (f"debian@{ib.DIGEST}", None),
        (f"debian:12@{ib.DIGEST}", None),
        ("team/UPPER", None),
        ("", None),
    ],
)
def test_what_a_name_stands_for(name, found):
    assert chains.image(name) == found


def test_users_and_makers_are_found_by_every_name_of_the_registry_and_by_tag():
    found = graph(
        a=node("a"), b=node("b", "a"), c=node("c", "a:v1"), d=node("d", "a:v2"), e=node("e", "a", follows=False)
    )
    assert found.users(node("a").images) == {key("b"), key("c")}
    assert found.makers("localhost:5000/team/a:v1") == [key("a")]
    assert found.makers(f"{HOST}/team/a:v2") == []


@pytest.mark.parametrize(
    ("nodes", "way"),
    [
        ({"a": node("a", "a")}, "aa"),
        ({"a": node("a", "b"), "b": node("b", "a")}, "aba"),
        ({"a": node("a", "b"), "b": node("b", "c"), "c": node("c", "d", "a"), "d": node("d")}, "abca"),
        ({"a": node("a", "b"), "b": node("b", "c"), "c": node("c")}, ""),
        ({"a": node("a", "b"), "b": node("b", "c"), "c": node("c", "b")}, ""),
        ({"a": node("a", "b"), "b": node("b", "a", follows=False)}, ""),
        ({"a": node("a", "b")}, ""),
    ],
)
def test_a_circle_is_found_through_those_that_go_on_by_themselves(nodes, way):
    found = graph(**nodes)
    first = min(nodes["a"].bases)
    assert found.cycle(key("a"), f"{first[0]}/{first[1]}") == tuple(map(key, way))


def test_who_is_busy_upwards_holds_up_who_is_below():
    def found(**changes: chains.Node) -> chains.Chains:
        return graph(**({"a": node("a"), "b": node("b", "a"), "c": node("c", "b")} | changes))

    bases = [f"{HOST}/team/b"]

    def nobody(_: names.Key) -> bool:
        return False

    assert found().busy(key("c"), bases, nobody) is None
    assert found(b=node("b", "a", phase="Pending")).busy(key("c"), bases, nobody) == key("b")
    assert found(a=node("a", phase="Running")).busy(key("c"), bases, nobody) == key("a")
    assert found(a=node("a", phase="Failed")).busy(key("c"), bases, nobody) is None
    assert found(a=node("a", phase="Running", suspend=True)).busy(key("c"), bases, nobody) is None
    assert found().busy(key("c"), bases, lambda one: one == key("a")) == key("a")
    deaf = found(a=node("a", phase="Running"), b=node("b", "a", follows=False))
    assert deaf.busy(key("c"), bases, nobody) is None  # b will not be built for a


def test_nobody_waits_for_itself():
    found = graph(a=node("a", "b", phase="Pending"), b=node("b", "a"))
    assert found.busy(key("a"), [f"{HOST}/team/b"], lambda _: False) is None


@pytest.mark.parametrize("circle", ["ab", "abc", "abcd"])
def test_nobody_in_a_circle_waits_for_another_and_all_wait_for_who_is_above(circle):
    """A base that moves under all of them has all of them built."""

    def found(phase: str) -> chains.Chains:
        nodes = {
            one: node(one, circle[n - 1], "root", phase="Pending" if n % 2 else "Succeeded")
            for n, one in enumerate(circle)
        }
        return graph(root=node("root", phase=phase), **nodes)

    for n, one in enumerate(circle):
        bases = [f"{HOST}/team/{base}" for base in (circle[n - 1], "root")]
        about_to = {key(other) for other in circle}
        assert found("Succeeded").busy(key(one), bases, about_to.__contains__) is None
        assert found("Running").busy(key(one), bases, about_to.__contains__) == key("root")
    below = found("Succeeded").busy(key("below"), [f"{HOST}/team/a"], lambda _: False)
    assert below in {key(other) for other in circle}


def test_what_is_known_is_replaced_and_forgotten():
    found = graph(a=node("a"), b=node("b", "a"))
    assert found.note(key("b"), node("b", "c")) == node("b", "a")
    assert found.users(node("a").images) == set()
    found.drop(key("b"))
    assert found.users(node("c").images) == set()
    found.drop(key("b"))
    assert graph().note(key("a"), node("a")) == chains.Node()


def test_a_chain_that_is_made_to_be_long_is_not_followed_to_its_end():
    nodes = {str(n): node(str(n), str(n + 1)) for n in range(3000)}
    assert graph(**nodes).cycle(key("0"), f"{HOST}/team/1") == ()
