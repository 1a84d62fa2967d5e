"""Running a step's command, with nothing of the builder in reach.

::

    command.py   what to run and how it ended (pure)     roots.py      the engine's Roots: one class a rung
    userns.py    in namespaces of its own ...            inplace.py    in the container's own root
     +- child.py       the helper process between        host.py       namespaces for a build on a host
     +- mounts.py      the step's mount namespace        caches.py     RUN's cache mounts
     +- devices.py     its /dev                          memory.py     whether the kernel killed for want of memory
     +- privileges.py  its identity and capabilities     interpreter.py  how the helper is started
     +- hostfiles.py   its hosts and resolv.conf         agent.py      the ssh agent that it sees
     +- seccomp.py     the system calls it may not make
"""
