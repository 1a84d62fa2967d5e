# mypy: disable-error-code="type-arg, no-untyped-call, no-any-return, index, method-assign, misc, dict-item"
"""The stores: versions in any order, lists that race with events, indexes, trimming."""

from typing import Any

import pytest

from strata_operator import cache, kube, names


def body(name: str, version: int, *, uid: str = "u1", namespace: str = "team", **more: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": namespace, "uid": uid, "resourceVersion": str(version)} | more}


def seen(store: cache.Store) -> dict[str, str]:
    return {b["metadata"]["name"]: b["metadata"]["resourceVersion"] for b in store.all()}


def listed(store: cache.Store, version: int, *bodies: dict[str, Any]) -> list[dict[str, Any]]:
    for one in bodies:
        store.put(one)
    gone = store.retain({kube.place(one) for one in bodies}, version)
    store.end_list()
    return gone


@pytest.fixture(params=[False, True], ids=["plain", "packed"])
def store(request) -> cache.Store:
    return cache.Store(names.JOBS, packed=request.param)


@pytest.mark.parametrize(
    ("versions", "kept"), [([1, 2], "2"), ([2, 1], "2"), ([9, 10], "10"), ([10, 9], "10"), ([3, 3], "3")]
)
def test_the_newest_version_of_an_object_wins_whatever_the_order(store, versions, kept):
    for version in versions:
        store.put(body("a", version))
    assert seen(store) == {"a": kept}


def test_news_of_a_predecessor_with_the_same_name_change_nothing(store):
    store.put(body("a", 5, uid="new"))
    store.put(body("a", 4, uid="old"))
    assert store.remove(body("a", 4, uid="old")) is None
    assert store.get("team", "a")["metadata"]["uid"] == "new"


def test_a_list_removes_what_it_lacks_and_keeps_what_is_newer_than_itself(store):
    store.put(body("stays", 1, uid="1"))
    store.put(body("gone", 2, uid="2"))
    store.begin_list()
    store.put(body("late", 9, uid="3"))  # created while the list was read
    gone = listed(store, 5, body("stays", 1, uid="1"))
    assert [b["metadata"]["name"] for b in gone] == ["gone"]
    assert seen(store) == {"stays": "1", "late": "9"}


def test_a_deletion_during_a_list_is_not_undone_by_the_list(store):
    store.put(body("a", 1))
    store.begin_list()
    store.remove(body("a", 7))
    listed(store, 5, body("a", 1))
    assert seen(store) == {}
    store.put(body("a", 8, uid="next"))
    assert seen(store) == {"a": "8"}


def test_a_list_that_fails_leaves_the_store_as_it_was(store):
    store.put(body("a", 1))
    store.begin_list()
    store.put(body("a", 1))
    store.end_list()
    assert seen(store) == {"a": "1"}


def test_objects_are_found_by_owner_and_by_namespace_and_leave_the_indexes(store):
    store.put(body("a", 1, uid="1", ownerReferences=[{"uid": "o1"}]))
    store.put(body("b", 2, uid="2", ownerReferences=[{"uid": "o1"}]))
    store.put(body("b", 3, uid="2", ownerReferences=[{"uid": "o2"}]))
    assert [b["metadata"]["name"] for b in store.owned_by("o1")] == ["a"]
    assert [b["metadata"]["name"] for b in store.in_namespace("team")] == ["a", "b"]
    store.remove(body("a", 4, uid="1"))
    assert store.owned_by("o1") == []
    assert len(store) == 1


def test_bodies_are_kept_without_managed_fields_and_kubectls_copy():
    trimmed = cache.trim(
        body("a", 1, managedFields=[{"x": 1}], annotations={names.ANNOTATION_LAST_APPLIED: "{}", "mine": "1"})
    )
    assert trimmed["metadata"].keys() == {"name", "namespace", "uid", "resourceVersion", "annotations"}
    assert trimmed["metadata"]["annotations"] == {"mine": "1"}


def test_contents_of_config_maps_are_kept_as_digests_only():
    kept = cache.without_contents(body("a", 1) | {"data": {"f": "x" * 1000}})
    assert len(kept["data"]["f"]) == 64
    assert kept["data"] != cache.without_contents(body("a", 1) | {"data": {"f": "y" * 1000}})["data"]


def test_both_the_old_and_the_new_version_are_told_of_and_a_repetition_is_not():
    told: list[str] = []
    known = cache.Cache(lambda _resource, b: told.append(b["metadata"]["resourceVersion"]))
    known.add(cache.Store(names.JOBS))
    known.seen(names.JOBS, None, body("a", 1))
    known.seen(names.JOBS, "MODIFIED", body("a", 2))
    known.seen(names.JOBS, "MODIFIED", body("a", 2))
    known.seen(names.JOBS, "DELETED", body("a", 3))
    assert told == ["1", "1", "2", "3"]


def test_a_write_of_our_own_is_in_the_store_at_once_if_the_selector_admits_it():
    told: list[str] = []
    known = cache.Cache(lambda _resource, b: told.append(b["metadata"]["name"]))
    known.add(cache.Store(names.JOBS, selector=names.OWNED))
    known.wrote(names.JOBS, body("ours", 1, labels=names.common_labels("builder")))
    known.wrote(names.JOBS, body("other", 1, uid="2", labels={}))
    known.wrote(names.PODS, body("unwatched", 1))
    assert seen(known[names.JOBS]) == {"ours": "1"}
    assert told == ["ours"]
    known.seen(names.JOBS, "ADDED", body("ours", 1, labels=names.common_labels("builder")))
    assert told == ["ours"]


def test_what_was_deleted_by_us_stays_gone_whatever_is_told_of_it_later(store):
    store.put(body("a", 1))
    assert store.forget(names.Key("team", "a"), "u1")["metadata"]["name"] == "a"
    for late in (1, 2, 99):  # an event, an answer to a write, a page of a list: sent before, arrived after
        store.put(body("a", late))
    assert seen(store) == {}
    store.put(body("a", 100, uid="next"))
    store.put(body("a", 101))
    assert seen(store) == {"a": "100"}
    assert store.forget(names.Key("team", "a"), "u1") is None
    assert seen(store) == {"a": "100"}


def test_a_grave_is_kept_until_two_lists_have_come_after_it(store):
    for number, kept in enumerate([{}, {}, {"a": "5"}]):
        if number == 0:
            store.forget(names.Key("team", "a"), "u1")
        else:
            store.begin_list()
            listed(store, 7)
        store.put(body("a", 5))
        assert seen(store) == kept


def test_a_list_that_is_still_read_keeps_the_graves_that_others_would_let_go(store):
    store.begin_list()
    store.forget(names.Key("team", "a"), "u1")
    for _ in range(3):
        store.begin_list()
        listed(store, 7)
    store.put(body("a", 5))  # the page of the first list
    assert seen(store) == {}


def test_an_object_that_has_its_labels_again_is_known_again(store):
    """A watch by labels tells of a deletion when they go."""
    store.put(body("a", 1))
    store.remove(body("a", 2))
    store.put(body("a", 1))
    assert seen(store) == {}
    store.put(body("a", 3))
    assert seen(store) == {"a": "3"}


def test_a_deletion_of_our_own_is_told_of_once():
    told: list[str] = []
    known = cache.Cache(lambda _resource, b: told.append(b["metadata"]["name"]))
    known.add(cache.Store(names.JOBS))
    known.seen(names.JOBS, "ADDED", body("a", 1))
    known.deleted(names.JOBS, names.Key("team", "a"), "u1")
    known.deleted(names.PODS, names.Key("team", "a"), "unwatched")
    assert told == ["a", "a"]
    assert seen(known[names.JOBS]) == {}
    known.seen(names.JOBS, "MODIFIED", body("a", 2))
    known.seen(names.JOBS, "DELETED", body("a", 3))
    assert told == ["a", "a"]
    known.seen(names.JOBS, "DELETED", body("b", 9, uid="never seen"))
    assert told == ["a", "a", "b"]


def test_an_index_finds_objects_by_what_they_say_now(store):
    store.add_indexes({"colour": cache.Index(lambda b: b.get("colours", ()))})
    store.put(body("a", 1, uid="1") | {"colours": ["red", "blue"]})
    store.put(body("b", 2, uid="2") | {"colours": ["red"]})
    store.put(body("a", 3, uid="1") | {"colours": ["blue"]})
    assert [b["metadata"]["name"] for b in store.having("colour", "red")] == ["b"]
    assert store.keys("colour", "blue") == [names.Key("team", "a")]
    assert store.has("colour", "blue", names.Key("team", "a"))
    store.remove(body("a", 4, uid="1"))
    assert store.keys("colour", "blue") == []
    with pytest.raises(ValueError, match="too late"):
        store.add_indexes({"size": cache.Index(lambda b: ())})


def test_every_object_has_its_turn_once(store):
    for number in range(100):
        store.put(body(f"n{number}", number + 1, uid=str(number)))
    turns = [{b["metadata"]["name"] for b in store.slice(turn, 6)} for turn in range(7, 13)]
    assert sum(map(len, turns)) == 100 == len(set().union(*turns))
    assert len(store.slice(3, 1)) == 100
