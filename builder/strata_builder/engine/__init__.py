"""From a Dockerfile and a context to an image: plan, keys, and the one place where the graph meets the edges.

::

    Dockerfile + Options --planner--> Plan --keys--> keyed Plan --execute--> BuiltImage
                            |                 |                    |
                         Images            Trees           Blobs, Roots, CacheRecords

`planner` (with `filescope` and `stageplanner`), `scope`, `metadata`, `steps`, `copying` and `digests` are pure; `execute`
is where they meet what does I/O.
"""
