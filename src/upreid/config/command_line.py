"""From arguments to a frozen configuration; what is wrong with them is said in one line, before the parser sees them."""

from collections.abc import Sequence
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_type_hints

import tyro

from upreid.config.methods import schema_of
from upreid.config.options import Option, bare, expanded, has_no_default, known_flags, refusal
from upreid.config.recipe import Layer, layers_of, recipe_names
from upreid.errors import InputError, nearest

Config = TypeVar("Config")
HELP = ("-h", "--help")
MOST_NAMED = 5


@dataclass(frozen=True, kw_only=True)
class Given:
    """An option with the values that it was given once."""

    option: Option
    flag: str
    values: list[str]
    recipe: str | None
    """Recipe that gives them; None: the command line does."""

    @property
    def who(self) -> str:
        """Return the name that error messages use."""
        return f"recipe '{self.recipe}': {self.flag}" if self.recipe else self.flag

    @property
    def words(self) -> list[str]:
        """Return the words that the parser reads; after a `=`, a value may look like a flag."""
        return [f"{self.flag}={self.values[0]}"] if self.option.count == 1 else [self.flag, *self.values]


def parse(
    schema: type[Config],
    arguments: Sequence[str],
    *,
    program: str,
    places: Sequence[str] = (),
    layers: Sequence[Layer] = (),
    note: str = "",
) -> Config:
    """Fill `schema` from flags such as `--optim.lr 0.1`; the last of a repeated flag wins.

    Words that belong to no flag fill the fields `places` in their order. The flags of recipes (`layers`) come first.
    Raises InputError in one line for an unknown flag, a missing flag, too many or too few values, and a value of another
    type or outside its range. `--help` prints the flags, with the values of the recipes, and `note`, and exits.
    """
    known, given = known_flags(schema), dict[str, Given]()
    for recipe, words in layers:
        flags, strays = read_flags(words, known, program, recipe)
        place([], strays, flags, f"recipe '{recipe}'")
        given |= {one.option.path: one for one in flags}
    if set(HELP) & set(arguments):
        shown = described(schema, given, places)
        tyro.cli(shown, prog=f"upreid {program}", args=["--help"], description=f"{schema.__doc__}\n\n{note}".strip())
    flags, strays = read_flags(arguments, known, program)
    flags += place([known[f"--{name}"] for name in places], strays, flags, f"upreid {program}")
    given |= {one.option.path: one for one in flags}
    check_nothing_is_missing(known, given, places, program)
    return tyro.cli(schema, prog=f"upreid {program}", args=[word for one in given.values() for word in one.words])


def parse_training(program: str, arguments: Sequence[str]) -> Any:
    """Fill the schema of the method that the recipe or a flag names, from the recipe and the flags over it."""
    flags, strays = cut(arguments, known_flags(schema_of(program, arguments)))
    recipes = [values[0] for name, values in flags if name == "--recipe" and values] or [word for word, _ in strays]
    if not recipes and not set(HELP) & set(arguments):
        raise InputError(f"upreid {program} needs a recipe first; known: {', '.join(recipe_names(program))}")
    layers = layers_of(recipes[0], program) if recipes else []
    schema = schema_of(program, [flag for _, flags in (*layers, ("", arguments)) for flag in flags])
    note = f"Recipes: {', '.join(recipe_names(program))}. Values that stand behind a recipe's name are the recipe's."
    return parse(schema, arguments, program=program, places=["recipe"], layers=layers, note=note)


def cut(words: Sequence[str], known: dict[str, Option]) -> tuple[list[tuple[str, list[str]]], list[tuple[str, str]]]:
    """Cut words into flags with their values, and words that belong to no flag, each with the flag before it."""
    flags: list[tuple[str, list[str]]] = []
    strays: list[tuple[str, str]] = []
    for word in words:
        if is_flag(word):
            name, equals, value = word.partition("=")
            flags.append((name.replace("_", "-"), [value] if equals else []))
            continue
        name, values = flags[-1] if flags else ("", [])
        takes = known[name].count if name in known else None if name else 0
        if takes is None or len(values) < takes:
            values.append(word)
        else:
            strays.append((word, name))
    return flags, strays


def read_flags(
    words: Sequence[str], known: dict[str, Option], program: str, recipe: str | None = None
) -> tuple[list[Given], list[tuple[str, str]]]:
    """Cut words as `cut` does, and check flags and values."""
    flags, strays = cut(words, known)
    for name in (name for name, _ in flags if name not in known):
        who = f"recipe '{recipe}'" if recipe else f"upreid {program}"
        raise InputError(f"{who} has no option {name}{nearest_flag(name, known, program)}")
    found = [Given(option=known[name], flag=name, values=values, recipe=recipe) for name, values in flags]
    for one in found:
        check_values(one)
    return found, strays


def is_flag(word: str) -> bool:
    """Tell whether a word begins an option, as `--x` and `-x` do and a negative number does not."""
    return word.startswith("--") or (word[:1] == "-" and word[1:2].isalpha() and word[1:].lower() not in ("inf", "nan"))


def nearest_flag(name: str, known: dict[str, Option], program: str) -> str:
    """Return a hint: flags that end with the same name in any section, required ones first; else the nearest one."""
    last = name.lstrip("-").rpartition(".")[2]
    same = [flag for flag in known if flag.lstrip("-").rpartition(".")[2] == last]
    same.sort(key=lambda flag: not known[flag].is_required)
    hint = f"; did you mean {' or '.join(same[:MOST_NAMED])}?" if same else nearest(name, list(known))
    return hint if "did you mean" in hint else f"; upreid {program} --help lists the options"


def check_values(given: Given) -> None:
    """Raise InputError for a wrong number of values, or for one that will not do; put home folders in."""
    option, values = given.option, given.values
    if option.count is not None and len(values) != option.count:
        raise InputError(f"{given.who} takes {amount(option)} and got {quoted(values)}")
    for place, word in enumerate(values):
        advice = refusal(word, option.kind)
        if not advice:
            try:
                values[place] = expanded(word, option.kind)
            except ValueError as error:
                advice = str(error)
        if advice:
            raise InputError(f"{given.who} got '{word}'; {advice}")


def amount(option: Option) -> str:
    """Say how many values an option takes."""
    if option.count == 0:
        return f"no value (write {option.flag} or {option.negation})"
    return "one value" if option.count == 1 else f"{option.count} values"


def quoted(words: Sequence[str]) -> str:
    """Quote some words, the first few of many."""
    more = f" and {len(words) - MOST_NAMED} more" if len(words) > MOST_NAMED else ""
    return ", ".join(f"'{word}'" for word in words[:MOST_NAMED]) + more or "none"


def place(places: Sequence[Option], strays: Sequence[tuple[str, str]], flags: Sequence[Given], who: str) -> list[Given]:
    """Give the words that belong to no flag to the options `places` that no flag gives; InputError for a word left over."""
    found: list[Given] = []
    taken = {one.option for one in flags}
    left = list(strays)
    for option in (option for option in places if option not in taken):
        count = len(left) if option.count is None else option.count
        if left:
            values = [word for word, _ in left[:count]]
            found.append(Given(option=option, flag=option.flag, values=values, recipe=None))
            left = left[count:]
            check_values(found[-1])
    for word, flag in left:
        before = next((one for one in flags if one.flag == flag), None)
        raise InputError(
            f"{before.who} takes {amount(before.option)}, and '{word}' follows it"
            if before
            else f"{who} got '{word}', which belongs to no option"
        )
    return found


def check_nothing_is_missing(
    known: dict[str, Option], given: dict[str, Given], places: Sequence[str], program: str
) -> None:
    """Raise InputError where a required option is not given."""
    missing = [
        option.path for option in dict.fromkeys(known.values()) if option.is_required and option.path not in given
    ]
    if set(missing) & set(places):
        line = " ".join(name.upper() for name in places)
        raise InputError(f"upreid {program} needs {line} first, as in: upreid {program} {line} ...")
    if missing:
        flags = " and ".join(f"--{path.replace('_', '-')}" for path in missing)
        raise InputError(f"upreid {program} needs {flags}; upreid {program} --help says what each is")


def described(schema: type[Any], given: dict[str, Given], places: Sequence[str] = (), prefix: str = "") -> type[Any]:
    """Return a schema for `--help`: the values that recipes give stand where its own defaults would stand."""
    kinds = get_type_hints(schema, include_extras=True)
    body: dict[str, Any] = {"__doc__": schema.__doc__, "__module__": schema.__module__, "__annotations__": {}}
    for one in fields(schema):
        path, kind = prefix + one.name, kinds[one.name]
        if is_dataclass(kind) and isinstance(kind, type):
            kind = described(kind, given, prefix=f"{path}.")
            body |= {one.name: field(default_factory=kind)} if one.default_factory is not MISSING else {}
        elif path in given:
            body |= {one.name: stand_in(kind, given[path])} if has_no_default(one) else {}
            kind = Annotated[kind, tyro.conf.arg(help_behavior_hint=value_shown(given[path]))]
        if path in places:
            kind = Annotated[tyro.conf.Positional[kind], tyro.conf.arg(metavar=one.name.upper())]
        body["__annotations__"][one.name] = kind
    return dataclass(frozen=True, kw_only=True)(type(schema.__name__, (schema,), body))


def stand_in(kind: Any, given: Given) -> Any:
    """Return a default for a field that must be given, so that the parser does not call it required."""
    return Path(given.values[0]) if bare(kind) is Path else given.values[0]


def value_shown(given: Given) -> str:
    """Show a recipe's value and its name, as `--help` has them."""
    value = " ".join(given.values) if given.option.count != 0 else str(given.flag == given.option.flag)
    return f"(recipe {given.recipe}: {value})"
