"""What happens to ImageBuilds, told to others over HTTP as CloudEvents 1.0.

::

    imagebuild/reconcile.py -> transitions.py (pure: two statuses -> notices.Notice) -> hub.py -> a delivery.py a sink
    sinks.py: who is told, and of what     cloudevents.py: the bytes of a request     signing.py: Standard Webhooks

A sink that is slow or away delays nobody: each has a bounded queue of its own.
"""
