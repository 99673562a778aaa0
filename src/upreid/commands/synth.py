"""`upreid synth`: render the embedded corpus.

    OUT/wild/0000/00000_00.jpg ...                                   unlabelled: video, person, frame
    OUT/wild/tracklets.csv                                           which crops a tracker took for one person
    OUT/market1501/{bounding_box_train,query,bounding_box_test}/...  labelled; likewise in any other layout
    OUT/corpus.json                                                  what they were made from; written last

The same command with another --layout adds the folder of that layout, with the same people. Everything is rendered in
`OUT/.synth-partial` and moved when it is whole, so that a killed run leaves nothing half-written; the next run starts
over, or finishes the moving.
"""

import importlib.util
import shutil
from pathlib import Path
from typing import Any

from upreid.config.commands import SynthConfig
from upreid.errors import InputError, nearest
from upreid.runtime.console import say
from upreid.synthetic.corpus import wild_shots
from upreid.synthetic.corpus_folder import (
    PARTIAL,
    default_workers,
    finish_moving,
    folders_there,
    manifest_of,
    move,
    refuse_incomplete,
    refuse_other_content,
    render,
    write_manifest,
)
from upreid.synthetic.layouts import LAYOUTS
from upreid.synthetic.settings import CorpusSettings
from upreid.synthetic.shot import Shot
from upreid.synthetic.version2.tracker import TRACKLETS, tracklet_list


def run(config: SynthConfig) -> None:
    """Render what the command line asks for."""
    synthesise(config.out, config, workers=config.workers)


def synthesise(out: Path, corpus: CorpusSettings, *, workers: int | None = None) -> None:
    """Render unlabelled crops into `out/wild` and `identities` other people into `out/<layout>`.

    The first half of the labelled people (rounded down) trains, the rest tests. The same settings give the same files,
    whatever `workers` (default: one per core). What `out` holds already of the same corpus is reused, so another layout
    adds its folder only.

    Raises:
        InputError: impossible settings, or `out` holds something else or cannot be written.
    """
    _check(corpus)
    try:
        _produce(out, corpus, workers)
    except OSError as error:
        raise InputError(
            f"cannot write the corpus to {out}: {error.strerror or error}; free it or choose another folder"
        ) from error


def _check(corpus: CorpusSettings) -> None:
    """Refuse what cannot be rendered."""
    if corpus.layout not in LAYOUTS:
        raise InputError(f"unknown layout '{corpus.layout}'{nearest(corpus.layout, list(LAYOUTS))}")
    if corpus.version == 1 and corpus.wild is not None:
        raise InputError(
            "--wild needs --version 2; version 1 always makes 12 unlabelled pictures for each labelled person"
        )
    package, extra = LAYOUTS[corpus.layout].needs or ("", "")
    if package and importlib.util.find_spec(package) is None:
        raise InputError(f"layout {corpus.layout} needs the package {package}: pip install 'upreid[{extra}]'")


def _produce(out: Path, corpus: CorpusSettings, workers: int | None) -> None:
    """Finish the moving of a killed run; then reuse the folders that are there and render those that are not."""
    finish_moving(out, corpus)
    shots = {"wild": wild_shots(corpus), corpus.layout: LAYOUTS[corpus.layout].shots(corpus)}
    images = {folder: len(wanted) for folder, wanted in shots.items()}
    there = folders_there(out, corpus)
    refuse_incomplete(out, corpus, [folder for folder in shots if folder in there])
    missing = [folder for folder in shots if folder not in there]
    if not missing:
        say(f"{out}: the same corpus is already there, reused ({sum(images.values())} images)")
        return
    refuse_other_content(out, corpus, missing)
    manifest = manifest_of(corpus, {**there, **{folder: {"images": images[folder]} for folder in missing}})
    _render(out / PARTIAL, corpus, {folder: shots[folder] for folder in missing}, workers, manifest)
    move(out / PARTIAL, out, missing)
    made = ", ".join(f"{folder}/ {images[folder]} images" for folder in missing)
    reused = " (wild/ was there already)" if "wild" in there else ""
    say(f"{out}: {made}, seed {corpus.seed}{reused}")


def _render(
    partial: Path, corpus: CorpusSettings, shots: dict[str, list[Shot]], workers: int | None, manifest: dict[str, Any]
) -> None:
    """Render into the partial folder, the manifest last."""
    shutil.rmtree(partial, ignore_errors=True)
    try:
        num_images = sum(len(wanted) for wanted in shots.values())
        render(partial, corpus, shots, workers or default_workers(num_images))
        if "wild" in shots and corpus.version > 1:
            (partial / "wild" / TRACKLETS).write_text(tracklet_list(shots["wild"]))
        finish = LAYOUTS[corpus.layout].finish
        if finish and corpus.layout in shots:
            finish(partial / corpus.layout, corpus)
        write_manifest(partial, manifest)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
