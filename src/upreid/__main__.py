"""`python -m upreid` is the command `upreid`."""

import sys

from upreid.cli import main

sys.exit(main())
