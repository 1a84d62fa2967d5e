"""The objects that a new cluster holds beside those that Kubernetes makes. Pure."""

from typing import Any


def all_of_them() -> list[tuple[str, str, dict[str, Any]]]:
    """(API group and version, plural, object) of each."""
    rbac = "rbac.authorization.k8s.io/v1"
    return [
        ("storage.k8s.io/v1", "storageclasses", storage_class()),
        (rbac, "clusterroles", dns_role(rbac)),
        (rbac, "clusterrolebindings", dns_binding(rbac)),
    ]


def storage_class() -> dict[str, Any]:
    """The default class: folders on the node, made and deleted by the controller manager itself."""
    default = {"storageclass.kubernetes.io/is-default-class": "true"}
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": "standard", "annotations": default},
        "provisioner": "kubernetes.io/host-path",
        "reclaimPolicy": "Delete",
        "volumeBindingMode": "Immediate",
    }


def dns_role(version: str) -> dict[str, Any]:
    """What CoreDNS reads."""
    rules = [
        {"apiGroups": [""], "resources": ["endpoints", "services", "pods", "namespaces"], "verbs": ["list", "watch"]},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]},
    ]
    return {"apiVersion": version, "kind": "ClusterRole", "metadata": {"name": "coredns"}, "rules": rules}


def dns_binding(version: str) -> dict[str, Any]:
    """Gives the role to the user in CoreDNS' certificate."""
    return {
        "apiVersion": version,
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "coredns"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "coredns"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "coredns"}],
    }
