"""A stage's file system, made only when somebody asks: as a table of contents, as a tree to copy from, or for real.

::

    view.py         the merged view of layers' indexes (pure)     overlay.py   unpacked layers, stacked by the kernel
    users.py        USER and --chown on its passwd and group       +- stack.py    one overlay mount
                    (pure)                                         +- placed.py   the time of what COPY brought
    stage_tree.py   the same as a context to copy from             +- trash.py    what goes while work goes on
    kernel.py       system calls that Python lacks                inplace.py   the container's own root
"""
