"""From a TOML file to the grid of a study; what is wrong with it, in one line."""

import itertools
from dataclasses import MISSING, asdict, fields
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

from upreid.config.command_line import choices_of
from upreid.config.flag_tables import flat, merged, nested, without_none
from upreid.config.grid_checks import check_grid, check_seeds
from upreid.config.recipe import load
from upreid.config.study import Arm, Corpus, Cross, Grid, Setting
from upreid.errors import InputError, nearest

Part = TypeVar("Part")


def shipped_grids() -> dict[str, Path]:
    """Name -> file of every grid in the package."""
    folder = Path(str(resources.files("upreid") / "studies"))
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def read_grid(name: str) -> Grid:
    """Read a shipped grid, or a TOML file where `name` is a path; InputError where it is wrong."""
    shipped = shipped_grids()
    if name not in shipped and not Path(name).is_file():
        raise InputError(f"no study '{name}'{nearest(name, list(shipped))}; or give a path to a TOML file")
    return grid_of(load(shipped.get(name, Path(name))), f"study '{name}'")


def grid_of(table: dict[str, Any], where: str) -> Grid:
    """Build a grid from a table, crosses turned into arms."""
    table = dict(table)
    crosses = {
        name: fill(Cross, part, f"{where}, cross.{name}") for name, part in section(table, "cross", where).items()
    }
    table.pop("cross", None)
    kinds = {"corpora": Corpus, "arms": Arm, "settings": Setting}
    for name, kind in kinds.items():
        parts = section(table, name, where)
        table[name] = {key: fill(kind, part, f"{where}, {name}.{key}") for key, part in parts.items()}
    for name, cross in crosses.items():
        table["arms"] |= crossed(name, cross)
    for name in {"seeds", "compare"} & table.keys():
        table[name] = tuple(tuple(one) if isinstance(one, list) else one for one in listed(table[name], name, where))
    check_seeds(table.get("seeds", ()), where)
    table["compare"] = spelt_out(table.get("compare", ()), list(table["arms"]), where)
    grid = fill(Grid, table, where)
    check_grid(grid, where)
    return grid


def spelt_out(pairs: Any, arms: list[str], where: str) -> tuple[tuple[str, str], ...]:
    """`["*", "moco"]` stands for every other arm against `moco`."""
    found: list[tuple[str, str]] = []
    for pair in pairs:
        if not isinstance(pair, tuple) or len(pair) != 2 or not all(isinstance(arm, str) for arm in pair):
            raise InputError(f"{where}: compare holds {pair!r}; give pairs of arms")
        first, second = pair
        found += [(arm, second) for arm in arms if arm != second] if first == "*" else [(first, second)]
    return tuple(found)


def to_table(grid: Grid) -> dict[str, Any]:
    """The grid as a table again, crosses written out; `grid_of` reads it back."""
    return without_none(asdict(grid))


def section(table: dict[str, Any], name: str, where: str) -> dict[str, Any]:
    """A table of tables; empty where it is missing."""
    parts = table.get(name, {})
    if not isinstance(parts, dict) or not all(isinstance(part, dict) for part in parts.values()):
        raise InputError(f"{where}: '{name}' holds named tables, as in [{name}.NAME]")
    return parts


def listed(value: Any, name: str, where: str) -> list[Any]:
    """A list, or InputError."""
    if not isinstance(value, list | tuple):
        raise InputError(f"{where}: '{name}' got {value!r}; give a list")
    return list(value)


def fill(kind: type[Part], table: dict[str, Any], where: str) -> Part:
    """Fill a dataclass; InputError for an unknown key, a missing one, and a value of another kind."""
    known = {one.name: one for one in fields(kind)}  # pyright: ignore[reportArgumentType]
    for key, value in table.items():
        if key not in known:
            raise InputError(f"{where} has no key '{key}'{nearest(key, list(known))}")
        check_kind(known[key].type, key, value, where)
    missing = [
        name
        for name, one in known.items()
        if one.default is MISSING and one.default_factory is MISSING
        if name not in table
    ]
    if missing:
        raise InputError(f"{where} lacks '{missing[0]}'")
    return kind(**table)


def check_kind(kind: Any, key: str, value: Any, where: str) -> None:
    """Words, whole numbers, tables; a choice must be one of the known words."""
    if choices := choices_of(kind):
        if value not in choices:
            raise InputError(f"{where}: '{key}' got {value!r}{nearest(str(value), choices)}")
        return
    admitted = tuple(get_origin(one) or one for one in get_args(kind)) if get_origin(kind) not in (dict, tuple) else ()
    wanted = admitted or (get_origin(kind) or kind,)
    if isinstance(value, bool) or not isinstance(value, wanted):
        words = {str: "a word", int: "a whole number", dict: "a table", tuple: "a list"}
        raise InputError(f"{where}: '{key}' got {value!r}; give {words[wanted[0]]}")


def crossed(name: str, cross: Cross) -> dict[str, Arm]:
    """One arm for every combination of the lists' values."""
    lists = flat(cross.lists)
    found: dict[str, Arm] = {}
    for values in itertools.product(*lists.values()):
        given = nested(dict(zip(lists, values, strict=True)))
        arm = Arm(recipe=cross.recipe, corpus=cross.corpus, flags=merged(cross.flags, given))
        found["-".join([name, *map(str, values)])] = arm
    return found
