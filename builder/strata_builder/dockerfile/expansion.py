"""Variables, quotes and escapes in one word. Follows moby/buildkit frontend/dockerfile/shell/lex.go.

All forms, nested at will: $v ${v} ${v:-w} ${v-w} ${v:+w} ${v+w} ${v:?w} ${v?w} ${v#p} ${v##p} ${v%p} ${v%%p}
${v/p/r} ${v//p/r}.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from strata_builder import errors
from strata_builder.dockerfile import globs, text
from strata_builder.dockerfile.faults import Fault

# A file of a few lines can double a value with each: what one word expands to is bounded, and how deep it nests.
MAX_EXPANDED = 8 << 20
MAX_DEPTH = 50

_SPECIAL = frozenset("@*#?-$!0")


def expand(word: str, env: Mapping[str, str], *, escape: str = "\\") -> str:
    """The word with variables replaced, quotes and escapes removed. Raises errors.DockerfileError (without a place)."""
    try:
        return Word(word, env, escape).expand()
    except Fault as fault:
        raise errors.DockerfileError(fault.message, hint=fault.hint) from None


class Word:
    """One pass over one word. `quotes` false leaves quotes alone, as in the body of a here-document."""

    def __init__(self, word: str, env: Mapping[str, str], escape: str, *, quotes: bool = True) -> None:
        self._word = word
        self._env = env
        self._escape = escape
        self._quotes = quotes
        self._position = 0
        self._depth = 0
        self._budget = MAX_EXPANDED + len(word)

    def expand(self) -> str:
        """The whole word as one."""
        return "".join(piece for piece, _ in self._until(""))

    def split(self) -> list[str]:
        """The words that it expands to: split at spaces that were neither quoted nor escaped."""
        found: list[str] = []
        current: list[str] = []
        for piece, splits in self._until(""):
            for char in piece:
                if not (splits and char in text.SPACES):
                    current.append(char)
                elif current:
                    found.append("".join(current))
                    current = []
        return [*found, "".join(current)] if current else found

    def _peek(self) -> str:
        return self._word[self._position : self._position + 1]

    def _next(self) -> str:
        char = self._peek()
        self._position += 1
        return char

    def _until(self, stop: str, *, raw: bool = False) -> list[tuple[str, bool]]:
        """Pieces up to the stop character, which is taken, or the end.

        With each piece stands whether it may be split at spaces. `raw` keeps escapes, for a pattern to read.
        """
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self._bad("the variables are nested too deep", f"nest at most {MAX_DEPTH}")
        pieces: list[tuple[str, bool]] = []
        while char := self._peek():
            if char == stop:
                self._position += 1
                self._depth -= 1
                return pieces
            if char == "$":
                pieces.append((self._dollar(), True))
            elif self._quotes and char == "'":
                pieces.append((self._single_quoted(), False))
            elif self._quotes and char == '"':
                pieces.append((self._double_quoted(raw), False))
            elif char == self._escape:
                pieces.append((self._escaped(raw), False))
            else:
                pieces.append((self._plain(stop), True))
        if stop:
            raise self._bad(f"no matching {stop!r}", "close every ${ with a }")
        self._depth -= 1
        return pieces

    def _text_until(self, stop: str, *, raw: bool = False) -> str:
        return "".join(piece for piece, _ in self._until(stop, raw=raw))

    def _plain(self, stop: str) -> str:
        """The run of characters that mean nothing special."""
        start = self._position
        special = ("$", self._escape, stop, *(("'", '"') if self._quotes else ()))
        while (char := self._peek()) and char not in special:
            self._position += 1
        return self._word[start : self._position]

    def _escaped(self, raw: bool) -> str:
        mark = self._next()
        return (mark if raw else "") + self._next()

    def _single_quoted(self) -> str:
        end = self._word.find("'", self._position + 1)
        if end < 0:
            raise self._bad("a single quote is not closed", "close it, or escape it")
        start, self._position = self._position + 1, end + 1
        return self._word[start:end]

    def _double_quoted(self, raw: bool) -> str:
        self._position += 1
        found: list[str] = []
        while char := self._peek():
            if char == '"':
                self._position += 1
                return "".join(found)
            if char == "$":
                found.append(self._dollar())
            elif char == self._escape:
                found.append(self._escaped_in_quotes(raw))
            else:
                found.append(self._next())
        raise self._bad("a double quote is not closed", "close it, or escape it")

    def _escaped_in_quotes(self, raw: bool) -> str:
        """Inside double quotes only the quote, the dollar and the escape itself can be escaped."""
        mark = self._next()
        if self._peek() not in ('"', "$", self._escape):
            return mark * 2 if raw else mark
        return (mark if raw else "") + self._next()

    def _dollar(self) -> str:
        self._position += 1
        if self._peek() != "{":
            name = self._name()
            return self._value(name) if name else "$"
        self._position += 1
        if self._peek() in ("{", "}", ":"):
            raise self._bad("bad substitution", "write ${NAME}")
        return self._braced(self._name())

    def _name(self) -> str:
        start = self._position
        if self._peek() in _SPECIAL and not self._peek().isdecimal():
            return self._next()
        allowed: Callable[[str], bool] = str.isdecimal if self._peek().isdecimal() else _in_name
        while (char := self._peek()) and allowed(char):
            self._position += 1
        return self._word[start : self._position]

    def _braced(self, name: str) -> str:
        operator = self._next()
        if operator == "}":
            return self._value(name)
        empty_is_unset = operator == ":"
        if empty_is_unset:
            operator = self._next()
        if operator in ("-", "+", "?"):
            return self._conditional(name, operator, empty_is_unset)
        if operator in ("#", "%") and not empty_is_unset:
            return self._trimmed(name, operator)
        if operator == "/" and not empty_is_unset:
            return self._replaced(name)
        if not operator:
            raise self._bad("${ is not closed", "close it with }")
        raise self._bad(f"unsupported modifier {operator!r}", "one of :- - :+ + :? ? # ## % %% / //")

    def _conditional(self, name: str, operator: str, empty_is_unset: bool) -> str:
        word = self._text_until("}")
        unset = name not in self._env or (empty_is_unset and not self._env[name])
        if operator == "+":
            return "" if unset else word
        if not unset:
            return self._value(name)
        if operator == "-":
            return word
        state = "empty" if name in self._env else "unset"
        message = word or f"is not allowed to be {state}"
        raise Fault(f"{name}: {message}", about="${" + name, hint=f"set {name} with --build-arg, ARG or ENV")

    def _trimmed(self, name: str, operator: str) -> str:
        pattern = self._text_until("}", raw=True)
        longest = pattern.startswith(operator)
        trim = globs.trim_prefix if operator == "#" else globs.trim_suffix
        value = self._value(name)
        self._spend(len(value))
        return trim(pattern[longest:], value, longest=longest)

    def _replaced(self, name: str) -> str:
        everywhere = self._peek() == "/"
        if everywhere:
            self._position += 1
        pattern = self._text_until("/", raw=True)
        replacement = self._text_until("}", raw=True)
        value = self._value(name)
        self._spend(len(value))
        found: list[str] = []
        for piece in globs.replace(pattern, value, replacement, everywhere=everywhere):
            self._spend(len(piece))
            found.append(piece)
        return "".join(found)

    def _value(self, name: str) -> str:
        value = self._env.get(name, "")
        self._spend(len(value))
        return value

    def _spend(self, size: int) -> None:
        self._budget -= size
        if self._budget < 0:
            raise self._bad(
                f"it expands to more than {MAX_EXPANDED >> 20} MiB", "check for a value that grows with each line"
            )

    def _bad(self, message: str, hint: str) -> Fault:
        shown = self._word if len(self._word) <= 80 else self._word[:77] + "..."
        return Fault(f"cannot expand {shown!r}: {message}", about=self._word, hint=hint)


def _in_name(char: str) -> bool:
    return char.isalpha() or char.isdecimal() or char == "_"
