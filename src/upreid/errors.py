"""What may go wrong without being a defect of ours, each said in one line; everything else keeps its traceback."""

from signal import SIGTERM


class UpreidError(Exception):
    """The family: the command line prints the message as one line on standard error, and exits with code 2.

    A message has three parts: what came, what was expected, what to do.
    """

    exit_code = 2
    is_of_one_rank = False
    """Whether the other processes of the group know nothing of it, so that this one must speak."""

    def __init__(self, message: str) -> None:
        super().__init__(in_one_line(message))


class InputError(UpreidError, ValueError):
    """What a user gave: a flag, a path, a combination of settings."""


class DataError(UpreidError, ValueError):
    """What a file held: damaged, cut short, of another format, or at odds with what it says of itself."""


class RunError(UpreidError, RuntimeError):
    """What happened to a run: memory or disk ran out, a process of the group is gone, a loss is not finite."""


class Stopped(RunError):  # noqa: N818 - what was asked for, and no fault
    """A signal asked the program to stop, and where it was, it could not go on to the place at which it looks."""

    def __init__(self, message: str, signal: int = SIGTERM) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal


def in_one_line(words: str) -> str:
    """Blank out what would break a line, or command a terminal: a name in a file from elsewhere may hold anything."""
    return "".join(letter if letter.isprintable() else " " for letter in words)


def nearest(name: str, known: list[str]) -> str:
    """Return a hint like `; did you mean 'laptop'?`, or the known names where nothing is near."""
    from difflib import get_close_matches

    close = get_close_matches(name, known, n=1, cutoff=0.5)
    return f"; did you mean '{close[0]}'?" if close else f"; known: {', '.join(sorted(known))}"


def first_line(error: BaseException, length: int = 120) -> str:
    """Return the beginning of what an error says, or its kind where it says nothing."""
    return str(error).splitlines()[0][:length] if str(error) else type(error).__name__
