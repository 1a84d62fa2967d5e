"""What the Makefile runs besides tests/cluster: Strata's own images, the chart on a cluster, the demo."""
