"""From arguments to a frozen configuration; what is wrong with them, in one line."""

import contextlib
import io
import re
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from typing import Any, Literal, TypeVar, get_args, get_origin

import tyro

from upreid.errors import InputError, nearest

Config = TypeVar("Config")


def parse(schema: type[Config], arguments: Sequence[str], *, program: str) -> Config:
    """Fill `schema` from flags such as `--optim.lr 0.1`; the last of a repeated flag wins.

    Raises InputError in one line for an unknown flag (with the nearest known one), an unknown choice, a
    value of the wrong type and a missing flag. `--help` prints the flags and exits.
    """
    check_names(schema, arguments, program)
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            return tyro.cli(schema, prog=f"upreid {program}", args=list(arguments))
    except SystemExit as stop:
        if not stop.code:
            raise
        raise InputError(one_line(complaint.getvalue())) from None


def known_flags(schema: type[Any], prefix: str = "") -> dict[str, Any]:
    """Map flag -> type, sections included: `--optim.lr -> float`."""
    found: dict[str, Any] = {}
    for field in fields(schema):
        name = prefix + field.name.replace("_", "-")
        if is_dataclass(field.type) and isinstance(field.type, type):
            found |= known_flags(field.type, prefix=f"{name}.")
            continue
        found[f"--{name}"] = field.type
        if field.type is bool:
            head, _, tail = name.rpartition(".")
            found[f"--{head}{'.' if head else ''}no-{tail}"] = field.type
    return found


def check_names(schema: type[Any], arguments: Sequence[str], program: str) -> None:
    """Catch misspelt flags and choices before the parser does, to name the nearest known one."""
    known = known_flags(schema)
    flag = ""
    for argument in arguments:
        if argument.startswith("--"):
            flag, _, value = argument.partition("=")
            flag = flag.replace("_", "-")
            if flag not in known and flag != "--help":
                raise InputError(f"upreid {program} has no option {flag}{nearest(flag, list(known))}")
        else:
            value = argument
        choices = choices_of(known.get(flag))
        if value and choices and value not in choices:
            raise InputError(f"{flag} got '{value}'{nearest(value, choices)}")


def choices_of(kind: Any) -> list[str]:
    """Return the words that a `Literal` (or `Literal | None`) admits."""
    kinds = [kind] if get_origin(kind) is Literal else list(get_args(kind))
    return [str(word) for one in kinds if get_origin(one) is Literal for word in get_args(one)]


def one_line(box: str) -> str:
    """Turn the parser's framed message into a sentence: the words above the first rule."""
    lines = [re.sub(r"[│╭╮╰╯]", " ", line).strip() for line in box.splitlines()]
    words: list[str] = []
    for line in lines:
        if re.match(r"^─+$", line):
            if words:
                break
        elif not line.startswith("─"):
            words.append(line)
    return re.sub(r"\s+", " ", " ".join(words)).strip() or "the command line could not be read; see --help"
