"""Times as programs use them: make and ninja beside a cache mount, Python's compiled modules, a web server's ETag."""

from __future__ import annotations

import http.client
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support import testbase, toolchains
from support.strata_build import Builder, Image

pytestmark = pytest.mark.root

MAKEFILE = """\
/obj/app: /obj/a.o /obj/b.o
\tcat $^ > $@
/obj/%.o: /src/%.c
\tcat $< > $@
\techo $* >> /obj/made
"""
NINJA = """\
builddir = /obj
rule compile
  command = cat $in > $out && basename $in .c >> /obj/made
rule link
  command = cat $in > $out
build /obj/a.o: compile /src/a.c
build /obj/b.o: compile /src/b.c
build /obj/app: link /obj/a.o /obj/b.o
"""
TOOLS = {"make": "make -f /src/Makefile /obj/app", "ninja": "ninja -f /src/build.ninja /obj/app"}


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toolchains.collect(tmp_path_factory.mktemp("tools"))


@pytest.fixture(autouse=True)
def _named(builder: Builder, tools: Path) -> None:
    """The programs are a named context: nothing of them is in the cache mount or in the source."""
    builder.named = {"tools": str(tools)}


@pytest.mark.parametrize("tool", TOOLS)
def test_a_changed_and_then_a_reverted_source_are_built_anew_beside_a_cache_mount(builder: Builder, tool: str) -> None:
    """`run` makes the step run though its inputs are those of an earlier build: what it finds in the mount is newer work."""
    dockerfile = (
        "FROM testbase\nCOPY --from=tools . /\nCOPY src /src\nARG run\n"
        f"RUN --mount=type=cache,id=obj-{tool},target=/obj rm -f /obj/made && touch /obj/made && {TOOLS[tool]}"
        " && cp /obj/app /app && cp /obj/made /made\n"
    )
    files = {"src/Makefile": MAKEFILE, "src/build.ninja": NINJA, "src/a.c": "one\n", "src/b.c": "b\n"}
    context = builder.context(files, dockerfile)
    old = 1_000_000_000
    seen = []
    for run, text in enumerate(["one\n", "two\n", "one\n"]):
        (context / "src/a.c").write_text(text)
        os.utime(context / "src/a.c", (old, old))  # as after `git checkout` by a tool that restores times
        image = builder.build(context, "--build-arg", f"run={run}")
        seen.append((image.read("app"), "a" in image.read("made").split()))
    assert seen == [("one\nb\n", True), ("two\nb\n", True), ("one\nb\n", True)]


def test_make_finds_nothing_to_do_for_what_the_same_step_has_made(builder: Builder) -> None:
    dockerfile = (
        "FROM testbase\nCOPY --from=tools . /\nCOPY src /src\n"
        "RUN mkdir /obj && make -f /src/Makefile /obj/app && make -f /src/Makefile /obj/app > /again\n"
        "RUN make -f /src/Makefile /obj/app > /later\n"
    )
    image = builder.make(dockerfile, {"src/Makefile": MAKEFILE, "src/a.c": "a\n", "src/b.c": "b\n"})
    assert (image.read("again"), image.read("later")) == ("make: '/obj/app' is up to date.\n",) * 2


MODULES = """\
FROM testbase AS build
COPY --from=tools . /
COPY app.py /src/
RUN mkdir /site && cat /src/app.py > /site/app.py && cd /site && python3.11 -m py_compile app.py
FROM testbase
COPY --from=tools . /
COPY --from=build /site /usr/site
RUN cd /usr/site && python3.11 -v -c 'import app' > /out 2> /said; true
"""


@pytest.mark.parametrize("epoch", ["", "1600000000"])
def test_compiled_modules_that_a_step_made_stay_valid_in_another_stage(builder: Builder, epoch: str) -> None:
    """CPython, Lib/importlib/_bootstrap_external.py: -v says `matches` of a .pyc whose source has the time and size in it,
    or with SOURCE_DATE_EPOCH the hash."""
    flags = ["--build-arg", f"SOURCE_DATE_EPOCH={epoch}"] if epoch else []
    image = builder.make(MODULES, {"app.py": "print('hello')\n"}, *flags)
    compiled = "/usr/site/__pycache__/app.cpython-311.pyc"
    assert f"# {compiled} matches /usr/site/app.py\n" in image.read("said")
    assert "could not create" not in image.read("said")
    assert image.read("out") == "hello\n"


def test_a_compiled_module_never_stands_for_another_source_of_equal_size(builder: Builder) -> None:
    dockerfile = (
        "FROM testbase\nCOPY --from=tools . /\nCOPY app.py /site/\nRUN cd /site && python3.11 -m py_compile app.py\n"
        "COPY fixed.py /site/app.py\nRUN cd /site && python3.11 -c 'import app' > /out\n"
    )
    image = builder.make(dockerfile, {"app.py": "print('wrong')\n", "fixed.py": "print('right')\n"})
    assert image.read("out") == "right\n"


def test_an_etag_changes_with_a_fix_of_equal_size_and_not_with_the_clock(builder: Builder, tmp_path: Path) -> None:
    """A browser that has the page asks with its ETag, which web servers make of time and size."""
    context = builder.context(
        {"www/index.html": "wrong\n", "css/a.css": "a"}, "FROM scratch\nCOPY css /css\nCOPY www /\n"
    )
    first = _unpacked(builder.build(context), tmp_path / "first")
    os.utime(context / "www/index.html", (1_700_000_000, 1_700_000_000))
    again = _unpacked(builder.build(context, "--no-cache"), tmp_path / "again")
    (context / "www/index.html").write_text("right\n")
    os.utime(context / "www/index.html", (1_700_000_000, 1_700_000_000))
    fixed = _unpacked(builder.build(context), tmp_path / "fixed")
    with _served(first) as port:
        _, _, tag = _get(port, "/index.html")
        _, _, style = _get(port, "/css/a.css")
    with _served(again) as port:
        assert _get(port, "/index.html", tag)[:2] == (304, b"")
    with _served(fixed) as port:
        assert _get(port, "/index.html", tag)[:2] == (200, b"right\n")
        assert _get(port, "/css/a.css", style)[0] == 304


def _unpacked(image: Image, folder: Path) -> Path:
    """The image's files with their times, as an unpacker writes them."""
    for path, file in image.files().items():
        if file.text.startswith("f "):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(file.content)
            os.utime(folder / path, (file.time, file.time))
    return folder


@contextmanager
def _served(folder: Path) -> Iterator[int]:
    program = testbase.busybox()
    assert program is not None
    with subprocess.Popen(
        [program, "httpd", "-f", "-p", "127.0.0.1:0", "-h", folder], stderr=subprocess.DEVNULL
    ) as server:
        try:
            yield _port_of(server.pid)
        finally:
            server.kill()


def _port_of(pid: int) -> int:
    """Where the process listens: proc(5), /proc/net/tcp, by the inode of its socket."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        links = [os.readlink(fd) for fd in Path(f"/proc/{pid}/fd").iterdir()]
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in links:
                return int(fields[1].partition(":")[2], 16)
        time.sleep(0.05)
    raise AssertionError("httpd does not listen")


def _get(port: int, path: str, tag: str = "") -> tuple[int, bytes, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    try:
        connection.request("GET", path, headers={"If-None-Match": tag} if tag else {})
        answer = connection.getresponse()
        return answer.status, answer.read(), answer.headers.get("ETag", "")
    finally:
        connection.close()
