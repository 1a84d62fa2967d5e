"""The chart on the cluster, with the images of hack.images: `python -m hack.deploy`."""

from __future__ import annotations

import json
from typing import Any

import cluster
from hack import images, tools

LABEL = "pod-security.kubernetes.io/enforce"


def main() -> None:
    """Install or upgrade the release and wait until its pods are ready."""
    where = cluster.current()
    tools.run(where, "kubectl", "apply", "-f", "-", given=json.dumps(_namespace()))
    tools.say("installing the chart helm/strata")
    chart = str(tools.ROOT / "helm/strata")
    settings = ["--namespace", tools.NAMESPACE, "--values", "-", "--wait", "--timeout", "5m"]
    tools.run(where, "helm", "upgrade", "--install", "strata", chart, *settings, given=json.dumps(values(where)))
    tools.say(f"Strata runs in {tools.NAMESPACE}")


def values(where: cluster.Cluster) -> dict[str, Any]:
    """The chart's values for this cluster; our own one has a stand-in for docker.io, few cores, and tests that wait."""
    chosen: dict[str, Any] = {
        "operator": {"image": {"repository": images.OPERATOR.repository, "tag": images.OPERATOR.tag}},
        "builder": {"image": {"repository": images.BUILDER.repository, "tag": images.BUILDER.tag}},
    }
    if mirror := images.docker_mirror(where):
        chosen["mirrors"] = {"docker.io": mirror}
    if where.registry:
        chosen["builds"] = {"maxConcurrent": 8}
        chosen["registries"] = {"recheckSeconds": 5}
        # Tests serve git from the host, and use another namespace's Service as an external registry.
        chosen["pollAllowedCidrs"] = ["10.0.0.0/8"]
    return chosen


def _namespace() -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": tools.NAMESPACE, "labels": {LABEL: "restricted"}},
    }


if __name__ == "__main__":
    tools.main(main)
