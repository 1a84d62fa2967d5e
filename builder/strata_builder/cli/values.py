"""The values of flags that hold a small language of their own. Pure; errors name the flag."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping

from strata_builder import errors
from strata_builder.engine import contexts as named
from strata_builder.frozen import frozen
from strata_builder.oci.platform import Platform
from strata_builder.oci.reference import Reference


class UsageError(errors.InvalidSpec):
    """The command line is wrong."""


@frozen
class Secret:
    """Exactly one of `source` (a file) and `variable` is set."""

    id: str
    source: str = ""
    variable: str = ""


@frozen
class Ssh:
    """`paths` are one agent's socket, or private keys; none means the agent of SSH_AUTH_SOCK."""

    id: str
    paths: tuple[str, ...] = ()


@frozen
class Output:
    """`kind` is oci, docker, local, tar, image or cacheonly; `dest` a path, "-" for standard output; `tar` False: a
    folder; `names` are given to the image beside those of --tag."""

    kind: str
    dest: str = ""
    tar: bool = True
    push: bool = False
    names: tuple[str, ...] = ()


@frozen
class CacheReference:
    reference: str


def pairs(flag: str, given: Iterable[str], environment: Mapping[str, str]) -> dict[str, str]:
    """K=V; a plain K takes its value from the environment, and is left out where that has none."""
    found: dict[str, str] = {}
    for item in given:
        name, equals, value = item.partition("=")
        if not name:
            raise UsageError(f"{flag} {item!r}: the name is missing", hint=f"write {flag} NAME=VALUE")
        if equals:
            found[name] = value
        elif name in environment:
            found[name] = environment[name]
    return found


def platforms(given: Iterable[str]) -> list[Platform]:
    """--platform P[,P]: each once, whatever it was called. Raises PlatformInvalid."""
    return list(dict.fromkeys(Platform.parse(part) for text in given for part in text.split(",") if part))


def labels(given: Iterable[str]) -> dict[str, str]:
    """--label NAME=VALUE; a NAME alone has an empty value, as with docker."""
    return pairs("--label", (item if "=" in item else f"{item}=" for item in given), {})


def fields(flag: str, text: str) -> dict[str, str]:
    """`a=b,c=d` as docker reads it: CSV, so that a value with a comma may stand in quotes; a bare word is true."""
    try:
        (row,) = csv.reader([text], strict=True)
    except (csv.Error, ValueError) as e:
        raise UsageError(f"{flag} {text!r}: {e}") from e
    found: dict[str, str] = {}
    for field in row:
        name, equals, value = field.partition("=")
        found[name.strip().lower()] = value if equals else "true"
    return found


def secret(text: str) -> Secret:
    """--secret id=ID[,src=FILE | ,env=NAME]; without both, the variable ID, else the file ID."""
    given = fields("--secret", text)
    _only("--secret", text, given, {"id", "src", "source", "env", "type"})
    name = given.get("id", "")
    if not name:
        raise UsageError(
            f"--secret {text!r}: id is missing", hint="write --secret id=NAME,src=FILE or id=NAME,env=VARIABLE"
        )
    source, variable = given.get("src", given.get("source", "")), given.get("env", "")
    if given.get("type") == "env" and not variable:
        source, variable = "", source or name
    if source and variable:
        raise UsageError(f"--secret {text!r}: both src and env are given")
    return Secret(name, source, variable)


def ssh(text: str) -> Ssh:
    """--ssh ID[=SOCKET | =KEY[,KEY]]."""
    name, equals, paths = text.partition("=")
    found = tuple(path for path in paths.split(",") if path)
    if not name or "," in name or bool(equals) != bool(found):
        raise UsageError(f"--ssh {text!r}: write --ssh default, or --ssh ID=SOCKET, or --ssh ID=KEY[,KEY]")
    return Ssh(name, found)


def output(text: str) -> Output:
    """-o DIR, -o -, -o type=oci|docker|local|tar|image|registry[,dest=PATH][,tar=false][,push=true]."""
    if not text:
        raise UsageError("--output is empty", hint="write --output DIR, or --output type=TYPE,dest=PATH")
    if "=" not in text:
        return Output("tar", "-") if text == "-" else Output("local", text, tar=False)
    given = fields("--output", text)
    _only("--output", text, given, {"type", "dest", "tar", "push", "name"})
    kind = given.get("type", "")
    if kind not in ("oci", "docker", "local", "tar", "image", "registry", "cacheonly"):
        raise UsageError(
            f"--output {text!r}: unknown type {kind!r}",
            hint="types: oci, docker, local, tar, image, registry, cacheonly",
        )
    names = tuple(name for name in given.get("name", "").split(",") if name)
    push = _boolean("--output push", given.get("push", "true" if kind == "registry" else "false"))
    if kind in ("oci", "docker", "local", "tar"):
        return _file(text, kind, given, names, push=push)
    if given.keys() & {"dest", "tar"}:
        raise UsageError(
            f"--output {text!r}: type={kind} is written to no file", hint="write --output type=oci,dest=FILE for one"
        )
    return Output("cacheonly") if kind == "cacheonly" else Output("image", push=push, names=names)


def _file(text: str, kind: str, given: Mapping[str, str], names: tuple[str, ...], *, push: bool) -> Output:
    """What is written on this machine."""
    dest = given.get("dest") or "-"
    tar = _boolean("--output tar", given.get("tar", "false" if kind == "local" else "true"))
    why, hint = "", ""
    if push:
        why, hint = f"type={kind} is not pushed", "add --push, or --output type=registry"
    elif names and kind in ("local", "tar"):
        why, hint = "files have no name", "remove name="
    elif kind == "local" and tar:
        why, hint = "type=local is no tar", "write --output type=tar,dest=FILE"
    elif kind in ("docker", "tar") and not tar:
        why = f"type={kind} is a tar"
        hint = "write --output " + ("type=oci,tar=false,dest=FOLDER" if kind == "docker" else "type=local,dest=FOLDER")
    elif dest == "-" and not tar:
        why = "dest is missing"
        hint = f"write --output type={kind},dest=FOLDER" + (",tar=false" if kind == "oci" else "")
    if why:
        raise UsageError(f"--output {text!r}: {why}", hint=hint)
    return Output(kind, dest, tar, names=names)


def cache(flag: str, text: str) -> CacheReference:
    """--cache-from and --cache-to: type=registry,ref=REFERENCE, or the reference alone."""
    given = fields(flag, text) if "=" in text else {"ref": text}
    if given.get("type", "registry") == "registry":
        _only(flag, text, given, {"type", "ref", "mode"})
    if given.get("type", "registry") != "registry" or not given.get("ref"):
        raise UsageError(
            f"{flag} {text!r}: only type=registry,ref=REFERENCE is known",
            hint="a cache on this machine needs no flag: it is kept below ~/.cache/strata-build (STRATA_CACHE_DIR)",
        )
    return CacheReference(given["ref"])


def contexts(given: Iterable[str]) -> dict[str, str]:
    """--build-context NAME=PATH | oci-layout://DIR[:TAG] | docker-image://REF; names as the engine looks for them."""
    found = {}
    for item in given:
        name, equals, value = item.partition("=")
        if not name or not equals or not value:
            raise UsageError(
                f"--build-context {item!r}: write NAME=PATH, NAME=oci-layout://DIR or NAME=docker-image://REF"
            )
        found[named.key(name)] = value
    return found


def mirrors(given: Iterable[str]) -> list[tuple[str, str]]:
    """--registry-mirror UPSTREAM=URL, or a URL alone for docker.io."""
    return [(item.partition("=")[0], item.partition("=")[2]) if "=" in item else ("docker.io", item) for item in given]


def hosts(flag: str, given: Iterable[str]) -> frozenset[str]:
    """HOST[:PORT], as references to images there have it."""
    return frozenset(_host(flag, text) for text in given)


def _host(flag: str, text: str) -> str:
    host = text.removesuffix("/")
    try:
        found = Reference.parse(f"{host.lower()}/x/y") if host and "/" not in host else None
    except errors.BuildError:
        found = None
    if found is None:
        raise UsageError(f"{flag} {text!r}: this is no host", hint=f"write {flag} HOST[:PORT]")
    return host.lower() if found.repository != "x/y" else found.host


def _boolean(what: str, text: str) -> bool:
    if text.lower() not in ("true", "false", "1", "0"):
        raise UsageError(f"{what}={text!r}: write true or false")
    return text.lower() in ("true", "1")


def _only(flag: str, text: str, given: Mapping[str, str], known: set[str]) -> None:
    if unknown := sorted(set(given) - known):
        raise UsageError(f"{flag} {text!r}: unknown field {unknown[0]!r}", hint=f"fields: {', '.join(sorted(known))}")
