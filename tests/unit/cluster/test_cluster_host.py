"""What the cluster command makes of the host: apt sources, Go, requirements, mounts, the choice of a cluster."""

import json
import ssl
import subprocess
from pathlib import Path

import pytest

from cluster import (
    api,
    binaries,
    down,
    errors,
    existing,
    facts,
    folders,
    identity,
    layout,
    requirements,
    sources,
    toolchain,
    up,
)

DEB822 = """Types: deb
# a comment
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb-src
URIs: http://mirror.example/debian
Suites: bookworm
Components: main

Types: deb
URIs: http://other.example/tool
Suites: stable
Components: main

Enabled: no
Types: deb
URIs: http://old.example/debian
Suites: bookworm
Components: main
"""


def test_only_the_hosts_debian_sources_reach_an_image(tmp_path):
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list.d/debian.sources").write_text(DEB822)
    (tmp_path / "sources.list.d/cloud.list").write_text("deb https://cloud.example/apt cloud-bookworm main\n")
    (tmp_path / "sources.list").write_text(
        "# deb http://no.example bookworm main\n"
        "deb [arch=amd64 signed-by=/etc/keys/x.gpg] http://sec.example/debian-security bookworm-security main\n"
    )
    assert sources.of_host("bookworm", tmp_path) == [
        "deb http://sec.example/debian-security bookworm-security main",
        "deb http://mirror.example/debian bookworm main",
        "deb http://mirror.example/debian bookworm-updates main",
    ]


def test_a_host_with_another_system_gets_the_debian_projects_sources(tmp_path):
    (tmp_path / "sources.list").write_text("deb http://archive.ubuntu.com/ubuntu noble main\n")
    assert sources.of_host("bookworm", tmp_path)[0] == "deb http://deb.debian.org/debian bookworm main"


@pytest.mark.parametrize(
    ("said", "version"),
    [
        ("go version go1.26.8 linux/amd64", (1, 26, 8)),
        ("go version go1.27 linux/arm64", (1, 27, 0)),
        ("go version devel +abc", (0,)),
        ("", (0,)),
    ],
)
def test_the_version_of_go_is_read(said, version):
    assert toolchain.parse(said) == version


@pytest.mark.parametrize(
    ("system", "user", "machine", "said"),
    [
        ("linux", 0, "x86_64", ""),
        ("linux", 0, "aarch64", ""),
        ("darwin", 0, "x86_64", "Linux"),
        ("linux", 1000, "x86_64", "root"),
        ("linux", 0, "riscv64", "riscv64"),
    ],
)
def test_a_machine_that_cannot_run_the_node_is_told_why(system, user, machine, said):
    problem = requirements.unsuitable(system, user, machine)
    assert said in problem
    assert bool(problem) == bool(said)


def test_mounts_of_one_cluster_are_found_newest_first_and_its_neighbours_are_left():
    mounts = (
        "tmpfs /dev/shm/strata-a tmpfs rw 0 0\n"
        "tmpfs /dev/shm/strata-ab tmpfs rw 0 0\n"
        "overlay /dev/shm/strata-a/with\\040space overlay rw 0 0\n"
    )
    found = down.mounts_below(Path("/dev/shm/strata-a"), mounts)
    assert found == ["/dev/shm/strata-a/with space", "/dev/shm/strata-a"]


@pytest.mark.parametrize(
    ("context", "named", "allowed"),
    [
        ("kind-strata", "", True),
        ("strata-0123abcd", "", True),
        ("production", "", False),
        ("production", "production", True),
        ("production", "prod*", False),
        ("my-kind-cluster", "", False),
    ],
)
def test_only_contexts_on_the_allow_list_may_be_changed(context, named, allowed):
    assert existing.allowed(context, named) is allowed


def kubeconfig(tmp_path: Path, context: str) -> Path:
    path = tmp_path / "config"
    path.write_text(json.dumps({"current-context": context}))
    return path


def test_the_existing_cluster_is_that_of_the_kubeconfig(tmp_path, monkeypatch):
    path = kubeconfig(tmp_path, "kind-strata")
    monkeypatch.setenv("STRATA_CLUSTER", "existing")
    monkeypatch.setenv("KUBECONFIG", str(path))
    cluster = facts.current()
    assert (cluster.name, cluster.kubeconfig, cluster.node_ip) == ("kind-strata", path, None)


def test_a_context_that_is_not_allowed_is_refused_with_the_way_out(tmp_path, monkeypatch):
    monkeypatch.setenv("STRATA_CLUSTER", "existing")
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig(tmp_path, "production")))
    monkeypatch.delenv("STRATA_ALLOW_CONTEXT", raising=False)
    with pytest.raises(errors.ClusterError, match="STRATA_ALLOW_CONTEXT=production"):
        facts.current()


@pytest.mark.parametrize(
    ("content", "said"), [("{}", "no current-context"), ("[1]", "no current-context"), ("{", "cannot read")]
)
def test_a_kubeconfig_that_names_no_context_is_refused(tmp_path, monkeypatch, content, said):
    path = tmp_path / "config"
    path.write_text(content)
    monkeypatch.setenv("KUBECONFIG", str(path))
    with pytest.raises(errors.ClusterError, match=said):
        existing.context()


@pytest.mark.parametrize(
    ("value", "said"), [("", "needs KUBECONFIG"), ("/a:/b", "several files"), ("/no/such", "cannot read")]
)
def test_a_kubeconfig_that_is_not_one_file_is_refused(monkeypatch, value, said):
    monkeypatch.setenv("KUBECONFIG", value)
    with pytest.raises(errors.ClusterError, match=said):
        existing.context()


def test_a_misspelt_choice_of_cluster_is_refused(monkeypatch):
    monkeypatch.setenv("STRATA_CLUSTER", "exisiting")
    with pytest.raises(errors.ClusterError, match="exisiting"):
        existing.wanted()


def test_a_cluster_that_does_not_run_is_said_with_the_command_to_start_it(monkeypatch):
    monkeypatch.setenv("STRATA_CLUSTER", "")
    monkeypatch.setenv("STRATA_CLUSTER_NAME", "never-started")
    with pytest.raises(errors.ClusterError, match="cluster up"):
        facts.current()


def test_facts_survive_writing_and_reading(tmp_path):
    cluster = facts.Cluster("n", Path("/k"), "10.231.0.2", "10.231.0.2:5000", Path("/b"), "n", Path("/s"))
    facts.write(tmp_path / "cluster.json", cluster)
    assert facts.read(tmp_path / "cluster.json") == cluster


def module(folder: Path, **content: str) -> Path:
    (folder / "helm").mkdir(parents=True)
    for name in ("go.mod", "go.sum", "main.go", "helm/go.mod", "helm/go.sum"):
        (folder / name).write_text(content.get(name, name))
    return folder


def test_other_sources_or_another_go_mean_other_binaries(tmp_path):
    first = binaries.key(module(tmp_path / "a"), "go1.26.6")
    assert binaries.key(module(tmp_path / "b"), "go1.26.6") == first
    assert binaries.key(tmp_path / "b", "go1.26.8") != first
    assert binaries.key(module(tmp_path / "c", **{"helm/go.sum": "new"}), "go1.26.6") != first


def tree(folder: Path) -> Path:
    (folder / "bin").mkdir(parents=True)
    (folder / "dev").mkdir()
    (folder / "dev/leftover").write_text("x")
    (folder / "bin/tool").write_text("#!/bin/sh\n")
    (folder / "bin/tool").chmod(0o755)
    (folder / "bin/link").symlink_to("tool")
    return folder


def test_equal_trees_make_equal_images(tmp_path):
    for name in ("a", "b"):
        layout.write(tmp_path / f"{name}.layout", tree(tmp_path / name), {"Cmd": ["tool"]}, "amd64", "1")
    assert (tmp_path / "a.layout/index.json").read_text() == (tmp_path / "b.layout/index.json").read_text()


def test_what_a_container_fills_itself_is_kept_empty(tmp_path):
    names = [str(path.relative_to(tmp_path / "t")) for path in layout.walk(tree(tmp_path / "t"))]
    assert names == ["bin", "dev", "bin/link", "bin/tool"]


@pytest.mark.parametrize(("ends", "said"), [(True, "ended; waiting for"), (False, "did not become ready in")])
def test_a_start_is_given_up_when_its_process_has_ended_whatever_proc_tells_of_it(ends, said, monkeypatch, tmp_path):
    """Of a process in the middle of an exec, /proc tells no command."""
    (tmp_path / "log").mkdir()
    (tmp_path / "log/init.log").touch()
    monkeypatch.setattr(up, "PATIENCE", 0.5)
    monkeypatch.setattr(api.Api, "of", lambda _ip, _pki: api.Api("127.0.0.1", ssl.create_default_context()))
    monkeypatch.setattr(api.Api, "ready", lambda _self: False)
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as holder:
        if ends:
            holder.communicate()
        with pytest.raises(errors.ClusterError, match=said):
            up.wait(identity.Identity.of("/nowhere"), folders.State(tmp_path), "127.0.0.1", holder)
        holder.kill()
