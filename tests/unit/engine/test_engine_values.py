"""Modes, links, sources and records: the small parts of the engine, by table."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import pytest

from strata_builder import errors
from strata_builder.context import memory
from strata_builder.context.validators import Stored
from strata_builder.engine import digests, modes, records, scope, selecting
from strata_builder.entries import Entry, Kind
from strata_builder.layers import following
from strata_builder.oci.image import Descriptor, LayerRef


@pytest.mark.parametrize(
    ("text", "before", "folder", "after"),
    [
        ("0755", 0o600, False, 0o755),
        ("4711", 0o600, False, 0o4711),
        ("u+x", 0o644, False, 0o744),
        ("+x", 0o644, False, 0o755),
        ("go=", 0o755, False, 0o700),
        ("u=rwX,go=rX", 0o600, False, 0o644),
        ("u=rwX,go=rX", 0o600, True, 0o755),
        ("g=u", 0o750, False, 0o770),
        ("a-w", 0o777, False, 0o555),
        ("u+s,+t", 0o755, False, 0o5755),
        ("g=rx", 0o2775, True, 0o0755),
    ],
)
def test_chmod_notation(text: str, before: int, folder: bool, after: int) -> None:
    assert oct(modes.parse(text)(before, folder)) == oct(after)


@pytest.mark.parametrize("text", ["", "999", "12345", "u", "u+q", "rwx", "u+x,", "0o755"])
def test_what_is_no_mode_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="mode"):
        modes.parse(text)


@pytest.mark.parametrize(
    ("args", "seen"),
    [
        ({"HTTP_PROXY": "h"}, {"HTTP_PROXY": "h", "http_proxy": "h"}),
        ({"no_proxy": "n", "V": "1"}, {"NO_PROXY": "n", "no_proxy": "n"}),
        ({"https_proxy": "small", "HTTPS_PROXY": "large"}, {"HTTPS_PROXY": "small", "https_proxy": "small"}),
        ({"All_Proxy": "a"}, {"ALL_PROXY": "a", "all_proxy": "a"}),
        ({"FTP_PROXY": ""}, {}),
        ({"MY_PROXY": "m"}, {}),
    ],
)
def test_a_run_sees_each_proxy_under_both_spellings(args: dict[str, str], seen: dict[str, str]) -> None:
    assert scope.proxies(args) == seen


LINKS = {b"a": b"b", b"b": b"/c/d", b"c/up": b"../../../x", b"l1": b"l2", b"l2": b"l1", b"dir": b"real"}


def _lookup(path: bytes) -> Entry | None:
    return Entry(path, Kind.SYMLINK, 0o777, link=LINKS[path]) if path in LINKS else None


@pytest.mark.parametrize(
    ("path", "real"),
    [
        (b"a", b"c/d"),
        (b"c/up", b"x"),
        (b"dir/f", b"real/f"),
        (b"../../etc", b"etc"),
        (b"n/./m//o", b"n/m/o"),
        (b"", b""),
    ],
)
def test_links_are_followed_and_never_leave_the_root(path: bytes, real: bytes) -> None:
    assert following.follow(_lookup, path) == real


def test_a_loop_of_links_is_an_error() -> None:
    with pytest.raises(errors.LayerError, match="too many symbolic links in /l1"):
        following.follow(_lookup, b"l1")


TREE = memory.MemoryTree({b"d1/p": b"", b"d2/q": b"", b".env": b"", b"x": b"", b"a/b/c": b""})


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("*", [b".env", b"a", b"d1", b"d2", b"x"]),
        ("d?", [b"d1", b"d2"]),
        ("d[^1]", [b"d2"]),
        ("*/*/c", [b"c"]),
        ("*/c", []),
        ("../../x", [b"x"]),
        ("a/../d1/p", [b"p"]),
        (".", [b""]),
    ],
)
def test_sources_are_selected_as_go_would(pattern: str, names: list[bytes]) -> None:
    assert [source.name for source in selecting.select(TREE, pattern, where="the context")] == names


@pytest.mark.parametrize(
    ("pattern", "kept"),
    [
        ("a/b/c", [b"a", b"a/b"]),
        ("a/./b/c", [b"b"]),
        ("./a/b/c", [b"a", b"a/b"]),
        ("a/*/c", [b"a", b"a/b"]),
        ("*/./b/c", [b"b"]),
        ("a/b*/./**/c", []),
        ("?/./*/c", [b"b"]),
    ],
)
def test_parents_are_kept_below_the_pivot(pattern: str, kept: list[bytes]) -> None:
    (source,) = selecting.select(TREE, pattern, where="the context", parents=True)
    assert [path for path, _ in source.kept] == kept


LINKED = {b"d": Kind.DIR, b"d/f": Kind.FILE, b"l": b"d", b"d/lf": b"f", b"d/ld": b"../e", b"d/gone": b"none", b"e": Kind.DIR,
          b"e/g": Kind.FILE}  # fmt: skip


class LinkedTree(memory.MemoryTree):
    """Bytes are where a link leads."""

    def lookup(self, path: bytes) -> Entry | None:
        found = LINKED.get(path, Kind.DIR if not path else None)
        if isinstance(found, bytes):
            return Entry(path, Kind.SYMLINK, 0o777, link=found)
        return None if found is None else Entry(path, found, 0o755)

    def children(self, path: bytes) -> list[bytes]:
        return sorted(name.rpartition(b"/")[2] for name in LINKED if name.rpartition(b"/")[0] == path)


@pytest.mark.parametrize(
    ("pattern", "parents", "lies"),
    [
        ("l/f", False, [b"d/f"]),
        ("l/f", True, [b"d/f"]),
        ("l/?", False, [b"d/f"]),
        ("*/?", False, [b"d/f", b"e/g"]),
        ("?/ld/g", False, []),
        ("d/l?", False, [b"e", b"d/f"]),
        ("d/l?", True, [b"d/ld", b"d/lf"]),
        ("d/gone", True, [b"d/gone"]),
        ("*/./none", True, []),
    ],
)
def test_links_are_followed_to_the_first_wildcard_and_kept_with_parents(
    pattern: str, parents: bool, lies: list[bytes]
) -> None:
    found = selecting.select(LinkedTree({}), pattern, where="the context", parents=parents)
    assert [source.path for source in found] == lies


@pytest.mark.parametrize(("pattern", "parents"), [("[a-", False), ("a/*[", False), ("[]/./x", True), ("x\\*[z", True)])
def test_a_pattern_that_is_none_is_a_fault_of_the_dockerfile(pattern: str, parents: bool) -> None:
    with pytest.raises(errors.DockerfileError, match=r"the source .*: invalid pattern"):
        selecting.select(TREE, pattern, where="the context", parents=parents)


def test_a_missing_source_is_named_with_its_tree() -> None:
    with pytest.raises(errors.SourceNotFound, match="'nope' is not in the context"):
        selecting.select(TREE, "nope", where="the context")


def test_parts_of_a_key_are_kept_apart() -> None:
    given: list[tuple[str, list[object]]] = [
        ("a", ["a", "b"]),
        ("a", ["ab"]),
        ("a", [["a"], "b"]),
        ("aa", ["b"]),
        ("a", ["a", None]),
        ("a", ["a", ""]),
    ]
    assert len({digests.key(kind, *parts) for kind, parts in given}) == len(given)


def test_a_steps_time_lies_between_2000_and_2020() -> None:
    assert digests.step_time("0" * 64) == 946_684_800
    assert digests.step_time("f" * 64) < 1_577_836_800


FILE = Stored("f", 5, "d" * 64, "c" * 64, 0, '"v1"', "e" * 64)


def _with_file(**fields: object) -> bytes:
    stored = {**asdict(FILE), **fields}
    return json.dumps({"v": records.VERSION, "steps": {}, "remotes": {"0" * 64: stored}}).encode()


def _record(number: int, *, size: int, used: int) -> tuple[str, records.Record]:
    digest = f"sha256:{number:064x}"
    layer = LayerRef(Descriptor("application/vnd.oci.image.layer.v1.tar+gzip", digest, size), digest)
    return f"{number:064x}", records.Record(layer, used)


def test_records_survive_the_trip_with_their_builds_in_order() -> None:
    made = records.Records(
        dict([_record(1, size=5, used=9), (f"{2:064x}", records.Record(None, 3))]),
        {"z/1": "sha256:" + "b" * 64, "a/2": "sha256:" + "c" * 64},
        {"b" * 64: FILE, "a" * 64: replace(FILE, etag="", name="ü")},
    )
    read = records.Records.from_bytes(made.to_bytes())
    assert read == made
    assert list(read.builds) == ["z/1", "a/2"]
    assert list(read.remotes) == ["b" * 64, "a" * 64]


def test_a_url_that_was_used_again_outlives_those_that_were_not() -> None:
    old = records.Records(remotes={f"{n:064x}": FILE for n in range(records.MAX_REMOTES)})
    newer = records.Records(remotes={f"{0:064x}": replace(FILE, size=6), "f" * 64: FILE})
    kept = old.merged(newer).trimmed(today=0, max_age=1, max_size=1).remotes
    assert len(kept) == records.MAX_REMOTES
    assert kept[f"{0:064x}"].size == 6
    assert "f" * 64 in kept
    assert f"{1:064x}" not in kept


def test_a_record_may_have_no_urls() -> None:
    assert records.Records.from_bytes(b'{"v":2,"steps":{},"builds":{}}') == records.Records()


def test_what_another_version_wrote_is_no_cache() -> None:
    steps = '{"%s":{"used":1}}' % ("0" * 64)
    for version in (1, 3):
        assert records.Records.from_bytes(f'{{"v":{version},"steps":{steps}}}'.encode()) == records.Records()


def test_records_are_trimmed_by_age_then_by_least_use() -> None:
    steps = dict(_record(n, size=100, used=n) for n in range(10))
    trimmed = records.Records(steps).trimmed(today=9, max_age=6, max_size=350)
    assert sorted(record.used for record in trimmed.steps.values()) == [7, 8, 9]


def test_the_newest_twenty_builds_stay() -> None:
    builds = {f"{100 - n}/1": "sha256:" + "b" * 64 for n in range(30)}
    kept = records.Records({}, builds).trimmed(today=0, max_age=1, max_size=1).builds
    assert list(kept) == list(builds)[-20:]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{",
        b'{"v":2}',
        b'{"v":2,"steps":{"x":{"used":1}}}',
        b'{"v":2,"steps":[]}',
        b"[" * 100_000,
        b'{"v":2,"steps":{"%s":{"used":"1"}}}' % (b"0" * 64),
        b'{"v":2,"steps":{"%s":{"used":1,"layer":{}}}}' % (b"0" * 64),
        b'{"v":2,"steps":{},"builds":{"a":"nodigest"}}',
        b'{"v":2,"steps":{},"remotes":[]}',
        b'{"v":2,"steps":{},"remotes":{"x":{}}}',
        b'{"v":2,"steps":{},"remotes":{"%s":{"name":"f"}}}' % (b"0" * 64),
        _with_file(name="../f"),
        _with_file(size=-1),
        _with_file(size="5"),
        _with_file(etag='"a"\r\nX: y'),
        _with_file(sha256="x"),
        _with_file(content="x"),
    ],
    ids=range(19),
)
def test_a_damaged_record_is_told(data: bytes) -> None:
    with pytest.raises(errors.LayerError, match="damaged"):
        records.Records.from_bytes(data)


def test_records_of_another_version_are_none() -> None:
    assert records.Records.from_bytes(b'{"v":99}') == records.Records()
