"""The configuration files of the programs, as text.

Pure: all that differs from cluster to cluster comes in as a Node.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster import subnet

PAUSE = "registry.k8s.io/pause:3.10.1"
MIRRORED = ("docker.io", "registry.k8s.io")


@dataclass(frozen=True, slots=True)
class Node:
    """What the configuration of one node depends on."""

    name: str
    ip: str
    state: Path
    binaries: Path

    @property
    def registry(self) -> str:
        """host:port of the stand-in registry."""
        return f"{self.ip}:5000"


def files(node: Node) -> dict[str, str]:
    """Every configuration file: path below the state folder -> content."""
    return {
        "containerd.toml": containerd(node),
        "kubelet.json": json.dumps(kubelet(node), indent=1),
        "cni/10-bridge.conflist": json.dumps(cni(node), indent=1),
        "Corefile": corefile(node),
        "registry.json": json.dumps(registry(node), indent=1),
        "resolv.conf": f"nameserver {node.ip}\nsearch svc.{subnet.DOMAIN} {subnet.DOMAIN}\noptions ndots:2\n",
        **{f"certs.d/{host}/hosts.toml": mirror(f"http://{node.registry}") for host in MIRRORED},
    }


def containerd(node: Node) -> str:
    """containerd's. Nothing of it may lie in its usual places, which an installed containerd owns."""
    return f"""version = 3
root = "{node.state}/containerd"
state = "{node.state}/containerd-state"

[grpc]
address = "{node.state}/containerd.sock"

[ttrpc]
address = "{node.state}/containerd.sock.ttrpc"

[plugins."io.containerd.internal.v1.opt"]
path = "{node.state}/opt"

[plugins."io.containerd.nri.v1.nri"]
disable = true

[plugins."io.containerd.cri.v1.images"]
pinned_images.sandbox = "{PAUSE}"
registry.config_path = "{node.state}/certs.d"

[plugins."io.containerd.cri.v1.runtime"]
# Without it every pod fails on hosts that withhold CAP_SYS_RESOURCE.
restrict_oom_score_adj = true
cni.bin_dirs = ["{node.binaries}"]
cni.conf_dir = "{node.state}/cni"

[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
options.BinaryName = "{node.binaries}/runc"
options.SystemdCgroup = false
"""


def kubelet(node: Node) -> dict[str, Any]:
    """KubeletConfiguration (kubelet.config.k8s.io/v1beta1)."""
    pki = node.state / "pki"
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "x509": {"clientCAFile": f"{pki}/ca.crt"},
            "webhook": {"enabled": True},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": f"{pki}/kubelet.crt",
        "tlsPrivateKeyFile": f"{pki}/kubelet.key",
        "cgroupRoot": f"/{node.name}",
        "cgroupDriver": "cgroupfs",
        "failCgroupV1": False,
        "failSwapOn": False,
        "containerRuntimeEndpoint": f"unix://{node.state}/containerd.sock",
        "clusterDNS": [node.ip],
        "clusterDomain": subnet.DOMAIN,
        "resolvConf": f"{node.state}/upstream.conf",
        "podLogsDir": f"{node.state}/pods",
        "volumePluginDir": f"{node.state}/volume-plugins",
        # By default an image that was pulled under one name cannot be used under another without a pull of that too,
        # which would lock out an image that `load` brought as soon as its twin comes from a registry.
        "imagePullCredentialsVerificationPolicy": "NeverVerify",
        "serializeImagePulls": False,
        "registryPullQPS": 0,
        "eventRecordQPS": 0,
        "kubeAPIQPS": 200,
        "kubeAPIBurst": 300,
        # Tests kill containers again and again; by default a container that ends often is away for up to five minutes.
        "crashLoopBackOff": {"maxContainerRestartPeriod": "1s"},
        # Limits of disk use are noticed within this time; the default is a minute.
        "volumeStatsAggPeriod": "10s",
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "imageGCHighThresholdPercent": 99,
        "imageGCLowThresholdPercent": 98,
    }


def cni(node: Node) -> dict[str, Any]:
    """The pod network: a bridge in the node's namespace."""
    ipam = {
        "type": "host-local",
        "dataDir": f"{node.state}/cni-leases",
        "ranges": [[{"subnet": subnet.PODS}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    bridge = {"type": "bridge", "bridge": "cni0", "isGateway": True, "ipMasq": True, "hairpinMode": True, "ipam": ipam}
    return {
        "cniVersion": "1.0.0",
        "name": "pods",
        "plugins": [bridge, {"type": "portmap", "capabilities": {"portMappings": True}}],
    }


def corefile(node: Node) -> str:
    """CoreDNS': Services of the cluster, and the host's own name servers for the rest."""
    return f""".:53 {{
  bind {node.ip}
  errors
  ready {node.ip}:8181
  kubernetes {subnet.DOMAIN} in-addr.arpa ip6.arpa {{
    kubeconfig {node.state}/pki/coredns.kubeconfig
    pods insecure
  }}
  forward . {node.state}/upstream.conf
  cache 5
}}
"""


def registry(node: Node) -> dict[str, Any]:
    """The stand-in registry's (JSON is YAML)."""
    storage = {"filesystem": {"rootdirectory": f"{node.state}/registry"}, "delete": {"enabled": True}}
    return {"version": 0.1, "log": {"level": "warn"}, "storage": storage, "http": {"addr": node.registry}}


def mirror(url: str) -> str:
    """containerd's hosts.toml.

    `server` too: else a miss would go to the real host, and tests would depend on the internet.
    """
    return f'server = "{url}"\n\n[host."{url}"]\ncapabilities = ["pull", "resolve"]\n'


def upstream(resolv_conf: str, stub_target: str) -> str:
    """The host's name servers as pods can reach them.

    Args:
        resolv_conf: content of /etc/resolv.conf.
        stub_target: content of systemd-resolved's own file, used where the former names only the stub 127.0.0.53.
    """
    chosen = stub_target if "127.0.0.53" in resolv_conf and stub_target else resolv_conf
    words = [line.split() for line in chosen.splitlines()]
    servers = [line[1] for line in words if len(line) > 1 and line[0] == "nameserver"]
    return "".join(f"nameserver {server}\n" for server in servers if not server.startswith(("127.", "::1")))
