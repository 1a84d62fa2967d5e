"""The receiver as a part of the operator: begun before it acts, for who stands by forwards."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from strata_operator import controller, leader
from strata_operator.webhooks import forward, listener, receiver


@contextlib.asynccontextmanager
async def serving(frame: controller.Frame, lease: leader.Lease) -> AsyncIterator[listener.Listener | None]:
    """Take deliveries where the settings say so. Raises OSError if the port is taken."""
    if not frame.settings.webhook_listen:
        yield None
        return
    port = int(frame.settings.webhook_listen.rpartition(":")[2])
    forwarder = forward.Forwarder(frame.kube, frame.settings.namespace, lambda: lease.other, lambda: port)
    roles = receiver.Roles(acts=lambda: lease.mine, forwarder=forwarder)
    socket = listener.Listener(receiver.Receiver(frame, roles).application(), frame.settings.webhook_listen)
    await socket.start()
    try:
        yield socket
    finally:
        await socket.close()
        await forwarder.close()
