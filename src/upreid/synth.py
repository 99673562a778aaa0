"""`upreid synth`: render the embedded corpus.

    OUT/wild/000/0000000.jpg ...                                     unlabelled
    OUT/market1501/{bounding_box_train,query,bounding_box_test}/...  labelled
    OUT/corpus.json                                                  what it was made from; written last

Everything is rendered in `OUT/.synth-partial` and moved when it is whole, so a run that is killed leaves nothing
half-written; the next one starts over, or only finishes moving.
"""

import json
import math
import os
import shutil
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, fields
from pathlib import Path

from upreid.config.tours import SynthConfig
from upreid.data.synthetic.corpus import LAYOUTS, Recipe, Shot, wild_shots
from upreid.data.synthetic.workers import default_workers, render
from upreid.errors import InputError, nearest
from upreid.runtime.console import say

GENERATOR = 1
"""Raised whenever the same parameters come to mean other pictures."""
MANIFEST, PARTIAL = "corpus.json", ".synth-partial"
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
    The same parameters give the same files, whatever `workers` (default: one per core).

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
    shots = {"wild": wild_shots(recipe), layout: LAYOUTS[layout](recipe)}
    try:
        _produce(out, recipe, shots, workers)
    except BrokenProcessPool as error:
        raise InputError("a worker process died, perhaps for want of memory; run again with fewer workers") from error
    except OSError as error:
        raise InputError(
            f"cannot write the corpus to {out}: {error.strerror or error}; free it or choose another folder"
        ) from error


def _check(recipe: Recipe, workers: int | None) -> None:
    """Refuse what cannot be rendered."""
    if recipe.layout not in LAYOUTS:
        raise InputError(f"unknown layout '{recipe.layout}'{nearest(recipe.layout, list(LAYOUTS))}")
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


def _produce(out: Path, recipe: Recipe, shots: dict[str, list[Shot]], workers: int | None) -> None:
    """Render, or reuse, or finish what a killed run had only to move."""
    num_images = sum(len(wanted) for wanted in shots.values())
    manifest = {"generator": GENERATOR, "images": num_images, **asdict(recipe)}
    if _is_there(out, list(shots), manifest):
        say(f"{out}: the same corpus is already there, reused ({num_images} images)")
        return
    partial = out / PARTIAL
    if _read(partial / MANIFEST) != manifest:
        _refuse_other_content(out, list(shots))
        shutil.rmtree(partial, ignore_errors=True)
        try:
            render(partial, recipe, shots, workers or default_workers(num_images))
            _write(partial / MANIFEST, manifest)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
    _move(partial, out, list(shots))
    say(f"{out}: {num_images} images of {4 * recipe.identities} people, seed {recipe.seed}")


def _is_there(out: Path, folders: list[str], manifest: dict[str, object]) -> bool:
    """Tell whether `out` holds exactly this corpus, whole."""
    if _read(out / MANIFEST) != manifest:
        return False
    num_files = sum(1 for folder in folders for _ in (out / folder).rglob("*.jpg"))
    if num_files != manifest["images"]:
        raise InputError(
            f"{out}: {num_files} of {manifest['images']} images are left of an earlier corpus; delete it and run again"
        )
    return True


def _refuse_other_content(out: Path, folders: list[str]) -> None:
    """Never mix two corpora, never overwrite one."""
    for folder in folders:
        if (out / folder).is_dir() and any((out / folder).iterdir()):
            raise InputError(
                f"{out / folder} is not empty and was made otherwise; choose another folder or delete this one"
            )
    (out / MANIFEST).unlink(missing_ok=True)  # what it described is gone


def _move(partial: Path, out: Path, folders: list[str]) -> None:
    """Give the finished folders their names, the manifest last."""
    for folder in folders:
        if (partial / folder).exists():
            (partial / folder).replace(out / folder)
    (partial / MANIFEST).replace(out / MANIFEST)
    partial.rmdir()


def _read(path: Path) -> object:
    """Read a manifest; None where there is none to be understood."""
    try:
        return json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None


def _write(path: Path, manifest: dict[str, object]) -> None:
    """Write the manifest so that it is either absent or whole, and after everything that it speaks for."""
    aside = path.with_suffix(".aside")
    with aside.open("w") as file:
        file.write(json.dumps(manifest, indent=2) + "\n")
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)
