"""A managed registry, as a person outside of its cluster reaches it: by kubectl port-forward, with the cluster's own
authority and login. Played here is kubectl alone, whose way leads to a real registry on this machine."""

from __future__ import annotations

import base64
import contextlib
import json
import stat
from pathlib import Path

import pytest

from strata_builder.buildlog import artifact
from strata_builder.cli import main
from strata_builder.registry.client import Registry
from strata_builder.registry.config import Credential
from support.certificates import Authority
from support.registry_process import RegistryProcess, find_binary

BINARY = find_binary()
pytestmark = pytest.mark.skipif(BINARY is None, reason="no registry binary; `make cluster-up` builds one")
HOST = "strata-main.infra.svc.cluster.local:5000"
TAG = "cache-log-0123456789"
BUILD = {
    "metadata": {"name": "web", "namespace": "team"},
    "spec": {"output": {"registry": {"name": "main", "namespace": "infra"}}},
    "status": {"builds": [{"number": 1, "result": "RunFailed", "log": f"{HOST}/team/web:{TAG}"}]},
}


def kubectl(folder: Path, port: str, ca: str, password: str) -> Path:
    """It knows three objects and one way."""
    login = base64.b64encode(f"strata-pull:{password}".encode()).decode()
    secret = base64.b64encode(json.dumps({"auths": {HOST: {"auth": login}}}).encode()).decode()
    answers = {
        "get imagebuilds.strata.build web -n team -o json": BUILD,
        "get registries.strata.build main -n infra -o json": {"status": {"caBundle": ca, "endpoints": {"push": HOST}}},
        "get secrets strata-pull -n team -o json": {"data": {".dockerconfigjson": secret}},
    }
    lines = ["#!/bin/sh", 'case "$*" in']
    for number, (asked, answer) in enumerate(answers.items()):
        (folder / f"{number}.json").write_text(json.dumps(answer))
        lines.append(f"  '{asked}') exec cat {folder}/{number}.json;;")
    lines.append("  'port-forward service/strata-main :5000 --address 127.0.0.1 -n infra')")
    lines.append(f"    echo 'Forwarding from 127.0.0.1:{port} -> 5000'; exec sleep 600;;")
    program = folder / "kubectl"
    program.write_text("\n".join([*lines, '  *) echo "unexpected: $*" >&2; exit 1;;', "esac", ""]))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return program


@pytest.mark.parametrize("password", ["right", "wrong"])
def test_the_log_comes_through_the_cluster_over_tls(tmp_path, monkeypatch, capsys, password):
    assert BINARY is not None
    authority = Authority()
    leaf = authority.leaf(names=("strata-main.infra.svc.cluster.local", "localhost"), addresses=())
    monkeypatch.setenv("HOME", str(tmp_path))
    with RegistryProcess(BINARY, users={"strata-pull": "right"}, tls=leaf) as server:
        port = server.host.partition(":")[2]
        login = Credential("strata-pull", "right")
        client = Registry(f"localhost:{port}", credentials=login, ca=authority.pem)
        with contextlib.closing(client):
            data = artifact.pack(["2026-11-29T10:00:00Z build boom"])
            entry = artifact.made(1, 1, "Failed", "2026-11-29T10:00:01Z", data)
            artifact.add(client, "team/web", TAG, entry, data, keep=(), imagebuild="team/web")
        monkeypatch.setenv("KUBECTL", str(kubectl(tmp_path, port, authority.pem.decode(), password)))
        code = main(["logs", "web", "-n", "team"])
    out, err = capsys.readouterr()
    if password == "right":
        assert (code, out) == (0, "build | boom\n"), err
    else:
        assert (code, out) == (1, "")
        assert "wrong" not in err
        assert "password" in err or "login" in err or "credentials" in err, err
