import sys

from strata_builder.cli.main import main

sys.exit(main())
