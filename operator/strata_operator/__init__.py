"""The Kubernetes half of Strata: watches ImageBuild and Registry resources and runs builder pods for them."""

__version__ = "0.1.0"
