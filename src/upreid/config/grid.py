"""From a TOML file to the grid of a study; what is wrong with it, in one line."""

import itertools
import re
from collections.abc import Sequence
from dataclasses import MISSING, asdict, fields
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

from upreid.config.options import choices_of
from upreid.config.recipe import flat, load, merged, nested, without_none
from upreid.config.study import Corpus, Cross, Curves, Grid, Setting, StudyArm
from upreid.errors import InputError, nearest

Part = TypeVar("Part")

SEEDS_APART = 1000
"""Distance between the seeds of two fine-tunings of one pre-training."""
CHOSEN_ON = (1, 5)
"""Corpus seeds that the shipped defaults were chosen on: they bear no claim."""


def shipped_grids() -> dict[str, Path]:
    """Return name -> file of every grid in the package."""
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
    kinds = {"corpora": Corpus, "arms": StudyArm, "settings": Setting, "curves": Curves}
    for name, kind in kinds.items():
        parts = section(table, name, where)
        table[name] = {key: fill(kind, frozen(part), f"{where}, {name}.{key}") for key, part in parts.items()}
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
    """Write comparisons out: `["*", "moco"]` stands for every other arm against `moco`."""
    found: list[tuple[str, str]] = []
    for pair in pairs:
        if not isinstance(pair, tuple) or len(pair) != 2 or not all(isinstance(arm, str) for arm in pair):
            raise InputError(f"{where}: compare holds {pair!r}; give pairs of arms")
        first, second = pair
        found += [(arm, second) for arm in arms if arm != second] if first == "*" else [(first, second)]
    return tuple(found)


def to_table(grid: Grid) -> dict[str, Any]:
    """Return the grid as a table, crosses written out; `grid_of` reads it back."""
    return without_none(asdict(grid))


def section(table: dict[str, Any], name: str, where: str) -> dict[str, Any]:
    """Return a table of tables, empty where it is missing; InputError where it holds anything else."""
    parts = table.get(name, {})
    if not isinstance(parts, dict) or not all(isinstance(part, dict) for part in parts.values()):
        raise InputError(f"{where}: '{name}' holds named tables, as in [{name}.NAME]")
    return parts


def listed(value: Any, name: str, where: str) -> list[Any]:
    """Return a list; InputError where `value` is none."""
    if not isinstance(value, list | tuple):
        raise InputError(f"{where}: '{name}' got {value!r}; give a list")
    return list(value)


def frozen(part: dict[str, Any]) -> dict[str, Any]:
    """Turn lists of names into tuples."""
    return {
        key: tuple(value) if isinstance(value, list) and all(isinstance(name, str) for name in value) else value
        for key, value in part.items()
    }


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
    """Refuse a value of the wrong type, and a choice that is not one of the known words."""
    if choices := choices_of(kind):
        if value not in choices:
            raise InputError(f"{where}: '{key}' got {value!r}{nearest(str(value), choices)}")
        return
    admitted = tuple(get_origin(one) or one for one in get_args(kind)) if get_origin(kind) not in (dict, tuple) else ()
    wanted = admitted or (get_origin(kind) or kind,)
    if isinstance(value, bool) or not isinstance(value, wanted):
        words = {str: "a word", int: "a whole number", float: "a number", dict: "a table", tuple: "a list of words"}
        raise InputError(f"{where}: '{key}' got {value!r}; give {words[wanted[0]]}")


def crossed(name: str, cross: Cross) -> dict[str, StudyArm]:
    """Make an arm of every combination of the values in the lists."""
    lists = flat(cross.lists)
    found: dict[str, StudyArm] = {}
    for values in itertools.product(*lists.values()):
        given = nested(dict(zip(lists, values, strict=True)))
        arm = StudyArm(recipe=cross.recipe, corpus=cross.corpus, flags=merged(cross.flags, given))
        found["-".join([name, *map(str, values)])] = arm
    return found


def check_grid(grid: Grid, where: str) -> None:
    """Refuse a grid whose parts do not fit together."""
    for owner, corpus in named_corpora(grid):
        if corpus not in grid.corpora:
            raise InputError(f"{where}: {owner} names corpus '{corpus}'{nearest(corpus, list(grid.corpora))}")
    for name, corpus in grid.corpora.items():
        check_corpus(corpus, f"{where}, corpora.{name}")
    for name, arm in grid.arms.items():
        corpus = arm.corpus or grid.corpus
        if arm.recipe is not None and not grid.corpora[corpus].has_unlabelled:
            raise InputError(
                f"{where}: arms.{name} pre-trains on '{corpus}', a labelled set; name an unlabelled corpus"
            )
    for pair in grid.compare:
        for arm in pair:
            if arm not in grid.arms:
                raise InputError(f"{where}: compare names arm '{arm}'{nearest(arm, list(grid.arms))}")
    for name, curves in grid.curves.items():
        check_curves(grid, curves, f"{where}, curves.{name}")
    for name, setting in grid.settings.items():
        check_setting(grid, name, setting, where)
    chosen_on = [
        one.seed for name, one in grid.corpora.items() if one.seed in CHOSEN_ON and grid.use(name) == "claiming"
    ]
    if chosen_on:
        raise InputError(
            f"{where}: purpose = 'claiming' on corpus seed {chosen_on[0]}, which the defaults were chosen on; use another"
        )
    check_names(grid, where)


def check_seeds(seeds: Sequence[object], where: str) -> None:
    """Refuse seeds that are not different whole numbers below those of repeated fine-tunings."""
    whole = all(type(seed) is int and 0 <= seed < SEEDS_APART for seed in seeds)
    if not seeds or not whole or len(set(seeds)) < len(seeds):
        raise InputError(
            f"{where}: seeds {list(seeds)} must be different whole numbers below {SEEDS_APART}, one or more"
        )


def check_names(grid: Grid, where: str) -> None:
    """Refuse names of arms, settings and corpora that cannot be those of folders."""
    for name in [*grid.arms, *grid.settings, *grid.corpora, *grid.curves]:
        if not re.fullmatch(r"[A-Za-z0-9_+][A-Za-z0-9_+.-]*", name):
            raise InputError(f"{where}: '{name}' names a folder; use letters, digits, '-', '_', '+' and '.'")
    if "differences" in grid.curves:
        raise InputError(
            f"{where}: curves cannot be called 'differences', which every study draws; choose another name"
        )
    if "pretrain" in grid.settings:
        raise InputError(f"{where}: a setting cannot be called 'pretrain', which every study has; choose another name")


def named_corpora(grid: Grid) -> list[tuple[str, str]]:
    """Pair each part that names a corpus with that name."""
    named = [("the grid", grid.corpus)]
    for name, one in grid.settings.items():
        corpora = (one.corpus, one.source, *(one.corpora or ()))
        named += [(f"settings.{name}", corpus) for corpus in corpora if corpus is not None]
    return [*named, *((f"arms.{name}", one.corpus) for name, one in grid.arms.items() if one.corpus is not None)]


def check_corpus(corpus: Corpus, where: str) -> None:
    """Refuse a corpus that is neither rendered nor a folder, or both."""
    rendered, folder = (corpus.seed, corpus.identities), (corpus.root, corpus.name, corpus.cfs_share)
    if corpus.version not in (1, 2):
        raise InputError(f"{where}: 'version' got {corpus.version}; give 1 or 2")
    if corpus.version != 1 or any(one is not None for one in (*rendered, corpus.flags or None)):
        if None in rendered:
            lacking = "seed" if corpus.seed is None else "identities"
            raise InputError(f"{where} lacks '{lacking}'")
        if any(one is not None for one in folder):
            raise InputError(
                f"{where} has seed and identities, so it is rendered, and takes no root, name or cfs_share"
            )
    if corpus.name is not None and corpus.cfs_share is not None:
        raise InputError(
            f"{where}: cfs_share is a share of an unlabelled source, and this set has labels; leave it out"
        )


def check_curves(grid: Grid, curves: Curves, where: str) -> None:
    """Refuse curves through arms that there are not, and places that are no numbers."""
    for line, places in curves.lines.items():
        if not isinstance(places, dict) or not places:
            raise InputError(
                f"{where}: line '{line}' got {places!r}; give a table of arms and their places on the axis"
            )
        for arm, place in places.items():
            if arm not in grid.arms:
                raise InputError(f"{where}: line '{line}' names arm '{arm}'{nearest(arm, list(grid.arms))}")
            if isinstance(place, bool) or not isinstance(place, int | float):
                raise InputError(f"{where}: line '{line}' puts '{arm}' at {place!r}; give a number")


def check_setting(grid: Grid, name: str, setting: Setting, where: str) -> None:
    """Refuse a fine-tuning without a recipe, and any but an evaluation that takes the encoder of another setting."""
    place = f"{where}, settings.{name}"
    if (setting.recipe is not None) != setting.trains:
        raise InputError(f"{place}: program = 'finetune' or 'adapt' needs a recipe, and nothing else takes one")
    if setting.repeats < 1 or (setting.repeats > 1 and not setting.trains):
        raise InputError(f"{place}: repeats {setting.repeats}; give 1, or more for a fine-tuning or an adaptation")
    if setting.corpus is not None and setting.corpora is not None:
        raise InputError(f"{place} has both corpus and corpora; give one of them")
    used = grid.stages(name)
    if not used or setting.corpora == () or len(set(used.values())) < len(setting.corpora or used):
        raise InputError(f"{place} has no labelled corpus, or one twice; give different ones in corpora = [...]")
    for corpus in used.values():
        if not grid.corpora[corpus].has_labels:
            raise InputError(f"{place} measures on '{corpus}', which has no labels; name a labelled corpus")
    if setting.source is not None:
        if setting.program != "adapt":
            raise InputError(f"{place}: only program = 'adapt' learns from a source beside; leave it out")
        if setting.source in used.values() or not grid.corpora[setting.source].has_labels:
            raise InputError(f"{place}: source = '{setting.source}' must be a labelled corpus that is not adapted to")
    if setting.of is None:
        return
    source = grid.settings.get(setting.of.partition("@")[0])
    if setting.program != "evaluate" or source is None or not source.trains:
        raise InputError(f"{place}: of = '{setting.of}' must name a setting that trains, and only an evaluation has it")
    stages = grid.stages(setting.of.partition("@")[0])
    for stage in used:
        if grid.source_of(name, stage) not in stages:
            raise InputError(
                f"{place}: of = '{setting.of}' leaves open which encoder is evaluated on '{used[stage]}'; give one of "
                f"{', '.join(stages)}"
            )
