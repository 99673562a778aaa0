"""The folder of a corpus: its parts, their rendering, and how a part is added whole or not at all.

`corpus.json` holds the settings that all parts were made from, and their list: `wild/`, and one folder per layout.
"""

import json
import os
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from typing import Any

from upreid.errors import InputError
from upreid.runtime.console import progress
from upreid.runtime.processes import in_processes, usable_cores
from upreid.synthetic.corpus import take, wild_shots
from upreid.synthetic.layouts import LAYOUTS
from upreid.synthetic.settings import CorpusSettings
from upreid.synthetic.shot import Shot
from upreid.synthetic.version2.tracker import TRACKLETS

MANIFEST, PARTIAL = "corpus.json", ".synth-partial"
IMAGES_PER_TASK = 50
IMAGES_WORTH_A_WORKER = 300
"""Number of pictures (at 128 x 64) whose rendering costs about as much as the start of a process."""


def manifest_of(corpus: CorpusSettings, folders: dict[str, Any]) -> dict[str, Any]:
    """Describe a corpus: the settings that its folders have in common, and what each folder holds."""
    apart = {"version", "layout"} if corpus.version > 1 else {"version", "layout", "wild"}  # version 1 had no `wild`
    common = {field.name: getattr(corpus, field.name) for field in fields(CorpusSettings) if field.name not in apart}
    return {"generator": corpus.version, **common, "folders": folders}


def folders_there(out: Path, corpus: CorpusSettings) -> dict[str, Any]:
    """Return the folders that were made with exactly these settings, whatever their layout."""
    manifest = read_manifest(out)
    folders = manifest.get("folders", {})
    return folders if manifest == manifest_of(corpus, folders) else {}


def finish_moving(out: Path, corpus: CorpusSettings) -> None:
    """Move what a killed run had rendered; a manifest in the partial folder means that all of it is there."""
    if folders_there(out / PARTIAL, corpus):
        move(out / PARTIAL, out, read_manifest(out / PARTIAL)["folders"])


def refuse_incomplete(out: Path, corpus: CorpusSettings, folders: Iterable[str]) -> None:
    """Refuse folders that lack files of the manifest; other files, such as those a reader extracts, may be there."""
    for folder in folders:
        wanted = files_of(folder, corpus)
        found = {path.relative_to(out / folder).as_posix() for path in (out / folder).rglob("*")}
        if not wanted <= found:
            raise InputError(
                f"{out / folder}: {len(wanted & found)} of {len(wanted)} files are left of an earlier corpus; "
                f"delete {out} and run again"
            )


def files_of(folder: str, corpus: CorpusSettings) -> set[str]:
    """List every file that belongs into a folder, relative to it."""
    if folder == "wild":
        pictures = {str(shot.path) for shot in wild_shots(corpus)}
        return pictures | {TRACKLETS} if corpus.version > 1 else pictures
    return LAYOUTS[folder].files(corpus)


def refuse_other_content(out: Path, corpus: CorpusSettings, folders: Iterable[str]) -> None:
    """Refuse a folder that holds anything else, so that two corpora are never mixed and none is overwritten."""
    others = [] if folders_there(out, corpus) else read_manifest(out).get("folders", {})
    for folder in (*folders, *others):
        if (out / folder).is_dir() and any((out / folder).iterdir()):
            raise InputError(
                f"{out / folder} is not empty and was made otherwise; choose another folder or delete this one"
            )


def move(partial: Path, out: Path, folders: Iterable[str]) -> None:
    """Move the finished folders to their places, the manifest last."""
    for folder in folders:
        if (partial / folder).exists():
            (partial / folder).replace(out / folder)
    (partial / MANIFEST).replace(out / MANIFEST)
    partial.rmdir()


def read_manifest(out: Path) -> dict[str, Any]:
    """Read the manifest of a folder; an absent or unreadable one is empty."""
    try:
        content = json.loads((out / MANIFEST).read_text())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def write_manifest(out: Path, manifest: dict[str, Any]) -> None:
    """Write the manifest so that it is either absent or whole; call this after everything else is written."""
    aside = (out / MANIFEST).with_suffix(".aside")
    with aside.open("w") as file:
        file.write(json.dumps(manifest, indent=2) + "\n")
        file.flush()
        os.fsync(file.fileno())
    aside.replace(out / MANIFEST)


def default_workers(num_images: int) -> int:
    """Return one worker per core that this process may use, fewer where there is little to do."""
    return max(1, min(usable_cores(), num_images // IMAGES_WORTH_A_WORKER))


def render(root: Path, corpus: CorpusSettings, shots: dict[str, list[Shot]], workers: int) -> None:
    """Write every shot to `root`/folder, in several processes; which of them takes a picture changes nothing about it."""
    wanted = [(root / folder / shot.path, shot) for folder, some in shots.items() for shot in some]
    for folder in {path.parent for path, _ in wanted}:
        folder.mkdir(parents=True, exist_ok=True)
    tasks = [wanted[start : start + IMAGES_PER_TASK] for start in range(0, len(wanted), IMAGES_PER_TASK)]
    with progress("synth", len(wanted), "images") as meter:
        for count in in_processes(_do, corpus, tasks, workers):
            meter.advance(count)


def _do(corpus: CorpusSettings, task: list[tuple[Path, Shot]]) -> int:
    for path, shot in task:
        path.write_bytes(take(corpus, shot))
    return len(task)
