"""The command line of `strata`: names and meanings are those of `docker build` wherever Docker has them."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from strata_builder import __version__

Command = Callable[[argparse.Namespace], int]

_BUILD = """\
examples:
  strata build -t registry.example/team/web:1 --push .
  strata build -f Dockerfile.prod --target app -o type=oci,dest=app.tar .
  strata build -t web https://git.example/team/web.git#main:site
  tar c . | strata build -t web -o type=docker,dest=web.tar -

credentials come from Docker's config.json ($DOCKER_CONFIG or ~/.docker), its helpers included: `docker login` works.
SOURCE_DATE_EPOCH (environment or --build-arg) fixes every time in the image.
"""


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="strata",
        description="Builds container images from Dockerfiles: no daemon, no privilege, the same inputs give the same digest.",
        epilog="`strata COMMAND --help` tells more, with examples.",
    )
    top.add_argument("--version", action="version", version=f"strata {__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    raw = argparse.RawDescriptionHelpFormatter
    build = commands.add_parser(
        "build",
        help="build an image",
        description="Build an image from a Dockerfile.",
        epilog=_BUILD,
        formatter_class=raw,
    )
    _source(build)
    _what(build)
    _where(build)
    _how(build)
    plan = commands.add_parser(
        "plan",
        help="show what a build would do",
        description="Show each stage and step, its key, and whether it is cached.",
    )
    _source(plan)
    _what(plan)
    _how(plan)
    check = commands.add_parser(
        "check", help="check a Dockerfile without building", description="Read a Dockerfile, say what is wrong."
    )
    _source(check)
    _what(check)
    return top


def _source(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "context",
        nargs="?",
        default=".",
        metavar="CONTEXT|-|URL",
        help="a folder, a git or archive URL, or - for a tar or zip archive (or a Dockerfile) on standard input",
    )
    command.add_argument(
        "-f", "--file", metavar="FILE", help="the Dockerfile (default: CONTEXT/Dockerfile; - for standard input)"
    )


def _what(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group("what to build")
    group.add_argument("--target", default="", metavar="STAGE", help="build this stage instead of the last")
    group.add_argument("--build-arg", action="append", default=[], metavar="NAME[=VALUE]", help="the value of an ARG")
    group.add_argument("--label", action="append", default=[], metavar="NAME=VALUE", help="a label of the image")
    group.add_argument(
        "--platform", action="append", default=[], metavar="OS/ARCH[/VARIANT]", help="the platform (default: this one)"
    )
    group.add_argument(
        "--secret",
        action="append",
        default=[],
        metavar="id=ID[,src=FILE|,env=NAME]",
        help="a secret for RUN --mount=type=secret",
    )
    group.add_argument(
        "--ssh",
        action="append",
        default=[],
        metavar="ID[=SOCKET|KEY,...]",
        help="an ssh agent for RUN --mount=type=ssh: yours (--ssh default), or one with these keys",
    )
    group.add_argument(
        "--build-context",
        action="append",
        default=[],
        metavar="NAME=PATH|oci-layout://DIR[:TAG]|docker-image://REF",
        help="a further context, named in FROM, COPY --from or RUN --mount=from=",
    )


def _where(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group("where to put it")
    group.add_argument(
        "-t", "--tag", action="append", default=[], metavar="REF", help="the image's name; may be repeated"
    )
    group.add_argument("--push", action="store_true", help="push it under its names")
    group.add_argument(
        "-o",
        "--output",
        action="append",
        default=[],
        metavar="type=oci|docker|local|tar,dest=PATH[,tar=false]",
        help="write it as an OCI or Docker archive, or its files to a folder or a tar; - is standard output",
    )
    group.add_argument("--iidfile", metavar="FILE", help="write the image's digest to FILE")
    group.add_argument("--metadata-file", metavar="FILE", help="write what was built to FILE, as JSON")


def _how(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group("how to build it")
    group.add_argument("--no-cache", action="store_true", help="do every step again")
    group.add_argument(
        "--cache-from", action="append", default=[], metavar="type=registry,ref=REF", help="use the cache there"
    )
    group.add_argument(
        "--cache-to", action="append", default=[], metavar="type=registry,ref=REF", help="keep the cache there"
    )
    group.add_argument(
        "--isolation",
        choices=["auto", "layers", "userns"],
        default="auto",
        type=str.lower,
        help="layers: no step runs, no rights are needed; userns: steps run in namespaces (default: what the Dockerfile needs)",
    )
    group.add_argument("--network", choices=["default", "none"], default="default", help="the network of RUN")
    group.add_argument("--compression", choices=["gzip", "zstd"], default="gzip", help="of new layers (default: gzip)")
    group.add_argument(
        "--insecure-registry",
        action="append",
        default=[],
        metavar="HOST[:PORT]",
        help="reach this registry by plain HTTP",
    )
    group.add_argument(
        "--registry-mirror",
        action="append",
        default=[],
        metavar="[UPSTREAM=]URL",
        help="ask URL before UPSTREAM (docker.io)",
    )
    group.add_argument(
        "--progress",
        choices=["auto", "plain", "json", "quiet"],
        default="auto",
        help="how progress is told, on standard error",
    )
