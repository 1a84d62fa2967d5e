"""Archives as contexts: made by Python's and GNU's tar, served by a real HTTP server, and hostile ones."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
import os
import shutil
import subprocess
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from strata_builder import contents, errors
from strata_builder.context import archive, download, remotefile, url
from strata_builder.context.credentials import Credentials
from strata_builder.contract import ArchiveSource
from strata_builder.registry import retry
from support import git_server
from support.file_server import Answer, FileServer

QUICK = download.Client(policy=retry.Policy(attempts=2, sleep=lambda _: None))


def tar(*members: tuple[str, bytes | tarfile.TarInfo], form: int = tarfile.PAX_FORMAT) -> bytes:
    """An archive of files (name, content) and of whatever TarInfo says."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as made:
        for name, content in members:
            info = content if isinstance(content, tarfile.TarInfo) else tarfile.TarInfo(name)
            info.name = name
            if isinstance(content, bytes):
                info.size = len(content)
                info.mtime = 1_000_000_000
            made.addfile(info, io.BytesIO(content if isinstance(content, bytes) else b""))
    return out.getvalue()


def member(kind: bytes, link: str = "", mode: int = 0o644, mtime: int = 5) -> tarfile.TarInfo:
    info = tarfile.TarInfo()
    info.type, info.linkname, info.mode, info.mtime = kind, link, mode, mtime
    return info


def zstd(data: bytes) -> bytes:
    return subprocess.run(["zstd", "-q"], input=data, capture_output=True, check=True).stdout


def unpack(data: bytes, dest: Path, limit: int = 1 << 30) -> Path:
    return archive.unpack(io.BytesIO(data), dest, limit=limit)


COMPRESSIONS: list[Callable[[bytes], bytes]] = [
    bytes,
    gzip.compress,
    bz2.compress,
    lzma.compress,
    zstd,
    lambda data: gzip.compress(data[:700]) + gzip.compress(data[700:]),
]


def zipped(*members: tuple[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as made:
        for name, content in members:
            made.writestr(name, content)
    return out.getvalue()


def test_a_zip_by_url_is_checked_like_any_archive(tmp_path: Path) -> None:
    data = zipped(("app/Dockerfile", b"FROM scratch\n"), ("app/big", os.urandom(3_000_000)))
    digest = hashlib.sha256(data).hexdigest()
    with FileServer({"/a.zip": Answer(body=data)}) as server:
        done = archive.fetch(ArchiveSource(f"{server.url}/a.zip", digest, "app"), tmp_path / "out", client=QUICK)
        assert sorted(path.name for path in done.folder.iterdir()) == ["Dockerfile", "big"]
        assert done.source.revision == f"sha256:{digest}"
        with pytest.raises(errors.SourceNotFound, match="was asked for"):
            archive.fetch(ArchiveSource(f"{server.url}/a.zip", "0" * 64), tmp_path / "other", client=QUICK)
    assert not list((tmp_path / "other").iterdir())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "out"]


@pytest.mark.parametrize("compress", COMPRESSIONS, ids=["plain", "gzip", "bzip2", "xz", "zstd", "two members"])
def test_every_compression_is_told_by_its_bytes(tmp_path: Path, compress: Callable[[bytes], bytes]) -> None:
    if compress is zstd and shutil.which("zstd") is None:
        pytest.skip("zstd is not installed")
    folder = unpack(compress(tar(("./a/b", b"hello"), ("/abs", b"x"))), tmp_path / "out")
    assert (folder / "a/b").read_bytes() == b"hello"
    assert (folder / "abs").read_bytes() == b"x"
    assert (folder / "a/b").stat().st_mtime == 1_000_000_000


@pytest.mark.parametrize("form", ["ustar", "gnu", "pax", "v7", "oldgnu"])
def test_every_format_that_tar_writes(tmp_path: Path, form: str) -> None:
    source = tmp_path / "src"
    (source / "d").mkdir(parents=True)
    (source / "d/run").write_text("#!")
    (source / "d/run").chmod(0o755)
    (source / "d/secret").write_text("x")
    (source / "d/secret").chmod(0)
    os.symlink("../../../etc/passwd", source / "d/link")
    os.link(source / "d/run", source / "d/same")
    (source / "d").chmod(0o500)
    made = subprocess.run(["tar", "-C", source, f"--format={form}", "-c", "."], capture_output=True, check=True).stdout
    (source / "d").chmod(0o700)
    folder = unpack(made, tmp_path / "out") / "d"
    assert (folder / "link").readlink() == Path("../../../etc/passwd")
    assert (folder / "run").stat().st_ino == (folder / "same").stat().st_ino
    modes = {path.name: path.lstat().st_mode & 0o777 for path in folder.iterdir() if not path.is_symlink()}
    assert modes == {"run": 0o755, "same": 0o755, "secret": 0o400}
    assert folder.stat().st_mode & 0o777 == 0o700


SYM, LNK = tarfile.SYMTYPE, tarfile.LNKTYPE
HOSTILE = [
    ("through a link", tar(("l", member(SYM, "/tmp")), ("l/x", b"evil")), "below 'l', which is no directory"),
    ("a link in a link's place", tar(("a/b", b""), ("a", member(SYM, "/tmp"))), "both as a directory and"),
    ("a device", tar(("null", member(tarfile.CHRTYPE))), "'null' is a device"),
    ("a hard link to nothing", tar(("h", member(tarfile.LNKTYPE, "absent"))), "which cannot be linked to"),
    ("a hard link through a link", tar(("l", member(SYM, "/etc")), ("h", member(LNK, "l/passwd"))), "cannot be linked"),
    ("cut short", tar(("a", b"x" * 5000))[:2000], "cut short"),
    ("not an archive", b"hello world" * 100, "cannot be unpacked"),
    ("damaged gzip", gzip.compress(tar(("a", os.urandom(5000))))[:3000], "cut short|damaged"),
    ("zip", b"PK\x03\x04" + bytes(100), "no directory at its end"),
]  # fmt: skip


@pytest.mark.parametrize(("data", "message"), [row[1:] for row in HOSTILE], ids=[row[0] for row in HOSTILE])
def test_what_is_hostile_or_broken_says_so(tmp_path: Path, data: bytes, message: str) -> None:
    before = set(os.listdir("/tmp"))
    with pytest.raises(errors.BuildError, match=message):
        unpack(data, tmp_path / "out")
    assert "x" not in set(os.listdir("/tmp")) - before


def test_names_cannot_leave_the_folder(tmp_path: Path) -> None:
    unpack(tar(("../../evil", b"x"), ("a/../../../evil2", b"y")), tmp_path / "deep/out")
    assert {path.name for path in (tmp_path / "deep/out").iterdir()} == {"evil", "evil2"}
    assert not list(tmp_path.glob("evil*"))


def test_a_later_entry_replaces_an_earlier_file_or_link(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("safe")
    data = tar(("f", member(tarfile.SYMTYPE, str(tmp_path / "victim"))), ("f", b"new"))
    assert (unpack(data, tmp_path / "out") / "f").read_text() == "new"
    assert (tmp_path / "victim").read_text() == "safe"


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_folders_take_nothing_over_from_where_they_are_put(tmp_path: Path, umask: int) -> None:
    volume = tmp_path / "volume"
    volume.mkdir()
    volume.chmod(0o2775)
    own = member(tarfile.DIRTYPE, mode=0o750)
    old = os.umask(umask)
    try:
        folder = unpack(tar(("implied/deep/file", b"x"), ("own", own)), volume / "out")
    finally:
        os.umask(old)
    modes = {name: (folder / name).stat().st_mode & 0o7777 for name in (".", "implied", "implied/deep", "own")}
    assert modes == {".": 0o755, "implied": 0o755, "implied/deep": 0o755, "own": 0o750}


def test_a_bomb_is_stopped_before_it_is_written(tmp_path: Path) -> None:
    with pytest.raises(errors.InvalidSpec, match=r"the context is larger than 1 MiB"):
        unpack(gzip.compress(tar(("bomb", bytes(50 << 20)))), tmp_path / "out", limit=1 << 20)
    assert not (tmp_path / "out/bomb").exists()


# by URL


def served(data: bytes) -> FileServer:
    return FileServer({"/a.tar.gz": Answer(data)})


def test_an_archive_by_url_with_its_digest(tmp_path: Path) -> None:
    data = gzip.compress(tar(("top/Dockerfile", b"FROM scratch"), ("top/x", b"y")))
    digest = hashlib.sha256(data).hexdigest()
    with served(data) as server:
        done = archive.fetch(ArchiveSource(f"{server.url}/a.tar.gz?sig=1", digest, "top"), tmp_path / "out")
        assert done.folder == tmp_path / "out/top"
        assert done.source.revision == f"sha256:{digest}"
        with pytest.raises(errors.SourceNotFound, match=f"has the sha256 {digest}, but {'0' * 64} was asked for"):
            archive.fetch(ArchiveSource(f"{server.url}/a.tar.gz", "0" * 64), tmp_path / "other")
        assert list((tmp_path / "other").iterdir()) == []
        for path in ("nope", "top/x", "../out"):
            with pytest.raises(errors.BuildError, match=r"no folder|not a folder"):
                archive.fetch(ArchiveSource(f"{server.url}/a.tar.gz", path=path), tmp_path / f"p-{path[-2:]}")


def test_a_connection_that_breaks_is_tried_again_from_the_start(tmp_path: Path) -> None:
    data = tar(("a", os.urandom(200_000)), ("b", b"x"))
    with FileServer({"/a": [Answer(data, cut=100_000), Answer(status=503), Answer(data)]}) as server:
        done = archive.fetch(ArchiveSource(f"{server.url}/a"), tmp_path / "out", client=QUICK)
    assert {path.name for path in done.folder.iterdir()} == {"a", "b"}
    assert len(server.log) == 3


def test_credentials_stay_with_their_host(tmp_path: Path) -> None:
    data = tar(("a", b"x"))
    tls, ca = git_server.server_tls(tmp_path / "pki")
    credentials = Credentials("ada", "s3cret", ca=ca)
    with FileServer({"/a": Answer(data)}, tls=tls) as storage:
        redirect = Answer(status=302, headers={"Location": f"{storage.url}/a?signed=1"})
        with FileServer({"/a": redirect}, tls, credentials.authorization()) as server:
            assert (archive.fetch(ArchiveSource(f"{server.url}/a"), tmp_path / "1", credentials).folder / "a").exists()
            assert "authorization" in server.log[0][1]
            assert "authorization" not in storage.log[0][1]
            with pytest.raises(errors.SourceAuthFailed, match="answered 401") as caught:
                archive.fetch(ArchiveSource(f"{server.url}/a"), tmp_path / "2", Credentials("ada", "0ther", ca=ca))
            assert "0ther" not in str(caught.value)
        with pytest.raises(errors.SourceAuthFailed, match="not trusted"):
            archive.fetch(ArchiveSource(f"{storage.url}/a"), tmp_path / "3")


ANSWERS = [
    (Answer(status=404), errors.SourceNotFound, "answered 404"),
    (Answer(status=503), errors.SourceUnavailable, "answered 503"),
    (Answer(status=302, headers={"Location": "/a"}), errors.SourceNotFound, "redirects more than 10 times"),
    (
        Answer(status=302, headers={"Location": "file:///etc/passwd"}),
        errors.SourceUnavailable,
        "without a usable Location",
    ),
    (Answer(b"<html>"), errors.LayerError, "/a cannot be unpacked"),
]


@pytest.mark.parametrize(("answer", "kind", "message"), ANSWERS)
def test_an_answer_that_is_no_archive(
    tmp_path: Path, answer: Answer, kind: type[errors.BuildError], message: str
) -> None:
    with FileServer({"/a": answer}) as server, pytest.raises(kind, match=message) as caught:
        archive.fetch(ArchiveSource(f"{server.url}/a?token=s3cret"), tmp_path / "out", client=QUICK)
    assert "s3cret" not in str(caught.value)


# from a pipe


def test_a_pipe_brings_an_archive_or_a_dockerfile(tmp_path: Path) -> None:
    found = archive.read_pipe(io.BytesIO(gzip.compress(tar(("a", b"x")))), tmp_path / "1")
    assert found == tmp_path / "1"
    assert (tmp_path / "1/a").read_bytes() == b"x"
    assert isinstance(archive.read_pipe(io.BytesIO(tar(("a", b"x"), form=tarfile.USTAR_FORMAT)), tmp_path / "2"), Path)
    short, long = b"FROM scratch\n", b"FROM scratch\n" + b"RUN x\n" * 1000
    assert archive.read_pipe(io.BytesIO(short), tmp_path / "3") == short
    assert archive.read_pipe(io.BytesIO(long), tmp_path / "4") == long
    with pytest.raises(errors.InvalidSpec, match="empty"):
        archive.read_pipe(io.BytesIO(b""), tmp_path / "5")
    with pytest.raises(errors.InvalidSpec, match="neither"):
        archive.read_pipe(io.BytesIO(b"x" * (5 << 20)), tmp_path / "6")


# one file, for ADD


def test_add_of_a_url(tmp_path: Path) -> None:
    headers = {"Last-Modified": "Wed, 21 Oct 2015 07:28:00 GMT", "ETag": '"v1"'}
    with FileServer({"/dl/tool.bin": Answer(b"hello", headers=headers)}) as server:
        digest, address = hashlib.sha512(b"hello").hexdigest(), f"{server.url}/dl/tool.bin"
        done = url.fetch(address, tmp_path / "out", checksum=f"sha512:{digest}")
        assert (done.name, done.size, done.mtime, done.etag) == ("tool.bin", 5, 1445412480, '"v1"')
        assert (tmp_path / "out").read_bytes() == b"hello"
        tree = remotefile.RemoteFile(done, lambda: tmp_path / "out")
        entry = tree.lookup(b"tool.bin")
        assert entry is not None
        assert (entry.mode, entry.mtime, entry.size) == (0o600, 1445412480, 5)
        assert tree.digest(b"tool.bin") == contents.digest(b"hello")
        with pytest.raises(errors.SourceNotFound, match="has the sha256"):
            url.fetch(address, tmp_path / "bad", checksum=f"sha256:{'0' * 64}")
        with pytest.raises(errors.InvalidSpec, match="larger than 4 bytes"):
            url.fetch(address, tmp_path / "big", limit=4)
        with pytest.raises(errors.InvalidSpec, match="is not a digest"):
            url.fetch(address, tmp_path / "x", checksum="md5:00")
        assert os.listdir(tmp_path) == ["out"]


def test_attributes_that_users_can_set_are_kept(tmp_path: Path) -> None:
    """Python writes values that are no UTF-8 with hdrcharset=BINARY."""
    members = []
    for name, kind in (("d", tarfile.DIRTYPE), ("d/f", tarfile.REGTYPE), ("ro", tarfile.REGTYPE)):
        info = member(kind, mode=0o755 if kind == tarfile.DIRTYPE else 0o400)
        info.pax_headers = {
            "SCHILY.xattr.user.colour": "blue",
            "SCHILY.xattr.user.raw": b"\0\1\xff".decode("utf-8", "surrogateescape"),
            "SCHILY.xattr.security.capability": "x",
            "SCHILY.xattr.trusted.t": "x",
            "SCHILY.xattr.user.overlay.redirect": "x",
        }
        members.append((name, info))
    below = unpack(tar(*members), tmp_path / "context")
    for name, _ in members:
        found = {key: os.getxattr(below / name, key) for key in os.listxattr(below / name)}
        assert found == {"user.colour": b"blue", "user.raw": b"\0\1\xff"}, name


def test_an_attribute_that_cannot_be_kept_is_told(tmp_path: Path) -> None:
    info = member(tarfile.REGTYPE)
    info.pax_headers = {"SCHILY.xattr.user." + "n" * 300: "x"}  # Linux takes names of 255 bytes
    with pytest.raises(
        errors.LayerError, match=r"'f' has the extended attribute 'user\.n.*', which cannot be kept here"
    ):
        unpack(tar(("f", info)), tmp_path / "context")
