"""`upreid synth`: render the embedded corpus.

    OUT/wild/000/0000000.jpg ...                                     unlabelled
    OUT/market1501/{bounding_box_train,query,bounding_box_test}/...  labelled; likewise in any other layout
    OUT/corpus.json                                                  what they were made from; written last

The same line with another --layout adds that layout's folder, of the same people. Everything is rendered in
`OUT/.synth-partial` and moved when it is whole, so a run that is killed leaves nothing half-written; the next one starts
over, or only finishes moving.
"""

import importlib.util
import math
import shutil
from dataclasses import fields
from pathlib import Path
from typing import Any

from upreid.config.tours import SynthConfig
from upreid.errors import InputError, nearest
from upreid.runtime.console import say
from upreid.synthetic.corpus import Recipe, Shot, wild_shots
from upreid.synthetic.corpus_folder import (
    PARTIAL,
    finish_moving,
    folders_there,
    manifest_of,
    move,
    refuse_incomplete,
    refuse_other_content,
    write_manifest,
)
from upreid.synthetic.layouts import LAYOUTS
from upreid.synthetic.workers import default_workers, render

LEAST_IDENTITIES, LEAST_HEIGHT, LEAST_WIDTH = 4, 32, 16
MOST_IDENTITIES, MOST_SIDE = 9999, 2048


def run(config: SynthConfig) -> None:
    """Render what the command line asks for."""
    synthesise(**vars(config))


def recipe_of(config: SynthConfig) -> Recipe:
    """What decides the bytes of a corpus, of all that the command line says."""
    return Recipe(**{field.name: getattr(config, field.name) for field in fields(Recipe)})


def synthesise(
    out: Path,
    *,
    identities: int,
    seed: int,
    height: int = 128,
    width: int = 64,
    workers: int | None = None,
    camera_strength: float = 1.0,
    background_strength: float = 1.0,
    occlusion_strength: float = 1.0,
    layout: str = "market1501",
) -> None:
    """Render `3 * identities` unlabelled people into `out/wild` and `identities` others into `out/<layout>`.

    The first half of the labelled people (rounded down) trains, the rest tests. Strengths: 1 as tuned, 0 off.
    The same parameters give the same files, whatever `workers` (default: one per core). What `out` holds already of
    the same corpus is reused, so another layout adds its folder only.

    Raises:
        InputError: impossible parameters, or `out` holds something else or cannot be written.
    """
    recipe = Recipe(
        identities=identities,
        seed=seed,
        height=height,
        width=width,
        camera_strength=camera_strength,
        background_strength=background_strength,
        occlusion_strength=occlusion_strength,
        layout=layout,
    )
    _check(recipe, workers)
    try:
        _produce(out, recipe, workers)
    except OSError as error:
        raise InputError(
            f"cannot write the corpus to {out}: {error.strerror or error}; free it or choose another folder"
        ) from error


def _check(recipe: Recipe, workers: int | None) -> None:
    """Refuse what cannot be rendered."""
    if recipe.layout not in LAYOUTS:
        raise InputError(f"unknown layout '{recipe.layout}'{nearest(recipe.layout, list(LAYOUTS))}")
    package = LAYOUTS[recipe.layout].needs
    if package and importlib.util.find_spec(package) is None:
        raise InputError(f"layout {recipe.layout} needs the package {package}: pip install 'upreid[{package}]'")
    ranges = {
        "identities": (LEAST_IDENTITIES, MOST_IDENTITIES),
        "seed": (0, 2**63 - 1),
        "height": (LEAST_HEIGHT, MOST_SIDE),
        "width": (LEAST_WIDTH, MOST_SIDE),
    }
    for name, (least, most) in ranges.items():
        value = getattr(recipe, name)
        if not least <= value <= most:
            raise InputError(f"{name} {value} is impossible; give a number from {least} to {most}")
    for name in ("camera_strength", "background_strength", "occlusion_strength"):
        value = getattr(recipe, name)
        if not (math.isfinite(value) and value >= 0):
            raise InputError(f"{name} {value} is impossible; give 0 (off), 1 (as tuned) or another positive number")
    if workers is not None and workers < 1:
        raise InputError(f"{workers} workers cannot render anything; give at least 1, or leave it out for one per core")


def _produce(out: Path, recipe: Recipe, workers: int | None) -> None:
    """Finish what a killed run had only to move; then reuse what is there and render what is not."""
    finish_moving(out, recipe)
    shots = {"wild": wild_shots(recipe), recipe.layout: LAYOUTS[recipe.layout].shots(recipe)}
    images = {folder: len(wanted) for folder, wanted in shots.items()}
    there = folders_there(out, recipe)
    refuse_incomplete(out, recipe, [folder for folder in shots if folder in there])
    missing = [folder for folder in shots if folder not in there]
    if not missing:
        say(f"{out}: the same corpus is already there, reused ({sum(images.values())} images)")
        return
    refuse_other_content(out, recipe, missing)
    manifest = manifest_of(recipe, {**there, **{folder: {"images": images[folder]} for folder in missing}})
    _render(out / PARTIAL, recipe, {folder: shots[folder] for folder in missing}, workers, manifest)
    move(out / PARTIAL, out, missing)
    made = ", ".join(f"{folder}/ {images[folder]} images" for folder in missing)
    reused = " (wild/ was there already)" if "wild" in there else ""
    say(f"{out}: {made}, seed {recipe.seed}{reused}")


def _render(
    partial: Path, recipe: Recipe, shots: dict[str, list[Shot]], workers: int | None, manifest: dict[str, Any]
) -> None:
    """Fill the partial folder, the manifest last."""
    shutil.rmtree(partial, ignore_errors=True)
    try:
        num_images = sum(len(wanted) for wanted in shots.values())
        render(partial, recipe, shots, workers or default_workers(num_images))
        finish = LAYOUTS[recipe.layout].finish
        if finish and recipe.layout in shots:
            finish(partial / recipe.layout, recipe)
        write_manifest(partial, manifest)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
