"""OCI layouts and docker-save archives: written, read back, deterministic, and safe against what strangers put into
them."""

from __future__ import annotations

import gzip
import io
import json
import os
import tarfile

import pytest

from strata_builder.oci import archive, digest, errors, image, layout, mediatypes
from strata_builder.oci.image import Descriptor, History, Image, LayerRef
from strata_builder.oci.platform import Platform
from strata_builder.oci.reference import Reference
from support import tars

AMD64 = Platform.parse("linux/amd64")
PLAIN = b"a layer's tar" * 1000
PACKED = gzip.compress(PLAIN, mtime=0)
BLOBS = {digest.of(PACKED): PACKED}


def an_image(label: str = "x") -> Image:
    ref = LayerRef(Descriptor(mediatypes.OCI_LAYER_GZIP, digest.of(PACKED), len(PACKED)), digest.of(PLAIN))
    made = Image.scratch(AMD64).append(ref, History(created_by="COPY"))
    return made.with_config(made.config.with_(labels={"l": label}))


def open_blob(descriptor: Descriptor) -> io.BytesIO:
    return io.BytesIO(BLOBS[descriptor.digest])


def saved_tar(tmp_path, *images: archive.Saved):
    path = tmp_path / "image.tar"
    with path.open("wb") as out:
        archive.write(out, images or [archive.Saved(an_image(), (Reference.parse("app:1"),))], open_blob)
    return path


def fill(folder: layout.LayoutFolder, made: Image, name: str = "") -> None:
    folder.put(made.layers[0].descriptor, open_blob(made.layers[0].descriptor))
    folder.put_bytes(made.config_bytes(), made.config_descriptor.media_type)
    folder.put_bytes(made.manifest_bytes(), made.manifest.media_type)
    folder.add(made.descriptor, ref_name=name)


def test_a_folder_gives_back_what_was_put(tmp_path):
    folder = layout.LayoutFolder.create(tmp_path / "l")
    fill(folder, an_image(), "v1")
    again = layout.LayoutFolder(tmp_path / "l")
    found, read = layout.find(again, AMD64, ref_name="v1")
    assert found.digest == an_image().digest
    assert again.open(read.layers[0]).read() == PACKED
    assert layout.read_bytes(again, read.config, limit=10_000) == an_image().config_bytes()


def test_a_name_moves_to_the_newest_image(tmp_path):
    folder = layout.LayoutFolder.create(tmp_path)
    fill(folder, an_image("old"), "v1")
    fill(folder, an_image("new"), "v1")
    assert layout.find(folder, AMD64, ref_name="v1")[0].digest == an_image("new").digest
    assert len(folder.index().manifests) == 1


def test_an_unknown_name_lists_the_known_ones(tmp_path):
    folder = layout.LayoutFolder.create(tmp_path)
    fill(folder, an_image(), "v1")
    with pytest.raises(errors.ImageInvalid, match="'v2'; names: v1"):
        layout.find(folder, AMD64, ref_name="v2")


def test_a_platform_is_found_below_a_nested_index(tmp_path):
    folder = layout.LayoutFolder.create(tmp_path)
    fill(folder, an_image())
    nested = image.index_of([an_image(), Image.scratch(Platform.parse("linux/arm64"))])
    made = folder.put_bytes(nested.to_bytes(), mediatypes.OCI_INDEX)
    folder.add(made, ref_name="multi")
    assert layout.find(folder, AMD64, ref_name="multi")[0].digest == an_image().digest


def test_wrong_bytes_are_not_stored_and_leave_nothing_behind(tmp_path):
    folder = layout.LayoutFolder.create(tmp_path)
    with pytest.raises(errors.DigestMismatch):
        folder.put(an_image().layers[0].descriptor, io.BytesIO(b"x" * len(PACKED)))
    assert list((tmp_path / "blobs/sha256").iterdir()) == []


def test_a_damaged_blob_is_found_when_read(tmp_path):
    folder = layout.LayoutFolder.create(tmp_path)
    fill(folder, an_image())
    descriptor = an_image().layers[0].descriptor
    (tmp_path / "blobs/sha256" / digest.hex_of(descriptor.digest)).write_bytes(b"x" * descriptor.size)
    with folder.open(descriptor) as reader, pytest.raises(errors.DigestMismatch, match=str(tmp_path)):
        reader.read()


@pytest.mark.parametrize("trap", ["symlink", "pipe", "folder", "missing"])
def test_only_regular_files_of_a_folder_are_read(tmp_path, trap):
    folder = layout.LayoutFolder.create(tmp_path)
    descriptor = an_image().layers[0].descriptor
    target = tmp_path / "blobs/sha256" / digest.hex_of(descriptor.digest)
    if trap == "symlink":
        target.symlink_to("/etc/passwd")
    elif trap == "pipe":
        os.mkfifo(target)
    elif trap == "folder":
        target.mkdir()
    with pytest.raises(errors.ImageInvalid, match="blobs/sha256"):
        folder.open(descriptor)


def test_what_is_no_layout_is_refused(tmp_path):
    with pytest.raises(errors.ImageInvalid, match="oci-layout"):
        layout.LayoutFolder(tmp_path)
    (tmp_path / "oci-layout").write_text('{"imageLayoutVersion":"2.0.0"}')
    with pytest.raises(errors.ImageInvalid, match=r"version '2\.0\.0'"):
        layout.LayoutFolder(tmp_path)


def test_an_archive_is_both_an_oci_layout_and_a_docker_archive(tmp_path):
    path = saved_tar(tmp_path)
    tar = layout.LayoutTar(path)
    found, read = layout.find(tar, AMD64)
    assert found.digest == an_image().digest
    assert tar.open(read.layers[0]).read() == PACKED
    tar.close()
    with archive.Archive(path) as opened:
        assert opened.images == (archive.Saved(an_image(), (Reference.parse("app:1"),)),)
        assert opened.open(opened.images[0].image.layers[0].descriptor).read() == PACKED


def content(tar: tarfile.TarFile, name: str) -> bytes:
    file = tar.extractfile(name)
    assert file is not None
    return file.read()


def test_other_tar_readers_agree_with_the_archive(tmp_path):
    with tarfile.open(saved_tar(tmp_path)) as tar:
        names = tar.getnames()
        listed = json.loads(content(tar, "manifest.json"))
        repositories = json.loads(content(tar, "repositories"))
        assert content(tar, listed[0]["Layers"][0]) == PACKED
    assert names[:2] == ["blobs", "blobs/sha256"]
    assert listed[0]["RepoTags"] == ["app:1"]
    assert repositories == {"app": {"1": digest.hex_of(digest.of(PACKED))}}


def test_an_archive_has_the_same_bytes_each_time(tmp_path):
    first = saved_tar(tmp_path).read_bytes()
    assert saved_tar(tmp_path).read_bytes() == first


def test_an_archive_of_a_wrong_blob_fails(tmp_path, monkeypatch):
    monkeypatch.setitem(BLOBS, digest.of(PACKED), PACKED[:-1])
    with pytest.raises(errors.DigestMismatch):
        saved_tar(tmp_path)


def docker_tar(path, members: list[tuple[str, bytes | str]], format: int = tarfile.PAX_FORMAT) -> None:  # noqa: A002
    with tarfile.open(path, "w", format=format) as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            if isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
                tar.addfile(info)
            else:
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))


def old_members(layer: bytes = PLAIN) -> list[tuple[str, bytes | str]]:
    config = an_image().config_bytes()
    listed = [{"Config": "abc.json", "RepoTags": ["old/app:2", "<none>:<none>"], "Layers": ["two/layer.tar"]}]
    return [
        ("abc.json", config),
        ("one/layer.tar", layer),
        ("two/layer.tar", "../one/layer.tar"),
        ("manifest.json", json.dumps(listed).encode()),
    ]


@pytest.mark.parametrize("format", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_an_old_archive_with_links_and_plain_layers_is_read(tmp_path, format):  # noqa: A002
    docker_tar(tmp_path / "old.tar", old_members(), format)
    with archive.Archive(tmp_path / "old.tar") as opened:
        (saved,) = opened.images
        assert saved.names == (Reference.parse("old/app:2"),)
        descriptor = saved.image.layers[0].descriptor
        assert (descriptor.media_type, descriptor.digest) == (mediatypes.OCI_LAYER, digest.of(PLAIN))
        assert opened.open(descriptor).read() == PLAIN


@pytest.mark.parametrize("format", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_long_names_in_an_archive_are_read(tmp_path, format):  # noqa: A002
    long = "d" * 150 + "/layer.tar"
    members = [*old_members()[:1], (long, PLAIN)]
    members.append(("manifest.json", json.dumps([{"Config": "abc.json", "Layers": [long]}]).encode()))
    docker_tar(tmp_path / "long.tar", members, format)
    with archive.Archive(tmp_path / "long.tar") as opened:
        assert opened.images[0].image.layers[0].descriptor.size == len(PLAIN)


@pytest.mark.parametrize(
    ("members", "problem"),
    [
        ([], "lacks the file 'manifest.json'"),
        (old_members(b"other"), "one/layer.tar|two/layer.tar"),
        ([*old_members()[:2], ("two/layer.tar", "../../../etc/passwd"), old_members()[3]], "lacks the file"),
        ([*old_members()[:2], ("two/layer.tar", "layer.tar"), old_members()[3]], "lead nowhere"),
        ([*old_members()[:3], ("manifest.json", b"[{}]")], "Config"),
        ([*old_members()[:3], ("manifest.json", b'[{"Config":"abc.json","Layers":[]}]')], "0 layers"),
        ([*old_members()[:3], ("manifest.json", b"{")], "not valid JSON"),
    ],
)
def test_a_broken_archive_is_refused_naming_the_file(tmp_path, members, problem):
    docker_tar(tmp_path / "bad.tar", members)
    with pytest.raises((errors.ImageInvalid, errors.DigestMismatch), match=problem) as caught:
        archive.Archive(tmp_path / "bad.tar")
    assert "bad.tar" in str(caught.value)


@pytest.mark.parametrize("data", [b"hello", b"x" * 512, gzip.compress(b"x" * 4000, mtime=0), b"\x80" * 1024])
def test_what_is_no_tar_is_refused(tmp_path, data):
    (tmp_path / "x.tar").write_bytes(data)
    with pytest.raises(errors.ImageInvalid, match="not a tar archive"):
        archive.Archive(tmp_path / "x.tar")


def checksummed(header: bytes) -> bytes:
    return header[:148] + b"%06o\0 " % (sum(header[:148]) + 256 + sum(header[156:512])) + header[156:]


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(tars.block(b"f", checksum=b"0999999\0"), id="a checksum that is no octal number"),
        pytest.param(tars.pax(size=b"9" * 5000) + tars.member(b"f"), id="a size of thousands of digits"),
        pytest.param(tars.pax(size=b"9" * 19) + tars.member(b"f"), id="a size beyond 64 bits"),
        pytest.param(tars.pax(size="٣".encode()) + tars.member(b"f"), id="a size in other digits"),
        pytest.param(checksummed(tars.block(b"f", size=b"\xff" * 12)), id="a size of ones"),
    ],
)
def test_numbers_that_no_tar_has_are_refused(tmp_path, data):
    (tmp_path / "x.tar").write_bytes(data + tars.END)
    with pytest.raises(errors.ImageInvalid, match=r"x\.tar"):
        archive.Archive(tmp_path / "x.tar")


def test_a_truncated_archive_is_refused(tmp_path):
    path = saved_tar(tmp_path)
    docker_tar(path, old_members())
    path.write_bytes(path.read_bytes()[:4000])
    with pytest.raises(errors.ImageInvalid, match=r"image\.tar"):
        archive.Archive(path)
