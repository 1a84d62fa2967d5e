"""The operator's metrics, in a CollectorRegistry of their own, so that tests read what one instance counted.

Labels come from closed sets: never the name or namespace of an object, a tag, a digest or an error's text.

=================================== =====================================================================
strata_builds_total                 builds that ended, by result (succeeded, unchanged, failed, cancelled) and reason
strata_build_duration_seconds       from the start of a build to its result, by result and isolation
strata_build_phase_seconds          by phase: queue, pod_start, fetch, build, push
strata_builds                       builds now, by state: queued, running
strata_cache_lookups_total          steps looked up in the cache, by result: hit, miss
strata_pulled_bytes_total           bytes that builders read from registries
strata_pushed_bytes_total           bytes that builders wrote to registries
strata_registries                   Registries now, by ready: true, false
strata_reconcile_total              reconciles, by kind and result: success, conflict, error
strata_reconcile_seconds            duration of a reconcile, by kind
strata_queue_depth                  keys that wait for a worker, by kind
strata_kube_requests_total          requests to the API server, by verb and code ("error": no answer)
strata_leader                       1 while this process does the work
strata_build_info                   always 1; the version is a label
=================================== =====================================================================
"""

from __future__ import annotations

from typing import Final

import prometheus_client as prometheus

import strata_operator

_BUILD_BUCKETS: Final = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600)
_RECONCILE_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


prometheus.disable_created_metrics()  # type: ignore[no-untyped-call]  # a series beside each counter that nobody reads


class Metrics:
    """All metrics of one operator, as `render` gives them."""

    def __init__(self) -> None:
        self.registry = registry = prometheus.CollectorRegistry()
        # In OpenMetrics a counter strata_builds_total is the family strata_builds, and one registry refuses a gauge of
        # that name beside it. In the text format that is served they are two names.
        self._beside = prometheus.CollectorRegistry()
        counter, gauge, histogram = prometheus.Counter, prometheus.Gauge, prometheus.Histogram
        self.builds_total = counter(
            "strata_builds_total", "Builds that ended.", ["result", "reason"], registry=registry
        )
        self.build_duration = histogram(
            "strata_build_duration_seconds",
            "Time from the start of a build to its result.",
            ["result", "isolation"],
            buckets=_BUILD_BUCKETS,
            registry=registry,
        )
        self.build_phase = histogram(
            "strata_build_phase_seconds",
            "Time of one phase of a build: queue, pod_start, fetch, build, push.",
            ["phase"],
            buckets=(0.1, 0.25, 0.5, *_BUILD_BUCKETS),
            registry=registry,
        )
        self.builds = gauge("strata_builds", "Builds now.", ["state"], registry=self._beside)
        self.cache_lookups = counter(
            "strata_cache_lookups_total", "Build steps looked up in the cache.", ["result"], registry=registry
        )
        self.pulled_bytes = counter(
            "strata_pulled_bytes_total", "Bytes that builders read from registries.", registry=registry
        )
        self.pushed_bytes = counter(
            "strata_pushed_bytes_total", "Bytes that builders wrote to registries.", registry=registry
        )
        self.registries = gauge("strata_registries", "Registries now.", ["ready"], registry=registry)
        self.reconciles = counter(
            "strata_reconcile_total", "Reconciles that ended.", ["kind", "result"], registry=registry
        )
        self.reconcile_seconds = histogram(
            "strata_reconcile_seconds",
            "Duration of a reconcile.",
            ["kind"],
            buckets=_RECONCILE_BUCKETS,
            registry=registry,
        )
        self.queue_depth = gauge("strata_queue_depth", "Keys that wait for a worker.", ["kind"], registry=registry)
        self.kube_requests = counter(
            "strata_kube_requests_total", "Requests to the API server.", ["verb", "code"], registry=registry
        )
        self.leader = gauge("strata_leader", "1 while this process does the work.", registry=registry)
        info = gauge("strata_build_info", "Always 1; the version is a label.", ["version"], registry=registry)
        info.labels(strata_operator.__version__).set(1)

    def render(self) -> bytes:
        """The text exposition format, version 0.0.4."""
        return prometheus.generate_latest(self.registry) + prometheus.generate_latest(self._beside)
