"""Builds container images from Dockerfiles, on a host and in unprivileged pods; knows nothing of Kubernetes."""

__version__ = "0.1.0"
