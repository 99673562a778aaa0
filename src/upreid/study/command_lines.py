"""The command line of every cell."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from upreid.config.command_line import parse, parse_training
from upreid.config.commands import DiagnoseConfig, EvaluateConfig, SynthConfig
from upreid.config.files import to_dict
from upreid.config.recipe import flags, flat
from upreid.config.study import Corpus, Grid
from upreid.errors import InputError
from upreid.runtime.jobs import Slot
from upreid.runtime.processes import cores
from upreid.study.cells import Cell, effective
from upreid.study.folder import StudyFolder

SCHEMAS = {
    "evaluate": (EvaluateConfig, "--encoder"),
    "diagnose": (DiagnoseConfig, "--run"),
    "synth": (SynthConfig, "--out"),
}
RESULT_FILES = {
    "finetune": "retrieval.json",
    "adapt": "retrieval.json",
    "evaluate": "retrieval.json",
    "diagnose": "diagnosis.json",
}


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Where cells run: on the CPU with one thread each, or on GPUs, each with its share of the cores."""

    device: str
    workers: int
    slots: tuple[Slot, ...]

    def flags(self, prefix: str) -> list[str]:
        """Return device, threads and workers as the programs take them."""
        given = {"device": self.device, "threads": 1, "workers": self.workers}
        return [word for name, value in given.items() for word in (f"--{prefix}{name}", str(value))]


def machine(device: str, slots: int | None) -> Machine:
    """Choose device and slots; InputError for what the machine does not have."""
    gpus = torch.cuda.device_count() if device != "cpu" else 0
    if device == "cuda" and not gpus:
        raise InputError("--device cuda, but torch sees no GPU; leave it out or say cpu")
    count = slots or gpus or cores()
    if not gpus:
        return Machine(device="cpu", workers=0, slots=tuple({} for _ in range(count)))
    named = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(gpus)))  # those that we may use ourselves
    visible = tuple({"CUDA_VISIBLE_DEVICES": named.split(",")[slot % gpus]} for slot in range(count))
    return Machine(device="cuda", workers=max(cores() // count - 1, 0), slots=visible)


def line_of(cell: Cell, folder: StudyFolder, machine: Machine) -> list[str]:
    """Return the whole command line of a cell that begins."""
    root = labelled_root(cell.corpus, cell.people, folder)
    data = ["--data.name", cell.people.name or "market1501", "--data.root", str(root)]
    out = ["--out", str(folder.run(cell))]
    seed = ["--train.seed", str(cell.train_seed)]
    own = flags(cell.flags)
    if cell.program == "pretrain":
        return [
            "pretrain",
            str(cell.recipe),
            "--data.root",
            str(unlabelled_root(cell, folder)),
            *([f"--data.cfs-share={cell.people.cfs_share}"] if cell.people.cfs_share is not None else []),
            *out,
            *own,
            *seed,
            *machine.flags("train."),
        ]
    if cell.program in ("finetune", "adapt"):
        init = ["--init", str(folder.encoder(cell.source)) if cell.source else "random"]
        if cell.beside is not None:
            name, corpus = cell.beside
            source = ["--source.name", corpus.name or "market1501"]
            data += [*source, "--source.root", str(labelled_root(name, corpus, folder))]
        return [cell.program, str(cell.recipe), *init, *data, *out, *own, *seed, *machine.flags("train.")]
    assert cell.source is not None
    file = ["--out", str(folder.run(cell) / RESULT_FILES[cell.program])]
    if cell.program == "diagnose":
        images = ["--unlabelled", str(unlabelled_root(cell.source, folder))]
        return ["diagnose", str(folder.run(cell.source)), *data, *images, *file, *own, *machine.flags("")]
    return ["evaluate", str(folder.encoder(cell.source)), *data, *file, *own, *machine.flags("")]


def unlabelled_root(cell: Cell, folder: StudyFolder) -> Path:
    """Return where the unlabelled images of a cell's corpus are; a grid that is only looked at may not say."""
    return folder.wild(cell.corpus) if cell.people.is_rendered else Path(cell.people.root or cell.corpus)


def labelled_root(name: str, corpus: Corpus, folder: StudyFolder) -> Path:
    """Return where the labelled set of a corpus is."""
    return folder.labelled(name) if corpus.is_rendered else Path(corpus.root or name)


def synth_line(name: str, corpus: Corpus, folder: StudyFolder) -> list[str]:
    """Return the command line that renders a corpus."""
    what = ["--identities", str(corpus.identities), "--seed", str(corpus.seed), "--version", str(corpus.version)]
    return ["synth", str(folder.corpus(name)), *what, *flags(corpus.flags)]


def check_lines(grid: Grid, cells: Sequence[Cell], folder: StudyFolder, machine: Machine) -> None:
    """Read the command lines of the corpora and of one seed as the programs will; InputError where one would be refused."""
    for name, corpus in [(name, one) for name, one in grid.corpora.items() if one.is_rendered]:
        try:
            parsed(synth_line(name, corpus, folder))
        except InputError as error:
            raise InputError(f"corpus {name}: {error}") from error
    for cell in [cell for cell in cells if cell.seed == cells[0].seed and not cell.repeat]:
        try:
            parsed(line_of(cell, folder, machine))
        except InputError as error:
            raise InputError(f"{cell.stage} of {cell.arm}: {error}") from error


def parsed(line: Sequence[str]) -> Any:
    """Return the configuration that a program makes of its command line."""
    program, first, *rest = line
    if program in SCHEMAS:
        schema, place = SCHEMAS[program]
        return parse(schema, [place, first, *rest], program=program)
    return parse_training(program, [first, *rest])


def identity(cell: Cell, line: Sequence[str]) -> dict[str, Any]:
    """Return the settings by which a run is known to be that of a cell: its flags, seed, data and initial weights."""
    config = flat(to_dict(parsed(line)))
    names = [*flat(effective(cell.settings["flags"])), "train.seed", "data.root", "init"]
    return {name: config[name] for name in names if name in config}
