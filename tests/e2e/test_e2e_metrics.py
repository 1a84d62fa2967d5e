"""The operator's metrics, as Prometheus itself reads them from within the cluster."""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from strata_operator import metrics
from support import e2e, kubectl, programs

SERVICE = "/api/v1/namespaces/strata-system/services/strata-operator-metrics:metrics/proxy/metrics"
NAMES = re.findall(r"^(strata_\w+) {2,}", metrics.__doc__ or "", re.MULTILINE)
PORT = 19090
CONFIG = """\
global: {scrape_interval: 1s, scrape_timeout: 1s}
scrape_configs:
  - job_name: strata
    static_configs: [{targets: ["%s"]}]
"""


@pytest.fixture(scope="module")
def home(namespaces) -> e2e.Namespace:
    """A namespace with a Registry from which no node pulls, so that it takes none of their ports."""
    made = namespaces("restricted", "metrics")
    made.apply(e2e.registry(0, managed=e2e.HIDDEN))
    made.wait(e2e.REGISTRY, kind="registry")
    return made


@pytest.fixture(scope="module")
def text(home, strata) -> str:
    """What the operator serves once it has built something."""
    home.build(e2e.image_build("counted", "FROM busybox:1.36\nCOPY f /f\n", source={"inline": {"f": "x"}}))
    return strata("get", "--raw", SERVICE)


def test_every_documented_metric_is_there_and_no_other(text):
    families = set(re.findall(r"^# TYPE (strata_\w+) ", text, re.MULTILINE))
    assert families == {*NAMES}
    assert len(NAMES) > 10  # the text has them where they are looked for


def test_the_build_is_counted(text):
    assert re.search(r'^strata_builds_total\{reason="Succeeded",result="succeeded"\} [1-9]', text, re.MULTILINE)


def test_no_label_names_an_object(text, home):
    assert home.name not in text
    assert '"counted"' not in text


def test_promtool_finds_nothing_to_complain_about(text):
    argv = [programs.ensure("promtool", "prometheus"), "check", "metrics"]
    done = subprocess.run(argv, input=text, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.fixture
def prometheus(strata) -> Iterator[str]:
    """The address of a Prometheus that reads the operator's Service from within the node."""
    program = programs.ensure("prometheus", "prometheus")
    service = strata.get("service", "strata-operator-metrics", namespace="strata-system") or {}
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        config = Path(folder, "prometheus.yml")
        config.write_text(CONFIG % f"{service['spec']['clusterIP']}:{service['spec']['ports'][0]['port']}")
        # exec: with the shell gone, what ends the one ends the other.
        words = [program, f"--config.file={config}", f"--storage.tsdb.path={folder}/data"]
        words += [f"--web.listen-address={strata.where.node_ip}:{PORT}", "--log.level=warn"]
        process = subprocess.Popen(kubectl.inside(strata.where, *words), env=kubectl.environment())
        try:
            yield f"http://{strata.where.node_ip}:{PORT}"
        finally:
            process.terminate()
            process.wait(30)


def test_prometheus_reads_them(text, prometheus):
    deadline = time.monotonic() + 30
    while not (found := _query(prometheus, 'strata_builds_total{result="succeeded",reason="Succeeded"}')):
        assert time.monotonic() < deadline, "Prometheus has read nothing"
        time.sleep(0.5)
    assert float(found[0]["value"][1]) >= 1
    assert _query(prometheus, 'up{job="strata"}')[0]["value"][1] == "1"
    assert _query(prometheus, "strata_leader")[0]["value"][1] == "1"
    p95 = "histogram_quantile(0.95, sum by (le) (strata_build_duration_seconds_bucket))"
    assert float(_query(prometheus, p95)[0]["value"][1]) > 0


def _query(server: str, expression: str) -> list[e2e.Body]:
    try:
        with urllib.request.urlopen(f"{server}/api/v1/query?query={urllib.parse.quote(expression)}", timeout=5) as got:
            result: list[e2e.Body] = json.load(got)["data"]["result"]
            return result
    except (urllib.error.URLError, ConnectionError):
        return []  # it is still starting
