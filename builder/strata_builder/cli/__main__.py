import sys

from strata_builder import start

sys.exit(start.command())
