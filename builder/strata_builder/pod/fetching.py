"""fetch: holds the source and pull credentials, never runs code of the user's. Makes the plan, then brings blobs."""

from __future__ import annotations

from strata_builder import contract, workers
from strata_builder.engine import report
from strata_builder.pod import ahead, alive, asked, cache, exchange, logs, met, rungs, settings
from strata_builder.pod.paths import Paths


def run(
    request: contract.BuildRequest,
    paths: Paths,
    reporter: report.Reporter,
    hide: logs.Hide = logs.hide_nothing,
    meet: met.Meet = met.meet_nothing,
) -> None:
    """Until push has said that it is done. `hide` is told the secrets before anything is printed, `meet` each base image.
    Raises BuildError; PeerLost if another container ends early."""
    holder = alive.Holder(paths.alive(contract.FETCH))
    try:
        rungs.check_user_namespace(request, paths)
        with workers.started():  # before there are secrets and threads
            _run(request, paths, reporter, hide, meet)
    finally:
        holder.close()


def _run(
    request: contract.BuildRequest, paths: Paths, reporter: report.Reporter, hide: logs.Hide, meet: met.Meet
) -> None:
    secrets = _secrets(request, paths, hide)
    # The registry is asked for the cache at the earliest moment: while it answers, all that is loaded which only a plan
    # needs, the source is fetched and looked through.
    with (
        settings.registries(request, paths) as registries,
        ahead.Ahead(lambda: cache.found(request, registries, reporter.note), "cache") as reading,
    ):
        from strata_builder.pod import preparing

        preparing.Fetch(request, paths, reporter, registries, secrets, reading.result, meet).run()


def _secrets(request: contract.BuildRequest, paths: Paths, hide: logs.Hide) -> dict[str, bytes]:
    """Into the memory volume, where build takes them from before it runs anything."""
    found = asked.secrets(paths.at(contract.SECRET_SOURCES), request.secrets)
    hide(found.values())
    for name, content in found.items():
        exchange.publish(paths.secrets / name, content)
    return found
