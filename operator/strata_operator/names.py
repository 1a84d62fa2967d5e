"""Every name that crosses a process border: API groups, labels, annotations, names of objects. Pure.

Renaming anything here needs a migration: clusters hold these strings.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Final, NamedTuple

GROUP: Final = "strata.build"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"
OPERATOR: Final = "strata-operator"  # value of managed-by, field manager, and reporting controller of events


class Key(NamedTuple):
    """What a reconcile is about; cluster-wide objects have an empty namespace."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


@dataclass(frozen=True, slots=True)
class Resource:
    """A kind of the API server, with what it takes to write its URL."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """The URL path of one object, of a namespace's objects, or of all."""
        head = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        place = f"/namespaces/{namespace}" if namespace and self.namespaced else ""
        return (
            f"{head}{place}/{self.plural}" + (f"/{name}" if name else "") + (f"/{subresource}" if subresource else "")
        )


IMAGEBUILDS: Final = Resource(GROUP, VERSION, "imagebuilds", "ImageBuild")
REGISTRIES: Final = Resource(GROUP, VERSION, "registries", "Registry")
JOBS: Final = Resource("batch", "v1", "jobs", "Job")
DEPLOYMENTS: Final = Resource("apps", "v1", "deployments", "Deployment")
PODS: Final = Resource("", "v1", "pods", "Pod")
SERVICES: Final = Resource("", "v1", "services", "Service")
CONFIGMAPS: Final = Resource("", "v1", "configmaps", "ConfigMap")
SECRETS: Final = Resource("", "v1", "secrets", "Secret")
NAMESPACES: Final = Resource("", "v1", "namespaces", "Namespace", namespaced=False)
NODES: Final = Resource("", "v1", "nodes", "Node", namespaced=False)
VOLUME_CLAIMS: Final = Resource("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim")
NETWORK_POLICIES: Final = Resource("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy")
LEASES: Final = Resource("coordination.k8s.io", "v1", "leases", "Lease")
EVENTS: Final = Resource("events.k8s.io", "v1", "events", "Event")

LABEL_MANAGED_BY: Final = "app.kubernetes.io/managed-by"
LABEL_PART_OF: Final = "app.kubernetes.io/part-of"
LABEL_NAME: Final = "app.kubernetes.io/name"
LABEL_INSTANCE: Final = "app.kubernetes.io/instance"
LABEL_COMPONENT: Final = "app.kubernetes.io/component"
LABEL_REGISTRY: Final = f"{GROUP}/registry"
LABEL_REGISTRY_UID: Final = f"{GROUP}/registry-uid"
LABEL_IMAGEBUILD: Final = f"{GROUP}/imagebuild"
LABEL_IMAGEBUILD_UID: Final = f"{GROUP}/imagebuild-uid"
LABEL_BUILD_NUMBER: Final = f"{GROUP}/build-number"
LABEL_NAMESPACE_NAME: Final = "kubernetes.io/metadata.name"  # put on every Namespace by the API server
LABEL_POD_SECURITY: Final = "pod-security.kubernetes.io/enforce"

COMPONENT_BUILDER: Final = "builder"  # network policies of registries admit pods with this component
COMPONENT_REGISTRY: Final = "registry"
COMPONENT_NODE_PROXY: Final = "node-proxy"
COMPONENT_OPERATOR: Final = "operator"

ANNOTATION_REBUILD: Final = f"{GROUP}/rebuild"
ANNOTATION_NO_CACHE: Final = f"{GROUP}/no-cache"
ANNOTATION_CANCEL: Final = f"{GROUP}/cancel"
ANNOTATION_MAX_BUILDS: Final = f"{GROUP}/max-builds"  # of a Namespace: builds at once
ANNOTATION_PAUSED: Final = f"{GROUP}/paused"  # of a Namespace: true, or why
ANNOTATION_INPUTS: Final = f"{GROUP}/inputs"
ANNOTATION_IMAGEBUILD: Final = f"{GROUP}/imagebuild"  # the whole name, which a label may not hold
ANNOTATION_CONFIG_MAPS: Final = f"{GROUP}/config-maps"  # names of those that a Job mounts
ANNOTATION_QUEUE: Final = f"{GROUP}/queue"  # of a Job: the labels for Kueue that it was made with
ANNOTATION_CONFIG_HASH: Final = f"{GROUP}/config-hash"  # on pod templates: a change rolls the pods
ANNOTATION_LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"

#: Label selector of everything that the operator makes.
OWNED: Final = f"{LABEL_MANAGED_BY}={OPERATOR}"

# Secrets have fixed names, because the operator's role may only name what it may read (resourceNames).
SECRET_REGISTRY: Final = "strata-registry"  # noqa: S105  passwords, http.secret and CA key of all Registries of a namespace
SECRET_SERVING: Final = "strata-registry-serving"  # noqa: S105  htpasswd and certificates, what the registry's pod mounts
SECRET_PULL: Final = "strata-pull"  # noqa: S105  dockerconfigjson for kubelets and for builders' fetch
SECRET_PUSH: Final = "strata-push"  # noqa: S105  dockerconfigjson for builders' push
SECRET_READER: Final = "strata-secret-reader"  # noqa: S105  ClusterRole and RoleBinding by which a namespace lets us read its Secrets

REGISTRY_PORT: Final = 5000

_DNS_LABEL = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")


def short_hash(*parts: str, length: int = 10) -> str:
    """Hex of a SHA-256 over `parts`, in which no two lists of parts collide by joining."""
    text = "\0".join(f"{len(part)}:{part}" for part in parts)
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def derived(prefix: str, name: str, suffix: str = "", *, limit: int = 63) -> str:
    """`prefix-name[-suffix]` as a DNS label; what does not fit or is not one is cut and gets a hash of the whole.

    Equal arguments give equal names; a derived name with a hash never equals one without for another `name`.
    """
    plain = "-".join(part for part in (prefix, name, suffix) if part)
    digest = short_hash(prefix, name, suffix)
    looks_hashed = re.search(r"-[0-9a-f]{10}$", plain) is not None
    if len(plain) <= limit and _DNS_LABEL.fullmatch(plain) and not looks_hashed:
        return plain
    room = limit - len(digest) - 1
    head = re.sub(r"[^a-z0-9]+", "-", plain.lower())[:room].strip("-")
    return f"{head}-{digest}"


def label_value(text: str) -> str:
    """`text` if it may be the value of a label, else its beginning and a hash of the whole."""
    if _LABEL_VALUE.fullmatch(text):
        return text
    digest = short_hash(text)
    head = re.sub(r"[^A-Za-z0-9_.-]+", "-", text)[: 62 - len(digest)].strip("-_.")
    return f"{head}-{digest}" if head else digest


def common_labels(component: str) -> dict[str, str]:
    """The labels of whatever the operator makes; OWNED selects them.

    app.kubernetes.io/instance is not among them: where Argo CD tracks by labels, it says whose application an object
    is, and one that has no owner, such as a volume that is kept, would be pruned from the application so named.
    """
    return {LABEL_MANAGED_BY: OPERATOR, LABEL_PART_OF: "strata", LABEL_COMPONENT: component}
