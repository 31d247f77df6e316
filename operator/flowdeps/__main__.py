"""`python -m flowdeps`: the same as the command `flowdeps`."""

import sys

from flowdeps.cli.main import main

sys.exit(main())
