"""Images as values: digests, references, platforms, descriptors, manifests, configs, and two file formats that hold
them.

Everything is pure except `layout` (an OCI layout folder or its tar) and `archive` (the tar of `docker save`).
"""
