"""What a step leaves in its layer: whiteouts, hard links, changes that hide, set-id bits, capabilities."""

from __future__ import annotations

import io
import sys
import tarfile
from pathlib import Path

import pytest

from support.strata_build import Builder

pytestmark = pytest.mark.root


def test_a_whiteout_is_written_once_where_the_path_was_deleted(builder: Builder) -> None:
    image = builder.make(
        "FROM testbase\n"
        "RUN mkdir -p /a/b/c /keep && echo 1 > /a/b/c/bar && echo 1 > /keep/k1 && echo 2 > /keep/k2\n"
        "RUN rm -rf /a/b && mkdir -p /a/b/c && echo 2 > /a/b/c/foo\n"
        "RUN rm /keep/k1\nRUN rm -rf /keep\nRUN mv /a /z\nRUN touch /tmpf && rm /tmpf\n"
    )
    names = [sorted(path for path in layer if path) for layer in image.own]
    assert "a/b/c/foo" in names[1]
    assert {"a/b/c/.wh.bar", "a/b/.wh..wh..opq", "a/.wh.b", "a/b/.wh.c", "a/b/c/.wh..wh..opq"} & set(names[1])
    assert "a/b/c/bar" not in names[1]
    assert names[2] == ["keep", "keep/.wh.k1"]
    assert names[3] == [".wh.keep"]
    assert names[4] == [".wh.a", "z", "z/b", "z/b/c", "z/b/c/foo"]
    assert len(names) == 5
    assert image.listed("a", "keep", "z")[-1] == "f 0644 0:0 z/b/c/foo"
    assert image.read("z/b/c/foo") == "2\n"
    assert not [line for line in image.listed() if "bar" in line or " a" in line or "keep" in line]


def test_hard_links_stay_one_file_within_a_layer(builder: Builder) -> None:
    image = builder.make(
        "FROM testbase AS a\nRUN mkdir /s && head -c 5000000 /dev/zero > /s/a && ln /s/a /s/b\n"
        "FROM scratch\nCOPY --from=a /s /t\n"
    )
    assert image.listed() == ["d 0755 0:0 t", "f 0644 0:0 t/a", "h t/b -> t/a"]
    assert list(image.layers[0])[-2:] == ["t/a", "t/b"]


def test_a_link_to_a_file_of_a_lower_layer_brings_the_file(builder: Builder) -> None:
    image = builder.make("FROM testbase\nRUN echo x > /s1\nRUN ln /s1 /s2\n")
    layer = image.own[1]
    texts = {path: file.text for path, file in layer.items() if path}
    assert texts in (
        {"s2": "f 0644 0:0 s2"},
        {"s1": "f 0644 0:0 s1", "s2": "h s2 -> s1"},
    )
    assert image.read("s2") == "x\n"


def test_a_change_that_keeps_size_and_time_is_still_a_change(builder: Builder) -> None:
    image = builder.make(
        "FROM testbase\nRUN echo aaa > /f && touch -d @1500000000 /f\nRUN echo bbb > /f && touch -d @1500000000 /f\n"
        "RUN chown 5 /f\nRUN chmod 600 /f && chmod 644 /f\n"
    )
    assert image.own[1]["f"].content == b"bbb\n"
    assert image.own[2]["f"].text == "f 0644 5:0 f"
    assert len(image.own) == 3
    assert image.read("f") == "bbb\n"


def test_a_run_that_changes_nothing_makes_no_layer(builder: Builder) -> None:
    image = builder.make("FROM testbase\nRUN true\n")
    assert image.own == []
    assert image.config["history"][-1]["empty_layer"] is True


CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")


def _with_capability() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        member = tarfile.TarInfo("ping")
        member.mode, member.size = 0o755, 1
        member.pax_headers = {"SCHILY.xattr.security.capability": CAPABILITY.decode("utf-8", "surrogateescape")}
        tar.addfile(member, io.BytesIO(b"p"))
    return buffer.getvalue()


def test_set_id_bits_and_capabilities_survive_copy_and_chown(builder: Builder) -> None:
    image = builder.make(
        "FROM testbase AS a\nRUN echo x > /su && chmod 4755 /su\nADD caps.tar /b/\nFROM testbase\n"
        "COPY --from=a /su /su1\nCOPY --from=a --chown=1000:1000 /su /su2\n"
        "COPY --from=a --chown=5:5 --chmod=4711 /su /su3\nCOPY --from=a --chown=1:1 /b/ping /p\n",
        {"caps.tar": _with_capability()},
    )
    assert image.listed() == [
        "f 0755 1:1 p",
        "f 4755 0:0 su1",
        "f 4755 1000:1000 su2",
        "f 4711 5:5 su3",
    ]
    kept = image.own[3]["p"].xattrs["security.capability"]
    assert kept == CAPABILITY


def test_every_count_of_layers_agrees_and_every_digest_is_true(builder: Builder) -> None:
    image = builder.make(
        'FROM testbase\nENV A=1\nCOPY f /f\nWORKDIR /tmp\nWORKDIR /made\nUSER 1\nCMD ["a"]\n', {"f": "f"}
    )
    full = [entry for entry in image.config["history"] if not entry.get("empty_layer")]
    assert len(full) == len(image.config["rootfs"]["diff_ids"]) == len(image.layers)
    assert image.diff_ids == image.config["rootfs"]["diff_ids"]
    described = [image.manifest["config"], *image.manifest["layers"]]
    assert {d["digest"]: d["size"] for d in described} == {d["digest"]: image.sizes[d["digest"]] for d in described}
    assert all(d["mediaType"].startswith("application/vnd.oci.image.") for d in described)
    assert image.manifest["mediaType"] == "application/vnd.oci.image.manifest.v1+json"


def test_an_image_without_layers_has_empty_lists(builder: Builder) -> None:
    image = builder.make("FROM scratch\nLABEL a=1\n")
    assert image.manifest["layers"] == []
    assert image.config["rootfs"] == {"type": "layers", "diff_ids": []}
    assert image.env == {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
    assert image.config["config"]["WorkingDir"] == "/"


_PEAK = (
    "import resource, subprocess, sys\n"
    "done = subprocess.run(sys.argv[1:], check=False)\n"
    "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss << 10)\n"
    "sys.exit(done.returncode)\n"
)


@pytest.mark.parametrize("env", [{}, {"SOURCE_DATE_EPOCH": "1000000000"}], ids=["real times", "one time"])
def test_memory_does_not_grow_with_a_layer_made_copied_and_found_again(
    builder: Builder, tmp_path: Path, env: dict[str, str]
) -> None:
    size = 200 << 20
    lines = f"FROM testbase AS s\nRUN head -c {size} /dev/zero > /big\nFROM scratch\nCOPY --from=s /big /big\n"
    fresh = Builder(tmp_path, builder.base)
    context = fresh.context({}, lines)
    for output in ("cold", "warm"):
        made = tmp_path / output
        ended = fresh.run(context, "-o", f"type=oci,dest={made}", env=env, through=(sys.executable, "-c", _PEAK))
        assert ended.returncode == 0, ended.stderr
        assert ("CACHED" in ended.stderr) is (output == "warm")
        assert int(ended.stdout.split()[-1]) < size / 2
    assert (tmp_path / "cold").read_bytes() == (tmp_path / "warm").read_bytes()
