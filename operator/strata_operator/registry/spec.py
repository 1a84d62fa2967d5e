"""A Registry resource as values. Pure; the API server has checked the schema."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from strata_operator import names

DEFAULT_TEMPLATE: Final = "{namespace}/{name}"
DEFAULT_PORT: Final = 5000
_NAME = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*")


@dataclass(frozen=True, slots=True)
class Managed:
    """A registry that the operator runs. `node_port` is None where nodes do not pull."""

    size: str
    image: str = ""  # empty = the operator's default
    storage_class: str = ""
    keep_volume: bool = True
    node_port: int | None = DEFAULT_PORT
    resources: Mapping[str, Any] = field(default_factory=dict)
    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class External:
    """A registry that is there already. The names are of objects in the Registry's namespace, empty if not given."""

    host: str
    insecure: bool = False
    ca_config_map: str = ""
    ca_secret: str = ""
    credentials_secret: str = ""


@dataclass(frozen=True, slots=True)
class Access:
    """Who may use it. `selector` is None for the Registry's own namespace alone."""

    selector: Mapping[str, str] | None = None
    template: str = DEFAULT_TEMPLATE


@dataclass(frozen=True, slots=True)
class Mirror:
    upstream: str
    endpoint: str


@dataclass(frozen=True, slots=True)
class Registry:
    """One Registry; exactly one of `managed` and `external` is set."""

    namespace: str
    name: str
    uid: str
    generation: int
    created: str
    managed: Managed | None = None
    external: External | None = None
    access: Access = Access()
    mirrors: tuple[Mirror, ...] = ()

    @property
    def key(self) -> names.Key:
        return names.Key(self.namespace, self.name)

    @property
    def child(self) -> str:
        """The name of the Service, Deployment, ConfigMap, claim and network policy."""
        return names.derived("strata", self.name)

    def service_host(self, cluster_domain: str) -> str:
        """The whole name of the Service: one name for all, whatever their search path."""
        return f"{self.child}.{self.namespace}.svc.{cluster_domain}"

    def push_host(self, cluster_domain: str) -> str:
        """host[:port] as pods of the cluster dial it."""
        if self.external:
            return self.external.host
        return f"{self.service_host(cluster_domain)}:{names.REGISTRY_PORT}"

    @property
    def node_host(self) -> str:
        """host[:port] in the image references of Pods; empty if nodes do not pull from here."""
        if self.external:
            return self.external.host
        port = self.managed.node_port if self.managed else None
        return f"localhost:{port}" if port else ""

    def without_nodes(self) -> Registry:
        """This Registry where no node pulls from it as localhost."""
        if self.managed is None:
            return self
        return dataclasses.replace(self, managed=dataclasses.replace(self.managed, node_port=None))

    def admits(self, namespace: str, labels: Mapping[str, str]) -> bool:
        """Whether a namespace of this name and with these labels may use it."""
        if namespace == self.namespace:
            return True
        selector = self.access.selector
        return bool(selector) and all(labels.get(key) == value for key, value in (selector or {}).items())


def parse(body: Mapping[str, Any]) -> Registry:
    """The values in a Registry's body."""
    meta, spec = body["metadata"], body.get("spec") or {}
    return Registry(
        namespace=meta["namespace"],
        name=meta["name"],
        uid=meta.get("uid", ""),
        generation=int(meta.get("generation") or 0),
        created=meta.get("creationTimestamp") or "",
        managed=_managed(spec["managed"]) if spec.get("managed") else None,
        external=_external(spec["external"]) if spec.get("external") else None,
        access=_access(spec.get("access") or {}),
        mirrors=tuple(Mirror(item["upstream"], item["endpoint"]) for item in spec.get("mirrors") or ()),
    )


def _managed(spec: Mapping[str, Any]) -> Managed:
    volume = spec["storage"]["volume"]
    node = spec.get("nodeAccess") or {}
    return Managed(
        size=str(volume["size"]),
        image=spec.get("image", ""),
        storage_class=volume.get("storageClassName", ""),
        keep_volume=spec.get("reclaimPolicy", "Retain") == "Retain",
        node_port=None if node.get("mode") == "None" else int(node.get("port", DEFAULT_PORT)),
        resources=spec.get("resources") or {},
        node_selector=spec.get("nodeSelector") or {},
        tolerations=tuple(spec.get("tolerations") or ()),
    )


def _external(spec: Mapping[str, Any]) -> External:
    bundle, credentials = spec.get("caBundle") or {}, spec.get("credentials") or {}
    return External(
        host=spec["host"],
        insecure=bool(spec.get("insecure")),
        ca_config_map=(bundle.get("configMapRef") or {}).get("name", ""),
        ca_secret=(bundle.get("secretRef") or {}).get("name", ""),
        credentials_secret=(credentials.get("secretRef") or {}).get("name", ""),
    )


def _access(spec: Mapping[str, Any]) -> Access:
    selector = (spec.get("selector") or {}).get("matchLabels") if spec.get("namespaces") == "Selector" else None
    return Access(selector=selector, template=spec.get("repositoryTemplate") or DEFAULT_TEMPLATE)


def repository(template: str, namespace: str, name: str) -> str:
    """The repository that `template` gives to an ImageBuild: names of objects with dots are repository words too."""
    return template.replace("{namespace}", namespace).replace("{name}", name)


def allows(template: str, namespace: str, wanted: str) -> bool:
    """Whether a repository that an ImageBuild of `namespace` asks for matches `template`, {name} being any path."""
    if len(wanted) > 255 or not _NAME.fullmatch(wanted):
        return False
    literal = re.escape(template.replace("{namespace}", namespace))
    return re.fullmatch(literal.replace(re.escape("{name}"), ".+"), wanted) is not None
