"""The BuildRequest of a Job, as the builder's contract has it. Pure; there is no secret in it."""

from __future__ import annotations

from collections.abc import Iterable

from strata_builder import contract
from strata_operator import settings
from strata_operator.imagebuild import attempts, questions, spec
from strata_operator.imagebuild.case import Observed
from strata_operator.imagebuild.target import Target


def of(
    seen: Observed, wanted: spec.Spec, to: Target, job: questions.Job, options: settings.Settings
) -> contract.BuildRequest:
    """What the pod of `job` has to know."""
    namespace, name = seen.key
    return contract.BuildRequest(
        build=contract.BuildId(namespace, name, seen.uid, job.number, job.attempt, job.generation, job.inputs),
        output=contract.Output(to.view.push, to.repository, to.view.insecure, wanted.compression),
        isolation=job.isolation,
        platforms=(options.platform,),
        source=_source(wanted, job),
        dockerfile_path=wanted.dockerfile_path,
        dockerfile_inline=bool(wanted.dockerfile_inline),
        target=wanted.target,
        args=job.args,
        secrets=tuple(secret.id for secret in wanted.secrets),
        labels=wanted.labels,
        source_date_epoch=wanted.source_date_epoch,
        network=wanted.network,
        mirrors=tuple(_mirrors(to, options)),
        insecure_registries=_insecure(to, options),
        cache=contract.Cache(
            mode=wanted.cache_mode,
            max_age_seconds=wanted.cache_max_age,
            max_size_bytes=wanted.cache_max_size,
            no_cache=job.no_cache,
        ),
        log=_log(seen) if wanted.keep_logs else contract.KeptLog(),
        timeout_seconds=wanted.timeout,
        context_limit_bytes=options.context_limit_bytes,
    )


def _log(seen: Observed) -> contract.KeptLog:
    """Logs are kept as long as the status tells of their builds."""
    builds = (seen.body.get("status") or {}).get("builds") or ()
    return contract.KeptLog(attempts.log_tag(seen.uid), tuple(build["number"] for build in builds))


def file_keys(wanted: spec.Spec) -> tuple[tuple[str, str], ...]:
    """(path, key of the ConfigMap) of the inline files: a path may hold what a key may not."""
    return tuple((path, f"f{number}") for number, (path, _) in enumerate(wanted.inline))


def _source(wanted: spec.Spec, job: questions.Job) -> contract.Source:
    git, archive = wanted.git, wanted.archive
    return contract.Source(
        git=contract.GitSource(git.url, git.revision, job.commit, git.path, git.submodules) if git else None,
        archive=contract.ArchiveSource(archive.url, archive.sha256) if archive else None,
        files=file_keys(wanted),
        files_folder=bool(wanted.config_map),
    )


def _mirrors(to: Target, options: settings.Settings) -> Iterable[contract.Mirror]:
    """The Registry's own come first."""
    yield from (contract.Mirror(mirror.upstream, mirror.endpoint) for mirror in to.view.mirrors)
    yield from (contract.Mirror(upstream, endpoint) for upstream, endpoint in sorted(options.mirrors.items()))


def _insecure(to: Target, options: settings.Settings) -> tuple[str, ...]:
    hosts = set(options.insecure_registries) | ({to.view.push} if to.view.insecure else set())
    return tuple(sorted(hosts))
