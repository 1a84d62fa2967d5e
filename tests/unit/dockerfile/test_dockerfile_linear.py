"""However long a Dockerfile's lines are, reading it and expanding its variables takes work in proportion."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from strata_builder import dockerfile as df
from strata_builder import errors
from strata_builder.dockerfile import expansion, globs
from support import linecount

SIZE = 400
#: How often a test's text has its repeated part: the second ten times as often as the first.
TEXTS: dict[str, Callable[[int], str]] = {
    "words of RUN": lambda n: "RUN echo " + "word " * n,
    "one word of RUN": lambda n: "RUN " + "w" * n,
    "continued lines": lambda n: "RUN echo \\\n" + " word \\\n # comment\n\n" * n + " end",
    "a list": lambda n: "CMD [" + ", ".join(['"word"'] * n) + "]",
    "a list that is none": lambda n: "CMD [" + ", ".join(['"word"'] * n) + ", word]",
    "pairs of ENV": lambda n: "ENV " + " ".join(f"v{number}=x" for number in range(n)),
    "a quoted value": lambda n: 'ENV a="' + 'x \\" ' * n + '"',
    "backslashes": lambda n: "ENV a=" + "\\" * n + "x",
    "sources of COPY": lambda n: "COPY " + "word " * n + "/",
    "flags of COPY": lambda n: "COPY " + "--exclude=a " * n + "a /",
    "ports": lambda n: "EXPOSE " + "80 " * n,
    "paths of VOLUME": lambda n: "VOLUME " + "/word " * n,
    "a here-document": lambda n: "COPY <<EOF /a\n" + "word\n" * n + "EOF",
    "many here-documents": lambda n: "RUN " + "".join(f" <<E{k}" for k in range(n)) + "".join(f"\nE{k}" for k in range(n)),
    "blanks": lambda n: "RUN" + " " * n + "x",
    "empty lines": lambda n: "RUN a" + "\n" * n,
    "comments": lambda n: "RUN a\n" + "# word\n" * n,
    "instructions": lambda n: "USER a\n" * n,
}  # fmt: skip
WORDS: dict[str, Callable[[int], str]] = {
    "variables": lambda n: "$v" * n,
    "defaults": lambda n: "${none:-x}" * n,
    "quotes": lambda n: "'a'\"b\"" * n,
    "escapes": lambda n: "\\a" * n,
    "every match replaced": lambda n: "${text//x/yy}",
    "every match of a pattern replaced": lambda n: "${text//x*/yy}",
    "a suffix cut off": lambda n: "${text%%*x}",
}


@pytest.mark.parametrize("name", TEXTS)
def test_ten_times_the_text_takes_ten_times_the_work(name: str) -> None:
    small, large = (f"FROM scratch\n{TEXTS[name](SIZE * times)}\n".encode() for times in (1, 10))
    longer = len(large) / len(small)
    assert linecount.lines_run(lambda: df.parse(large, "d")) <= 1.1 * longer * linecount.lines_run(
        lambda: df.parse(small, "d")
    )


@pytest.mark.parametrize("name", WORDS)
def test_ten_times_the_word_takes_ten_times_the_work(name: str) -> None:
    def expand(times: int) -> Callable[[], object]:
        values = {"v": "1", "text": "ax\n" * SIZE * times}
        return lambda: expansion.Word(WORDS[name](SIZE * times), values, "\\").expand()

    assert linecount.lines_run(expand(10)) <= 11 * linecount.lines_run(expand(1))


@pytest.mark.parametrize("pattern", ["x", "?x", "x*", "*x", "a?*"])
def test_replacing_looks_at_every_character_a_few_times(pattern: str, monkeypatch: pytest.MonkeyPatch) -> None:
    looked = 0
    ends = globs.Matcher.ends

    def counted(self: globs.Matcher, starts: int) -> int:
        nonlocal looked
        looked += self._size
        return ends(self, starts)

    monkeypatch.setattr(globs.Matcher, "ends", counted)
    value = "axax\n" * 3000
    assert list(globs.replace(pattern, value, "!", everywhere=True))
    assert looked <= 4 * len(value)


def test_a_dockerfile_has_a_limit_that_is_told() -> None:
    df.parse(b"FROM scratch\n#" + b"x" * (df.MAX_BYTES - 14), "d")
    with pytest.raises(errors.DockerfileError, match="d has more than 4194304 bytes, which is the limit"):
        df.parse(b"FROM scratch\n#" + b"x" * (df.MAX_BYTES - 13), "d")
