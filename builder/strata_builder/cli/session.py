"""One command's view of the world: its registries, its source, its plan for each platform."""

from __future__ import annotations

import argparse
import functools
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from strata_builder.cli import caches, layouts, sources, store, values
from strata_builder.context.validators import Stored
from strata_builder.dockerfile import instructions as ins
from strata_builder.engine import buildargs, epochs, indexes, planner, records, report, steps
from strata_builder.engine.options import Options
from strata_builder.frozen import frozen
from strata_builder.oci import platform as platforms
from strata_builder.oci.platform import Platform
from strata_builder.pod import ahead, remotes
from strata_builder.registry import config, mirrors, proxies, registries

if TYPE_CHECKING:
    from strata_builder.engine import keys

CONTEXT_LIMIT = 64 << 30  # a person's own machine: only against accidents


@frozen
class Keyed:
    """A plan with its keys and with what is known of them."""

    options: Options
    plan: steps.Plan
    keys: keys.Keyed
    known: records.Records
    contents: indexes.Kept


class Session:
    """Made by `opened`, which closes it."""

    def __init__(
        self,
        given: argparse.Namespace,
        kept: store.Store,
        scratch: Path,
        found: registries.Registries,
        reporter: report.Reporter,
        ends: ExitStack,
    ) -> None:
        self._ends = ends
        self.given, self.store, self.scratch, self.registries, self.report = given, kept, scratch, found, reporter
        self.images = layouts.Images(found)
        self.caches = caches.Caches(found, self.images, reporter.note)
        self.secrets = sources.secrets(given.secret)
        self.agents: Mapping[str, Path] = {}  # set by a command that builds
        self.remotes = remotes.Remotes(scratch / "remotes", self._fetch, lambda: self._known().remotes)
        (scratch / "remotes").mkdir()
        self._known: Callable[[], records.Records] = records.Records
        self.args = values.pairs("--build-arg", given.build_arg, os.environ)
        if os.environ.get(epochs.ARGUMENT):
            self.args.setdefault(epochs.ARGUMENT, os.environ[epochs.ARGUMENT])
        keep = buildargs.keep_git_dir(self.args)
        self.source = sources.load(
            given.context, given.file, scratch, self.secrets, keep_git_dir=keep, remembered_in=kept.digests
        )
        self.contexts = sources.named(values.contexts(given.build_context), scratch, self.secrets)

    def beside(self, work: Callable[[], None]) -> None:
        """Does it while this session goes on, which ends after it."""
        begun = ahead.Ahead(work, "beside")
        begun.start()
        self._ends.callback(begun.result)

    def _fetch(self, url: str, add: ins.Add, place: Path, stored: Stored | None) -> None:
        self._fetcher(url, add, place, stored)

    @functools.cached_property
    def _fetcher(self) -> remotes.Fetch:
        from strata_builder.context import download, gitprogram
        from strata_builder.pod import remotefetch

        return remotefetch.Fetcher(
            CONTEXT_LIMIT,
            download.Client(),
            gitprogram.Settings(scratch=self.scratch),
            self.secrets,
            ssh=lambda: self.agents.get("default"),
            local=True,
        )

    def platforms(self) -> list[Platform]:
        return values.platforms(self.given.platform) or [platforms.host()]

    def options(self, platform: Platform) -> Options:
        asked = Options(
            context=self.source.tree,
            platform=platform,
            build_platform=platforms.host(),
            platform_of_base=not self.given.platform,
            target=self.given.target,
            build_args=self.args,
            labels=values.labels(self.given.label),
            contexts=self.contexts,
            secrets=self.secrets,
            ssh=self.agents,
            context_time=self.source.time,
            created=self.source.result.time or None,
            no_cache=self.given.no_cache,
            runs=self.given.isolation != "layers",
            network="none" if self.given.network == "none" else "default",
            compression=self.given.compression,
        )
        return epochs.settled(
            self.source.dockerfile, asked, planner.outer(self.source.dockerfile, asked), self.remotes.time
        )

    def keyed(self, platform: Platform) -> Keyed:
        """Reads the cache, resolves the bases, hashes the context."""
        kept = self.store.records()
        asked = [values.cache("--cache-from", text) for text in self.given.cache_from]
        with self.caches.reading(asked, platform) as read:
            self._known = records.Records if self.given.no_cache else lambda: kept.merged(read().records)
            options = self.options(platform)
            plan = planner.make(self.source.dockerfile, options, self.images)
            from strata_builder.engine import keys  # takes a moment, and the first registry has been asked

            found = read()
        known = keys.of_plan(plan, options, self.remotes)
        return Keyed(options, plan, known, kept.merged(found.records), indexes.Several(self.store, *found.tables))


@contextmanager
def opened(given: argparse.Namespace) -> Iterator[Session]:
    """The session of a parsed command line."""
    kept = store.Store(store.folder(os.environ))
    with (
        _reporting(given) as reporter,
        kept.scratch() as scratch,
        registries.Registries(_settings(given)) as found,
        ExitStack() as ends,
    ):
        yield Session(given, kept, scratch, found, reporter, ends)


def _settings(given: argparse.Namespace) -> registries.Settings:
    return registries.Settings(
        credentials=config.DockerConfig.load(config.default_paths(os.environ), run_helper=config.run_helper),
        insecure=values.hosts("--insecure-registry", given.insecure_registry),
        loopback_insecure=True,
        mirrors=mirrors.Mirrors.parse(values.mirrors(given.registry_mirror)),
        proxies=proxies.Proxies.from_env(os.environ),
    )


@contextmanager
def _reporting(given: argparse.Namespace) -> Iterator[report.Reporter]:
    progress = "quiet" if getattr(given, "quiet", False) else given.progress
    terminal = sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb"
    if progress == "tty" or (progress == "auto" and terminal):
        from strata_builder.engine import live

        with live.Live(sys.stderr) as reporter:
            yield reporter
    elif progress == "quiet":
        yield report.Quiet()
    else:
        yield report.Json(sys.stderr) if progress == "json" else report.Plain(sys.stderr)
