"""The options of a schema: their flags, and whether a word of the command line or a value of a recipe will do for one."""

from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from upreid.errors import nearest
from upreid.ranges import Range


@dataclass(frozen=True, kw_only=True)
class Option:
    """A field of a schema, as the command line names it."""

    path: str
    """Names of its sections and its own, joined by dots: `optim.weight_decay`."""
    kind: Any
    """Type of its values, with the range that they must keep to."""
    count: int | None
    """How many values it takes: 0 for a switch; None: any number."""
    is_required: bool

    @property
    def flag(self) -> str:
        """Return the flag, such as `--optim.weight-decay`."""
        return f"--{self.path.rstrip('_').replace('_', '-')}"  # a name that is a word of Python's has `_` after it

    @property
    def negation(self) -> str:
        """Return the flag that turns a switch off, such as `--train.no-bf16`."""
        section, dot, name = self.flag[2:].rpartition(".")
        return f"--{section}{dot}no-{name}"


def known_flags(schema: type[Any], prefix: str = "", *, is_required: bool = True) -> dict[str, Option]:
    """Map every flag of a schema and of its sections to its option; a switch has two flags."""
    kinds = get_type_hints(schema, include_extras=True)
    found: dict[str, Option] = {}
    for field in fields(schema):
        path, kind, required = prefix + field.name, kinds[field.name], is_required and has_no_default(field)
        if is_dataclass(kind) and isinstance(kind, type):
            found |= known_flags(kind, f"{path}.", is_required=required)
            continue
        inner, count = element(kind)
        option = Option(path=path, kind=inner, count=count, is_required=required)
        found |= {option.flag: option} | ({option.negation: option} if count == 0 else {})
    return found


def has_no_default(field: Field[Any]) -> bool:
    """Tell whether a field must be given."""
    return field.default is MISSING and field.default_factory is MISSING


def element(kind: Any) -> tuple[Any, int | None]:
    """Return the type of each value that a field takes, and how many it takes; None: any number."""
    plain = bare(without_none(kind)[0])
    if plain is bool:
        return bool, 0
    if get_origin(plain) is not tuple:
        return kind, 1
    inner = get_args(plain)
    return inner[0], None if inner[-1] is Ellipsis else len(inner)


def refusal(word: str, kind: Any) -> str:
    """Say what to give in place of `word` for a value of type `kind`; an empty text where the word will do."""
    kind, is_optional = without_none(kind)
    if is_optional and word == "None":
        return ""
    if choices := choices_of(kind):
        return "" if word in choices else nearest(word, choices).removeprefix("; ")
    if (plain := bare(kind)) in (int, float):
        limits = next((limit for limit in get_args(kind)[1:] if isinstance(limit, Range)), Range())
        number = number_of(word, plain)
        if number is not None and limits.admits(number):
            return ""
        return f"give a {'whole ' if plain is int else ''}number{limits.beside(number)}"
    if not word or "\0" in word:
        return "give a path" if plain is Path else "give a name"
    return ""


def number_of(word: str, kind: type[int] | type[float]) -> int | float | None:
    """Return the number that a word is; None where it is none of that kind."""
    try:
        return kind(word)
    except ValueError:
        return None


def expanded(word: str, kind: Any) -> str:
    """Replace a leading `~` by the home folder in what is a path, or may be one; ValueError for a user without a home."""
    if bare(without_none(kind)[0]) not in (Path, str) or not word.startswith("~"):
        return word
    try:
        return str(Path(word).expanduser())
    except RuntimeError as error:
        raise ValueError("give another path; that user has no home folder here") from error


def choices_of(kind: Any) -> list[str]:
    """Return the words that a `Literal` (or `Literal | None`) admits."""
    kind = bare(without_none(kind)[0])
    return [str(word) for word in get_args(kind)] if get_origin(kind) is Literal else []


def bare(kind: Any) -> Any:
    """Return a type without what is annotated to it."""
    return get_args(kind)[0] if get_origin(kind) is Annotated else kind


def without_none(kind: Any) -> tuple[Any, bool]:
    """Return `X` and True for `X | None`, else the type itself and False."""
    if get_origin(kind) not in (Union, UnionType):
        return kind, False
    kinds = [one for one in get_args(kind) if one is not NoneType]
    return (kinds[0] if len(kinds) == 1 else kind), len(kinds) < len(get_args(kind))
