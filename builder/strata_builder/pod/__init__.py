"""One build in a pod: the roles of its containers, and how they meet.

A build without RUN is one container, `all`. With RUN there are three side by side, so that no credential is near the
user's code, and nothing waits in turn::

    fetch (source and pull      build (no credential;       push (push credential)
      |    credentials)           |    the user's code)         |
      |--- inputs/plan.json ----->|---------------------------->|   one plan for all three
      |<-- outputs/need/<hex> ----|                             |   a layer that a step needs
      |--- inputs/blobs/<hex> --->|                             |
      |                           |--- outputs/blobs/<hex> ---->|   uploaded as they get finished
      |                           |--- outputs/steps/<key> ---->|   which step made which layer, told as it ends
      |                           |<-- alive/push/acks/<key> ---|   taken down: the next RUN may begin (InPlace)
      |                           |--- outputs/result.json ---->|   all steps, times, memory
      |<-- wanted/<hex> ----------------------------------------|   what the target still lacks
      |--- inputs/blobs/<hex> --------------------------------->|
      |<-- wanted/done -----------------------------------------|   manifest, cache and result are written

Every folder is written by one container and read-only for the others; a file is renamed into place when it is whole.
What fetch leaves is trusted. What build leaves is hostile: fetch serves only layers that its own plan names, and push
assembles config and manifest from the plan itself, takes from build nothing but layers, checks each against both of its
digests, and keeps it in the cache only under a key that names every RUN which may have touched it (`stepping`,
`taint`).

`alive/<role>/lock` is held by each process for as long as it lives. Whoever waits looks whether the one it waits for
is still there (`alive`), and ends with ExitCode.PEER_LOST if not: the other's own message says why.

::

    paths      where all of it lies, below one home        exchange   files between containers: markers, requests
    planfile   plan.json and result.json, strictly read    alive      who is still there
    inputs     the request -> context, Dockerfile          ending     signals, deadline, termination message, exit code
    recipe     inputs -> the engine's plan                 remotes    what ADD brings (storedfiles: and what the cache
                                                                      keeps of it)
    fetching, building, pushing, whole: the roles          publish    an image into its registry
    logs     what a container prints, masked and bounded   keeping    the log of all of them, into the registry by push
"""
