"""`python -m strata_operator` runs the operator."""

import sys

from strata_operator.main import main

if __name__ == "__main__":
    sys.exit(main())
