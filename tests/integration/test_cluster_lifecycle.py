"""The life of a cluster, on a second one beside the one that other tests use: up, up again, kill -9, repair, down."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cluster import cgroups, facts, folders, identity, processes, requirements, shell, status

SUFFIX = "lifecycle-test"
PATIENCE = 30.0

pytestmark = [
    pytest.mark.root,
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="a node needs root"),
    pytest.mark.skipif(os.environ.get("STRATA_CLUSTER") == "existing", reason="another cluster than ours is in use"),
]


def command(*argv: str, suffix: str = SUFFIX) -> subprocess.CompletedProcess[str]:
    """Runs `python -m cluster` as a user does."""
    program = [sys.executable, "-m", "cluster"]
    return subprocess.run([*program, *argv], capture_output=True, text=True, check=False, env=environment(suffix))


def environment(suffix: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(folders.CHECKOUT / "tests"), "STRATA_CLUSTER_NAME": suffix}


def succeed(*argv: str) -> str:
    done = command(*argv)
    assert done.returncode == 0, done.stderr
    return done.stdout


def left_behind(who: identity.Identity) -> list[str]:
    """Everything on the host that bears the name of a cluster."""
    found = [f"process {pid}" for pid in {*processes.inits(who), *processes.members(who)}]
    found += [line for line in Path("/proc/self/mounts").read_text().splitlines() if who.name in line]
    found += [str(path) for path in (Path("/run/netns", who.name), Path("/sys/class/net", who.link)) if path.exists()]
    found += [str(hierarchy / who.name) for hierarchy in cgroups.hierarchies() if (hierarchy / who.name).exists()]
    found += [who.table] if who.table in shell.run("nft", "list", "tables") else []
    found += [line for line in shell.run("iptables", "-S").splitlines() if who.link in line]
    found += [str(folders.State.of(who).root)] if folders.State.of(who).root.exists() else []
    return found


@pytest.fixture(scope="module")
def who() -> Iterator[identity.Identity]:
    """The identity of a cluster of our own, which runs at first and is gone in the end."""
    requirements.check()
    own = identity.Identity.of(str(folders.CHECKOUT), SUFFIX)
    succeed("up")
    yield own
    succeed("down")


@pytest.fixture
def cluster(who: identity.Identity) -> facts.Cluster:
    succeed("up")
    return facts.read(folders.State.of(who).facts)


def kubectl(cluster: facts.Cluster, *argv: str) -> str:
    assert cluster.bin_dir is not None
    return shell.run(cluster.bin_dir / "kubectl", "--kubeconfig", cluster.kubeconfig, *argv)


def test_a_pod_resolves_services_and_its_log_and_exec_are_reachable(cluster):
    script = "nslookup kubernetes.default.svc.cluster.local | grep 10.96.0.1 && sleep 60"
    kubectl(cluster, "run", "web", "--image=busybox:1.36", "--restart=Never", "--", "sh", "-c", script)
    kubectl(cluster, "wait", "--for=condition=Ready", "pod/web", "--timeout=30s")
    assert kubectl(cluster, "exec", "web", "--", "echo", "inside").strip() == "inside"
    deadline = time.monotonic() + PATIENCE
    while not (said := kubectl(cluster, "logs", "web")) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert "10.96.0.1" in said
    kubectl(cluster, "delete", "pod", "web", "--grace-period=1", "--wait=false")


def test_a_default_storage_class_exists_and_pod_security_is_enforced(cluster):
    assert "(default)" in kubectl(cluster, "get", "storageclass")
    kubectl(cluster, "label", "namespace", "default", "pod-security.kubernetes.io/enforce=restricted", "--overwrite")
    refused = shell.attempt(
        cluster.bin_dir / "kubectl", "--kubeconfig", cluster.kubeconfig, "run", "refused", "--image=busybox:1.36"
    )
    assert "violates PodSecurity" in refused.stderr
    kubectl(cluster, "label", "namespace", "default", "pod-security.kubernetes.io/enforce-")


def test_a_pod_can_have_a_user_namespace(cluster):
    overrides = '--overrides={"spec": {"hostUsers": false}}'
    show = ("--", "cat", "/proc/self/uid_map")
    kubectl(cluster, "run", "userns", "--image=busybox:1.36", "--restart=Never", overrides, *show)
    kubectl(cluster, "wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/userns", "--timeout=30s")
    inside, outside, count = kubectl(cluster, "logs", "userns").split()
    assert (inside, count) == ("0", "65536")
    assert int(outside) >= 65536
    kubectl(cluster, "delete", "pod", "userns", "--wait=false")


def test_up_again_changes_nothing_and_is_quick(who, cluster):
    before = processes.init(who)
    start = time.monotonic()
    done = command("up")
    assert time.monotonic() - start < 5
    assert "is up already" in done.stderr
    assert processes.init(who) == before


def test_the_path_of_the_kubeconfig_is_all_that_kubeconfig_prints(cluster):
    assert succeed("kubeconfig") == f"{cluster.kubeconfig}\n"


def test_exports_of_env_give_a_working_shell(cluster):
    script = f"{succeed('env')}\nkubectl get nodes -o name && helm version --short && ctr images ls -q | head -1"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout.startswith("node/node\nv3."), done.stderr


def test_a_loaded_image_runs_under_its_name(cluster, tmp_path):
    archive = tmp_path / "image.tar"
    source = f"docker://{cluster.registry}/library/busybox:1.36"
    shell.run(
        *("skopeo", "--insecure-policy", "copy", "--quiet", "--src-tls-verify=false"),
        *(source, f"docker-archive:{archive}:strata.test/loaded:1"),
    )
    succeed("load", str(archive))
    kubectl(
        cluster, "run", "loaded", "--image=strata.test/loaded:1", "--image-pull-policy=Never", "--restart=Never", "true"
    )
    kubectl(cluster, "wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/loaded", "--timeout=30s")
    kubectl(cluster, "delete", "pod", "loaded", "--wait=false")


def test_a_missing_archive_is_named(cluster):
    done = command("load", "/no/such.tar")
    assert done.returncode == 1
    assert "/no/such.tar is not a file" in done.stderr


def test_a_command_in_the_node_ends_with_the_one_who_started_it(who, cluster):
    marker = "98765.25"
    with subprocess.Popen(
        [sys.executable, "-m", "cluster", "exec", "--", "sleep", marker], env=environment(SUFFIX)
    ) as started:
        wait_until(lambda: sleepers(who, marker))
        started.kill()
    wait_until(lambda: not sleepers(who, marker))


def sleepers(who: identity.Identity, marker: str) -> list[int]:
    return [pid for pid in processes.members(who) if processes.words(pid) == ["sleep", marker]]


def init(who: identity.Identity) -> int:
    found = processes.init(who)
    assert found is not None
    return found


def wait_until(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_program_that_is_killed_is_started_again(who, cluster):
    os.kill(status.running(who)["kube-scheduler"], signal.SIGKILL)
    wait_until(lambda: "kube-scheduler" not in status.running(who))
    wait_until(lambda: not status.problems(who))


def test_status_says_what_is_missing_after_a_kill_and_up_repairs_it(who, cluster):
    os.kill(init(who), signal.SIGKILL)
    wait_until(lambda: not processes.members(who))
    told = command("status")
    assert told.returncode == 1
    assert "PID 1 does not run" in told.stdout
    succeed("up")
    assert status.problems(who) == []


def test_up_repairs_a_cluster_whose_programs_were_all_killed_and_whose_state_is_gone(who, cluster):
    shell.attempt("rm", "-r", cluster.state)  # not all of it goes while programs still write
    for pid in processes.members(who) | set(processes.inits(who)):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    succeed("up")
    assert status.problems(who) == []


def test_two_clusters_run_side_by_side_and_the_end_of_one_leaves_the_other(who, cluster):
    other = identity.Identity.of(str(folders.CHECKOUT), SUFFIX + "-2")
    try:
        assert command("up", suffix=SUFFIX + "-2").returncode == 0
        assert facts.read(folders.State.of(other).facts).node_ip != cluster.node_ip
        assert status.problems(other) == []
    finally:
        assert command("down", suffix=SUFFIX + "-2").returncode == 0
    assert left_behind(other) == []
    assert status.problems(who) == []


def test_down_leaves_nothing_and_can_be_repeated(who, cluster):
    kubectl(cluster, "run", "left", "--image=busybox:1.36", "--restart=Never", "--", "sleep", "600")
    kubectl(cluster, "wait", "--for=condition=Ready", "pod/left", "--timeout=30s")
    assert left_behind(who) != []
    succeed("down")
    assert left_behind(who) == []
    succeed("down")


def test_down_leaves_nothing_of_a_cluster_whose_holder_was_killed(who, cluster):
    holder = next(pid for pid in processes.inits(who) if pid != processes.init(who))
    os.kill(holder, signal.SIGKILL)
    succeed("down")
    assert left_behind(who) == []


def test_an_existing_cluster_is_not_ended(monkeypatch):
    monkeypatch.setenv("STRATA_CLUSTER", "existing")
    done = command("down")
    assert done.returncode == 1
    assert "not ours to end" in done.stderr


def test_an_existing_cluster_is_used_by_its_kubeconfig_and_only_if_allowed(cluster, monkeypatch, tmp_path):
    monkeypatch.setenv("STRATA_CLUSTER", "existing")
    monkeypatch.setenv("KUBECONFIG", str(cluster.kubeconfig))
    monkeypatch.setenv("PATH", f"{cluster.bin_dir}:{os.environ['PATH']}")
    assert succeed("kubeconfig") == f"{cluster.kubeconfig}\n"
    assert "reachable" in succeed("up")
    other = tmp_path / "config"
    other.write_text(cluster.kubeconfig.read_text().replace(cluster.name, "production"))
    monkeypatch.setenv("KUBECONFIG", str(other))
    done = command("kubeconfig")
    assert (done.returncode, done.stdout) == (1, "")
    assert "STRATA_ALLOW_CONTEXT=production" in done.stderr
