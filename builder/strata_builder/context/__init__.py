"""Where the files of a build come from, each kind as a `Tree`.

::

    git, gitremote     a commit of a repository, by the git program     gitref     what URLs and names mean (pure)
    archive, untar     a tar archive, from a URL, a file or a pipe      url        one file for ADD
    headers, validators: what its server says of it (pure)              remotefile such a file as a tree
    configmap          the keys of a mounted ConfigMap                  memory     inline files, heredocs
                 \\              |             /
                       folder: a directory with its .dockerignore
                                 |
                                tree: what all of them are to the engine (pure)

Whatever is fetched is hostile: names are checked before they are used, links are never followed out, sizes are bounded
while bytes arrive, and messages carry no secret.
"""
