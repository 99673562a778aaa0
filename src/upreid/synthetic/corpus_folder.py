"""The folder of a corpus: what stands in it, and how a new part gets in whole or not at all.

`corpus.json` says what all parts were made from, and which parts there are: `wild/`, and one folder per layout.
"""

import json
import os
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from typing import Any

from upreid.errors import InputError
from upreid.synthetic.corpus import wild_shots
from upreid.synthetic.layouts import LAYOUTS
from upreid.synthetic.settings import CorpusSettings

GENERATOR = 1
"""Raised whenever the same parameters come to mean other pictures."""
MANIFEST, PARTIAL = "corpus.json", ".synth-partial"


def manifest_of(corpus: CorpusSettings, folders: dict[str, Any]) -> dict[str, Any]:
    """What every folder has in common, and what each holds."""
    names = [field.name for field in fields(CorpusSettings) if field.name != "layout"]
    common = {name: getattr(corpus, name) for name in names}
    return {"generator": GENERATOR, **common, "folders": folders}


def folders_there(out: Path, corpus: CorpusSettings) -> dict[str, Any]:
    """Folders that were made with exactly these parameters, the layout apart."""
    manifest = read_manifest(out)
    folders = manifest.get("folders", {})
    return folders if manifest == manifest_of(corpus, folders) else {}


def finish_moving(out: Path, corpus: CorpusSettings) -> None:
    """A manifest in the partial folder means that all is rendered: only moving was left."""
    if folders_there(out / PARTIAL, corpus):
        move(out / PARTIAL, out, read_manifest(out / PARTIAL)["folders"])


def refuse_incomplete(out: Path, corpus: CorpusSettings, folders: Iterable[str]) -> None:
    """What the manifest speaks of must be whole; other files, such as what a reader extracts, may stand beside it."""
    for folder in folders:
        wanted = files_of(folder, corpus)
        found = {path.relative_to(out / folder).as_posix() for path in (out / folder).rglob("*")}
        if not wanted <= found:
            raise InputError(
                f"{out / folder}: {len(wanted & found)} of {len(wanted)} files are left of an earlier corpus; "
                f"delete {out} and run again"
            )


def files_of(folder: str, corpus: CorpusSettings) -> set[str]:
    """Every file that belongs into a folder, relative to it."""
    if folder == "wild":
        return {str(shot.path) for shot in wild_shots(corpus)}
    return LAYOUTS[folder].files(corpus)


def refuse_other_content(out: Path, corpus: CorpusSettings, folders: Iterable[str]) -> None:
    """Never mix two corpora, never overwrite one."""
    others = [] if folders_there(out, corpus) else read_manifest(out).get("folders", {})
    for folder in (*folders, *others):
        if (out / folder).is_dir() and any((out / folder).iterdir()):
            raise InputError(
                f"{out / folder} is not empty and was made otherwise; choose another folder or delete this one"
            )


def move(partial: Path, out: Path, folders: Iterable[str]) -> None:
    """Give the finished folders their names, the manifest last."""
    for folder in folders:
        if (partial / folder).exists():
            (partial / folder).replace(out / folder)
    (partial / MANIFEST).replace(out / MANIFEST)
    partial.rmdir()


def read_manifest(out: Path) -> dict[str, Any]:
    """What a folder's manifest says; nothing where there is none to be understood."""
    try:
        content = json.loads((out / MANIFEST).read_text())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def write_manifest(out: Path, manifest: dict[str, Any]) -> None:
    """Write the manifest so that it is either absent or whole, and after everything that it speaks for."""
    aside = (out / MANIFEST).with_suffix(".aside")
    with aside.open("w") as file:
        file.write(json.dumps(manifest, indent=2) + "\n")
        file.flush()
        os.fsync(file.fileno())
    aside.replace(out / MANIFEST)
