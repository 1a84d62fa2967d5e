"""Steps in the root of a container of their own, and that they come out as in namespaces."""

from __future__ import annotations

import base64
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # the container's program shares its reading of steps with this test
import inplace_build

from strata_builder import errors
from strata_builder.rootfs import inplace
from strata_builder.sandbox import roots
from support import containers
from support.sandboxes import BUSYBOX, LocalBlobs, Steps, busybox_items, tmpfs

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.getuid() != 0, reason="needs root"),
    pytest.mark.skipif(not BUSYBOX.exists(), reason="needs /bin/busybox (busybox-static)"),
    pytest.mark.skipif(
        not shutil.which("unshare") or os.uname().machine != "x86_64", reason="needs util-linux, x86_64"
    ),
]
DRIVER = Path(__file__).with_name("inplace_build.py")


def secret(target: str, content: bytes, **fields: Any) -> dict[str, Any]:
    return {"kind": "secret", "target": target, "content": base64.b64encode(content).decode(), **fields}


#: Run in both rungs; every entry, whiteout, exit code and word has to be the same.
SAME: list[dict[str, Any]] = [
    {"run": "mkdir -p /a/b/c /keep && echo 1 > /a/b/c/bar && echo 1 > /keep/k1 && echo 2 > /keep/k2; umask"},
    {"run": "rm -rf /a/b && mkdir -p /a/b/c && echo 2 > /a/b/c/foo"},
    {"run": "rm /keep/k1"},
    {"run": "rm -rf /keep"},
    {"run": "mv /a /z"},
    {"run": "touch /tmpf && rm /tmpf"},
    {"run": "echo aaa > /f && touch -d @1500000000 /f"},
    {"run": "echo bbb > /f && touch -d @1500000000 /f"},
    {"run": "chown 5:6 /f"},
    {"run": "chmod 600 /f && chmod 644 /f"},
    {"run": "chmod 4755 /f; mkfifo /p; mknod /null c 1 3; ln -s f /l; mkdir -m 1777 /sticky"},
    {"run": "ln /f /f2; ln /f /f3"},
    {"run": "rm /f2; cat /f3 | wc -c"},
    {"run": "echo 1 > /h1; ln /h1 /h2; cp -p /h1 /h3"},
    {"run": "ln /h1 /h4; ln -f /h1 /h3; chmod 755 /h4"},
    {"run": "echo 2 >> /h1; cat /h2 /h3 /h4; stat -c %a /h1 /h2 /h3 /h4"},
    {"run": "mkdir /k; echo 3 > /k/1; cp -p /k/1 /k/2"},
    {"run": "rm /k/2; ln /k/1 /k/2"},
    {"run": "echo 4 >> /k/2; cat /k/1"},
    {"run": "rm -rf /z && echo file > /z"},
    {"run": "rm /z && mkdir /z && echo in > /z/in && rm /bin/vi /bin/wget"},
    {"run": "mv /z/in /z/out; cp -a /bin/busybox /bb; true"},
    {"run": "id -u; id -g; touch /tmp/mine", "uid": 1000, "gid": 1000},
    {"run": "exit 9"},
    {"run": "sh -c 'kill -9 $$'; exit $?"},
    {"run": "pwd; touch here", "cwd": "/srv/app"},
    {"run": "(sleep 300; touch /late) & echo started"},
    {"run": "cat; test -e /late || echo none"},
    {
        "run": "cat /run/secrets/s; stat -c '%a %u' /run/secrets/s",
        "mounts": [secret("/run/secrets/s", b"s", uid=7, mode=0o440)],
    },
    {"run": "/dev/pipes/x", "mounts": [secret("/dev/pipes/x", b"#!/bin/sh\necho scripted", mode=0o755)]},
    {"run": "ls /etc | wc -l; echo x > /etc/new", "mounts": [{"kind": "tmpfs", "target": "/sticky"}]},
    {"run": "ls /sticky; echo w > /sticky/w", "mounts": [{"kind": "tmpfs", "target": "/sticky", "mode": 0o1777}]},
    {"run": "echo one >> /c/f; cat /c/f", "mounts": [{"kind": "cache", "target": "/c", "id": "k1"}]},
    {
        "run": "echo two >> /c/f; cat /c/f; stat -c '%a %u' /c",
        "mounts": [{"kind": "cache", "target": "/c", "id": "k1"}],
    },
    {
        "run": "cat /c/x; stat -c '%a %u:%g' /c /c/x; echo more > /c/y",
        "mounts": [
            {"kind": "cache", "target": "/c", "id": "k2", "source": "seed", "uid": 1000, "gid": 2222, "mode": 0o750}
        ],
    },
    {"run": "cat /c/y; ls /c", "mounts": [{"kind": "cache", "target": "/c", "id": "k2", "sharing": "private"}]},
    {"run": "cat /c/y; rm /c/y", "mounts": [{"kind": "cache", "target": "/c", "id": "k2", "sharing": "locked"}]},
    {
        "run": "ls /c; (echo no > /c/no; rm /c/x) 2>/dev/null; true",
        "mounts": [{"kind": "cache", "target": "/c", "id": "k2", "readonly": True}],
    },
    {"run": "ls /c", "mounts": [{"kind": "cache", "target": "/c", "id": "k2"}]},
    {
        "run": "cat /c/f /d/f",
        "mounts": [
            {"kind": "cache", "target": "/c", "id": "k1", "readonly": True},
            {"kind": "cache", "target": "/d", "id": "k1", "readonly": True},
        ],
    },
    {"run": "ls -d /c /run /dev/pipes 2>&1 | grep -c 'No such'"},
    {"run": "rm -rf /etc/group; cat /etc/passwd > /etc/passwd2; mkdir /empty"},
    {"run": "cat /w/x; ls /w", "mounts": [{"kind": "bind", "target": "/w", "source": "seed", "readonly": True}]},
    {"run": "cat /w/x; echo w > /w/y; ls /w", "mounts": [{"kind": "bind", "target": "/w", "source": "seed"}]},
    {"run": "cat /etc/passwd", "mounts": [{"kind": "bind", "target": "/etc/passwd", "source": "seed/x"}]},
    {"run": "true", "mounts": [secret("/bin", b"x")]},
    {"run": "echo late > /t; touch -d @5 /early", "clamp": 1_000_000_000},
    {"run": "touch /t2", "clamp": 1_000_000_000},
]


@pytest.fixture(name="in_place", scope="module")
def _in_place(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    found: dict[str, Any] = containers.run(DRIVER, tmp_path_factory.mktemp("container"), SAME)
    return found


@pytest.fixture(name="in_namespaces", scope="module")
def _in_namespaces(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    with tmpfs(tmp_path_factory.mktemp("roots")) as scratch:
        blobs = LocalBlobs(scratch / "blobs")
        places = roots.UserNSRoots(scratch / "roots", blobs, scratch / "caches")
        heard = inplace_build.play(Steps(places.open(), blobs, [blobs.must_add(busybox_items())]), SAME)
        places.close()
        return heard


@pytest.mark.parametrize("number", range(len(SAME)), ids=[step["run"][:40] for step in SAME])
def test_a_step_is_the_same_in_place_and_in_namespaces(in_place, in_namespaces, number: int):
    here, there = in_place["first"][number], in_namespaces[number]
    if "error" in here and "error" in there:
        here, there = ({"error": each["error"].split(":")[0]} for each in (here, there))
    assert here == there


def test_the_next_stage_begins_with_nothing_of_the_last_one(in_place):
    (heard,) = in_place["second stage"]
    assert heard["said"].split() == [
        "bin",
        "dev",
        "etc",
        "lean",
        "proc",
        "sys",
        "hostname",
        "hosts",
        "resolv.conf",
    ]
    assert (heard["entries"], heard["gone"]) == ({}, [])


def test_another_image_can_be_shown_meanwhile(in_place):
    assert in_place["shown"] == ["bin", "etc", "root", "tmp"]
    assert in_place["left"] == []
    assert in_place["pid"] == 1


ALONE: list[dict[str, Any]] = [
    {"run": "true", "network": "none"},
    {"run": "true", "hostname": "other"},
    {"run": "cat /etc/hosts; echo mine > /etc/hosts; cat /etc/hosts"},
    {"run": "cat /proc/1/environ /proc/1/mem | wc -c; for f in /proc/1/fd/* /proc/1/exe; do readlink $f; done | wc -l"},
    {"run": "kill -9 1; kill 1; echo still; setsid sleep 300 & sleep 0.2"},
    {"run": "ps | grep -c '[s]leep 300'; env | grep -c PYTHONHOME"},
    {"run": "sleep 300", "timeout": 0.3},
    {"run": "true", "mounts": [secret("/etc/hosts", b"x")]},
    {"run": "rm -rf /bin/ash /etc 2>/dev/null; true"},
    {"run": "ls /etc"},
]


def test_in_place_a_container_is_the_only_wall_and_the_builder_stands(tmp_path: Path):
    none, named, hosts, builder, killed, left, late, mounted, removed, etc = containers.run(DRIVER, tmp_path, ALONE)[
        "first"
    ]
    assert none["error"].startswith("NotSupported: --network=none is not possible in isolation InPlace")
    assert named["error"].startswith("NotSupported: the host name other is not possible in isolation InPlace")
    assert hosts["said"] == "of the runtime\nmine"
    assert (hosts["entries"], hosts["gone"]) == ({}, [])
    assert builder["said"].splitlines()[-2:] == ["0", "0"]
    assert killed["said"].endswith("still")
    assert left["said"] == "0\n0"
    assert late["code"] == 137
    assert mounted["error"].startswith("NotSupported: nothing can be mounted at '/etc/hosts' in isolation InPlace")
    assert set(removed["gone"]) == {"bin/ash", "etc/group", "etc/passwd"}
    assert etc["said"].split() == ["hostname", "hosts", "resolv.conf"]


def test_no_other_process_may_replace_the_root_of_a_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(inplace, "folders", None)  # were it not refused, this test would not begin to remove anything
    stage = inplace.Stage(Path("/"), LocalBlobs(tmp_path / "blobs"))
    with pytest.raises(errors.NotSupported, match="only the first process of a container"):
        stage.sync([])
