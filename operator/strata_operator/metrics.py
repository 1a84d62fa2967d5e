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
strata_queue_busy                   keys that a worker is on, by kind
strata_queue_wait_seconds           from the event that wakes a key to the reconcile that sees it, by kind and lane:
                                    running (it has a Job), open (something is to be done, or may be) or settled (last)
strata_resyncs_total                complete lists of all kinds, the first at the start
strata_kube_requests_total          requests to the API server, by verb and code ("error": no answer)
strata_webhooks_total               deliveries, by kind (imagebuild, registry) and result (accepted, ignored, refused, ...)
strata_notifications_total          CloudEvents, by sink and result: delivered, retried (a try), refused, expired, dropped
strata_leader                       1 while this process does the work
strata_build_info                   always 1; the version is a label
process_...                         memory, CPU time and open files of the process, under the names that all programs use
=================================== =====================================================================
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import prometheus_client as prometheus

import strata_operator

_BUILD_BUCKETS: Final = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600)
_PHASE_BUCKETS: Final = (0.1, 0.25, 0.5, *_BUILD_BUCKETS)
_RECONCILE_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_WAIT_BUCKETS: Final = (0.001, 0.0025, *_RECONCILE_BUCKETS)

prometheus.disable_created_metrics()  # type: ignore[no-untyped-call]  # a series beside each counter that nobody reads


class Metrics:
    """All metrics of one operator, as `render` gives them."""

    def __init__(self) -> None:
        # In OpenMetrics a counter strata_builds_total is the family strata_builds, and one registry refuses a gauge of
        # that name beside it. In the text format that is served they are two names.
        self.registry, self._beside = prometheus.CollectorRegistry(), prometheus.CollectorRegistry()
        new, beside = _Maker(self.registry), _Maker(self._beside)
        self.builds_total = new.counter("builds_total", "Builds that ended.", "result", "reason")
        self.build_duration = new.histogram(
            "build_duration_seconds", "From the start of a build to its result.", _BUILD_BUCKETS, "result", "isolation"
        )
        self.build_phase = new.histogram(
            "build_phase_seconds", "queue, pod_start, fetch, build or push.", _PHASE_BUCKETS, "phase"
        )
        self.builds = beside.gauge("builds", "Builds now.", "state")
        self.cache_lookups = new.counter("cache_lookups_total", "Build steps looked up in the cache.", "result")
        self.pulled_bytes = new.counter("pulled_bytes_total", "Bytes that builders read from registries.")
        self.pushed_bytes = new.counter("pushed_bytes_total", "Bytes that builders wrote to registries.")
        self.registries = new.gauge("registries", "Registries now.", "ready")
        self.reconciles = new.counter("reconcile_total", "Reconciles that ended.", "kind", "result")
        self.reconcile_seconds = new.histogram(
            "reconcile_seconds", "Duration of a reconcile.", _RECONCILE_BUCKETS, "kind"
        )
        self.queue_depth = new.gauge("queue_depth", "Keys that wait for a worker.", "kind")
        self.queue_busy = new.gauge("queue_busy", "Keys that a worker is on.", "kind")
        self.queue_wait = new.histogram(
            "queue_wait_seconds", "From an event to the reconcile that sees it.", _WAIT_BUCKETS, "kind", "lane"
        )
        self.resyncs = new.counter("resyncs_total", "Complete lists of all kinds.")
        self.kube_requests = new.counter("kube_requests_total", "Requests to the API server.", "verb", "code")
        self.webhooks = new.counter("webhooks_total", "Deliveries of webhooks.", "kind", "result")
        self.notifications = new.counter("notifications_total", "CloudEvents for sinks.", "sink", "result")
        self.leader = new.gauge("leader", "1 while this process does the work.")
        info = new.gauge("build_info", "Always 1; the version is a label.", "version")
        info.labels(strata_operator.__version__).set(1)
        prometheus.ProcessCollector(registry=self.registry)

    def render(self) -> bytes:
        """The text exposition format, version 0.0.4."""
        return prometheus.generate_latest(self.registry) + prometheus.generate_latest(self._beside)


class _Maker:
    """Makes metrics with the prefix strata_ in one registry."""

    def __init__(self, registry: prometheus.CollectorRegistry) -> None:
        self._registry = registry

    def counter(self, name: str, text: str, *labels: str) -> prometheus.Counter:
        return prometheus.Counter(f"strata_{name}", text, labels, registry=self._registry)

    def gauge(self, name: str, text: str, *labels: str) -> prometheus.Gauge:
        return prometheus.Gauge(f"strata_{name}", text, labels, registry=self._registry)

    def histogram(self, name: str, text: str, buckets: Sequence[float], *labels: str) -> prometheus.Histogram:
        return prometheus.Histogram(f"strata_{name}", text, labels, buckets=buckets, registry=self._registry)
