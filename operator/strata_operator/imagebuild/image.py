"""What the status says of an image that a build has put there. Pure."""

from __future__ import annotations

from typing import Any

from strata_builder import contract
from strata_operator.imagebuild import state
from strata_operator.imagebuild.case import Case
from strata_operator.imagebuild.target import Target


def of(
    case: Case, current: state.Current, target: Target, result: contract.BuildResult, tags: tuple[str, ...]
) -> dict[str, Any]:
    """Names, digest, source, metrics and steps: what status has of the newest image."""
    digest = result.platforms[0].digest
    found = {
        **target.names(digest),
        "digest": digest,
        "size": sum(platform.size for platform in result.platforms),
        "tags": list(tags),
        "repository": target.repository,
        "platforms": [{"platform": p.platform[:64], "digest": p.digest, "size": p.size} for p in result.platforms[:16]],
        "inputs": current.inputs,
        "source": _source(case, current, result),
        "baseImages": [
            {"name": base.name[:512], "digest": base.digest[:256]}
            for base in result.base_images[: contract.MOST_BASE_IMAGES]
        ],
        "metrics": metrics(current, result, case.now),
        "steps": [_step(step) for step in result.steps[:32]],
    }
    return {name: value for name, value in found.items() if value not in (None, [], {}, "")}


def _source(case: Case, current: state.Current, result: contract.BuildResult) -> dict[str, str]:
    if case.wanted.git is None:
        return {}
    said = result.source
    found = {
        "revision": case.wanted.git.revision[:255],
        "commit": (current.commit or said.commit)[:64],
        "message": said.message[:200],
        "author": said.author[:200],
    }
    return {name: value for name, value in found.items() if value}


def _step(step: contract.Step) -> dict[str, Any]:
    found: dict[str, Any] = {"line": step.line, "instruction": step.instruction[:60], "cached": step.cached}
    found |= {"reason": step.reason[:60]} if step.reason else {}
    return found | {"seconds": round(step.seconds, 3), "size": step.size}


def metrics(current: state.Current, result: contract.BuildResult, now: float) -> dict[str, Any]:
    """The numbers of a build that has succeeded by `now`, as the status has them."""
    said = result.metrics
    started = current.start_time or now
    found: dict[str, Any] = {
        "durationSeconds": round(now - started, 3),
        "queueSeconds": round(max(started - (current.queued_time or started), 0.0), 3),
        "podStartSeconds": round(max(result.started - started, 0.0), 3) if result.started else 0,
        "phases": {
            "fetch": round(said.fetch_seconds, 3),
            "build": round(said.build_seconds, 3),
            "push": round(said.push_seconds, 3),
        },
        "pulledBytes": said.pulled_bytes,
        "pushedBytes": said.pushed_bytes,
        "cacheHits": said.cache_hits,
        "cacheMisses": said.cache_misses,
        "layers": said.layers,
        "peakMemoryBytes": said.peak_memory_bytes,
    }
    return found
