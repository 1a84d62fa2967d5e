"""What comes after the first plan of `strata build`: the work, and the result to wherever it was asked for."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from strata_builder import errors
from strata_builder.cli import beside, caches, early, exports, session, values
from strata_builder.cli.store import MAX_AGE_DAYS, MAX_BYTES
from strata_builder.engine import blobs, execute, recording, records, steps
from strata_builder.engine.roots import Roots
from strata_builder.frozen import replace
from strata_builder.lint import building as warnings
from strata_builder.oci import platform as platforms
from strata_builder.oci.image import LayerRef
from strata_builder.pod import storedfiles
from strata_builder.pod.ahead import Ahead

_CACHE_AGE: Final = 14  # days
_CACHE_SIZE: Final = 10 << 30


def every(opened: session.Session, outputs: list[values.Output], first: session.Keyed) -> None:
    """Builds each platform and writes `outputs`; `first` is the first one's plan. Raises BuildError."""
    with beside.ended() as keeping:
        with warnings.collected(opened.report.note) as found:
            begun, *others = opened.platforms()
            made = [_build(opened, outputs, begun, first, found)]
            keeping.append(_keep(made[0], opened))
            for platform in others:
                made.append(_build(opened, outputs, platform, opened.keyed(platform), found))
                keeping.append(_keep(made[-1], opened, keeping[-1]))
        exports.write(outputs, made, opened)
    _tell(made, opened)
    if not outputs:
        opened.report.note("nothing was written but the cache: give --push, or -o type=oci,dest=FILE")


def _build(
    opened: session.Session,
    outputs: list[values.Output],
    platform: platforms.Platform,
    keyed: session.Keyed,
    found: warnings.Warnings,
) -> exports.Made:
    found.look(opened.source.dockerfile, keyed.options, keyed.plan, opened.source.ignore)
    _refuse_foreign_runs(keyed)
    store = blobs.Blobs(opened.store.blobs, opened.images, keyed.contents)
    places = early.places(opened, outputs, keyed.plan, platform)
    with early.Uploads(places, opened, store) as uploads, _roots(keyed, opened, store) as roots:
        edges = execute.Edges(
            blobs=store,
            remotes=opened.remotes,
            known=keyed.known,
            report=opened.report,
            scratch=opened.scratch,
            roots=roots,
            cancel=threading.Event(),
            made=uploads.made,
        )
        built = execute.execute(keyed.plan, keyed.keys, keyed.options, edges)
    opened.store.keep_contents(store.known)
    if opened.source.digests is not None:
        opened.source.digests.keep()
    opened.store.keep(built.used, storedfiles.every(opened.scratch / "remotes"))
    return exports.Made(platform, built, store)


def _keep(made: exports.Made, opened: session.Session, before: Ahead[None] | None = None) -> Ahead[None]:
    """Its records go to where --cache-to says while the image goes elsewhere; after another platform's, which may go to the
    same place."""
    kept = records.Records(made.built.used, remotes=storedfiles.every(opened.scratch / "remotes"))

    def work() -> None:
        if before is not None:
            before.wait()
        for text in opened.given.cache_to:
            _keep_cache(opened, values.cache("--cache-to", text), made.platform, kept, made.blobs)

    return beside.begun(work)


def _refuse_foreign_runs(keyed: session.Keyed) -> None:
    if foreign := keyed.plan.foreign_run(platforms.host()):
        raise errors.NotSupported(
            f"a RUN for {foreign.config.platform} cannot run on {platforms.host()}",
            place=foreign.place,
            hint="build it on such a machine, or run it for this one: FROM --platform=$BUILDPLATFORM",
        )


@contextlib.contextmanager
def _roots(keyed: session.Keyed, opened: session.Session, store: blobs.Blobs) -> Iterator[Roots | None]:
    if not keyed.plan.runs or opened.given.isolation == "layers":
        yield None
        return
    from strata_builder.rootfs import kept
    from strata_builder.sandbox import roots

    unpacked = kept.Folder(opened.store.layers)
    kind = roots.UserNSRoots(opened.scratch / "roots", store, opened.store.mounts, learn=store.learn, store=unpacked)

    def end() -> None:
        kind.close()
        unpacked.close()
        unpacked.prune(MAX_BYTES, MAX_AGE_DAYS)

    try:
        yield kind
    finally:
        opened.beside(end)


def _keep_cache(
    opened: session.Session,
    to: values.CacheReference,
    platform: platforms.Platform,
    kept: records.Records,
    store: blobs.Blobs,
) -> None:
    where = caches.at(to, platform)
    registry = opened.registries.get(where.host)
    present = opened.caches.present[where.host, where.repository]
    today = int(time.time()) // 86400
    made = replace(kept, steps=records.used_today(kept.steps.items(), today))
    for layer in made.layers():
        if layer.descriptor.digest not in present:
            registry.upload_blob(where.repository, layer.descriptor, _opener(store, layer))
            present.add(layer.descriptor.digest)
    recording.write(
        registry,
        where.repository,
        where.version,
        made,
        today=today,
        max_age=_CACHE_AGE,
        max_size=_CACHE_SIZE,
        contents=store.known,
        seen=opened.caches.seen.get(where),
        note=opened.report.note,
    )
    opened.report.note(f"cache kept at {where}")


def _opener(store: blobs.Blobs, layer: LayerRef) -> exports.Opener:
    return lambda: store.path(layer).open("rb")


def _tell(made: list[exports.Made], opened: session.Session) -> None:
    digest = exports.digest_of(made)
    given = opened.given
    if given.iidfile:
        Path(given.iidfile).write_text(digest)
    if given.metadata_file:
        Path(given.metadata_file).write_text(json.dumps(_metadata(made, opened, digest), indent=2) + "\n")
    opened.report.note(f"built {digest}")
    if given.quiet:
        print(digest)


def _metadata(made: list[exports.Made], opened: session.Session, digest: str) -> dict[str, object]:
    bases: dict[tuple[str, str], steps.Base] = {(b.name, b.digest): b for one in made for b in one.built.bases}
    return {
        "containerimage.digest": digest,
        "containerimage.config.digest": made[0].built.image.config_descriptor.digest,
        "image.name": ",".join(opened.given.tag),
        "strata.platforms": [{"platform": str(m.platform), "digest": m.built.image.digest} for m in made],
        "strata.bases": [{"name": name, "digest": value} for name, value in bases],
        "strata.commit": opened.source.result.commit,
        "strata.steps": [
            {
                "line": s.line,
                "instruction": s.instruction,
                "cached": s.cached,
                "reason": s.reason,
                "seconds": s.seconds,
                "size": s.size,
            }
            for m in made
            for s in m.built.steps
        ],
    }
