"""The command lines of the node's programs. Pure; the flags that need a reason carry it."""

from pathlib import Path
from typing import Any

from cluster import configs, subnet


def stages(node: configs.Node) -> list[dict[str, Any]]:
    """What to start, in order: a stage is started when the URL of `after` answers 200.

    Returns:
        JSON values: [{"after": url or None, "programs": {name: argv}}]
    """
    first = {
        "etcd": etcd(),
        "containerd": containerd(node),
        "registry": registry(node),
        "kube-apiserver": apiserver(node),
    }
    then = {
        "kubelet": kubelet(node),
        "kube-controller-manager": controller_manager(node),
        "kube-scheduler": scheduler(node),
        "kube-proxy": proxy(node),
        "coredns": ["coredns", "-conf", f"{node.state}/Corefile"],
    }
    located = [
        {name: [f"{node.binaries}/{argv[0]}", *argv[1:]] for name, argv in stage.items()} for stage in (first, then)
    ]
    return [
        {"after": None, "programs": located[0]},
        {"after": f"https://{node.ip}:6443/readyz", "programs": located[1]},
    ]


def names() -> list[str]:
    """Of all programs, for help and checks."""
    node = configs.Node("", "", Path(), Path())
    return [name for stage in stages(node) for name in stage["programs"]]


def etcd() -> list[str]:
    """Plain HTTP on the loopback of the node's own network namespace; no fsync, since the state is not to last."""
    client, peer = "http://127.0.0.1:2379", "http://127.0.0.1:2380"
    urls = [f"--listen-client-urls={client}", f"--advertise-client-urls={client}", f"--listen-peer-urls={peer}"]
    cluster = [f"--initial-advertise-peer-urls={peer}", f"--initial-cluster=default={peer}"]
    return ["etcd", "--data-dir=etcd", "--unsafe-no-fsync", "--log-level=warn", *urls, *cluster]


def containerd(node: configs.Node) -> list[str]:
    """The container runtime."""
    return ["containerd", "--config", f"{node.state}/containerd.toml", "--log-level", "info"]


def registry(node: configs.Node) -> list[str]:
    """The stand-in for docker.io and registry.k8s.io."""
    return ["registry", "serve", f"{node.state}/registry.json"]


def apiserver(node: configs.Node) -> list[str]:
    """Reaches the kubelet as administrator, by address: the node's name resolves nowhere."""
    pki = node.state / "pki"
    return [
        "kube-apiserver",
        "--etcd-servers=http://127.0.0.1:2379",
        f"--bind-address={node.ip}",
        f"--advertise-address={node.ip}",
        "--authorization-mode=Node,RBAC",
        # The second makes the right to update finalizers matter, as on clusters with stricter settings than usual.
        "--enable-admission-plugins=NodeRestriction,OwnerReferencesPermissionEnforcement",
        "--allow-privileged=true",
        f"--client-ca-file={pki}/ca.crt",
        f"--tls-cert-file={pki}/apiserver.crt",
        f"--tls-private-key-file={pki}/apiserver.key",
        f"--kubelet-certificate-authority={pki}/ca.crt",
        f"--kubelet-client-certificate={pki}/admin.crt",
        f"--kubelet-client-key={pki}/admin.key",
        "--kubelet-preferred-address-types=InternalIP",
        f"--service-account-issuer=https://kubernetes.default.svc.{subnet.DOMAIN}",
        f"--service-account-key-file={pki}/sa.pub",
        f"--service-account-signing-key-file={pki}/sa.key",
        f"--service-cluster-ip-range={subnet.SERVICES}",
    ]


def controller_manager(node: configs.Node) -> list[str]:
    """With the provisioner for the default StorageClass built in."""
    pki = node.state / "pki"
    return [
        "kube-controller-manager",
        f"--kubeconfig={pki}/controller-manager.kubeconfig",
        "--bind-address=127.0.0.1",
        "--use-service-account-credentials",
        "--leader-elect=false",
        f"--cluster-signing-cert-file={pki}/ca.crt",
        f"--cluster-signing-key-file={pki}/ca.key",
        f"--root-ca-file={pki}/ca.crt",
        f"--service-account-private-key-file={pki}/sa.key",
        "--kube-api-qps=200",
        "--kube-api-burst=300",
        "--enable-hostpath-provisioner",
    ]


def scheduler(node: configs.Node) -> list[str]:
    """One node, one scheduler: no election."""
    return [
        "kube-scheduler",
        f"--kubeconfig={node.state}/pki/scheduler.kubeconfig",
        "--bind-address=127.0.0.1",
        "--leader-elect=false",
    ]


def proxy(node: configs.Node) -> list[str]:
    """In iptables mode, the one that serves node ports on 127.0.0.1.

    The conntrack settings cannot be written in a network namespace.
    """
    conntrack = [
        "--conntrack-max-per-core=0",
        "--conntrack-tcp-timeout-established=0",
        "--conntrack-tcp-timeout-close-wait=0",
    ]
    own = [
        f"--kubeconfig={node.state}/pki/proxy.kubeconfig",
        f"--cluster-cidr={subnet.PODS}",
        "--hostname-override=node",
    ]
    return ["kube-proxy", "--proxy-mode=iptables", *own, *conntrack]


def kubelet(node: configs.Node) -> list[str]:
    """The node agent."""
    own = [
        f"--config={node.state}/kubelet.json",
        f"--kubeconfig={node.state}/pki/kubelet.kubeconfig",
        f"--root-dir={node.state}/kubelet",
    ]
    return ["kubelet", *own, "--hostname-override=node", f"--node-ip={node.ip}"]
