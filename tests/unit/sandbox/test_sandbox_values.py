"""The parts of the sandbox that need no rights."""

from __future__ import annotations

import errno
import os
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from strata_builder import errors
from strata_builder.rootfs.stack import Stack
from strata_builder.sandbox import caches, child, command, host, interpreter, memory, request, seccomp, targets, trees

ALLOW, EPERM, ENOSYS = "allow", errno.EPERM, errno.ENOSYS
X86_64, I386, AARCH64 = 0xC000003E, 0x40000003, 0xC00000B7


def verdict(program: bytes, architecture: int, number: int, argument: int = 0) -> str | int:
    """What a filter says of one system call."""
    return judged(program, architecture, number, argument)[0]


def judged(program: bytes, architecture: int, number: int, argument: int = 0) -> tuple[str | int, int]:
    """And after how many instructions: those of classic BPF that it uses, and no other."""
    data = struct.pack("=IIQQ", number, architecture, 0, argument)
    code = [struct.unpack_from("=HBBI", program, at) for at in range(0, len(program), 8)]
    at = accumulator = 0
    for count in range(1, len(code) + 1):
        operation, if_true, if_false, value = code[at]
        at += 1
        if operation == 0x20:
            (accumulator,) = struct.unpack_from("=I", data, value)
        elif operation == 0x05:
            at += value
        elif operation == 0x06:
            return ALLOW if value == 0x7FFF0000 else value & 0xFFFF, count
        else:
            test = {0x15: accumulator == value, 0x35: accumulator >= value, 0x45: bool(accumulator & value)}[operation]
            at += if_true if test else if_false
    raise AssertionError("the filter has no end")


@pytest.mark.parametrize(
    ("architecture", "number", "argument", "expected"),
    [
        (X86_64, 0, 0, ALLOW),  # read
        (X86_64, 59, 0, ALLOW),  # execve
        (X86_64, 101, 0, ALLOW),  # ptrace
        (X86_64, 56, 0x11, ALLOW),  # clone as fork does it
        (X86_64, 56, 0x3D0F00, ALLOW),  # clone as threads are made
        (X86_64, 56, 0x10000011, EPERM),  # clone with CLONE_NEWUSER
        (X86_64, 56, 0x00020011, EPERM),  # ... CLONE_NEWNS
        (X86_64, 435, 0, ENOSYS),  # clone3
        (X86_64, 272, 0x10000000, EPERM),  # unshare
        (X86_64, 308, 0, EPERM),  # setns
        (X86_64, 165, 0, EPERM),  # mount
        (X86_64, 428, 0, EPERM),  # open_tree
        (X86_64, 250, 0, EPERM),  # keyctl
        (X86_64, 321, 0, EPERM),  # bpf
        (X86_64, 425, 0, EPERM),  # io_uring_setup
        (X86_64, 41, 2, ALLOW),  # socket AF_INET
        (X86_64, 41, 40, EPERM),  # socket AF_VSOCK
        (X86_64, 0x40000000 + 59, 0, ENOSYS),  # x32
        (I386, 11, 0, ALLOW),  # execve
        (I386, 21, 0, EPERM),  # mount
        (I386, 120, 0x10000011, EPERM),  # clone
        (I386, 310, 0, EPERM),  # unshare
        (AARCH64, 0, 0, ENOSYS),  # another machine's
    ],
)
def test_the_filter_denies_what_docker_denies(architecture: int, number: int, argument: int, expected: str | int):
    assert verdict(seccomp.program("x86_64"), architecture, number, argument) == expected


@pytest.mark.parametrize("machine", ["aarch64", "riscv64"])
def test_other_machines_have_their_own_numbers(machine: str):
    architecture = {"aarch64": AARCH64, "riscv64": 0xC00000F3}[machine]
    program = seccomp.program(machine)
    wanted = {97: EPERM, 268: EPERM, 40: EPERM, 435: ENOSYS, 221: ALLOW, 63: ALLOW}
    assert {number: verdict(program, architecture, number) for number in wanted} == wanted
    assert verdict(program, architecture, 220, 0x10000011) == EPERM
    assert verdict(program, architecture, 220, 0x11) == ALLOW


@pytest.mark.parametrize(
    ("machine", "architecture", "table"),
    [
        (machine, architecture, table)
        for machine, tables in seccomp._ARCHITECTURES.items()
        for architecture, table in tables
    ],
)
def test_of_all_numbers_those_of_the_tables_are_denied_and_soon(machine: str, architecture: int, table: str):
    """The kernel goes through the filter with every number, each time that it is installed."""
    program = seccomp.program(machine)
    found = {number: judged(program, architecture, number) for number in range(1024)}
    denied = {number for number, (said, _) in found.items() if said != ALLOW}
    assert denied == {*seccomp._DENIED[table], *seccomp._DENIED_EVERYWHERE, seccomp._CLONE3}
    assert {found[number][0] for number in denied} == {EPERM, ENOSYS}
    assert max(count for _, count in found.values()) <= 20


def test_a_machine_without_a_table_runs_nothing():
    with pytest.raises(errors.NotSupported, match="no system call filter for vax"):
        seccomp.program("vax")


def test_a_request_comes_through_whole():
    mounts = (
        command.MountSpec("bind", b"/a\xff", source=Path("/s"), readonly=True),
        command.MountSpec("secret", b"/s", content=b"\0\xff", uid=1, gid=2, mode=0o400),
        command.MountSpec("tmpfs", b"/t", size=4096),
    )
    wanted = command.Command(
        ("/bin/x", "\udcff"), {"A": "ü\udcfe"}, b"/w\xfe", 1, 2, (3, 4), "none", mounts, "host", b"in"
    )
    sent = request.Request(
        Stack((Path("/l1"), Path("/l2")), Path("/u"), Path("/w")), Path("/r"), wanted, {"etc/hosts": b"h"}
    )
    assert request.decode(sent.encode()) == sent


def test_reports_come_through_in_whatever_pieces():
    whats: list[dict[str, Any]] = [{"made": [b"proc", b"a\nb"]}, {"failed": {"message": "\udcff"}}, {"status": -9}]
    read, write = os.pipe()
    for what in whats:
        child.tell(write, **what)
    data = os.read(read, 65536)
    os.close(read)
    os.close(write)
    for size in (1, 2, 5, len(data)):
        heard, rest = [], b""
        for at in range(0, len(data), size):
            found, rest = request.reports(rest + data[at : at + size])
            heard += found
        assert (heard, rest) == (whats, b"")


@pytest.mark.parametrize(
    ("status", "killed", "expected"),
    [
        (0, False, command.Outcome(0)),
        (3, False, command.Outcome(3)),
        (-9, False, command.Outcome(137, 9)),
        (-9, True, command.Outcome(137, 9, oom=True)),
        (1, True, command.Outcome(1, 0, oom=True)),
        (0, True, command.Outcome(0)),
    ],
)
def test_outcomes_are_as_a_shell_tells_them(status: int, killed: bool, expected: command.Outcome):
    assert command.outcome(status, killed=killed) == expected


def test_mounts_nearer_to_the_root_come_first():
    given = tuple(command.MountSpec("tmpfs", path) for path in (b"/a/b/c", b"/x", b"/a", b"//a//b"))
    assert [mount.target for mount in command.in_order(given)] == [b"/x", b"/a", b"//a//b", b"/a/b/c"]


@pytest.mark.parametrize(
    ("groups", "files", "expected"),
    [
        ("0::/\n", {"memory.events": "low 0\noom 1\noom_kill 2\n"}, 2),
        ("0::/pod/x\n", {"pod/x/memory.events": "oom_kill 4\n", "memory.events": "oom_kill 9\n"}, 4),
        ("0::/\n4:cpu,memory:/x\n", {"memory/x/memory.oom_control": "under_oom 0\noom_kill 7\n"}, 7),
        ("4:memory:/x\n", {"memory/memory.oom_control": "oom_kill 1\n"}, 1),
        ("0::/\n", {}, None),
        ("4:cpu:/x\n", {"memory/memory.oom_control": "oom_kill 1\n"}, None),
    ],
)
def test_kills_for_want_of_memory_are_read_from_either_kind_of_cgroup(tmp_path: Path, groups, files, expected):
    (tmp_path / "cgroup").write_text(groups)
    for name, text in files.items():
        (tmp_path / "fs" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "fs" / name).write_text(text)
    assert memory.kills(tmp_path / "cgroup", tmp_path / "fs") == expected
    assert memory.kills(tmp_path / "none", tmp_path / "fs") is None


def test_another_interpreter_starts_isolated_and_finds_the_packages():
    words = interpreter.command("strata_builder.sandbox.server", "7")
    assert words[-1] == "7"
    assert {"-I", "-S"} <= set(words)
    assert set(interpreter.environment()) <= {"PYTHONHOME"}


# host


def test_ranges_are_found_by_name_or_number(tmp_path: Path):
    (tmp_path / "subuid").write_text("other:1:99999\n# x\nbad:line\n4242:300000:65536\n4242:500000:x\n")
    assert host.ranges(tmp_path / "subuid", 4242) == [host.Range(300000, 65536)]


@pytest.mark.parametrize("text", ["", "other:100000:65536\n", "4242:100000:10\n"])
def test_without_a_range_the_error_gives_the_line_to_add(tmp_path: Path, text: str):
    (tmp_path / "subuid").write_text(text)
    with pytest.raises(errors.NotSupported) as caught:
        host.ranges(tmp_path / "subuid", 4242)
    assert "`4242:100000:65536`" in caught.value.hint
    assert "no RUN" in caught.value.hint


def test_a_pod_with_the_machines_ids_is_refused(tmp_path: Path):
    (tmp_path / "map").write_text("         0          0 4294967295\n")
    with pytest.raises(errors.NoUserNamespace, match="could harm the node"):
        host.require_user_namespace(tmp_path / "map")
    (tmp_path / "map").write_text("         0     100000      65536\n")
    host.require_user_namespace(tmp_path / "map")


# caches


def held(folder: Path, *, sharing: str, deadline: float | None = None, cancel: threading.Event | None = None, **fields):
    own = {"uid": os.getuid(), "gid": os.getgid()} | fields
    spec = command.MountSpec("cache", b"/c", id="an id/with\nodd bytes", sharing=sharing, **own)
    return caches.Caches(folder).held(spec, deadline=deadline, cancel=cancel or threading.Event())


def test_shared_caches_are_one_folder_at_once(tmp_path: Path):
    spec = {"sharing": "shared", "mode": 0o750}
    with held(tmp_path, **spec) as first, held(tmp_path, **spec) as second:
        assert first == second
        assert first.stat().st_mode & 0o7777 == 0o750


def test_caches_of_another_owner_or_mode_are_others(tmp_path: Path):
    own = {"uid": os.getuid(), "gid": os.getgid(), "mode": 0o755}
    others = [{"mode": 0o700}, *([{"uid": 7}, {"gid": 7}] if os.getuid() == 0 else [])]
    with held(tmp_path, sharing="shared", **own) as first:
        for other in others:
            with held(tmp_path, sharing="shared", **(own | other)) as second:
                assert second != first


def test_a_cache_that_is_filled_has_the_mode_of_its_source(tmp_path: Path):
    source = tmp_path / "source"
    source.mkdir(mode=0o710)
    (source / "seed").touch()
    with held(tmp_path / "caches", sharing="shared", mode=0o777, source=source) as found:
        assert found.stat().st_mode & 0o7777 == 0o710
        assert (found / "seed").exists()


def test_a_new_cache_that_is_in_use_is_not_replaced_by_one_that_took_longer_to_fill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    copying, go_on = threading.Event(), threading.Event()

    def slowly(_: Path, target: Path) -> None:
        copying.set()
        go_on.wait(10)
        target.mkdir()

    def fill() -> None:
        with held(tmp_path, sharing="shared", source=tmp_path):
            pass

    monkeypatch.setattr(trees, "copy", slowly)
    filling = threading.Thread(target=fill)
    filling.start()
    assert copying.wait(10)
    threading.Timer(0.3, go_on.set).start()
    with held(tmp_path, sharing="shared") as found:
        made = found.stat().st_ino
        filling.join()
        assert found.stat().st_ino == made


def test_a_cache_that_was_cut_short_is_made_anew_and_takes_no_room(tmp_path: Path):
    source = tmp_path / "source"
    source.mkdir()
    (source / "seed").write_bytes(b"x" * 5000)
    killed = f"""
import os, threading
from pathlib import Path
from strata_builder.sandbox import caches, command, trees
copy = trees.copy
trees.copy = lambda source, target: (copy(source, target), os.kill(os.getpid(), 9))
spec = command.MountSpec("cache", b"/c", id="k", source=Path({str(source)!r}))
caches.Caches(Path({str(tmp_path)!r}) / "caches").held(spec, deadline=None, cancel=threading.Event()).__enter__()
"""
    for _ in range(2):
        assert subprocess.run([sys.executable, "-c", killed], check=False).returncode == -9
    spec = command.MountSpec("cache", b"/c", id="k", source=source)
    with caches.Caches(tmp_path / "caches").held(spec, deadline=None, cancel=threading.Event()) as found:
        assert [path.name for path in found.iterdir()] == ["seed"]
    assert len([*(tmp_path / "caches").rglob("seed")]) == 1


def test_who_waits_for_a_cache_that_is_made_hears_of_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def within(_: Path, target: Path) -> None:
        late, cancelled = time.monotonic() + 0.1, threading.Event()
        with pytest.raises(errors.DeadlineExceeded), held(tmp_path, sharing="shared", deadline=late):
            pass
        cancelled.set()
        with pytest.raises(errors.Cancelled), held(tmp_path, sharing="shared", cancel=cancelled):
            pass
        target.mkdir()

    monkeypatch.setattr(trees, "copy", within)
    with held(tmp_path, sharing="shared", source=tmp_path) as found:
        assert found.is_dir()


def test_private_caches_are_folders_of_their_own_at_once_and_the_same_later(tmp_path: Path):
    with held(tmp_path, sharing="private") as first:
        with held(tmp_path, sharing="private") as second:
            assert first != second
        (first / "kept").touch()
    with held(tmp_path, sharing="private") as again:
        assert (again / "kept").exists()


def test_a_locked_cache_waits_for_its_holder(tmp_path: Path):
    order = []
    entered = threading.Event()

    def first() -> None:
        with held(tmp_path, sharing="locked"):
            entered.set()
            time.sleep(0.3)
            order.append("first")

    thread = threading.Thread(target=first)
    thread.start()
    entered.wait()
    with held(tmp_path, sharing="locked"):
        order.append("second")
    thread.join()
    assert order == ["first", "second"]


def test_a_wait_for_a_cache_ends_with_the_time_or_the_build(tmp_path: Path):
    cancelled = threading.Event()
    cancelled.set()
    with held(tmp_path, sharing="locked"):
        with pytest.raises(errors.DeadlineExceeded), held(tmp_path, sharing="locked", deadline=time.monotonic()):
            pass
        with pytest.raises(errors.Cancelled), held(tmp_path, sharing="shared", cancel=cancelled):
            pass


# trees and targets


def test_a_tree_is_copied_as_it_is_and_links_are_not_followed(tmp_path: Path):
    source = tmp_path / "source"
    (source / "d").mkdir(parents=True)
    (source / "d" / "f").write_text("x")
    (source / "d" / "f").chmod(0o640)
    (source / "l").symlink_to("/etc/shadow")
    os.mkfifo(source / "p")
    os.utime(source / "d" / "f", (5, 5))
    (source / "d").chmod(0o750)
    trees.copy(source, tmp_path / "copy")
    copy = tmp_path / "copy"
    assert (copy / "d" / "f").read_text() == "x"
    assert (copy / "d" / "f").stat().st_mtime == 5
    assert [oct(path.stat().st_mode & 0o7777) for path in (copy / "d", copy / "d" / "f")] == ["0o750", "0o640"]
    assert (copy / "l").readlink() == Path("/etc/shadow")
    assert (copy / "p").is_fifo()
    trees.remove(copy)
    assert not copy.exists()


def opened(root: Path) -> targets.Targets:
    return targets.Targets(os.open(root, os.O_RDONLY | os.O_DIRECTORY))


@pytest.mark.parametrize(
    ("target", "made"),
    [
        (b"/a/b/c", [b"a", b"a/b", b"a/b/c"]),
        (b"there/x", [b"there/x"]),
        (b"/abs/x", [b"there/x"]),
        (b"/out/x", [b"there/x"]),
        (b"/dangling/x", [b"later", b"later/x"]),
        (b"../../there", []),
    ],
)
def test_mount_points_are_made_inside_the_root(tmp_path: Path, target: bytes, made: list[bytes]):
    (tmp_path / "there").mkdir()
    (tmp_path / "abs").symlink_to("/there")
    (tmp_path / "out").symlink_to("../../../../there")
    (tmp_path / "dangling").symlink_to("/later")
    os.utime(tmp_path, (5, 5))
    found = opened(tmp_path)
    assert found.folder(target).startswith(b"/proc/self/fd/")
    assert found.made == made
    assert tmp_path.stat().st_mtime == 5
    found.close()


def test_mount_points_of_the_wrong_kind_and_loops_are_refused(tmp_path: Path):
    (tmp_path / "f").touch()
    (tmp_path / "d").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    found = opened(tmp_path)
    with pytest.raises(errors.DockerfileInvalid, match="a directory cannot be mounted at '/f': there is a file"):
        found.folder(b"/f")
    with pytest.raises(errors.DockerfileInvalid, match="a file cannot be mounted at '/d': there is a directory"):
        found.file(b"/d")
    with pytest.raises(errors.DockerfileInvalid, match="too many symbolic links"):
        found.file(b"/loop/x")


@pytest.mark.parametrize("target", [b"/f/x", b"/f/x/y", b"/to-f/x", b"/d/" + b"n" * 256, b"/" + b"n" * 300 + b"/x"])
def test_a_mount_point_that_cannot_be_is_the_dockerfiles_fault(tmp_path: Path, target: bytes):
    (tmp_path / "f").touch()
    (tmp_path / "d").mkdir()
    (tmp_path / "to-f").symlink_to("f")
    found = opened(tmp_path)
    for make in (found.folder, found.file):
        with pytest.raises(errors.DockerfileInvalid, match=r"nothing can be mounted at .* cannot be made") as e:
            make(target)
        assert "choose another target" in e.value.hint
    found.close()


def test_a_full_disk_is_not_the_dockerfiles_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    found = opened(tmp_path)
    monkeypatch.setattr(os, "mkdir", full)
    with pytest.raises(OSError, match="No space"):
        found.folder(b"/new")
    found.close()
