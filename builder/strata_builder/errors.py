"""Everything that can go wrong in a build, as one tree. Pure.

::

    BuildError                     reason, whether a retry can help, where, and what to do next
     +- InvalidSpec                the request itself cannot be carried out
     +- DockerfileInvalid          (DockerfileError is its usual name)
     +- RunFailed                  a RUN step ended with a non-zero code
     +- OutOfMemory
     +- StorageLimitExceeded
     +- DeadlineExceeded
     +- SourceError
     |   +- SourceNotFound         no such repository, archive or path
     |   +- SourceAuthFailed
     |   +- ReferenceNotFound      no such branch, tag or commit
     |   +- SourceUnavailable      retried
     +- BaseImageNotFound
     +- PushDenied
     +- RegistryUnavailable        retried
     +- LayerError                 a layer, archive or tree that cannot be read or written faithfully
     |   +- LayerInvalid           a layer of an image; who knows the image names it
     +- NotSupported               asked for something that this program or this rung of isolation does not do
     |   +- NoUserNamespace        a pod of isolation UserNS that was given none
     +- NeedsSandbox               a step must run, and the rung chosen runs none
     +- Cancelled
     +- InfrastructureFailed       retried

A reason is one of `strata_builder.contract.REASONS`; the operator copies it to the resource's conditions as it stands.
"""

from __future__ import annotations

from typing import ClassVar, Final

from strata_builder.frozen import frozen, replace

#: Characters of a message or a hint. Both may quote what a stranger wrote.
MAX_TEXT: Final = 4000


@frozen
class Place:
    """Where in a text file something stands: 1-based lines, both ends included; column 0 means the whole line."""

    file: str
    line: int
    end_line: int
    excerpt: str = ""
    column: int = 0

    def __str__(self) -> str:
        lines = str(self.line) if self.end_line <= self.line else f"{self.line}-{self.end_line}"
        return f"{self.file}:{lines}"

    def at(self, text: str) -> Place:
        """The place of `text` in the first line; itself where the line does not hold it."""
        found = self.excerpt.partition("\n")[0].find(text) if text else -1
        return self if found < 0 else replace(self, column=found + 1)


class BuildError(Exception):
    """A failure that a person can act on.

    `message` says what happened and why; `place` where; `hint` what to do next. `str()` gives all three.
    `retryable` tells whether the same request may succeed later without anybody changing anything.
    """

    reason: ClassVar[str] = "InfrastructureFailed"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, place: Place | None = None, hint: str = "") -> None:
        super().__init__(shortened(message))
        self.message = shortened(message)
        self.place = place
        self.hint = shortened(hint)

    def __str__(self) -> str:
        head = f"{self.place}: {self.message}" if self.place else self.message
        return "\n".join(part for part in (head, self._excerpt(), self.hint and f"hint: {self.hint}") if part)

    def _excerpt(self) -> str:
        if self.place is None or not self.place.excerpt:
            return ""
        lines = self.place.excerpt.splitlines()
        width = len(str(self.place.line + len(lines) - 1))
        shown = [f"  {self.place.line + n:>{width}} | {text}" for n, text in enumerate(lines)]
        if self.place.column:
            shown.insert(1, f"  {'':>{width}} | {' ' * (self.place.column - 1)}^")
        return "\n".join(shown)


def shortened(text: str) -> str:
    """`text`, its middle left out where it is longer than MAX_TEXT; bytes that were no UTF-8 (surrogateescape) as escapes,
    for no terminal, log or status takes them."""
    half = MAX_TEXT // 2
    short = text if len(text) <= MAX_TEXT else f"{text[:half]}[...]{text[-half:]}"
    return short if short.isascii() else short.encode("utf-8", "backslashreplace").decode()


class InvalidSpec(BuildError):
    reason = "InvalidSpec"


class DockerfileInvalid(BuildError):
    reason = "DockerfileInvalid"


DockerfileError = DockerfileInvalid


class RunFailed(BuildError):
    """`exit_code` is the command's own, 128 + n for signal n; `output` its last lines."""

    reason = "RunFailed"

    def __init__(
        self, message: str, *, exit_code: int, output: str = "", place: Place | None = None, hint: str = ""
    ) -> None:
        super().__init__(message, place=place, hint=hint)
        self.exit_code = exit_code
        self.output = output


class OutOfMemory(BuildError):
    reason = "OutOfMemory"


class StorageLimitExceeded(BuildError):
    reason = "StorageLimitExceeded"


class DeadlineExceeded(BuildError):
    reason = "DeadlineExceeded"


class SourceError(BuildError):
    reason = "SourceNotFound"


class SourceNotFound(SourceError):
    pass


#: What a SourceAuthFailed says is missing: a user's login, or a certificate authority to trust.
LOGIN: Final = "login"
AUTHORITY: Final = "authority"


class SourceAuthFailed(SourceError):
    """`lacks` is LOGIN or AUTHORITY where one of them would help, for whoever knows a better place for it than the hint."""

    reason = "SourceAuthFailed"

    def __init__(self, message: str, *, lacks: str = "", place: Place | None = None, hint: str = "") -> None:
        super().__init__(message, place=place, hint=hint)
        self.lacks = lacks


class ReferenceNotFound(SourceError):
    reason = "ReferenceNotFound"


class SourceUnavailable(SourceError):
    reason = "SourceUnavailable"
    retryable = True


class BaseImageNotFound(BuildError):
    reason = "BaseImageNotFound"


class PushDenied(BuildError):
    reason = "PushDenied"


class RegistryUnavailable(BuildError):
    reason = "RegistryUnavailable"
    retryable = True


class LayerError(BuildError):
    reason = "InvalidSpec"


class LayerInvalid(LayerError):
    """`digest` is that of the layer's blob."""

    def __init__(self, message: str, *, digest: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.digest = digest


class NotSupported(BuildError):
    reason = "InvalidSpec"


class NoUserNamespace(NotSupported):
    reason = "PodRejected"


class NeedsSandbox(BuildError):
    """Not a failure of the user's: the pod that can run the step follows in the same attempt."""

    reason = "PodRejected"


class Cancelled(BuildError):
    reason = "Cancelled"


class InfrastructureFailed(BuildError):
    retryable = True
