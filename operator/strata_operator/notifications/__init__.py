"""What happens to ImageBuilds, told to others over HTTP as CloudEvents 1.0.

::

    imagebuild/reconcile.py -> transitions.py (pure: two statuses -> CloudEvents) -> hub.py -> one delivery.py a sink
    sinks.py: who is told, and of what       signing.py: Standard Webhooks       delivery.py: queue, retries, metrics

A sink that is slow or away delays nobody: each has a bounded queue of its own.
"""
