"""Steps in namespaces of their own, over real overlays of a real busybox."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from strata_builder import errors
from strata_builder.sandbox import command, roots
from support.layertrees import file, folder, link
from support.sandboxes import BUSYBOX, LocalBlobs, Steps, busybox_items, shell, tmpfs

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.getuid() != 0, reason="needs root"),
    pytest.mark.skipif(not BUSYBOX.exists(), reason="needs /bin/busybox (busybox-static)"),
]


@pytest.fixture(name="blobs", scope="module")
def _blobs(tmp_path_factory: pytest.TempPathFactory) -> LocalBlobs:
    return LocalBlobs(tmp_path_factory.mktemp("blobs"))


@pytest.fixture(name="base", scope="module")
def _base(blobs: LocalBlobs):
    return blobs.must_add(busybox_items())


@pytest.fixture(name="scratch")
def _scratch(tmp_path: Path) -> Iterator[Path]:
    with tmpfs(tmp_path / "scratch") as place:
        yield place


@pytest.fixture(name="places")
def _places(scratch: Path, blobs: LocalBlobs) -> Iterator[roots.UserNSRoots]:
    made = roots.UserNSRoots(scratch / "roots", blobs, scratch / "caches")
    yield made
    made.close()


@pytest.fixture(name="steps")
def _steps(places: roots.UserNSRoots, blobs: LocalBlobs, base) -> Iterator[Steps]:
    root = places.open()
    yield Steps(root, blobs, [base])
    root.close()


def test_a_step_changes_what_it_changes_and_nothing_else(steps: Steps):
    entries, gone = steps.step("mkdir /k && echo hi > /k/f && rm /bin/vi && umask > /u")
    assert sorted(entries) == ["bin", "k", "k/f", "u"]
    assert gone == ["bin/vi"]
    assert entries["k/f"].mode == 0o644
    assert entries["k"].mode == 0o755
    assert steps.step("cat /u") == ({}, [])
    assert steps.said() == "0022"


def test_the_next_step_sees_what_the_last_one_left(steps: Steps):
    steps.step("mkdir -p /a/b/c /keep && echo 1 > /a/b/c/bar && echo 1 > /keep/k1 && echo 2 > /keep/k2")
    entries, gone = steps.step("rm -rf /a/b && mkdir -p /a/b/c && echo 2 > /a/b/c/foo")
    assert ("a/b/c/foo" in entries, gone) == (True, ["a/b/c/bar"])
    assert steps.step("rm /keep/k1")[1] == ["keep/k1"]
    assert steps.step("rm -rf /keep") == ({}, ["keep"])
    entries, gone = steps.step("mv /a /z")
    assert (sorted(entries), gone) == (["z", "z/b", "z/b/c", "z/b/c/foo"], ["a"])
    assert steps.step("touch /tmpf && rm /tmpf") == ({}, [])
    assert steps.step("ls -d /a /keep 2>&1; cat /z/b/c/foo; true") == ({}, [])
    assert steps.said().endswith("\n2")


def test_content_counts_and_not_size_or_time(steps: Steps):
    steps.step("echo aaa > /f && touch -d @1500000000 /f")
    assert list(steps.step("echo bbb > /f && touch -d @1500000000 /f")[0]) == ["f"]
    assert steps.step("chown 5 /f")[0]["f"].uid == 5
    assert steps.step("chmod 600 /f && chmod 644 /f") == ({}, [])


def test_system_files_are_shown_and_in_no_layer(steps: Steps):
    assert steps.step("cat /etc/hosts /etc/hostname; hostname; ls /etc; echo x >> /etc/hosts") == ({}, [])
    assert "127.0.0.1\tlocalhost buildkitsandbox" in steps.said()
    assert steps.said().count("buildkitsandbox") == 3
    assert steps.step("ls / /etc | sort | tr '\\n' ' '") == ({}, [])
    assert "hosts" in steps.said()  # shown again; what the image itself holds is asked of the layers
    assert steps.blobs.view(steps.layers).lookup(b"etc/hosts") is None


def test_the_machine_has_the_name_that_is_asked_for(steps: Steps):
    assert steps.step("cat /etc/hostname; hostname; grep -c 'localhost other$' /etc/hosts", hostname="other") == (
        {},
        [],
    )
    assert steps.said().split() == ["other", "other", "1"]


def test_an_image_from_scratch_keeps_no_stubs(places, blobs, base):
    program = blobs.must_add([file("busybox", BUSYBOX.read_bytes(), 0o755)])
    root = places.open()
    steps = Steps(root, blobs, [program])
    run = command.Command(argv=("/busybox", "sh", "-c", "/busybox ls / > /list; echo $$"), env={})
    assert steps.run_command(run).exit_code == 0
    assert sorted(steps.commit()[0]) == ["list"]
    assert steps.said() == "1"
    assert steps.run_command(command.Command(argv=("/busybox", "cat", "/list"), env={})).exit_code == 0
    assert steps.said().split() == ["busybox", "dev", "etc", "list", "proc", "sys"]
    root.close()


@pytest.mark.parametrize(
    ("script", "code", "signal"),
    [("exit 7", 7, 0), ("kill -9 $$; sleep 1; exit 3", 3, 0), ("sh -c 'kill -9 $$'; exit $?", 137, 0), ("false", 1, 0)],
)
def test_exit_codes_come_through(steps: Steps, script: str, code: int, signal: int):
    assert steps.run(script) == command.Outcome(code, signal)


def test_a_program_that_is_not_there_is_127(steps: Steps):
    assert steps.run_command(command.Command(argv=("nothere",), env={"PATH": "/bin"})).exit_code == 127
    assert "exec nothere: No such file or directory" in steps.said()


def test_a_program_that_may_not_run_is_126(steps: Steps):
    assert steps.run_command(command.Command(argv=("/etc/passwd",), env={"PATH": "/bin"})).exit_code == 126


def test_a_background_process_ends_with_its_step(steps: Steps):
    began = time.monotonic()
    steps.step("(sleep 300; echo late) & echo started")
    assert time.monotonic() - began < 30
    assert steps.said() == "started"


def test_a_step_ends_when_its_time_is_up(steps: Steps):
    for seconds in (0.5, 2, 8, 32):  # on a busy machine half a second may be over before the step has begun
        began = time.monotonic()
        assert steps.run("trap '' TERM; echo on; sleep 300", timeout=seconds).exit_code == 137
        assert time.monotonic() - began < seconds + 30
        if steps.said():
            break
    assert steps.said() == "on"


def test_a_step_ends_when_it_is_cancelled(steps: Steps):
    timer = threading.Timer(0.3, steps.cancel.set)
    timer.start()
    assert steps.run("sleep 300 & sleep 300").signal == 9
    timer.join()


def test_identity_and_groups_are_the_commands(steps: Steps):
    steps.step("id -u; id -g; id -G; grep Cap /proc/self/status", uid=1000, gid=1000, groups=(7, 8))
    said = steps.said().split("\n")
    assert said[:2] == ["1000", "1000"]
    assert set(said[2].split()) == {"1000", "7", "8"}
    assert "CapEff:\t0000000000000000" in said


def test_root_has_dockers_capabilities_and_can_still_gain_none(steps: Steps):
    steps.step("grep -E 'Cap|NoNewPrivs|Seccomp:' /proc/self/status")
    values = dict(line.split(":\t") for line in steps.said().splitlines())
    docker = "00000000a80425fb"
    assert [values[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd")] == ["0" * 16, docker, docker, docker]
    assert (values["NoNewPrivs"], values["Seccomp"]) == ("0", "2")


@pytest.mark.parametrize(
    "attempt",
    [
        "unshare -U true",
        "unshare -m true",
        "mount -t tmpfs tmpfs /tmp",
        "umount /proc",
        "mount -o remount,rw /sys",
        "chroot / unshare -r true",
        "echo x > /proc/sys/kernel/hostname",
        "echo b > /proc/sysrq-trigger",
        "echo x > /sys/kernel/uevent_helper",
        "hostname other",
        "nsenter -t 1 -m true",
        "mknod /disk b 254 0 && cat /disk",
        "cat /proc/kcore | head -c 1 | grep .",
    ],
)
def test_a_step_as_root_cannot_reach_beyond_its_sandbox(steps: Steps, attempt: str):
    assert steps.run(f"({attempt}) 2>/dev/null").exit_code != 0


def test_nothing_of_the_builder_is_in_reach(steps: Steps, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("REGISTRY_PASSWORD", "hunter2")
    read, write = os.pipe()
    os.set_inheritable(write, True)
    steps.step("env; ls /proc/self/fd; ls /proc | grep -E '^[0-9]+$'; ls -d /work /home 2>&1; cat; true")
    os.close(read)
    os.close(write)
    lines = steps.said().split("\n")
    assert "hunter2" not in steps.said()
    descriptors = lines[lines.index("0") : lines.index("0") + 4]
    assert descriptors[:3] == ["0", "1", "2"]
    assert "4" not in descriptors
    assert max(int(line) for line in lines if line.isdigit()) < 20
    assert "ls: /home: No such file or directory" in lines


def test_devices_are_the_usual_ones(steps: Steps):
    script = (
        "ls /dev | tr '\\n' ' '; echo x > /dev/null; head -c 3 /dev/zero | wc -c; head -c 4 /dev/urandom | wc -c; "
        "touch /dev/shm/a; ls -l /dev/ptmx; ls -ld /dev/shm /dev/pts/ptmx"
    )
    assert steps.step(script) == ({}, [])
    assert steps.said().startswith("fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero")
    assert "drwxrwxrwt" in steps.said()


def test_without_a_network_there_is_a_loopback_alone(steps: Steps):
    steps.step("ls /sys/class/net; cat /proc/net/dev | tail -n +3 | cut -d: -f1; ping -c1 127.0.0.1", network="none")
    assert steps.said().split()[:3] == ["lo", "lo", "PING"]
    assert "1 packets received" in steps.said()


def test_the_network_is_the_builders_otherwise(steps: Steps):
    steps.step("readlink /proc/self/ns/net")
    assert steps.said() == os.readlink("/proc/self/ns/net")


def test_stdin_is_empty_or_what_was_given(steps: Steps):
    steps.step("wc -c")
    assert steps.said() == "0"
    steps.step("cat", stdin=b"given")
    assert steps.said() == "given"


def test_a_working_directory_is_made_where_it_lacks(steps: Steps):
    assert sorted(steps.step("pwd", cwd=b"/srv/app")[0]) == ["srv", "srv/app"]
    assert steps.said() == "/srv/app"
    with pytest.raises(errors.DockerfileInvalid, match="working directory /etc/passwd"):
        steps.run("pwd", cwd=b"/etc/passwd")


# mounts


def test_mounts_leave_nothing_behind(steps: Steps, tmp_path: Path):
    (tmp_path / "ctx").mkdir()
    (tmp_path / "ctx" / "f").write_text("content")
    bound = command.MountSpec("bind", b"/ctx", source=tmp_path / "ctx", readonly=True)
    entries, gone = steps.step("cat /ctx/f > /r1; (echo w > /ctx/w) 2>/dev/null || echo ro >> /r1", mounts=(bound,))
    assert (sorted(entries), gone) == (["r1"], [])
    entries, _ = steps.step(
        "cat /mnt/o/f > /r3; cat /r1",
        mounts=(command.MountSpec("bind", b"/mnt/o/f", source=tmp_path / "ctx" / "f", readonly=True),),
    )
    assert sorted(entries) == ["r3"]
    assert steps.said() == "contentro"
    assert steps.step("ls -d /ctx /mnt 2>&1 | grep -c 'No such'")
    assert steps.said() == "2"


def test_a_tmpfs_hides_and_never_changes_what_is_under_it(steps: Steps):
    steps.step("mkdir /k && echo keep > /k/f")
    mount = command.MountSpec("tmpfs", b"/k", size=1 << 20, mode=0o1777)
    assert steps.step(
        "ls /k; rm -f /k/f; echo x > /k/y; head -c 2000000 /dev/zero > /k/z; stat -c %s /k/z", mounts=(mount,)
    ) == (
        {},
        [],
    )
    assert 900_000 < int(steps.said().split()[-1]) <= 1 << 20
    steps.step("cat /k/f; ls /k")
    assert steps.said() == "keep\nf"


def test_secrets_are_files_in_memory_with_their_owner_and_mode(steps: Steps, scratch: Path):
    spec = command.MountSpec("secret", b"/run/secrets/token", content=b"swordfish", uid=1000, gid=7, mode=0o400)
    script = "stat -c '%a %u %g' /run/secrets/token; cat /run/secrets/token"
    assert steps.step(script, mounts=(spec,)) == ({}, [])
    assert steps.said() == "400 1000 7\nswordfish"
    found = [
        p for p in scratch.rglob("*") if p.is_file() and p.stat().st_size < 1 << 20 and b"swordfish" in p.read_bytes()
    ]
    assert found == []


def test_a_script_can_be_mounted_and_run(steps: Steps):
    spec = command.MountSpec("secret", b"/dev/pipes/EOF", content=b"#!/bin/sh\necho from script $0", mode=0o755)
    run = command.Command(argv=("/dev/pipes/EOF",), env={"PATH": "/bin"}, mounts=(spec,))
    assert steps.run_command(run).exit_code == 0, steps.said()
    assert steps.said() == "from script /dev/pipes/EOF"


def test_links_on_the_way_to_a_mount_lead_inside_the_image_only(steps: Steps, tmp_path: Path):
    steps.layers.append(
        steps.blobs.must_add([folder("var"), link("var/run", "/run/deep"), link("out", "../../../etc")])
    )
    (tmp_path / "f").write_text("shown")
    mounts = tuple(
        command.MountSpec("bind", target, source=tmp_path / "f", readonly=True)
        for target in (b"/var/run/x", b"/out/strata-test")
    )
    assert steps.step("cat /run/deep/x /etc/strata-test", mounts=mounts) == ({}, [])
    assert steps.said() == "shownshown"
    assert not Path("/etc/strata-test").exists()
    assert not Path("/run/deep").exists()


def test_a_folder_over_a_file_is_refused_by_name(steps: Steps, tmp_path: Path):
    spec = command.MountSpec("bind", b"/etc/passwd", source=tmp_path)
    with pytest.raises(errors.DockerfileInvalid, match="cannot be mounted at '/etc/passwd'"):
        steps.run("true", mounts=(spec,))


@pytest.mark.parametrize("target", [b"/c/inner", b"/proc/inner", b"/sys/inner", b"/bin/busybox/inner"])
def test_a_mount_where_none_can_be_is_refused_by_name(steps: Steps, tmp_path: Path, target: bytes):
    above = command.MountSpec("bind", b"/c", source=tmp_path, readonly=True)
    for inner in (command.MountSpec("tmpfs", target), command.MountSpec("secret", target, content=b"s")):
        with pytest.raises(errors.DockerfileInvalid, match=f"nothing can be mounted at '{target.decode()}'"):
            steps.run("true", mounts=(above, inner))


def test_caches_live_on_between_roots(places, blobs, base):
    spec = command.MountSpec("cache", b"/c", id="k1")
    other = command.MountSpec("cache", b"/c2", id="/c2", uid=1000, gid=2222, mode=0o700)
    first, second = (Steps(places.open(), blobs, [base]) for _ in range(2))
    assert first.step("echo one >> /c/f; ls -ldn /c2", mounts=(spec, other)) == ({}, [])
    assert first.said().split()[0:4:2] == ["drwx------", "1000"]
    assert second.step("cat /c/f; ls -ldn /c", mounts=(spec,)) == ({}, [])
    assert second.said().startswith("one\ndrwxr-xr-x")


def test_one_step_sees_caches_of_one_id_apart_by_owner_and_mode(places, blobs, base):
    given = ({}, {"uid": 1000}, {"gid": 2222}, {"mode": 0o700}, {})
    mounts = [command.MountSpec("cache", b"/c%d" % n, id="one", **fields) for n, fields in enumerate(given)]
    steps = Steps(places.open(), blobs, [base])
    steps.step("for n in 0 1 2 3; do echo $n > /c$n/f; done; cat /c*/f; stat -c '%a %u %g' /c?", mounts=tuple(mounts))
    owners = ["755 0 0", "755 1000 0", "755 0 2222", "700 0 0", "755 0 0"]
    assert steps.said().splitlines() == ["0", "1", "2", "3", "0", *owners]


def test_a_new_cache_begins_with_what_it_is_given(places, blobs, base, tmp_path):
    (tmp_path / "seed" / "deep").mkdir(parents=True)
    (tmp_path / "seed" / "deep" / "f").write_text("seeded")
    (tmp_path / "seed" / "l").symlink_to("/etc/shadow")
    spec = command.MountSpec("cache", b"/c", id="seeded", source=tmp_path / "seed")
    steps = Steps(places.open(), blobs, [base])
    steps.step("cat /c/deep/f; readlink /c/l; echo more > /c/deep/f", mounts=(spec,))
    assert steps.said() == "seeded/etc/shadow"
    steps.step("cat /c/deep/f", mounts=(spec,))
    assert steps.said() == "more"


def test_other_layers_can_be_shown_to_a_step(places, blobs, base, steps: Steps):
    other = blobs.must_add([folder("o"), file("o/st", b"st")])
    with places.show([base, other]) as merged:
        spec = command.MountSpec("bind", b"/mnt/o", source=merged / "o", readonly=True)
        assert steps.step("cat /mnt/o/st; ls -a /mnt", mounts=(spec,)) == ({}, [])
        assert steps.said().startswith("st")
    assert not any(
        "strata" in line and str(merged) in line for line in Path("/proc/self/mounts").read_text().splitlines()
    )


# layers


def test_two_hundred_layers_stack(places, blobs, base):
    layers = [blobs.must_add([folder("many"), file(f"many/{n}", str(n).encode())]) for n in range(200)]
    layers.append(blobs.must_add([], [b"many/7"]))
    steps = Steps(places.open(), blobs, [base, *layers])
    assert steps.step("ls /many | wc -l; cat /many/0 /many/199; rm /many/3")[1] == ["many/3"]
    assert steps.said() == "199\n0199"


def test_each_layer_is_unpacked_once_for_all_stages(places, blobs, base):
    other = blobs.must_add([file("once", b"x")])
    blobs.opened.clear()
    for _ in range(3):
        Steps(places.open(), blobs, [base, other]).step("test -f /once")
    assert sorted(blobs.opened) == sorted([base.descriptor.digest, other.descriptor.digest])


def test_a_layer_of_which_nothing_shows_is_not_even_read(places, blobs, base):
    hidden = blobs.must_add([folder("big"), file("big/x", os.urandom(2 << 20)), link("big-link", "big")])
    above = blobs.must_add([folder("big", 0o700), file("big/y", b"y")], [b"big/x"])
    blobs.opened.clear()
    steps = Steps(places.open(), blobs, [base, hidden, above])
    entries, gone = steps.step("ls /big; readlink /big-link; rm /big/y")
    assert (set(entries), gone) == ({"big"}, ["big/y"])
    assert steps.said() == "y\nbig"
    assert sorted(blobs.opened) == sorted([base.descriptor.digest, above.descriptor.digest])


def test_what_one_stage_does_not_see_another_one_does(places, blobs, base):
    partly = blobs.must_add([file("large", b"x" * (2 << 20)), file("small", b"s")])
    gone = blobs.must_add([], [b"large"])
    for layers, seen in (
        ([base, partly, gone], "small"),
        ([base, partly], "large\nsmall"),
        ([base, partly, gone], "small"),
    ):
        steps = Steps(places.open(), blobs, layers)
        steps.step("ls / | grep -e large -e small")
        assert steps.said() == seen


def test_what_is_deleted_above_is_no_device_where_its_directory_is_not_in_its_layer(places, blobs, base):
    bare = blobs.must_add([file("some/where/large", b"x" * (2 << 20))])
    gone = blobs.must_add([], [b"some/where/large"])
    steps = Steps(places.open(), blobs, [base, bare, gone])
    assert steps.step("ls -A /some/where | wc -l") == ({}, [])
    assert steps.said() == "0"


def test_what_copy_brings_is_as_new_as_a_fresh_checkout(places, blobs, base):
    copied = blobs.must_add([folder("src"), file("src/main.c", b"int x;", mtime=1_100_000_000)])
    began = int(time.time())
    steps = Steps(places.open(), blobs, [base, copied])
    fresh = (copied.descriptor.digest,)
    assert steps.step("stat -c %Y /src/main.c; chmod 600 /src/main.c; chmod 644 /src/main.c", fresh=fresh) == ({}, [])
    assert int(steps.said()) >= began
    assert steps.step("stat -c %Y /bin/busybox", fresh=fresh) == ({}, [])
    assert steps.said() == "0"


def test_times_are_lowered_to_the_epoch(steps: Steps):
    assert steps.run("echo x > /f; touch -d @5 /g").exit_code == 0
    entries, _ = steps.commit(clamp=1_000_000_000)
    assert (entries["f"].mtime, entries["g"].mtime) == (1_000_000_000, 5)


def test_stages_run_side_by_side(places, blobs, base):
    made = [Steps(places.open(), blobs, [base]) for _ in range(4)]
    results: dict[int, dict] = {}
    threads = [
        threading.Thread(target=lambda n=n, s=s: results.update({n: s.step(f"echo {n} > /own; cat /own")[0]}))
        for n, s in enumerate(made)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [made[n].said() for n in range(4)] == ["0", "1", "2", "3"]
    assert all(list(results[n]) == ["own"] for n in range(4))


def test_closing_leaves_no_mount_and_no_file(scratch: Path, blobs, base):
    places = roots.UserNSRoots(scratch / "roots", blobs, scratch / "caches")
    steps = Steps(places.open(), blobs, [base])
    steps.step("mkdir -p /a/b/c; chmod 000 /a/b; mkfifo /p")
    places.close()
    assert sorted(p.name for p in (scratch / "roots").iterdir()) == []
    assert str(scratch / "roots") not in Path("/proc/self/mounts").read_text()


def test_output_that_raises_ends_the_step(steps: Steps):
    def refuse(_: bytes) -> None:
        raise RuntimeError("no more")

    steps.root.sync(steps.layers)
    with pytest.raises(RuntimeError, match="no more"):
        steps.root.run(shell("echo x; sleep 300"), output=refuse, timeout=60, cancel=threading.Event())
