"""The command line of `strata`: names and meanings are those of `docker build` wherever Docker has them."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any, Final, NoReturn

from strata_builder import __version__
from strata_builder.cli import refused, values

Command = Callable[[argparse.Namespace], int]
_SWITCHES: Final = frozenset({"--push", "--pull", "--no-cache", "--quiet", "-q", "--debug", "-D", "--check"})
#: Flags whose value goes by another name.
_ALIASES: Final = ("--check", "--help", "--version")

_BUILD = """\
examples:
  strata build -t registry.example/team/web:1 --push .
  strata build -f Dockerfile.prod --target app -o type=oci,dest=app.tar .
  strata build -t web https://git.example/team/web.git#main:site
  strata build -t web -o type=docker,dest=- . | docker load
  tar c . | strata build -o out -

Base images are looked up by their tag at every build, as with docker's --pull. An image goes where --push or -o says;
without both nothing is written but the cache.
Credentials come from Docker's config.json ($DOCKER_CONFIG or ~/.docker), its helpers included: `docker login` works.
SOURCE_DATE_EPOCH (environment, --build-arg, or ARG before FROM) fixes every time in the image; `context` as its value is
the time of the commit that is built.
Exit codes: 0 built, 1 failed, 2 the command line is wrong, 11 a RUN failed, 20 a registry or source is unavailable
(try again), 130 interrupted.
"""
_PLAN = """\
example:
  strata plan -f Dockerfile.prod --target app .
"""
_CHECK = """\
example:
  strata check -f Dockerfile.prod .
"""


_LOGS = """\
examples:
  strata logs web -n team                     the newest build that has run
  strata logs web -n team --follow            what runs now, or next, until the build has ended
  strata logs web -n team --build 3           an older build; its last attempt
  strata logs web -n team --build 3 --attempt 1
  strata logs --from registry.example/team/web:3      without a cluster, by docker's login to the registry

While there is a pod, its log is read from the cluster, by your kubectl ($KUBECTL names another program): that takes
get on imagebuilds.strata.build, get and list on pods, and get on pods/log. Later it is read from the image's repository,
where as many logs are kept as status.builds tells of builds (spec.history): the first 64 KiB and the last 1 MiB of each.
A registry inside the cluster is reached by its external name, or by kubectl port-forward; --via names an address of yours.
Logins come from the Secret strata-pull of the namespace, if you may read it, and from Docker's config.json.
What a build has printed is shown without control sequences; before each line stands the container that printed it.
Exit codes: 0 shown, 1 not found or not allowed, 2 the command line is wrong, 20 the cluster or registry did not answer.
"""


class _Parser(argparse.ArgumentParser):
    """Tells a wrong command line in two lines, as every other error."""

    def error(self, message: str) -> NoReturn:
        raise values.UsageError(message, hint=f"see `{self.prog} --help`")


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Raises UsageError for what cannot be parsed; its hint names the nearest flag."""
    given, unknown = parser().parse_known_args(_without_values(refused.without(argv)))
    if unknown:
        raise _unknown(given, unknown)
    return given


def _unknown(given: argparse.Namespace, words: Sequence[str]) -> values.UsageError:
    flag = next((word.partition("=")[0] for word in words if word.startswith("-")), "")
    if not flag:
        what = "ImageBuild" if given.command == "logs" else "context"
        hint = f"`strata {given.command}` takes one {what}; flags come before or after it"
        return values.UsageError(f"unexpected argument {words[0]!r}", hint=hint)
    import difflib

    known = [f"--{name.replace('_', '-')}" for name in vars(given)]
    near = difflib.get_close_matches(flag[:64], [*known, *_ALIASES, *refused.FLAGS], n=1, cutoff=0.75)
    hint = f"did you mean {near[0]}?" if near else f"see `strata {given.command} --help`"
    return values.UsageError(f"unknown flag {flag}", hint=hint)


def _without_values(argv: Sequence[str]) -> list[str]:
    """docker's spelling of what is there or not: `--push=true` is `--push`, `--push=false` is nothing."""
    found = []
    for word in argv:
        flag, equals, value = word.partition("=")
        if not equals or flag not in _SWITCHES:
            found.append(word)
        elif value.lower() in ("true", "1", "t"):
            found.append(flag)
        elif value.lower() not in ("false", "0", "f"):
            raise values.UsageError(f"{flag} is true or false, not {value!r}")
    return found


def parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    top = _Parser(
        prog="strata",
        description="Builds container images from Dockerfiles: no daemon, no privilege, the same inputs give the same digest.",
        epilog="`strata COMMAND --help` tells more, with examples.",
        allow_abbrev=False,
    )
    top.add_argument("--version", action="version", version=f"strata {__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def command(name: str, help: str, description: str, epilog: str) -> argparse.ArgumentParser:  # noqa: A002
        usage = f"strata {name} [OPTIONS] [CONTEXT|-|URL]"
        made = commands.add_parser(
            name,
            help=help,
            description=description,
            epilog=epilog,
            usage=usage,
            formatter_class=raw,
            allow_abbrev=False,
        )
        _source(made)
        _what(made)
        return made

    build = command("build", "build an image", "Build an image from a Dockerfile.", _BUILD)
    _where(build)
    _how(build)
    plan = command(
        "plan", "show what a build would do", "Show each stage and step, its key, and whether it is cached.", _PLAN
    )
    _how(plan)
    command("check", "check a Dockerfile without building", "Read a Dockerfile, say what is wrong.", _CHECK)
    _logs(commands)
    return top


def _logs(commands: Any) -> None:
    made = commands.add_parser(
        "logs",
        help="show the log of a build in a cluster",
        description="Show what a build has printed, also when its pod is long gone.",
        epilog=_LOGS,
        usage="strata logs [OPTIONS] IMAGEBUILD\n       strata logs [OPTIONS] --from REPOSITORY[:NUMBER]",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    made.add_argument("name", nargs="?", default="", metavar="IMAGEBUILD", help="its name")
    made.add_argument("-n", "--namespace", default="", help="its namespace (default: that of the kubeconfig's context)")
    made.add_argument("--build", type=int, metavar="NUMBER", help="a build of status.builds (default: the newest)")
    made.add_argument("--attempt", type=int, metavar="N", help="one of its attempts (default: the last)")
    made.add_argument("-f", "--follow", action="store_true", help="print lines as they come, until the build has ended")
    made.add_argument("--timestamps", action="store_true", help="begin each line with its time")
    made.add_argument(
        "--from",
        dest="source",
        default="",
        metavar="REPOSITORY[:NUMBER]",
        help="read from a registry, without a cluster",
    )
    made.add_argument("--via", default="", metavar="HOST[:PORT]", help="reach the registry at this address")
    made.add_argument(
        "--insecure-registry",
        action="append",
        default=[],
        metavar="HOST[:PORT]",
        help="reach this registry by plain HTTP",
    )
    made.add_argument("--context", default="", help="the kubeconfig's context")
    made.add_argument("--kubeconfig", default="", metavar="FILE", help="the kubeconfig")
    made.add_argument("-D", "--debug", action="store_true", help="show where in the program an error comes from")


def _source(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "context",
        nargs="?",
        default=".",
        metavar="CONTEXT|-|URL",
        help="a folder, the URL of a git repository, an archive or a Dockerfile,"
        " or - for a tar or zip archive (or a Dockerfile) on standard input",
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
        metavar="NAME=PATH|URL|oci-layout://DIR[:TAG|@DIGEST]|docker-image://REF",
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
        metavar="DIR|-|type=TYPE[,dest=PATH]",
        help="oci or docker: an archive; local (or DIR): its files in a folder; tar (or -): its files as a tar;"
        " image,push=true or registry: as --push; cacheonly: nothing. dest=- is standard output; oci takes tar=false"
        " for a folder; name=REF adds a name. May be repeated",
    )
    group.add_argument(
        "-q", "--quiet", action="store_true", help="print the image's digest, and errors, and nothing else"
    )
    group.add_argument(
        "--call",
        choices=["build", "check", "outline", "targets"],
        default="build",
        help="check: as `strata check`",
    )
    group.add_argument("--check", dest="call", action="store_const", const="check", help="as --call=check")
    group.add_argument("--iidfile", metavar="FILE", help="write the image's digest (sha256:...) to FILE")
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
    group.add_argument(
        "--network",
        choices=["default", "host", "none"],
        default="default",
        help="the network of RUN: this machine's (default and host), or none but a loopback",
    )
    group.add_argument("--pull", action="store_true", help="look base images up anew, which is always done")
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
        choices=["auto", "tty", "plain", "json", "quiet"],
        default="auto",
        help="how progress is told, on standard error: what runs, with its seconds (tty; auto on a terminal), plain "
        "lines (auto elsewhere), or an object a line (json)",
    )
    group.add_argument("-D", "--debug", action="store_true", help="show where in the program an error comes from")
