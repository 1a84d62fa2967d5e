"""RUN --mount: every option of every type, through `strata build`."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.strata_build import Builder

pytestmark = pytest.mark.root

FILES = {"f": "F\n", "d/x": "X\n", "d/deep/y": "Y\n", "seed/s": "seed\n"}
HEAD = (
    "FROM testbase AS s\nRUN mkdir -p /o/p && echo st > /o/p/st && chown -R 1000:2222 /o\nFROM testbase\nWORKDIR /w\n"
)

#: One RUN each: its --mount flags, its command, and what the command prints. M is put before every option list.
CASES = {
    "bind: the context, read-only": ("type=bind,target=/m", "cat /m/f; touch /m/n 2>/dev/null || echo ro", "F\nro\n"),
    "bind: type is the default": ("target=/m", "cat /m/f", "F\n"),
    "bind: a file": ("type=bind,source=d/x,target=/m/file", "cat /m/file", "X\n"),
    "bind: src, dst and ro": (
        "type=bind,src=d,dst=/m,ro",
        "cat /m/deep/y; touch /m/n 2>&1 | grep -c Read-only",
        "Y\n1\n",
    ),
    "bind: destination, readonly=true": ("type=bind,source=/d,destination=/m,readonly=true", "ls /m", "deep\nx\n"),
    "bind: rw is thrown away": ("type=bind,target=/m,rw", "echo w > /m/f && cat /m/f", "w\n"),
    "bind: and the context is as it was": ("type=bind,target=/m,readwrite=false", "cat /m/f", "F\n"),
    "bind: from a stage": (
        "type=bind,from=s,source=/o,target=/m",
        "cat /m/p/st; stat -c %u:%g /m/p/st",
        "st\n1000:2222\n",
    ),
    "bind: from a stage, rw": ("type=bind,from=s,source=/o,target=/m,rw", "echo n > /m/p/st; cat /m/p/st", "n\n"),
    "bind: from a stage that is as it was": ("from=s,source=/o/p/st,target=/m", "cat /m", "st\n"),
    "bind: from an image": ("type=bind,from=testbase,source=/etc/group,target=/m", "grep bobs /m", "bobs:x:2222:\n"),
    "bind: a relative target": ("type=bind,source=d,target=rel", "cat rel/x /w/rel/x", "X\nX\n"),
    "bind: over what is there": ("type=bind,source=d,target=/etc", "ls /etc", "deep\nx\n"),
    "cache: new, with its owner and mode": (
        "type=cache,target=/m,id=a,uid=1000,gid=2222,mode=0750",
        "stat -c '%a %u:%g' /m; echo 1 > /m/n",
        "750 1000:2222\n",
    ),
    "cache: kept": (
        "type=cache,target=/m,id=a,uid=1000,gid=2222,mode=0750",
        "cat /m/n; stat -c '%a %u:%g' /m",
        "1\n750 1000:2222\n",
    ),
    "cache: of another owner, another cache": (
        "type=cache,target=/m,id=a",
        "ls /m; stat -c '%a %u:%g' /m",
        "755 0:0\n",
    ),
    "cache: read-only": (
        "type=cache,target=/m,id=a,uid=1000,gid=2222,mode=0750,ro",
        "cat /m/n; touch /m/x 2>/dev/null || echo ro",
        "1\nro\n",
    ),
    "cache: the target is the id": (
        "type=cache,target=/own",
        "stat -c '%a %u:%g' /own; echo own > /own/f",
        "755 0:0\n",
    ),
    "cache: another target, another cache": ("type=cache,target=/other", "ls /other", ""),
    "cache: the same by the target's name": ("type=cache,target=/m,id=/own", "cat /m/f", "own\n"),
    "cache: seeded from a stage": (
        "type=cache,target=/m,id=b,from=s,source=/o",
        "cat /m/p/st; echo c > /m/p/st",
        "st\n",
    ),
    "cache: seeded once": ("type=cache,target=/m,id=b,from=s,source=/o", "cat /m/p/st", "c\n"),
    "cache: private": ("type=cache,target=/m,id=c,sharing=private", "echo p > /m/f; cat /m/f", "p\n"),
    "cache: private, when nobody uses it": ("type=cache,target=/m,id=c,sharing=private", "cat /m/f", "p\n"),
    "cache: locked": ("type=cache,target=/m,id=c,sharing=locked", "cat /m/f", "p\n"),
    "tmpfs: empty and writable": ("type=tmpfs,target=/etc", "ls /etc; echo t > /etc/t; cat /etc/t", "t\n"),
    "tmpfs: with a size": (
        "type=tmpfs,target=/m,size=1m",
        "dd if=/dev/zero of=/m/big bs=1k count=2000 2>/dev/null || echo full; stat -c %s /m/big",
        "full\n1048576\n",
    ),
    "tmpfs: its mode": ("type=tmpfs,target=/m", "stat -c %a /m", "1777\n"),
    "secret: by id": (
        "type=secret,id=tok",
        "cat /run/secrets/tok; stat -c ' %a %u:%g' /run/secrets/tok",
        "s3cr3t 400 0:0\n",
    ),
    "secret: target, mode and owner": (
        "type=secret,id=tok,target=/m/t,mode=0440,uid=1000,gid=2222",
        "stat -c '%a %u:%g' /m/t",
        "440 1000:2222\n",
    ),
    "secret: a relative target": ("type=secret,id=tok,target=t", "cat /w/t | wc -c", "6\n"),
    "secret: in the environment": (
        "type=secret,id=tok,env=TOK",
        'test "$TOK" = s3cr3t && ls -A /run 2>&1 | grep -c secrets',
        "0\n",
    ),
    "secret: in both": ("type=secret,id=tok,env=TOK,target=/m", 'test "$TOK" = "$(cat /m)" && echo same', "same\n"),
    "secret: from a variable": ("type=secret,id=var", "cat /run/secrets/var | wc -c", "8\n"),
    "secret: absent and not required": ("type=secret,id=none", "ls /run/secrets 2>/dev/null | wc -l", "0\n"),
    "secret: source is the id": ("type=secret,source=tok,target=/m", "wc -c < /m", "6\n"),
    "ssh: absent and not required": ("type=ssh", 'echo "${SSH_AUTH_SOCK-none}"', "none\n"),
    "no target: the working directory": ("type=bind,source=d", "ls $PWD", "deep\nx\n"),
    "two at once, one below the other": (
        "target=/m --mount=type=tmpfs,target=/m/d",
        "ls /m/d; ls /m",
        "Dockerfile\nd\nf\nseed\n",
    ),
}
REFUSED = {
    "cache: an unknown sharing": ("type=cache,target=/m,sharing=all", "sharing"),
    "bind: a source that is not there": ("type=bind,source=nosuch,target=/m", "nosuch"),
    "bind: a source that leads out": ("type=bind,source=../../../etc,target=/m/", "etc"),
    "bind: from what is nothing": ("type=bind,from=s,source=/nosuch,target=/m", "nosuch"),
    "bind: an option of another type": ("type=bind,target=/m,size=1m", "size"),
    "secret: required and not given": ("type=secret,id=lost,required", "lost"),
    "ssh: required and not given": ("type=ssh,id=deploy,required=true", "--ssh deploy"),
    "an unknown type": ("type=volume,target=/m", "volume"),
    "an unknown option": ("type=cache,target=/m,shared=1", "shared"),
}


@pytest.fixture(scope="module")
def printed(builder: Builder, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What each case of CASES printed: one build, a RUN each."""
    steps = [
        f"RUN --mount={mounts} {{ {command}; true; }} > /r{number}\n"
        for number, (mounts, command, _) in enumerate(CASES.values())
    ]
    token = tmp_path_factory.mktemp("secrets") / "token"
    token.write_text("s3cr3t")
    context = builder.context(FILES, HEAD + "".join(steps))
    flags = ("--secret", f"id=tok,src={token}", "--secret", "id=var,env=A_VARIABLE")
    image = builder.build(context, *flags, env={"A_VARIABLE": "variable"})
    left = [path for layer in image.own for path in layer if path.startswith(("m", "run", "own", "other", "w/"))]
    assert left == []
    return {name: image.read(f"r{number}") for number, name in enumerate(CASES)}


@pytest.mark.parametrize("name", CASES)
def test_a_mount_is_what_its_options_say(printed: dict[str, str], name: str) -> None:
    assert printed[name] == CASES[name][2]


@pytest.mark.parametrize("name", REFUSED)
def test_a_mount_that_cannot_be_made_is_told_with_its_line(builder: Builder, name: str) -> None:
    mounts, said = REFUSED[name]
    told = builder.fault(f"{HEAD}RUN --mount={mounts} true\n", FILES)
    assert said in told
    assert "Dockerfile:5" in told


CLIENT = "/t/loader --library-path /t /t/ssh-add"


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "id"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "a key", "-f", path], check=True)
    return path


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Path]:
    """A folder with ssh-add and all that it is linked with."""
    program = shutil.which("ssh-add")
    if program is None:
        pytest.skip("needs ssh-add")
    folder = tmp_path / "client"
    folder.mkdir()
    listing = subprocess.run(["ldd", program], check=True, capture_output=True, text=True).stdout
    for path in re.findall(r"(/\S+) \(0x", listing):
        shutil.copy(path, folder / ("loader" if "/ld-" in path else Path(path).name))
    shutil.copy(program, folder / "ssh-add")
    yield folder
    shutil.rmtree(folder)


AGENT = f"""FROM testbase
RUN --mount=from=client,target=/t --mount=type=ssh {CLIENT} -l > /r1; stat -c '%a %u:%g' $SSH_AUTH_SOCK >> /r1
RUN --mount=from=client,target=/t --mount=type=ssh,id=default,target=/a,mode=0666,required \\
  {{ {CLIENT} -l; echo $SSH_AUTH_SOCK; }} > /r2
USER app
RUN --mount=from=client,target=/t --mount=type=ssh,uid=1000 {CLIENT} -l > /tmp/r3
USER root
RUN --mount=from=client,target=/t --mount=type=ssh {CLIENT} -D > /r4 2>&1; {CLIENT} -l >> /r4
RUN --mount=from=client,target=/t --network=none --mount=type=ssh {CLIENT} -l > /r5
"""


@pytest.mark.parametrize("given", ["key", "agent"])
def test_a_step_may_use_keys_and_nothing_of_them_stays(builder: Builder, key: Path, client: Path, given: str) -> None:
    context = builder.context({}, AGENT)
    flags = ("--no-cache", "--build-context", f"client={client}", "--ssh")
    if given == "key":
        image = builder.build(context, *flags, f"default={key}")
    else:
        agent = subprocess.Popen(["ssh-agent", "-D", "-a", key.with_name("sock")], stdout=subprocess.DEVNULL)
        try:
            environment = {"SSH_AUTH_SOCK": str(key.with_name("sock"))}
            while not key.with_name("sock").exists():
                assert agent.poll() is None
            subprocess.run(["ssh-add", "-q", key], check=True, env={**os.environ, **environment})
            image = builder.build(context, *flags, "default", env=environment)
        finally:
            agent.terminate()
            agent.wait()
    assert "a key (ED25519)" in image.read("r1")
    assert image.read("r1").endswith("600 0:0\n")
    assert "a key (ED25519)" in image.read("r2")
    assert image.read("r2").endswith("\n/a\n")
    assert "a key (ED25519)" in image.read("tmp/r3")
    assert "Failed to remove all identities" in image.read("r4")
    assert "a key (ED25519)" in image.read("r4")
    assert "a key (ED25519)" in image.read("r5")
    assert [path for layer in image.own for path in layer if path.startswith(("run", "a", "t/"))] == []
    private = key.read_text().splitlines()[1].encode()
    assert not [path for layer in image.own for path, file in layer.items() if private in file.content]


@pytest.mark.parametrize(
    ("flag", "said"),
    [
        ("default", "SSH_AUTH_SOCK is not set"),
        ("default=/nosuch", "neither a socket nor a key"),
        ("default=LOCKED", "ssh-add"),
        ("=x", "--ssh"),
        ("a=", "--ssh"),
    ],
)
def test_an_agent_that_cannot_be_given_is_a_wrong_command_line(builder: Builder, tmp_path: Path, flag, said) -> None:
    locked = tmp_path / "locked"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "secret", "-f", locked], check=True)
    context = builder.context({}, "FROM testbase\nRUN --mount=type=ssh true\n")
    environment = {"SSH_AUTH_SOCK": "", "PATH": os.environ["PATH"]}
    ended = builder.run(context, "--ssh", flag.replace("LOCKED", str(locked)), "-o", "out", env=environment)
    assert ended.returncode == 2, ended.stderr
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr


def test_builds_of_different_namespaces_share_no_cache(builder: Builder) -> None:
    text = "FROM testbase\nRUN --mount=type=cache,target=/named ls /named > /seen; touch /named/f\n"
    seen = []
    for namespace in ("a", "a", "b", ""):
        image = builder.make(text, {}, "--no-cache", "--build-arg", f"BUILDKIT_CACHE_MOUNT_NS={namespace}")
        seen.append(image.read("seen"))
    assert seen == ["", "f\n", "", ""]
