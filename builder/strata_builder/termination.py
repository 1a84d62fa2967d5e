"""What a container says at its end, cut to what the kubelet keeps of it. Pure."""

from __future__ import annotations

from typing import Final

from strata_builder import contract
from strata_builder.frozen import replace

#: Bytes; the kubelet cuts what is longer, and half an answer cannot be read. It keeps 12 KiB of a whole pod, in equal shares
#: for all of its containers: ours are four at the most, and a service mesh adds two.
LIMIT: Final = (12 << 10) // 6
#: What goes of a failure in turn: how many base images stay, then characters of its message. 256 leave its log whole.
_CUTS: Final = (
    (contract.MOST_BASE_IMAGES, (1536, 1024, 768)),
    (3, (512, 384, 256)),
    (0, (128, 64, 32, 16)),
)


def message(value: contract.BuildResult | contract.Failure) -> str:
    """`value` encoded to at most LIMIT bytes: of a result the last steps go, of a failure the middle of a long text, then
    the last of many base images."""
    return _fit_result(value) if isinstance(value, contract.BuildResult) else _fit_failure(value)


def _fit_result(value: contract.BuildResult) -> str:
    """What people read goes before what programs need: long texts, steps from the last, then base images from the last."""
    text = contract.encode(value)
    if not _too_long(text):
        return text
    steps = tuple(
        replace(step, instruction=_cut(step.instruction, 60), reason=_cut(step.reason, 40)) for step in value.steps[:32]
    )
    value = replace(_with_source(value, 80), steps=steps)
    while _too_long(text := contract.encode(value)) and (value.steps or value.base_images):
        left = value.steps[:-1] if value.steps else ()
        bases = value.base_images if value.steps else value.base_images[:-1]
        value = replace(value, steps=left, base_images=bases)
    return contract.encode(_with_source(value, 20)) if _too_long(text) else text


def _with_source(value: contract.BuildResult, size: int) -> contract.BuildResult:
    said = value.source
    message, author, revision = _cut(said.message, size), _cut(said.author, size), _cut(said.revision, 3 * size)
    return replace(value, source=replace(said, message=message, author=author, revision=revision))


def _fit_failure(value: contract.Failure) -> str:
    """The first few base images go only after most of the text: it is not built when one moves that was not told."""
    value = replace(value, base_images=value.base_images[: contract.MOST_BASE_IMAGES])
    for bases, sizes in _CUTS:
        value = _with_texts(_with_bases(value, bases), sizes)
    return contract.encode(value)


def _with_bases(value: contract.Failure, least: int) -> contract.Failure:
    while _too_long(contract.encode(value)) and len(value.base_images) > least:
        value = replace(value, base_images=value.base_images[:-1])
    return value


def _with_texts(value: contract.Failure, sizes: tuple[int, ...]) -> contract.Failure:
    for size in sizes:
        if _too_long(contract.encode(value)):
            message, hint = _cut_middle(value.message, size), _cut(value.hint, size // 4)
            value = replace(value, message=message, hint=hint, log=value.log[-4 * size :], file=_cut(value.file, 200))
    return value


def _too_long(text: str) -> bool:
    return len(text.encode("utf-8", "replace")) > LIMIT


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _cut_middle(text: str, limit: int) -> str:
    """Both ends matter: the first line says what failed, the last lines are the output's end."""
    if len(text) <= limit:
        return text
    head = limit // 3
    return f"{text[:head]}\n…\n{text[-(limit - head) :]}"
