"""`strata logs`: the log of a build, from its pod while there is one, else from the registry where it is kept.

The cluster is asked by the `kubectl` of whoever calls: it knows every kubeconfig and every way to log in, is there
wherever people look after a cluster, and costs builders, which never need it, no library and no time to start.

::

    builds     P  which build and attempt is meant, from an ImageBuild as it is
    kubectl    E  objects, logs of containers, a way to a Service; what goes wrong, told for people
    live       E  the lines of a pod's containers, in one order, while they are printed
    places     E  the registries that may hold a log, with logins and authorities, as far as this person may read them
    kept       E  what is asked of them
    command    E  what is asked, put together
"""
