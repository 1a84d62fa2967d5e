"""Random Dockerfiles: mostly right, with the oddities that people write and some that nobody should."""

from __future__ import annotations

import random
from typing import TypeVar

_T = TypeVar("_T")

ENV = {"A": "arg", "E": "", "V": "foo.tar.gz", "P": "/a/b/c.txt", "S": "two words", "N": "8080", "M": "755"}
NAMES = ("A", "B", "FOO", "PATH", "TARGETARCH", "TARGETPLATFORM", "BUILDPLATFORM", "G", "H", "NO", "X_1")
WORDS = (
    "a",
    "1",
    "/x",
    "x/y",
    "foo.tar.gz",
    "*.txt",
    "a=b",
    "#",
    "é",
    "[",
    "{",
    "--y",
    "C:\\z",
    "a\\ b",
    "b",
    "-",
    ".",
)
STAGES = ("one", "Two", "three", "base", "a1", "x_y", "testbase", "onbuilder", "scratch", "1")
IMAGES = ("scratch", "testbase", "testbase:1", "onbuilder", "${H:-scratch}", "docker.io/library/testbase", "$G", "one")
PLATFORMS = ("linux/amd64", "$BUILDPLATFORM", "$TARGETPLATFORM", "linux/arm64", "${NO}", "linux/arm/v7", "bad/")
BLANKS = ("  ", "\t", " \\\n", " \\\n\n  ", " \\\n# why\n ", "\\\n ", " \\  \n", " `\n", " \\\n \\\n ", "\v")
HEADS = ("# escape=\\", "# escape=`", "# syntax=x/y:1", "# check=skip=all", "#escape = `", "# note", "# nothing=1", "")
FORMS = (":-w", "-w", ":+w", "+w", ":?w", "?w", "#*/", "##*/", "%.*", "%%.*", "/o/0", "//o/0", ":-${A}", ":-$B x", "")
MOUNT_OPTIONS = (
    "type=bind", "type=cache", "type=tmpfs", "type=secret", "type=ssh", "type=Cache", "type=bad", "target=/t", "dst=rel",
    "destination=/d/$A", "source=/s", "src=$S", "from=one", "from=testbase", "from=$G", "id=i", "id=$A", "sharing=locked",
    "sharing=private", "sharing=bad", "required", "required=false", "ro", "rw", "readonly=false", "readwrite=true",
    "mode=0600", "mode=9", "uid=1", "gid=2", "uid=x", "size=1m", "size=10", "size=x", "env=E", "RO=1", "bad=1", "target",
    '"target=/a,b"', "ro=maybe", "",
)  # fmt: skip
COPY_FLAGS = (
    "--from=one", "--from=0", "--from=testbase", "--chown=1:2", "--chown=$A", "--chmod=755", "--chmod=$M", "--link",
    "--link=false", "--link=x", "--parents", "--exclude=*.txt", "--exclude=$A", "--bad", "--from", "--checksum=sha256:0",
    "--keep-git-dir", "--keep-git-dir=false", "--unpack=true", "--chown=", "--",
)  # fmt: skip

ODD_ENV = ENV | {"STAR": "a*b*c", "UNI": "zwölf", "NEEDLE": "\\*", "LINES": "one\ntwo", "BS": "a\\b"}
_ODD_PIECES = (
    *(
        "$",
        "${",
        "}",
        "{",
        "A",
        "E",
        "V",
        "P",
        "S",
        "STAR",
        "UNI",
        "LINES",
        "NO",
        "BS",
        ":-",
        "-",
        ":+",
        "+",
        ":?",
        "?",
    ),
    *(
        "#",
        "##",
        "%",
        "%%",
        "/",
        "//",
        "*",
        "\\",
        "`",
        "'",
        '"',
        " ",
        "a",
        "b",
        "o",
        ".",
        "x",
        "<",
        "<<",
        "\t",
        ":",
        "$A",
    ),
    *("${A}", "${V%", "${V#", "${P##", "${V/", "${NO:-", "\\}", "\\/", "$1", "[", "]", "ä"),
)
_RULE_PIECES = (
    "a",
    "b",
    "c",
    "/",
    "/",
    "*",
    "**",
    "?",
    "[ab]",
    "[^a]",
    "\\a",
    "..",
    ".",
    "!",
    " ",
    "#",
    "\\",
    "[",
    "é",
    "a/b",
)


def odd_word(rng: random.Random) -> str:
    """A word of pieces that mean something to the expansion, in any order."""
    return "".join(rng.choice(_ODD_PIECES) for _ in range(rng.randint(1, 9)))


def ignore_file(rng: random.Random) -> bytes:
    """A .dockerignore of a few rules."""
    rules = ["".join(rng.choice(_RULE_PIECES) for _ in range(rng.randint(0, 5))) for _ in range(rng.randint(1, 4))]
    marked = [rng.choice(("", "", "!", "! ", "/", " ")) + rule + rng.choice(("", "", "/", "\r", " ")) for rule in rules]
    return (rng.choice(("", "", "\ufeff")) + "\n".join(marked)).encode()


def paths(rng: random.Random) -> list[str]:
    """Names of files of a context."""
    return [
        "/".join(rng.choice(("a", "b", "c", "ab", "é", "#", ".a")) for _ in range(rng.randint(1, 4))) for _ in range(8)
    ]


class Grammar:
    """One seed gives one series of files."""

    def __init__(self, seed: int, *, odd: float = 0.12) -> None:
        """`odd` is how probable each oddity is; without any most files are right."""
        self._random = random.Random(seed)
        self._odd = odd
        self._names: list[str] = []

    def dockerfile(self) -> str:
        """A whole file."""
        self._names = []
        lines = [self._pick(*HEADS) for _ in range(self._few() if self._rarely() else 0)]
        lines += [self._arg() for _ in range(self._few())]
        for _ in range(self._pick(1, 1, 1, 2, 2, 3)):
            lines.append(self._from())
            lines += [self.instruction() for _ in range(self._random.randint(0, 6))]
        if self._rarely():
            lines.insert(self._random.randint(0, len(lines)), self._pick("", "# note", "  # note", "bogus x", "RUNN x"))
        text = "\n".join(lines) + self._pick("\n", "\n", "")
        if self._rarely():
            text = text.replace("\n", "\r\n")
        return self._pick("", "", "", "", "\ufeff") + text

    def instruction(self) -> str:
        """One instruction, perhaps over several lines."""
        line = self._pick(*self._makers)(self)
        keyword, space, rest = line.partition(" ")
        if self._rarely():
            keyword = self._pick(keyword.lower(), keyword.capitalize())
        if space and self._rarely():
            space = self._pick(*BLANKS)
        if rest and self._rarely():
            rest += self._pick(" \\", " ", "\t", " #x", "\\", " `")
        return self._pick("", "", "", "", "  ", "\t") + keyword + space + rest

    def word(self) -> str:
        """A word with variables, quotes and escapes."""
        return "".join(self._piece() for _ in range(self._pick(1, 1, 1, 2, 3)))

    def mount(self) -> str:
        """The value of a --mount."""
        return ",".join(self._pick(*MOUNT_OPTIONS) for _ in range(self._random.randint(1, 4)))

    def _pick(self, *options: _T) -> _T:
        return self._random.choice(options)

    def _few(self) -> int:
        return self._pick(0, 0, 0, 1, 2)

    def _rarely(self) -> bool:
        return self._random.random() < self._odd

    def _piece(self) -> str:
        name = self._pick(*NAMES, *ENV)
        plain = self._pick(*WORDS)
        form = self._pick(*(FORMS if self._rarely() else FORMS[:4]))
        made = self._pick(plain, plain, plain, f"${name}", f"${{{name}}}", f"${{{name}{form}}}")
        return self._pick(
            made, made, made, made, f'"{made}"', f"'{made}'", f"\\{made}", f'"{made}' if self._rarely() else made
        )

    def _arg(self) -> str:
        name = self._pick(*NAMES)
        return self._pick(f"ARG {name}", f"ARG {name}={self.word()}", f"ARG {name}={self.word()} {self._pick(*NAMES)}")

    def _from(self) -> str:
        platforms = PLATFORMS if self._rarely() else PLATFORMS[:4]
        platform = self._pick("", "", f"--platform={self._pick(*platforms)} ")
        images = (*IMAGES, *STAGES[:2]) if self._rarely() else IMAGES[:5]
        stages = STAGES if self._rarely() else STAGES[:-1]
        name = self._pick("", "", f" AS {self._pick(*stages)}", f" as {self._pick(*stages)}")
        line = f"FROM {platform}{self._pick(*images, *self._names)}{name}"
        self._names += [name.split()[-1].lower()] if name else []
        return line

    def _pairs(self, keyword: str) -> str:
        many = " ".join(f"{self._pick(*NAMES)}={self.word()}" for _ in range(self._random.randint(1, 3)))
        return self._pick(f"{keyword} {many}", f"{keyword} {many}", f"{keyword} {self._pick(*NAMES)} {self.word()} x")

    def _env(self) -> str:
        return self._pairs("ENV")

    def _label(self) -> str:
        return self._pairs("LABEL")

    def _json(self) -> str:
        if not self._rarely():
            return self._pick('["a", "b c"]', '["$A"]', '[ "a" , "\\u00e9" ]')
        return self._pick("[]", '["a", 1]', '["a"', '["$A"] x', "['a']", '["\\x"]', "[null]", '[["a"]]')

    def _shell_text(self) -> str:
        if self._rarely():
            return self._pick("", "x \\\n  y", self.word())
        return self._pick(f"echo {self.word()} {self.word()}", "echo a && b | c > d")

    def _command(self, keyword: str) -> str:
        return f"{keyword} {self._pick(self._json(), self._shell_text())}".rstrip(" ")

    def _cmd(self) -> str:
        return self._command("CMD")

    def _entrypoint(self) -> str:
        return self._command("ENTRYPOINT")

    def _shell(self) -> str:
        return f"SHELL {self._json()}"

    def _run(self) -> str:
        flag = self._pick("", "", "--mount=type=cache,target=/c ", "--network=none ")
        if self._rarely():
            flag = self._pick(f"--mount={self.mount()} ", f"--network={self._pick('host', 'x', '')} ", "--z ")
        if self._rarely():
            return f"RUN {flag}{self._heredoc('cat ', '')}"
        return self._command(f"RUN {flag}".rstrip(" "))

    def _heredoc(self, before: str, after: str) -> str:
        opener, end = self._pick(("<<E", "E"), ("<<-E", "\tE"), ("<<'E'", "E"), ('3<<"E"', "E"), ("<< E", "E"))
        lines = ("a", "\t$A", "#!/bin/sh", "'${NO:-x}'", "\\$A", "", " E")
        body = "".join(self._pick(*lines) + "\n" for _ in range(self._few()))
        return f"{self._pick(before, '')}{opener}{after}\n{body}{self._pick(end, end, end, 'X') if self._rarely() else end}"

    def _copy(self) -> str:
        keyword = self._pick("COPY", "COPY", "ADD")
        known = COPY_FLAGS if self._rarely() else ("--chown=1:2", "--chmod=$M", "--link", "--exclude=*.txt")
        flags = "".join(f"{flag} " for flag in sorted({self._pick(*known) for _ in range(self._few())}))
        if self._rarely():
            return f"{keyword} {flags}{self._heredoc('', ' /x')}"
        return f"{keyword} {flags}{self._pick(f'f {self.word()}', f'{self.word()} /x/', self._two_paths(), 'f d /x/')}"

    def _two_paths(self) -> str:
        return "f" if self._rarely() else '["f", "/a b"]'

    def _words(self) -> str:
        return self._pick("WORKDIR", "USER", "WORKDIR", "USER", "MAINTAINER") + " " + self.word()

    def _volume(self) -> str:
        return f"VOLUME {self._pick(self._json(), f'/v{self.word()} x')}" + (self.word() if self._rarely() else "")

    def _stopsignal(self) -> str:
        odd = ("$A", "SIGX", "0", "-1", "65", "")
        return f"STOPSIGNAL {self._pick(*odd) if self._rarely() else self._pick('SIGTERM', 'kill', '9', 'RTMIN+3')}"

    def _expose(self) -> str:
        odd = (
            "70000",
            "80/x",
            "1:2",
            "127.0.0.1:1:2",
            "9-8",
            "[::1]:1:2",
            "1.2.3:1:2",
            "1-2:3",
            "+1",
            "8-8",
            ":9",
            "/tcp",
        )
        ports = odd if self._rarely() else ("80", "443/tcp", "53/UDP", "8000-8002", "${N:-81}", "${N:-81}/udp")
        return "EXPOSE " + " ".join(self._pick(*ports) for _ in range(self._random.randint(1, 3)))

    def _healthcheck(self) -> str:
        odd = (
            "--timeout=5",
            "--retries=-1",
            "--interval=0",
            "--x=1",
            "--interval=1us",
            "--retries=x",
            "--interval=-1s",
        )
        flags = (
            odd if self._rarely() else ("--interval=1m30s", "--retries=3", "--start-period=1.5h", "--start-interval=5s")
        )
        flag = self._pick("", f"{self._pick(*flags)} ")
        if self._rarely():
            return f"HEALTHCHECK {flag}{self._pick('NONE', 'NONE x', 'X', '', 'CMD')}"
        return f"HEALTHCHECK {flag}CMD {self._pick('a b', self._json())}"

    def _onbuild(self) -> str:
        if self._rarely():
            return "ONBUILD " + self._pick("FROM a", "ONBUILD RUN a", "MAINTAINER a", "", "COPY --from=one f /f")
        return f"ONBUILD {self._pick(self._env, self._label, self._run, self._copy, self._words, self._cmd)()}"

    _makers = (
        _arg, _env, _label, _cmd, _entrypoint, _shell, _run, _run, _copy, _copy, _words, _words, _volume, _stopsignal,
        _expose, _healthcheck, _onbuild,
    )  # fmt: skip
