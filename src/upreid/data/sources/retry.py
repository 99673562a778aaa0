"""Storage that does not answer for a while: wait, say so, and stop with a clear line in the end.

A file server that restarts must not look like thousands of unreadable images. So an error that speaks of one file alone (it
is missing, it may not be read) is passed on, as long as the source as a whole is there; every other error of the operating
system (input/output error, stale handle, time-out, the whole folder gone) is waited out.
"""

import errno
import time
from collections.abc import Callable
from typing import TypeVar

from upreid.errors import RunError
from upreid.runtime.console import say

Result = TypeVar("Result")

SECONDS = 600.0
"""Number of seconds that a source may be silent: longer than a file server takes to restart."""

SHORTEST_WAIT, LONGEST_WAIT = 0.5, 20.0
"""Seconds between tries; each wait is twice the one before."""

OF_ONE_FILE = frozenset(
    {errno.ENOENT, errno.EACCES, errno.EPERM, errno.EISDIR, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.ENXIO}
)
"""Errors that may be the fault of a single file."""

OF_THIS_MACHINE = {
    errno.EMFILE: "raise the limit of open files (ulimit -n 1024)",
    errno.ENFILE: "this machine has no more open files to give: end other programs",
    errno.ENOMEM: "this machine's memory is used up: use fewer workers",
}
"""Errors that waiting does not mend -> what does."""


def retry(
    act: Callable[[], Result], *, what: str, seconds: float, is_there: Callable[[], bool] = lambda: False
) -> Result:
    """Do `act` again and again while the storage behind it does not answer, for `seconds` at most.

    `what` names the source. `is_there` is asked about errors that may be those of a single file: where it says yes, the
    error is raised as it is. Raises `RunError` once `seconds` are over, and at once
    for what waiting cannot mend.
    """
    began, wait = time.monotonic(), SHORTEST_WAIT
    while True:
        try:
            result = act()
        except OSError as error:
            if error.errno in OF_ONE_FILE and is_there():
                raise
            if error.errno in OF_THIS_MACHINE:
                raise RunError(f"{what} cannot be read ({describe(error)}); {OF_THIS_MACHINE[error.errno]}") from error
            waited = time.monotonic() - began
            if waited >= seconds:
                raise RunError(
                    f"{what} has not answered for {waited:.0f} s ({describe(error)}); nothing was skipped: bring it back, "
                    f"or move away what cannot be read, and resume"
                ) from error
            if wait == SHORTEST_WAIT:
                say(f"{what} does not answer ({describe(error)}); waiting up to {seconds:.0f} s")
            time.sleep(min(wait, LONGEST_WAIT, seconds - waited))
            wait *= 2
        else:
            if wait > SHORTEST_WAIT:
                say(f"{what} answers again after {time.monotonic() - began:.0f} s")
            return result


def describe(error: OSError) -> str:
    """Return the system's words, and the file they are about."""
    return f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}"
