"""Whether a cluster can be used, and what is missing where it cannot."""

import http.client
from typing import Any

from cluster import api, facts, folders, identity, processes, programs


def problems(who: identity.Identity) -> list[str]:
    """What is wrong with a cluster, in words; nothing if it can be used."""
    state = folders.State.of(who)
    if processes.init(who) is None:
        return ["its PID 1 does not run"]
    try:
        node_ip = facts.read(state.facts).node_ip or ""
        server = api.Api.of(node_ip, state / "pki")
    except (OSError, ValueError, KeyError) as error:
        return [f"its state in {state.root} is not whole: {error}"]
    dead = set(programs.names()) - set(running(who))
    return [f"{name} does not run" for name in sorted(dead)] or not_ready(server, node_ip)


def not_ready(server: api.Api, node_ip: str) -> list[str]:
    """The parts that are not ready yet."""
    nodes = server.get("/api/v1/nodes").get("items", [])
    checks = {
        "the API server": server.ready(),
        "the node": any(is_ready(node) for node in nodes),
        "CoreDNS": answers(node_ip, 8181, "/ready"),
        "the stand-in registry": answers(node_ip, 5000, "/v2/"),
        "the default StorageClass": bool(server.get("/apis/storage.k8s.io/v1/storageclasses/standard")),
        "the default service account": bool(server.get("/api/v1/namespaces/default/serviceaccounts/default")),
    }
    return [name for name, fine in checks.items() if not fine]


def is_ready(node: dict[str, Any]) -> bool:
    """Whether a Node is Ready and may be scheduled to."""
    ready = any(
        condition["type"] == "Ready" and condition["status"] == "True"
        for condition in node["status"].get("conditions", [])
    )
    return ready and not node["spec"].get("taints")


def answers(host: str, port: int, path: str) -> bool:
    """Whether a server answers a GET with 200."""
    connection = http.client.HTTPConnection(host, port, timeout=2)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def running(who: identity.Identity) -> dict[str, int]:
    """The node's programs that run, with their process ids on the host."""
    found = {}
    known = set(programs.names())
    for pid in processes.members(who):
        name = (processes.words(pid) or [""])[0].rpartition("/")[2]
        if name in known and len(processes.numbers(pid)) == 2:
            found[name] = pid
    return found
