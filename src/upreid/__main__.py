"""`python -m upreid` is the command `upreid`."""

import sys

from upreid.cli import main
from upreid.runtime.processes import end_with_parent

end_with_parent()
sys.exit(main())
