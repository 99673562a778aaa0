"""A recipe is a saved command line: a TOML file, flattened to flags that stand before the user's own.

Besides sections it holds `program`, which it is for, and may hold `base`, a recipe whose flags come first.
"""

import tomllib
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from upreid.errors import InputError, nearest

Layer = tuple[str, Sequence[str]]
"""Name of a recipe, and its own flags."""


def shipped_recipes() -> dict[str, Path]:
    """Map the name of every recipe in the package to its file."""
    folder = Path(str(resources.files("upreid") / "recipes"))
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def read_recipe(name: str, program: str) -> list[str]:
    """Return the flags of a shipped recipe, or of a TOML file where `name` is a path; those of its bases come first."""
    return [flag for _, flags in layers_of(name, program) for flag in flags]


def layers_of(name: str, program: str, above: tuple[str, ...] = ()) -> list[Layer]:
    """Return the flags of a recipe and of its bases, the lowest base first.

    Raises InputError for an unknown name, bad TOML, a recipe of another program, and bases that go round in a circle;
    `above` are the recipes that it is the base of.
    """
    table, base = with_base(name, program, above)
    written_for = table.pop("program", None)
    if written_for != program:
        raise InputError(
            f"recipe '{name}' says program = {written_for!r}; upreid {program} needs one that says '{program}'"
        )
    return [*(layers_of(base, program, (*above, name)) if base else []), (name, flags(table))]


def with_base(name: str, program: str, above: tuple[str, ...] = ()) -> tuple[dict[str, Any], str | None]:
    """Return a recipe's table, and the recipe whose flags come first; `above` are those that it is itself the base of."""
    table = load(find(name, program))
    base = table.pop("base", None)
    if not (base is None or isinstance(base, str)):
        raise InputError(f"recipe '{name}' says base = {base!r}; expected the name of a recipe, or a path to one")
    if base in (*above, name):
        raise InputError(f"recipe '{name}' is its own base, by way of {', '.join((*above, name))}; leave one base out")
    return table, base


def recipe_table(name: str, program: str) -> dict[str, Any]:
    """Join the settings of a recipe and of its bases in one table; its own win."""
    table, base = with_base(name, program)
    table.pop("program", None)
    return merged(recipe_table(base, program) if base else {}, table)


def find(name: str, program: str) -> Path:
    """Return the file of a recipe."""
    shipped = shipped_recipes()
    if name in shipped:
        return shipped[name]
    if name.endswith(".toml"):
        if Path(name).is_file():
            return Path(name)
        raise InputError(f"no recipe file {name}; give a path to a TOML file or the name of a shipped recipe")
    raise InputError(f"unknown recipe '{name}'{nearest(name, recipe_names(program))}")


def recipe_names(program: str) -> list[str]:
    """Return the names of the shipped recipes of a program."""
    return [stem for stem, path in shipped_recipes().items() if load(path).get("program") == program]


def load(path: Path) -> dict[str, Any]:
    """Read TOML; InputError where it is not."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"recipe {path} is not valid TOML: {error}") from error


def flags(table: dict[str, Any], prefix: str = "") -> list[str]:
    """Flatten `{"optim": {"lr": 0.1}, "x": true}` to `["--optim.lr=0.1", "--x"]`; a switch of value false has a `no-`."""
    result: list[str] = []
    for key, value in table.items():
        name = prefix + key.replace("_", "-")
        if isinstance(value, dict):
            result += flags(value, prefix=f"{name}.")
        elif isinstance(value, bool):
            head, _, tail = name.rpartition(".")
            result.append(f"--{name}" if value else f"--{head}{'.' if head else ''}no-{tail}")
        elif isinstance(value, list):
            result += [f"--{name}", *map(str, value)]
        else:
            result.append(f"--{name}={value}")
    return result


def flat(table: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten a table: `{"a": {"b": 1}}` becomes `{"a.b": 1}`."""
    found: dict[str, Any] = {}
    for key, value in table.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return found


def nested(table: dict[str, Any]) -> dict[str, Any]:
    """Invert `flat`: `{"a.b": 1}` becomes `{"a": {"b": 1}}`."""
    found: dict[str, Any] = {}
    for name, value in table.items():
        *sections, key = name.split(".")
        inner = found
        for one in sections:
            inner = inner.setdefault(one, {})
        inner[key] = value
    return found


def merged(*tables: dict[str, Any]) -> dict[str, Any]:
    """Put tables of flags on top of each other; the last wins, however a flag is spelt."""
    found: dict[str, Any] = {}
    for table in tables:
        found |= {name.replace("-", "_"): value for name, value in flat(table).items()}
    return nested(found)


def without_none(value: Any) -> Any:
    """Leave out what was not given, at every level; tuples become lists."""
    if isinstance(value, dict):
        return {key: without_none(inner) for key, inner in value.items() if inner is not None}
    return [without_none(inner) for inner in value] if isinstance(value, list | tuple) else value
