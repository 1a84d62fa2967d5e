"""What base images hold, layer by layer over busybox's, and the tree that they show at /b. A table."""

from __future__ import annotations

import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from strata_builder.oci import mediatypes
from support import tars
from support.base_images import Layer, gzipped, raw, tar, zstd_frames


@dataclass(frozen=True, slots=True)
class Row:
    """`tree` has a line an entry, sorted by path as bytes: kind, mode, owner, path, and what is there: ` = content`, a
    link's ` -> text`, a device's numbers. `attributes` are the extended ones by path."""

    layers: tuple[Layer, ...]
    tree: tuple[str, ...]
    attributes: Mapping[str, Mapping[str, bytes]] = field(default_factory=dict)


SIMPLE: Final = tar(
    ("b/", "d", 0o1777), ("b/x", "x", 0o4755), ("b/l", "-> x", 0o777), ("b/h", "=> b/x", 0o4755), ("b/d/", "d", 0o2750)
)
TREE: Final = (
    "d 1777 0:0 b",
    "d 2750 0:0 b/d",
    "f 4755 0:0 b/h = x",
    "l 0777 0:0 b/l -> x",
    "f 4755 0:0 b/x = x",
)
LOWER: Final = tar(
    ("b/", "d", 0o750), ("b/one", "1", 0o644), ("b/two", "2", 0o600), ("b/d/", "d", 0o700), ("b/d/in", "i", 0o644)
)
LONG: Final = "n" * 120
DEEP: Final = "/".join(["d" * 90] * 3)
CAPABILITY: Final = b"\x01\x00\x00\x02\x00\x20" + bytes(14)
FOLDER: Final = tars.member(b"b/", b"", b"5", mode=b"0000755")


def _simple(layer: Layer) -> Row:
    return Row((layer,), TREE)


def _alone(content: bytes, *tree: str, attributes: Mapping[str, Mapping[str, bytes]] | None = None) -> Row:
    return Row((Layer(content),), tree, attributes or {})


def _over(lower: bytes, upper: bytes, *tree: str) -> Row:
    return Row((Layer(lower), Layer(upper)), tree)


def _unmarked(content: bytes) -> bytes:
    """A tar without the blocks of zeros at its end."""
    while content.endswith(bytes(512)):
        content = content[:-512]
    return content


STORED: Final = {
    "not compressed": _simple(Layer(SIMPLE)),
    "gzip": _simple(gzipped(SIMPLE)),
    "gzip of several members": _simple(gzipped(SIMPLE, members=7)),
    "gzip with zeros after it": _simple(gzipped(SIMPLE, tail=bytes(700))),
    "zstd": _simple(zstd_frames(SIMPLE)),
    "zstd of several frames with skippable ones between": _simple(zstd_frames(SIMPLE, frames=4)),
    "gzip that is called zstd": _simple(gzipped(SIMPLE, media_type=mediatypes.OCI_LAYER_ZSTD)),
    "zstd that is called gzip": _simple(zstd_frames(SIMPLE, media_type=mediatypes.OCI_LAYER_GZIP)),
    "a tar that is called gzip": _simple(Layer(SIMPLE, mediatypes.OCI_LAYER_GZIP)),
    "gzip that is called a plain tar": _simple(gzipped(SIMPLE, media_type=mediatypes.OCI_LAYER)),
    "gzip of Docker's type": _simple(gzipped(SIMPLE, media_type=mediatypes.DOCKER_LAYER_GZIP)),
    "a tar of Docker's type": _simple(Layer(SIMPLE, mediatypes.DOCKER_LAYER)),
    "zstd of Docker's type": _simple(zstd_frames(SIMPLE, media_type=mediatypes.DOCKER_LAYER_ZSTD)),
    "a tar without the mark of its end": _simple(Layer(_unmarked(SIMPLE))),
    "a tar with something after its end": _simple(Layer(SIMPLE + b"whatever" * 100)),
    "one layer twice": Row((gzipped(SIMPLE), gzipped(SIMPLE)), TREE),
    "empty layers of every kind": Row(
        (Layer(tars.END), gzipped(SIMPLE), gzipped(tars.END), Layer(b""), zstd_frames(bytes(10240)), gzipped(b"")), TREE
    ),
}

WRITTEN: Final = {
    "names with ./": _simple(
        Layer(
            tar(
                ("./", "d", 0o755),
                ("./b/", "d", 0o1777),
                ("./b/x", "x", 0o4755),
                ("./b/l", "-> x", 0o777),
                ("./b/h", "=> ./b/x", 0o4755),
                ("./b/d/", "d", 0o2750),
            )
        )
    ),
    "absolute names": _simple(
        Layer(
            tar(
                ("/b/", "d", 0o1777),
                ("/b/x", "x", 0o4755),
                ("/b/l", "-> x", 0o777),
                ("/b/h", "=> /b/x", 0o4755),
                ("//b//d/", "d", 0o2750),
            )
        )
    ),
    "the same directory below several names": _alone(
        tar(("b/", "d", 0o700), ("./b/", "d", 0o711), ("/b/", "d", 0o751), ("b/c/../x", "x", 0o644)),
        "d 0751 0:0 b",
        "f 0644 0:0 b/x = x",
    ),
    "tar of Unix V7": _alone(
        raw(
            tars.member(b"b/", b"", b"\0", mode=b"0000750", magic=bytes(8)),
            tars.member(b"b/x", b"x", b"\0", magic=bytes(8), mode=b" 0644 \0", uid=b"     7 \0", gid=b"    10 \0"),
            tars.member(b"b/l", b"", b"2", magic=bytes(8), link=b"x", mode=b"0000777"),
        ),
        "d 0750 0:0 b",
        "l 0777 0:0 b/l -> x",
        "f 0644 7:8 b/x = x",
    ),
    "ustar with a prefix and a contiguous file": _alone(
        raw(
            FOLDER,
            tars.member(b"d/", b"", b"5", prefix=b"b", mode=b"0000755"),
            tars.member(b"x", b"x", b"7", prefix=b"b/d"),
        ),
        "d 0755 0:0 b",
        "d 0755 0:0 b/d",
        "f 0644 0:0 b/d/x = x",
    ),
    "long names and links of GNU tar": _alone(
        tar(("b/", "d", 0o755), (f"b/{LONG}", "x", 0o644), (f"b/l{LONG}", f"-> {LONG}", 0o777)),
        "d 0755 0:0 b",
        f"l 0777 0:0 b/l{LONG} -> {LONG}",
        f"f 0644 0:0 b/{LONG} = x",
    ),
    "long names and links of pax": _alone(
        tar(("b/", "d", 0o755), (f"b/{DEEP}/x", "x", 0o644), ("b/l", f"-> {DEEP}/x", 0o777), form=tarfile.PAX_FORMAT),
        "d 0755 0:0 b",
        *(f"d 0755 0:0 b/{'/'.join(['d' * 90] * n)}" for n in (1, 2, 3)),
        f"f 0644 0:0 b/{DEEP}/x = x",
        f"l 0777 0:0 b/l -> {DEEP}/x",
    ),
    "links that climb above the root or begin at it": _alone(
        tar(("b/", "d", 0o755), ("b/a", "-> /etc/x", 0o777), ("b/l", "-> ../../../../etc/x", 0o777)),
        "d 0755 0:0 b",
        "l 0777 0:0 b/a -> /etc/x",
        "l 0777 0:0 b/l -> ../../../../etc/x",
    ),
    "names in other alphabets, of other encodings, with a newline, and twins": _alone(
        raw(
            FOLDER,
            *(
                tars.member(b"b/" + name, b"%d" % n)
                for n, name in enumerate(
                    (b"A", b"a", b" ", b"a\nb", b"a\\b", b"\xff\xfe", "é".encode(), "e\u0301".encode(), b"*", b"-rf")
                )
            ),
        ),
        "d 0755 0:0 b",
        "f 0644 0:0 b/  = 2",
        "f 0644 0:0 b/* = 8",
        "f 0644 0:0 b/-rf = 9",
        "f 0644 0:0 b/A = 0",
        "f 0644 0:0 b/a = 1",
        "f 0644 0:0 b/a\nb = 3",
        "f 0644 0:0 b/a\\b = 4",
        "f 0644 0:0 b/e\u0301 = 7",
        "f 0644 0:0 b/é = 6",
        "f 0644 0:0 b/\udcff\udcfe = 5",
    ),
    "a directory after what is in it": _alone(
        tar(("b/d/x", "x", 0o644), ("b/d/", "d", 0o701), ("b/", "d", 0o711)),
        "d 0711 0:0 b",
        "d 0701 0:0 b/d",
        "f 0644 0:0 b/d/x = x",
    ),
    "directories that no layer holds": _alone(
        tar(("b/d/x", "x", 0o644)), "d 0755 0:0 b", "d 0755 0:0 b/d", "f 0644 0:0 b/d/x = x"
    ),
    "several entries of one name": _alone(
        tar(
            ("b/", "d", 0o700),
            ("b/x", "first", 0o600),
            ("b/x", "last", 0o644),
            ("b/h", "=> b/x", 0o644),
            ("b/x", "after", 0o640),
            ("b/l", "-> nowhere", 0o777),
            ("b/l", "file", 0o644),
            ("b/d", "file", 0o644),
            ("b/d/", "d", 0o750),
            ("b/d/in", "in", 0o644),
            ("b/e/", "d", 0o750),
            ("b/e", "-> x", 0o777),
            ("b/", "d", 0o755),
        ),
        "d 0755 0:0 b",
        "d 0750 0:0 b/d",
        "f 0644 0:0 b/d/in = in",
        "l 0777 0:0 b/e -> x",
        "f 0644 0:0 b/h = last",
        "f 0644 0:0 b/l = file",
        "f 0640 0:0 b/x = after",
    ),
    "sparse files": _alone(
        raw(
            FOLDER,
            tars.pax(
                GNU__sparse__map=b"3,2,9,1",
                GNU__sparse__numblocks=b"2",
                GNU__sparse__size=b"12",
                GNU__sparse__name=b"b/old",
            ),
            tars.member(b"b/GNUSparseFile.0/old", b"abc"),
            tars.pax(
                GNU__sparse__major=b"1",
                GNU__sparse__minor=b"0",
                GNU__sparse__realsize=b"5",
                GNU__sparse__name=b"b/new",
            ),
            tars.member(b"b/GNUSparseFile.0/new", b"1\n4\n1\n".ljust(512, b"\0") + b"z"),
        ),
        "d 0755 0:0 b",
        "f 0644 0:0 b/new = \0\0\0\0z",
        "f 0644 0:0 b/old = \0\0\0ab\0\0\0\0c\0\0",
    ),
}

HIDDEN: Final = {
    "a whiteout before its sibling": _over(
        LOWER,
        tar(("b/.wh.one", "", 0), ("b/three", "3", 0o644)),
        "d 0750 0:0 b",
        "d 0700 0:0 b/d",
        "f 0644 0:0 b/d/in = i",
        "f 0644 0:0 b/three = 3",
        "f 0600 0:0 b/two = 2",
    ),
    "a whiteout after its sibling, and one of a directory": _over(
        LOWER,
        tar(("b/", "d", 0o700), ("b/zero", "0", 0o644), ("b/.wh.one", "", 0), ("b/.wh.d", "", 0)),
        "d 0700 0:0 b",
        "f 0600 0:0 b/two = 2",
        "f 0644 0:0 b/zero = 0",
    ),
    "a whiteout after what replaces it": _over(
        LOWER,
        tar(
            ("b/one", "new", 0o644),
            ("b/.wh.one", "", 0),
            ("b/d/", "d", 0o711),
            ("b/d/new", "n", 0o644),
            ("b/.wh.d", "", 0),
        ),
        "d 0750 0:0 b",
        "d 0711 0:0 b/d",
        "f 0644 0:0 b/d/new = n",
        "f 0644 0:0 b/one = new",
        "f 0600 0:0 b/two = 2",
    ),
    "a whiteout before what replaces it": _over(
        LOWER,
        tar(("b/.wh.one", "", 0), ("b/one", "new", 0o644), ("b/.wh.d", "", 0), ("b/d/new", "n", 0o644)),
        "d 0750 0:0 b",
        "d 0755 0:0 b/d",
        "f 0644 0:0 b/d/new = n",
        "f 0644 0:0 b/one = new",
        "f 0600 0:0 b/two = 2",
    ),
    "whiteouts of what is not there": _over(
        tar(("b/", "d", 0o755), ("b/x", "x", 0o644)),
        tar(("b/.wh.no", "", 0), ("b/no2/.wh.no", "", 0), ("c/.wh.no", "", 0), ("b/y", "y", 0o644)),
        "d 0755 0:0 b",
        "f 0644 0:0 b/x = x",
        "f 0644 0:0 b/y = y",
    ),
    "an opaque directory, its mark first": _over(
        LOWER,
        tar(("b/", "d", 0o755), ("b/.wh..wh..opq", "", 0), ("b/new", "n", 0o644)),
        "d 0755 0:0 b",
        "f 0644 0:0 b/new = n",
    ),
    "an opaque directory, its mark last": _over(
        LOWER,
        tar(("b/new", "n", 0o644), ("b/two", "2!", 0o644), ("b/.wh..wh..opq", "", 0)),
        "d 0750 0:0 b",
        "f 0644 0:0 b/new = n",
        "f 0644 0:0 b/two = 2!",
    ),
    "an opaque directory that has nothing in it and one that is new": _over(
        LOWER,
        tar(("b/d/.wh..wh..opq", "", 0), ("b/e/", "d", 0o711), ("b/e/.wh..wh..opq", "", 0)),
        "d 0750 0:0 b",
        "d 0700 0:0 b/d",
        "d 0711 0:0 b/e",
        "f 0644 0:0 b/one = 1",
        "f 0600 0:0 b/two = 2",
    ),
    "what aufs left behind": _over(
        LOWER,
        tar(
            (".wh..wh.plnk/", "d", 0o700),
            (".wh..wh.aufs", "", 0o444),
            ("b/.wh..wh.orph/", "d", 0o700),
            ("b/.wh.d", "", 0),
        ),
        "d 0750 0:0 b",
        "f 0644 0:0 b/one = 1",
        "f 0600 0:0 b/two = 2",
    ),
    "files and directories and links in each other's place": _over(
        tar(
            ("b/", "d", 0o755),
            ("b/file", "f", 0o644),
            ("b/folder/", "d", 0o700),
            ("b/folder/in", "i", 0o644),
            ("b/gone/", "d", 0o700),
            ("b/gone/in", "i", 0o644),
            ("b/link", "-> folder", 0o777),
            ("b/loop", "-> folder", 0o777),
        ),
        tar(
            ("b/file/", "d", 0o711),
            ("b/folder", "-> file", 0o777),
            ("b/gone", "file", 0o644),
            ("b/link/new", "n", 0o644),
            ("b/loop/", "d", 0o711),
        ),
        "d 0755 0:0 b",
        "d 0711 0:0 b/file",
        "l 0777 0:0 b/folder -> file",
        "f 0644 0:0 b/gone = file",
        "d 0755 0:0 b/link",
        "f 0644 0:0 b/link/new = n",
        "d 0711 0:0 b/loop",
    ),
    "devices 0:0, as an overlay marks what is deleted": _over(
        LOWER,
        raw(
            *(
                tars.member(b"b/" + name, b"", b"3", major=b"0000000", minor=b"0000000")
                for name in (b"one", b"d", b"never")
            ),
            tars.member(b"b/new", b"n"),
        ),
        "d 0750 0:0 b",
        "f 0644 0:0 b/new = n",
        "f 0600 0:0 b/two = 2",
    ),
    "a directory that only a layer further down describes": Row(
        (
            Layer(tar(("b/", "d", 0o3751), ("b/d/", "d", 0o711))),
            Layer(tars.END),
            Layer(tar(("b/d/x", "x", 0o644))),
            Layer(tar(("b/d/.wh.x", "", 0), ("b/d/y", "y", 0o644))),
        ),
        ("d 3751 0:0 b", "d 0711 0:0 b/d", "f 0644 0:0 b/d/y = y"),
    ),
}

DESCRIBED: Final = {
    "owners of every size": _alone(
        raw(
            tars.member(b"b/", b"", b"5", mode=b"0000750", uid=b"0001750", gid=b"0003720"),
            tars.member(b"b/ustar", b"1", uid=b"7777777", gid=b"7777777"),
            tars.member(b"b/gnu", b"2", uid=b"\x80\0\0\0\x7f\xff\xff\xff", gid=b"\x80\0\0\0\x80\0\0\0"),
            tars.pax(uid=b"2147483648", gid=b"4294967294"),
            tars.member(b"b/pax", b"3"),
            tars.member(b"b/both", b"4", uid=b"0200000", gid=b"0177777"),
        ),
        "d 0750 1000:2000 b",
        "f 0644 65536:65535 b/both = 4",
        "f 0644 2147483647:2147483648 b/gnu = 2",
        "f 0644 2147483648:4294967294 b/pax = 3",
        "f 0644 2097151:2097151 b/ustar = 1",
    ),
    "bits of every kind": _alone(
        tar(
            ("b/", "d", 0o7777),
            ("b/set-user", "1", 0o4711),
            ("b/set-group", "2", 0o2755),
            ("b/both", "3", 0o6755),
            ("b/sticky", "4", 0o1644),
            ("b/none", "5", 0o000),
            ("b/locked/", "d", 0o000),
            ("b/locked/in", "6", 0o200),
            ("b/passed/", "d", 0o311),
            ("b/passed/in", "7", 0o644),
        ),
        "d 7777 0:0 b",
        "f 6755 0:0 b/both = 3",
        "d 0000 0:0 b/locked",
        "f 0200 0:0 b/locked/in = 6",
        "f 0000 0:0 b/none = 5",
        "d 0311 0:0 b/passed",
        "f 0644 0:0 b/passed/in = 7",
        "f 2755 0:0 b/set-group = 2",
        "f 4711 0:0 b/set-user = 1",
        "f 1644 0:0 b/sticky = 4",
    ),
    "file type bits within the mode, as old tars have them": _alone(
        raw(tars.member(b"b/", b"", b"5", mode=b"0040755"), tars.member(b"b/x", b"x", mode=b"0100644")),
        "d 0755 0:0 b",
        "f 0644 0:0 b/x = x",
    ),
    "devices and pipes": _alone(
        raw(
            FOLDER,
            tars.member(b"b/null", b"", b"3", mode=b"0000666", major=b"0000001", minor=b"0000003"),
            tars.member(b"b/loop", b"", b"4", mode=b"0000660", major=b"0000007", minor=b"0000144", gid=b"0000006"),
            tars.member(b"b/pipe", b"", b"6", mode=b"0000600"),
        ),
        "d 0755 0:0 b",
        "b 0660 0:6 b/loop 7,100",
        "c 0666 0:0 b/null 1,3",
        "p 0600 0:0 b/pipe",
    ),
    "extended attributes": _alone(
        raw(
            tars.pax(SCHILY__xattr__user__folder=b"f"),
            FOLDER,
            tars.pax(SCHILY__xattr__security__capability=CAPABILITY, SCHILY__xattr__user__k=b"\0\xff\n=v"),
            tars.member(b"b/x", b"x", mode=b"0000755"),
            tars.pax(SCHILY__xattr__user__overlay__opaque=b"y", SCHILY__xattr__trusted__overlay__redirect=b"/etc"),
            tars.member(b"b/d/", b"", b"5", mode=b"0000755"),
        ),
        "d 0755 0:0 b",
        "d 0755 0:0 b/d",
        "f 0755 0:0 b/x = x",
        attributes={
            "b": {"user.folder": b"f"},
            "b/x": {"security.capability": CAPABILITY, "user.k": b"\0\xff\n=v"},
        },
    ),
    "records for all that follows, and one that takes them back": _alone(
        raw(
            tars.pax(b"g", uid=b"5", comment=b"a build"),
            tars.member(b"b/", b"", b"5", mode=b"0000755"),
            tars.pax(uid=b"6"),
            tars.member(b"b/own", b"1"),
            tars.member(b"b/all", b"2"),
            tars.pax(b"g", uid=b""),
            tars.member(b"b/none", b"3"),
        ),
        "d 0755 5:0 b",
        "f 0644 5:0 b/all = 2",
        "f 0644 0:0 b/none = 3",
        "f 0644 6:0 b/own = 1",
    ),
}

ROWS: Final = {**STORED, **WRITTEN, **HIDDEN, **DESCRIBED}
