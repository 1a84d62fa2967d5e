"""The image config: read, changed, written, and nothing lost on the way."""

from __future__ import annotations

import json

import pytest

from strata_builder.oci import errors
from strata_builder.oci.image import History, ImageConfig
from strata_builder.oci.platform import Platform

D1, D2 = "sha256:" + "1" * 64, "sha256:" + "2" * 64
FULL = {
    "architecture": "arm",
    "variant": "v7",
    "os": "linux",
    "created": "2024-01-01T00:00:00Z",
    "x.vendor": {"kept": [1, None]},
    "config": {
        "Env": ["PATH=/bin", "A=b=c"],
        "Cmd": ["sh"],
        "Entrypoint": [],
        "User": "1:2",
        "WorkingDir": "/w",
        "Labels": {"l": "ü"},
        "ExposedPorts": {"80/tcp": {}},
        "Volumes": {"/v": {}},
        "OnBuild": ["RUN x"],
        "Shell": ["/bin/ash", "-c"],
        "StopSignal": "SIGINT",
        "Healthcheck": {"Test": ["CMD", "x"], "Interval": 5},
        "ArgsEscaped": True,
    },
    "rootfs": {"type": "layers", "diff_ids": [D1]},
    "history": [{"created_by": "a", "x": 1}, {"created_by": "b", "empty_layer": True}],
}


def full() -> ImageConfig:
    return ImageConfig.from_bytes(json.dumps(FULL).encode())


def test_every_accessor_reads_its_field():
    c = full()
    assert c.env == ("PATH=/bin", "A=b=c")
    assert (c.cmd, c.entrypoint, c.shell) == (("sh",), (), ("/bin/ash", "-c"))
    assert (c.user, c.workdir, c.stop_signal, c.labels) == ("1:2", "/w", "SIGINT", {"l": "ü"})
    assert (c.exposed_ports, c.volumes, c.onbuild) == (("80/tcp",), ("/v",), ("RUN x",))
    assert c.healthcheck == {"Test": ["CMD", "x"], "Interval": 5}
    assert c.platform == Platform("linux", "arm", "v7")
    assert c.diff_ids == (D1,)
    assert [h.created_by for h in c.history] == ["a", "b"]
    assert [h.empty_layer for h in c.history] == [False, True]


def test_unknown_fields_survive_every_change():
    changed = full().with_(cmd=("x",), user="root").append_history(History(created_by="c"), D2)
    data = json.loads(changed.to_bytes())
    assert data["x.vendor"] == {"kept": [1, None]}
    assert data["config"]["ArgsEscaped"] is True
    assert data["history"][0] == {"created_by": "a", "x": 1}
    assert data["rootfs"]["diff_ids"] == [D1, D2]
    assert full().cmd == ("sh",)


@pytest.mark.parametrize(
    ("changes", "key", "value"),
    [
        ({"cmd": None}, "Cmd", None),
        ({"cmd": ()}, "Cmd", []),
        ({"entrypoint": ["a", "b"]}, "Entrypoint", ["a", "b"]),
        ({"env": ()}, "Env", None),
        ({"labels": {"b": "1", "a": "2"}}, "Labels", {"a": "2", "b": "1"}),
        ({"exposed_ports": ["53/udp", "80/tcp"]}, "ExposedPorts", {"53/udp": {}, "80/tcp": {}}),
        ({"volumes": ()}, "Volumes", None),
        ({"healthcheck": {"Test": ["NONE"]}}, "Healthcheck", {"Test": ["NONE"]}),
        ({"onbuild": None}, "OnBuild", None),
        ({"stop_signal": "9"}, "StopSignal", "9"),
    ],
)
def test_a_change_sets_or_removes_one_field(changes, key, value):
    assert json.loads(full().with_(**changes).to_bytes())["config"].get(key) == value


def test_an_unknown_field_is_a_programming_error():
    with pytest.raises(TypeError, match="colour"):
        full().with_(colour="red")


def test_bytes_are_canonical_and_stable():
    shuffled = json.dumps(dict(reversed(FULL.items())), indent=3).encode()
    assert ImageConfig.from_bytes(shuffled).to_bytes() == full().to_bytes()
    assert ImageConfig.from_bytes(shuffled) == full()
    assert b"\xc3\xbc" in full().to_bytes()


def test_nothing_mutable_is_handed_out():
    c = full()
    before = c.to_bytes()
    c.labels["new"] = "x"
    c.data()["config"]["Env"].append("X=1")
    (c.healthcheck or {})["Test"] = []
    assert c.to_bytes() == before


def test_scratch_has_arrays_and_no_config():
    c = ImageConfig.scratch(Platform.parse("linux/amd64"))
    assert c.to_bytes() == b'{"architecture":"amd64","os":"linux","rootfs":{"diff_ids":[],"type":"layers"}}'
    assert (c.env, c.cmd, c.labels, c.history, c.diff_ids) == ((), None, {}, (), ())


@pytest.mark.parametrize("config", [None, {}])
def test_nulls_count_as_absent(config):
    c = ImageConfig.from_bytes(json.dumps({"config": config, "history": None, "rootfs": {"diff_ids": None}}).encode())
    assert (c.env, c.cmd, c.history, c.diff_ids, c.user) == ((), None, (), (), "")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"config": []}, "config must be an object"),
        ({"config": {"Env": "A=b"}}, "Env must be an array"),
        ({"config": {"Env": [1]}}, r"Env\[0\] must be a string"),
        ({"config": {"Cmd": "sh"}}, "Cmd must be an array"),
        ({"config": {"Labels": {"a": 1}}}, r"Labels\.a must be a string"),
        ({"config": {"Volumes": ["/x"]}}, "Volumes must be an object"),
        ({"config": {"User": 5}}, "User must be a string"),
        ({"rootfs": {"type": "foo"}}, "rootfs.type"),
        ({"rootfs": {"diff_ids": ["md5:x"]}}, r"diff_ids\[0\]"),
        ({"history": [1]}, r"history\[0\] must be an object"),
        ({"history": [{"empty_layer": "yes"}]}, r"history\[0\]: empty_layer"),
        ({"os": ["linux"]}, "os must be a string"),
    ],
)
def test_wrong_types_are_refused_naming_the_field(change, problem):
    with pytest.raises(errors.ImageInvalid, match=problem):
        ImageConfig.from_bytes(json.dumps(FULL | change).encode())


def test_a_huge_config_is_refused():
    with pytest.raises(errors.ImageInvalid, match="more than 8388608"):
        ImageConfig.from_bytes(b'{"a":"' + b"x" * (8 << 20) + b'"}')


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b'{"x":1e999}', "1e999 is not a JSON number"),
        (b'{"x":NaN}', "NaN is not a JSON number"),
        (b'{"x":-1e400}', "-1e400 is not a JSON number"),
        (b'{"x":"\\ud800"}', "surrogates"),
        (b'{"x":' + b"9" * 5000 + b"}", "4300 digits"),
        (b'{"x":"' + b'\\"' * 500_000, "Unterminated string"),
        (b'"' + b'\\"' * 500_000, "Unterminated string"),
    ],
    ids=range(7),
)
def test_json_that_could_not_be_written_again_or_has_no_end_is_refused_at_once(data, problem):
    with pytest.raises(errors.ImageInvalid, match=problem):
        ImageConfig.from_bytes(data)


def test_text_that_is_no_utf8_becomes_the_replacement_character_wherever_it_stands():
    odd, shown = "caf\udce9", "caf\ufffd"
    made = ImageConfig.scratch(Platform.parse("linux/amd64")).with_(
        env=[f"A={odd}"], cmd=[odd], labels={odd: odd}, author=odd, volumes=[f"/{odd}"], onbuild=[f"RUN {odd}"],
        healthcheck={"Test": ["CMD", odd]},
    )  # fmt: skip
    made = made.append_history(History(created_by=f"RUN {odd}"))
    read = ImageConfig.from_bytes(made.to_bytes())
    assert read == made
    assert (read.env, read.cmd, read.labels, read.author) == ((f"A={shown}",), (shown,), {shown: shown}, shown)
    assert (read.volumes, read.onbuild, read.history[0].created_by) == (
        (f"/{shown}",),
        (f"RUN {shown}",),
        f"RUN {shown}",
    )
    assert read.healthcheck == {"Test": ["CMD", shown]}
