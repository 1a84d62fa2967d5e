"""Running a step's command, with nothing of the builder in reach.

::

    command.py   what to run and how it ended (pure)     roots.py      the engine's Roots: one class a rung
    userns.py    in namespaces of its own ...            inplace.py    in the container's own root
     +- launcher.py    the server's start, and requests  host.py       namespaces for a build on a host
     +- request.py     what is asked for, as bytes       caches.py     RUN's cache mounts
     +- server.py      the process that forks steps      memory.py     whether the kernel killed for want of memory
     +- child.py       from the fork to the program      interpreter.py  how the server is started
     +- mounts.py      the step's mount namespace        agent.py      the ssh agent that it sees
     +- devices.py     its /dev                          hostfiles.py  its hosts and resolv.conf
     +- privileges.py  its identity and capabilities
     +- seccomp.py     the system calls it may not make
"""
