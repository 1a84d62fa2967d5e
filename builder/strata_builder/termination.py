"""What a container says at its end, cut to what the kubelet keeps of it. Pure."""

from __future__ import annotations

from typing import Final

from strata_builder import contract
from strata_builder.frozen import replace

LIMIT: Final = 4096  # bytes; the kubelet cuts what is longer
_FEW_BASES: Final = 4


def message(value: contract.BuildResult | contract.Failure) -> str:
    """`value` encoded to at most LIMIT bytes: of a result the last steps go, of a failure the last of many base images,
    then the middle of its text."""
    return _fit_result(value) if isinstance(value, contract.BuildResult) else _fit_failure(value)


def _fit_result(value: contract.BuildResult) -> str:
    """What people read goes before what programs need: long texts, steps from the last, then base images from the last."""
    text = contract.encode(value)
    if not _too_long(text):
        return text
    source = replace(
        value.source,
        message=_cut(value.source.message, 80),
        author=_cut(value.source.author, 80),
        revision=_cut(value.source.revision, 256),
    )
    steps = tuple(
        replace(step, instruction=_cut(step.instruction, 60), reason=_cut(step.reason, 40)) for step in value.steps[:32]
    )
    value = replace(value, source=source, steps=steps)
    while _too_long(text := contract.encode(value)) and (value.steps or value.base_images):
        left = value.steps[:-1] if value.steps else ()
        bases = value.base_images if value.steps else value.base_images[:-1]
        value = replace(value, steps=left, base_images=bases)
    return text


def _fit_failure(value: contract.Failure) -> str:
    """The first few base images go only after most of the text: without them nothing is built when one of them moves."""
    value = replace(value, base_images=value.base_images[: contract.MOST_BASE_IMAGES])
    for bases, characters in ((_FEW_BASES, 512), (0, 16)):
        value = _with_texts(_with_bases(value, bases), characters)
    return contract.encode(value)


def _with_bases(value: contract.Failure, least: int) -> contract.Failure:
    while _too_long(contract.encode(value)) and len(value.base_images) > least:
        value = replace(value, base_images=value.base_images[:-1])
    return value


def _with_texts(value: contract.Failure, least: int) -> contract.Failure:
    limit = LIMIT
    while _too_long(contract.encode(value)) and limit > least:
        limit = limit * 3 // 4
        message, hint = _cut_middle(value.message, limit), _cut(value.hint, limit // 4)
        value = replace(value, message=message, hint=hint, file=_cut(value.file, 200))
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
