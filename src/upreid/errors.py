"""What a user can cause, said in one line."""


class InputError(ValueError):
    """Bad input: what came, what was expected, what to do.

    The command line prints the message as one line and exits with code 2; every other exception is a
    defect of ours and keeps its traceback.
    """

    is_of_one_rank = False
    """Whether the other processes of the group know nothing of it, so that this one must speak."""

    def __init__(self, message: str) -> None:
        super().__init__(in_one_line(message))


def in_one_line(words: str) -> str:
    """Blank out what would break a line, or command a terminal: a name in a file from elsewhere may hold anything."""
    return "".join(letter if letter.isprintable() else " " for letter in words)


def nearest(name: str, known: list[str]) -> str:
    """Return a hint like `; did you mean 'laptop'?`, or the known names where nothing is near."""
    from difflib import get_close_matches

    close = get_close_matches(name, known, n=1, cutoff=0.5)
    return f"; did you mean '{close[0]}'?" if close else f"; known: {', '.join(sorted(known))}"
