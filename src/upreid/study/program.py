"""`upreid study`: run the cells of a grid as jobs, restartably, and show what there is."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from upreid.config.grid import read_grid
from upreid.config.study import Corpus, Grid, StudyConfig
from upreid.errors import InputError, UpreidError
from upreid.methods import step_cost
from upreid.runtime.console import say
from upreid.runtime.folder import claim
from upreid.runtime.jobs import Job, run_jobs
from upreid.runtime.resume import continued
from upreid.study.cells import PRETRAIN, Cell, cells_of
from upreid.study.command_lines import Machine, check_lines, identity, line_of, machine, parsed, synth_line
from upreid.study.corpora import Facts, check_apart, described, facts_of, with_paths
from upreid.study.folder import StudyFolder, remember
from upreid.study.report import show
from upreid.study.results import is_finished, write_result
from upreid.synthetic.corpus_folder import folders_there
from upreid.training.saved import encoder_is_whole, share_done

IMAGES_PER_IDENTITY = {"pretrain": 12, "finetune": 6}
WORK_OF_THE_REST = 6000.0


def run(config: StudyConfig) -> None:
    """Compute what is not computed yet, then show all of it; or, with `--table`, only show it."""
    if config.table is not None:
        if config.grid is not None or config.out is not None or config.paths:
            raise InputError(
                "upreid study --table OUT shows what is in OUT and takes neither a grid nor --out or --paths"
            )
        show(config.table)
        return
    if config.grid is None:
        raise InputError("upreid study needs GRID first, as in: upreid study GRID ...; or --table OUT, to show a study")
    name = Path(config.grid).stem if config.grid.endswith(".toml") else config.grid
    folder = StudyFolder(config.out or Path("studies") / name)
    grid = with_paths(read_grid(config.grid), config.paths)
    facts = facts_of(grid)
    cells, where = cells_of(grid), machine(config.device, config.slots)
    check_lines(grid, cells, folder, where)
    digests = {cell.name: cell.digest for cell in cells}  # opens the data that the grid names
    with claim(folder.out, resume=folder.is_begun):
        check_apart(grid, facts, folder.facts)
        remember(name, grid, digests, folder, facts)
        say(f"study '{name}': {len(cells)} cells, {len(where.slots)} at a time on {where.device}")
        for corpus in facts:
            say(described(corpus, grid, facts))
        filed = [cell for cell in cells if not folder.result(cell).is_file() and is_finished(cell, folder)]
        if filed:
            say(f"{len(filed)} results are those of {folder.file}; move it away to compute them again")
        try:
            jobs = jobs_of(grid, cells, folder, where, name)
            run_jobs(jobs, folder.out / "logs", slots=where.slots, what=name, keeps_going=True)
        finally:
            say(f"what there is: upreid study --table {folder.out}")
        show(folder.out)


def jobs_of(grid: Grid, cells: Sequence[Cell], folder: StudyFolder, machine: Machine, study: str) -> list[Job]:
    """List the corpora that are needed, then the cells in their order; what only finished cells needed is not made again."""
    wanted = to_do(cells, folder)
    corpora = {name for cell in cells if cell.name in wanted for name, _ in corpora_of(cell)}
    facts = folder.facts
    return [
        *(rendering(name, grid, folder) for name in grid.corpora if name in corpora and grid.corpora[name].is_rendered),
        *(job_of(cell, folder, machine, study, facts, is_done=cell.name not in wanted) for cell in cells),
    ]


def corpora_of(cell: Cell) -> list[tuple[str, Corpus]]:
    """Name the corpora that a cell reads: its own, and that of its source."""
    return [(cell.corpus, cell.people), *([cell.beside] if cell.beside else [])]


def to_do(cells: Sequence[Cell], folder: StudyFolder) -> set[str]:
    """Name the cells without a result, and those whose encoder one of them needs and that is not there."""
    wanted: set[str] = set()
    needed: set[str] = set()
    for cell in reversed(cells):  # what follows a cell stands behind it
        if not is_finished(cell, folder) or (cell.name in needed and not is_whole(cell, folder)):
            wanted.add(cell.name)
            needed |= {cell.source.name} if cell.source else set()
    return wanted


def is_whole(cell: Cell, folder: StudyFolder) -> bool:
    """Whether what others need of a training is in its folder; damaged files are none."""
    run = folder.run(cell)
    try:
        return encoder_is_whole(run) and (cell.stage != PRETRAIN or (run / "state.pt").exists())
    except UpreidError:
        return False


def rendering(name: str, grid: Grid, folder: StudyFolder) -> Job:
    """Return the job that renders a corpus."""
    line = synth_line(name, grid.corpora[name], folder)
    corpus = parsed(line)
    return Job(
        name=f"synth-{name}",
        words=lambda: line,
        is_done=lambda: {"wild", corpus.layout} <= folders_there(corpus.out, corpus).keys(),
        work=(grid.corpora[name].identities or 0) * 100.0,
    )


def job_of(
    cell: Cell, folder: StudyFolder, machine: Machine, study: str, facts: Mapping[str, Facts], *, is_done: bool
) -> Job:
    """Return the job that computes a cell."""
    run, line = folder.run(cell), line_of(cell, folder, machine)
    needs = [f"synth-{name}" for name, corpus in corpora_of(cell) if corpus.is_rendered]
    needs += [cell.source.name] if cell.source else []
    return Job(
        name=cell.name,
        words=lambda: continued(line, run, identity(cell, line)),
        is_done=lambda: is_done,
        done_share=partial(share_done, run),
        work=work_of(cell, facts, line),
        needs=tuple(needs),
        finish=partial(write_result, cell, folder, study, line),
    )


def work_of(cell: Cell, facts: Mapping[str, Facts], line: Sequence[str]) -> float:
    """Estimate how many forward passes of an image a cell costs."""
    table = cell.settings["flags"]
    if cell.program == "adapt":
        config = parsed(line)
        train = config.train
        return step_cost(config) * train.epochs * train.iterations * train.identities * train.images
    if cell.program not in IMAGES_PER_IDENTITY:
        return WORK_OF_THE_REST
    epochs = table.get("train", {}).get("epochs", 120.0)
    if cell.people.identities is not None:
        images = IMAGES_PER_IDENTITY[cell.program] * cell.people.identities
    else:
        known = facts.get(cell.corpus, {})
        images = known.get("train", known).get("images", 0)
    share = table.get("data", {}).get("identity_share", 1.0) * table.get("data", {}).get("image_share", 1.0)
    return step_cost(parsed(line)) * epochs * images * share
