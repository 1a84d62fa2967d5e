"""RUN: its mounts, its heredocs, and what it must not leave behind."""

from __future__ import annotations

import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from support.strata_build import Builder

pytestmark = pytest.mark.root

MOUNTS = r"""FROM testbase AS s
RUN mkdir /o && echo st > /o/st
FROM testbase
RUN mkdir /k && echo keep > /k/f
WORKDIR /w
RUN --mount=type=bind,target=/ctx cat /ctx/f > /r1; (echo w > /ctx/w) 2>/dev/null && echo wrote >> /r1 || echo ro >> /r1
RUN --mount=type=bind,target=/ctx,rw echo w > /ctx/w && ls /ctx > /r2
RUN --mount=from=s,source=/o,target=/mnt/o cat /mnt/o/st > /r3
RUN --mount=type=tmpfs,target=/k ls /k > /r4; rm -f /k/f
RUN --mount=target=rel,source=d cat rel/x > /r5
RUN cat /k/f > /r6; ls /ctx /mnt /w > /r7 2>&1; true
"""


def test_mounts_leave_nothing_behind_and_are_read_only_unless_told(builder: Builder) -> None:
    context = builder.context({"f": "F\n", "d/x": "X\n"}, MOUNTS)
    image = builder.build(context)
    read = {name: image.read(name) for name in ("r1", "r3", "r4", "r5", "r6")}
    assert read == {"r1": "F\nro\n", "r3": "st\n", "r4": "", "r5": "X\n", "r6": "keep\n"}
    assert image.read("r2").split() == ["Dockerfile", "d", "f", "w"]
    gone = image.read("r7")
    assert "/ctx: No such file" in gone
    assert "/mnt: No such file" in gone
    assert gone.endswith("/w:\n")
    assert sorted(path.name for path in context.iterdir()) == ["Dockerfile", "d", "f"]
    left = [path for layer in image.own[2:] for path in layer if path and not path.startswith("r")]
    assert left == []


def test_a_cache_mount_persists_and_is_in_no_layer(builder: Builder) -> None:
    image = builder.make(
        "FROM testbase\n"
        "RUN --mount=type=cache,target=/c,id=k1 echo one >> /c/f; cat /c/f > /r3\n"
        "RUN --mount=type=cache,target=/c,id=k1 cat /c/f > /r4; stat -c '%a %u:%g' /c >> /r4\n"
        "RUN --mount=type=cache,target=/c2,uid=1000,gid=2222,mode=0700 stat -c '%a %u:%g' /c2 > /r5\n"
    )
    assert image.read("r3") == "one\n"
    assert image.read("r4") == "one\n755 0:0\n"
    assert image.read("r5") == "700 1000:2222\n"
    assert image.listed("c", "c2") == []
    again = builder.make("FROM testbase\nRUN --mount=type=cache,target=/c,id=k1 cat /c/f > /again\n")
    assert again.read("again") == "one\n"


# Both builds meet in /m; then each looks for the other one there while it holds the locked cache.
TURNS = r"""FROM testbase
ARG WHO
RUN --mount=type=cache,target=/m,id=meet touch /m/$WHO; for n in $(seq 600); do [ -e /m/a -a -e /m/b ] && break; sleep 0.1; done
RUN --mount=type=cache,target=/m,id=meet --mount=type=cache,target=/c,id=turns,sharing=locked touch /m/in-$WHO; \
  for n in $(seq 30); do ls /m | grep in- | grep -v "in-$WHO" && break; sleep 0.1; done > /seen; \
  rm /m/in-$WHO; echo $WHO >> /c/log
RUN --mount=type=cache,target=/c,id=turns,sharing=locked cp /c/log /log
"""


def test_two_builds_at_once_write_to_a_locked_cache_one_after_the_other(builder: Builder, tmp_path: Path) -> None:
    fresh = Builder(tmp_path, builder.base)
    contexts = {who: fresh.context({}, TURNS) for who in "ab"}

    def build(who: str) -> subprocess.CompletedProcess[str]:
        return fresh.run(contexts[who], "--build-arg", f"WHO={who}", "-o", f"type=local,dest={tmp_path / who}")

    with ThreadPoolExecutor(2) as pool:
        ended = list(pool.map(build, "ab"))
    assert [done.returncode for done in ended] == [0, 0], ended[0].stderr + ended[1].stderr
    assert [(tmp_path / who / "seen").read_text() for who in "ab"] == ["", ""]
    assert max(len((tmp_path / who / "log").read_text().split()) for who in "ab") == 2


def test_a_secret_reaches_the_step_and_nothing_else(builder: Builder, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("s3cr3t-value")
    context = builder.context({}, "FROM testbase\nRUN --mount=type=secret,id=token wc -c < /run/secrets/token > /n\n")
    image = builder.build(context, "--secret", f"id=token,src={tmp_path / 'token'}")
    assert image.read("n").strip() == "12"
    assert not [p for layer in image.own for p in layer if p.startswith("run")]
    found = subprocess.run(["grep", "-rl", "s3cr3t-value", builder.folder / "cache"], check=False, capture_output=True)
    assert found.stdout == b""


HEREDOCS = r"""FROM testbase
ENV V=env
RUN <<EOF
echo "v=$V" > /r1
cat > /r1b <<X
nested $V
X
EOF
RUN <<'EOF'
echo "v=$V" > /r2
EOF
RUN cat <<A >/r4 && cat <<B >>/r4
one $V
A
two \$V
B
RUN <<EOF cat > /r5
body $V
EOF
RUN <<EOF
#!/bin/awk -f
BEGIN { print "awk" > "/aw" }
EOF
RUN <<EOF
false
echo after > /x
EOF
RUN echo "<<EOF" > /q; echo $((1<<3)) > /n
"""


def test_run_heredocs_are_the_shells_own(builder: Builder) -> None:
    image = builder.make(HEREDOCS)
    wanted = {"r1": "v=env\n", "r1b": "nested env\n", "r2": "v=env\n", "r4": "one env\ntwo $V\n", "r5": "body env\n"}
    wanted |= {"aw": "awk\n", "x": "after\n", "q": "<<EOF\n", "n": "8\n"}
    assert {name: image.read(name) for name in wanted} == wanted
    assert {line.split()[-1] for line in image.listed()} == set(wanted)


COPIED = r"""FROM scratch
ARG A=arg
ENV V=env
COPY <<EOF /c1
v=$V a=${A} \$V "q" 'q' ${NO:-d}
# not a comment
tail \
FROM x
EOF
COPY <<"EOF" /c2
v=$V \$V "q"
EOF
COPY --chmod=0755 --chown=1:2 <<s.sh /s/
#!/bin/sh
s.sh
COPY <<EOF /empty
EOF
LABEL after=1
"""


def test_copied_heredocs_expand_unless_quoted(builder: Builder) -> None:
    image = builder.make(COPIED)
    assert image.read("c1") == "v=env a=arg $V \"q\" 'q' d\n# not a comment\ntail \nFROM x\n"
    assert image.read("c2") == 'v=$V \\$V "q"\n'
    assert image.listed("s") == ["d 0755 1:2 s", "f 0755 1:2 s/s.sh"]
    assert image.read("empty") == ""
    assert image.config["config"]["Labels"] == {"after": "1"}


def test_a_step_that_fails_tells_its_line_its_exit_code_and_what_it_said(builder: Builder) -> None:
    fault = builder.fault("FROM testbase\nRUN echo told >&2; exit 7\n")
    assert "Dockerfile:2" in fault
    assert "told" in fault
    assert "7" in fault.splitlines()[-1] or "exit code 7" in fault
