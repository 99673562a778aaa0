"""Whether the parts of a grid fit together."""

import re
from collections.abc import Sequence

from upreid.config.study import Grid, Setting
from upreid.errors import InputError, nearest

SEEDS_APART = 1000
"""Between the fine-tuning seeds of one pre-training."""
CHOSEN_ON = (1, 5)
"""Corpus seeds that the shipped defaults were chosen on: they bear no claim."""


def check_grid(grid: Grid, where: str) -> None:
    """Refuse a grid whose parts do not fit together."""
    for owner, corpus in named_corpora(grid).items():
        if corpus not in grid.corpora:
            raise InputError(f"{where}: {owner} names corpus '{corpus}'{nearest(corpus, list(grid.corpora))}")
    for pair in grid.compare:
        for arm in pair:
            if arm not in grid.arms:
                raise InputError(f"{where}: compare names arm '{arm}'{nearest(arm, list(grid.arms))}")
    for name, setting in grid.settings.items():
        check_setting(grid, name, setting, where)
    chosen_on = [corpus.seed for corpus in grid.corpora.values() if corpus.seed in CHOSEN_ON]
    if grid.purpose == "claiming" and chosen_on:
        raise InputError(
            f"{where}: purpose = 'claiming' on corpus seed {chosen_on[0]}, which the defaults were chosen on; use another"
        )
    check_names(grid, where)


def check_seeds(seeds: Sequence[object], where: str) -> None:
    """Different whole numbers, below those of repeated fine-tunings."""
    whole = all(type(seed) is int and 0 <= seed < SEEDS_APART for seed in seeds)
    if not seeds or not whole or len(set(seeds)) < len(seeds):
        raise InputError(
            f"{where}: seeds {list(seeds)} must be different whole numbers below {SEEDS_APART}, one or more"
        )


def check_names(grid: Grid, where: str) -> None:
    """Arms, settings and corpora name folders."""
    for name in [*grid.arms, *grid.settings, *grid.corpora]:
        if not re.fullmatch(r"[A-Za-z0-9_+][A-Za-z0-9_+.-]*", name):
            raise InputError(f"{where}: '{name}' names a folder; use letters, digits, '-', '_', '+' and '.'")
    if "pretrain" in grid.settings:
        raise InputError(f"{where}: a setting cannot be called 'pretrain', which every study has; choose another name")


def named_corpora(grid: Grid) -> dict[str, str]:
    """Whatever names a corpus -> that name."""
    named = {f"settings.{name}": one.corpus for name, one in grid.settings.items()}
    named |= {f"arms.{name}": one.corpus for name, one in grid.arms.items()}
    return {"the grid": grid.corpus} | {name: corpus for name, corpus in named.items() if corpus is not None}


def check_setting(grid: Grid, name: str, setting: Setting, where: str) -> None:
    """A fine-tuning needs a recipe; only an evaluation can look at the encoder of another setting."""
    place = f"{where}, settings.{name}"
    if (setting.recipe is not None) != (setting.program == "finetune"):
        raise InputError(f"{place}: program = 'finetune' needs a recipe, and nothing else takes one")
    if setting.repeats < 1 or (setting.repeats > 1 and setting.program != "finetune"):
        raise InputError(f"{place}: repeats {setting.repeats}; give 1, or more for a fine-tuning")
    if setting.of is None:
        return
    source = grid.settings.get(setting.of)
    if setting.program != "evaluate" or source is None or source.program != "finetune":
        raise InputError(f"{place}: of = '{setting.of}' must name a fine-tuning setting, and only an evaluation has it")
