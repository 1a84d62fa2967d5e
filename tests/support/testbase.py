"""A small base image as an OCI layout: static busybox, a few users, directories with owners and modes that matter."""

from __future__ import annotations

import hashlib
import io
import json
import platform
import shutil
import subprocess
import tarfile
from pathlib import Path

PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PASSWD = b"""root:x:0:0:root:/root:/bin/sh
daemon:x:2:2:daemon:/sbin:/bin/false
app:x:1000:1000:app:/home/app:/bin/sh
bob:x:1111:2222:bob:/srv/bob:/bin/sh
"""
GROUP = b"root:x:0:root\ndaemon:x:2:\napp:x:1000:\nbobs:x:2222:\nextra:x:3333:app,bob\n"
ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
FOLDERS = {"bin": 0o755, "etc": 0o755, "home": 0o755, "proc": 0o555, "sys": 0o555, "dev": 0o755, "tmp": 0o1777}


def busybox() -> Path | None:
    """A busybox without shared libraries, if this machine has one."""
    found = shutil.which("busybox")
    return Path(found).resolve() if found else None


def write(folder: Path) -> Path:
    """The layout at `folder`; its one image is for this machine."""
    layer = _layer()
    blobs = folder / "blobs/sha256"
    blobs.mkdir(parents=True)
    diff_id = _keep(blobs, layer)
    config = json.dumps(
        {
            "architecture": ARCHITECTURE,
            "os": "linux",
            "config": {"Env": [PATH], "Cmd": ["sh"]},
            "rootfs": {"type": "layers", "diff_ids": [diff_id]},
            "history": [{"created_by": "testbase"}],
        }
    ).encode()
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": _descriptor("application/vnd.oci.image.config.v1+json", config, _keep(blobs, config)),
            "layers": [_descriptor("application/vnd.oci.image.layer.v1.tar", layer, diff_id)],
        }
    ).encode()
    described = _descriptor("application/vnd.oci.image.manifest.v1+json", manifest, _keep(blobs, manifest))
    described["platform"] = {"architecture": ARCHITECTURE, "os": "linux"}
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [described]}))
    (folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    return folder


def _keep(blobs: Path, content: bytes) -> str:
    digest = hashlib.sha256(content).hexdigest()
    (blobs / digest).write_bytes(content)
    return f"sha256:{digest}"


def _descriptor(media_type: str, content: bytes, digest: str) -> dict[str, object]:
    return {"mediaType": media_type, "digest": digest, "size": len(content)}


def _layer() -> bytes:
    program = busybox()
    assert program is not None, "this machine has no busybox"
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, mode in FOLDERS.items():
            _add(tar, name, tarfile.DIRTYPE, mode)
        _add(tar, "root", tarfile.DIRTYPE, 0o700)
        _add(tar, "home/app", tarfile.DIRTYPE, 0o755, owner=1000)
        _add(tar, "etc/passwd", tarfile.REGTYPE, 0o644, content=PASSWD)
        _add(tar, "etc/group", tarfile.REGTYPE, 0o644, content=GROUP)
        _add(tar, "bin/busybox", tarfile.REGTYPE, 0o755, content=program.read_bytes())
        for applet in _applets(program):
            _add(tar, f"bin/{applet}", tarfile.SYMTYPE, 0o777, link="busybox")
    return buffer.getvalue()


def _applets(program: Path) -> list[str]:
    listed = subprocess.run([program, "--list"], check=True, capture_output=True, text=True).stdout.split()
    return [name for name in listed if name != "busybox"]


def _add(
    tar: tarfile.TarFile, name: str, kind: bytes, mode: int, *, owner: int = 0, content: bytes = b"", link: str = ""
) -> None:
    member = tarfile.TarInfo(name)
    member.type, member.mode, member.uid, member.gid, member.linkname = kind, mode, owner, owner, link
    member.size, member.mtime = len(content), 1_000_000_000
    tar.addfile(member, io.BytesIO(content))
