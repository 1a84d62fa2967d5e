import json
import tomllib
from pathlib import Path

import pytest
import yaml

from cluster import configs, identity, network, pki, programs, subnet, up

NODE = configs.Node("strata-0123abcd", "10.231.3.2", Path("/dev/shm/strata-0123abcd"), Path("/cache/bin/key"))
STATE = str(NODE.state)


def test_containerd_keeps_everything_in_the_state_folder():
    config = tomllib.loads(configs.containerd(NODE))
    paths = [config["root"], config["state"], config["grpc"]["address"], config["ttrpc"]["address"]]
    paths.append(config["plugins"]["io.containerd.internal.v1.opt"]["path"])
    assert all(path.startswith(STATE + "/") for path in paths)


def test_containerd_runs_the_compiled_runc_and_pulls_pause_from_the_stand_in():
    plugins = tomllib.loads(configs.containerd(NODE))["plugins"]
    runtime = plugins["io.containerd.cri.v1.runtime"]
    assert runtime["containerd"]["runtimes"]["runc"]["options"]["BinaryName"] == "/cache/bin/key/runc"
    assert runtime["restrict_oom_score_adj"] is True
    assert plugins["io.containerd.cri.v1.images"]["pinned_images"]["sandbox"].startswith("registry.k8s.io/pause:")


@pytest.mark.parametrize("host", ["docker.io", "registry.k8s.io"])
def test_a_miss_in_the_stand_in_does_not_go_to_the_internet(host):
    hosts = tomllib.loads(configs.files(NODE)[f"certs.d/{host}/hosts.toml"])
    assert hosts["server"] == "http://10.231.3.2:5000"
    assert list(hosts["host"]) == ["http://10.231.3.2:5000"]


def test_each_kubelet_has_a_cgroup_root_of_its_own():
    assert configs.kubelet(NODE)["cgroupRoot"] == "/strata-0123abcd"


def test_pods_ask_coredns_and_coredns_asks_the_hosts_servers():
    assert configs.kubelet(NODE)["clusterDNS"] == ["10.231.3.2"]
    assert f"forward . {STATE}/upstream.conf" in configs.corefile(NODE)


def test_json_files_are_json():
    files = configs.files(NODE)
    assert json.loads(files["cni/10-bridge.conflist"])["plugins"][0]["ipam"]["ranges"] == [[{"subnet": subnet.PODS}]]
    assert yaml.safe_load(files["registry.json"])["http"]["addr"] == NODE.registry


@pytest.mark.parametrize(
    ("resolv_conf", "stub_target", "servers"),
    [
        ("search corp\nnameserver 10.0.0.53\nnameserver 10.0.0.54\n", "", ["10.0.0.53", "10.0.0.54"]),
        ("nameserver 127.0.0.53\noptions edns0\n", "nameserver 9.9.9.9\n", ["9.9.9.9"]),
        ("nameserver 127.0.0.1\nnameserver 10.0.0.53\n", "", ["10.0.0.53"]),
        ("nameserver 127.0.0.11\n", "", []),
        ("# nothing\n", "", []),
        ("nameserver\n", "", []),
    ],
)
def test_only_name_servers_that_pods_can_reach_are_taken(resolv_conf, stub_target, servers):
    assert [line.split()[1] for line in configs.upstream(resolv_conf, stub_target).splitlines()] == servers


def test_every_program_is_started_from_the_cache_and_the_api_server_before_those_that_need_it():
    first, second = programs.stages(NODE)
    assert {"etcd", "kube-apiserver", "containerd"} <= set(first["programs"])
    assert {"kubelet", "kube-scheduler", "coredns"} <= set(second["programs"])
    assert second["after"] == "https://10.231.3.2:6443/readyz"
    argvs = [argv for stage in (first, second) for argv in stage["programs"].values()]
    assert all(argv[0].startswith("/cache/bin/key/") for argv in argvs)


def test_rights_on_finalizers_are_enforced():
    assert any("OwnerReferencesPermissionEnforcement" in flag for flag in programs.apiserver(NODE))


def test_the_stand_in_writes_on_top_of_the_shared_storage_and_not_into_it():
    mounts = up.plan(NODE, Path("/cache/registry/a:b,c"), "/etc/resolv.conf")["mounts"]
    bind, overlay = mounts[-2:]
    assert bind == ["--bind", "/cache/registry/a:b,c", f"{STATE}/registry-lower"]
    assert overlay[-1] == f"{STATE}/registry"
    assert f"upperdir={STATE}/registry-upper" in overlay[3]


def test_the_plan_is_json_and_hides_the_hosts_kubelet_folder():
    plan = json.loads(json.dumps(up.plan(NODE, Path("/s"), "/run/resolv.conf")))
    targets = [mount[-1] for mount in plan["mounts"]]
    assert {"/var/lib/kubelet", "/run/netns", "/run/resolv.conf", "/tmp/hostpath_pv"} <= set(targets)


def test_translation_is_limited_to_the_nodes_own_addresses():
    who = identity.Identity("0123abcd")
    script = network.translation(who, subnet.Subnet(3))
    assert "table ip node_0123abcd" in script
    assert 'ip saddr 10.231.3.0/30 oifname != "st0123abcd" masquerade' in script


@pytest.mark.parametrize(
    ("rules", "drops"), [("-P FORWARD ACCEPT\n", False), ("-P FORWARD DROP\n-A FORWARD -j DOCKER-USER\n", True)]
)
def test_a_host_that_forwards_nothing_is_noticed(rules, drops):
    assert network.drops_forwarded(rules) is drops


def test_the_api_server_certificate_names_every_address_that_clients_use():
    hosts = next(subject.hosts for subject in pki.subjects("10.231.3.2") if subject.file == "apiserver")
    assert {"10.231.3.2", "127.0.0.1", "10.96.0.1", "kubernetes.default.svc"} <= set(hosts)


def test_a_kubeconfig_is_for_its_owner_alone_and_names_its_context(tmp_path):
    pki.make(tmp_path / "pki", "10.231.3.2", "strata-0123abcd", tmp_path / "kubeconfig")
    assert (tmp_path / "kubeconfig").stat().st_mode & 0o077 == 0
    assert (tmp_path / "pki" / "ca.key").stat().st_mode & 0o077 == 0
    config = yaml.safe_load((tmp_path / "kubeconfig").read_text())
    assert config["current-context"] == "strata-0123abcd"
    assert config["clusters"][0]["cluster"]["server"] == "https://10.231.3.2:6443"
