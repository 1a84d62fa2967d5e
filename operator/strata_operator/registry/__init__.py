"""The Registry kind: a registry that the operator runs (managed), or one that is there already (external).

::

    Registry ---> registry         reconcile.py: observe, decide, apply, probe, status
      |  Deployment, Service, ... with our labels wake it
      +---------> registry-access  access.py: strata-pull and strata-push of every namespace that may use it
      +---------> registry-proxy   proxies.py: the table of the node proxies
    at start, and now and then: registry-sweep, what is left of Registries that are gone
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from strata_operator import cache, controller, kube, names
from strata_operator.registry import access, proxies, reconcile, sweep, vault

_CHILDREN = (
    names.DEPLOYMENTS,
    names.PODS,
    names.SERVICES,
    names.VOLUME_CLAIMS,
    names.NETWORK_POLICIES,
)


def controllers(frame: controller.Frame) -> Sequence[controller.Controller]:
    """The queues of this kind and what they watch."""
    logins = vault.Vault()
    spaces = access.Access(frame, logins)
    return (
        controller.Controller(
            kind=reconcile.KIND,
            reconcile=reconcile.Reconciler(frame, logins).reconcile,
            watches=(
                controller.Watch(names.REGISTRIES, controller.itself(reconcile.KIND)),
                controller.Watch(names.CONFIGMAPS, _by_label, selector=names.OWNED, trim=cache.without_contents),
                *(controller.Watch(child, _by_label, selector=names.OWNED) for child in _CHILDREN),
            ),
        ),
        controller.Controller(
            kind=access.KIND,
            reconcile=spaces.reconcile,
            watches=(
                controller.Watch(names.NAMESPACES, controller.itself(access.KIND)),
                controller.Watch(names.REGISTRIES, access.admitted(frame)),
            ),
        ),
        controller.Controller(
            kind=proxies.KIND,
            reconcile=proxies.Proxies(frame).reconcile,
            watches=(controller.Watch(names.REGISTRIES, lambda _body: [(proxies.KIND, proxies.ALL)]),),
            workers=1,
            start=(proxies.ALL,),
        ),
        controller.Controller(
            kind=sweep.KIND,
            reconcile=sweep.Sweep(frame, logins, spaces, reconcile.KIND).reconcile,
            workers=1,
            start=(sweep.ALL,),
        ),
    )


def _by_label(body: kube.Object) -> Iterable[tuple[str, names.Key]]:
    """The Registry that an object was made for; a kept volume has no owner."""
    meta = body["metadata"]
    name = (meta.get("labels") or {}).get(names.LABEL_REGISTRY)
    return [(reconcile.KIND, names.Key(meta["namespace"], name))] if name else []
