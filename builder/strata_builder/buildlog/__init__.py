"""The log of a build attempt, from what its containers print to what `strata logs` shows, weeks after the pod is gone.

::

    text       P  a line made safe to show; lines of several containers in one order
    segments   E  what a container prints, bounded on disk, readable by another container while it is written
    artifact   E  the logs of an ImageBuild in its repository: read, add one, drop old ones

What build has printed is hostile: it is bounded and cleaned by whoever reads it.
"""
