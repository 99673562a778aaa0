"""Cells as jobs: what each waits for, when it is done, how it goes on."""

from collections.abc import Sequence
from functools import partial

from upreid.config.study import Grid
from upreid.runtime.jobs import Job
from upreid.runtime.resume import continued
from upreid.study.cells import PRETRAIN, Cell
from upreid.study.lines import Machine, identity, line_of, parsed, synth_line
from upreid.study.places import Places
from upreid.study.results import read_result, write_result
from upreid.synthetic.corpus_folder import folders_there
from upreid.training.saved import encoder_is_whole, share_done

MOCO_STEPS = {"consistency": 0.25, "intrinsic": 1.0}
"""What each term adds to a step, in MoCo steps: its share of the pixels."""
IMAGES_PER_IDENTITY = {"pretrain": 12, "finetune": 6}
TIMES_A_TRAINING_STEP = {"pretrain": 4.0, "finetune": 3.0}
"""Forwards for every image of an epoch."""
WORK_OF_THE_REST = 6000.0


def jobs_of(grid: Grid, cells: Sequence[Cell], places: Places, machine: Machine, study: str) -> list[Job]:
    """Render what is needed, then the cells in their order; what only finished cells needed is not made again."""
    wanted = to_do(cells, places)
    corpora = {cell.corpus for cell in cells if cell.name in wanted}
    return [
        *(rendering(name, grid, places) for name in grid.corpora if name in corpora),
        *(job_of(cell, places, machine, study, grid, is_done=cell.name not in wanted) for cell in cells),
    ]


def to_do(cells: Sequence[Cell], places: Places) -> set[str]:
    """Names of the cells without a result, and of those whose encoder one of them needs and that is not there."""
    wanted: set[str] = set()
    needed: set[str] = set()
    for cell in reversed(cells):  # what follows a cell stands behind it
        if read_result(cell, places) is None or (cell.name in needed and not is_whole(cell, places)):
            wanted.add(cell.name)
            needed |= {cell.source.name} if cell.source else set()
    return wanted


def is_whole(cell: Cell, places: Places) -> bool:
    """Whether what others need of a training is in its folder."""
    return encoder_is_whole(places.run(cell)) and (cell.stage != PRETRAIN or (places.run(cell) / "state.pt").exists())


def rendering(name: str, grid: Grid, places: Places) -> Job:
    """Render a corpus."""
    line = synth_line(name, grid.corpora[name], places)
    corpus = parsed(line)
    return Job(
        name=f"synth-{name}",
        words=lambda: line,
        is_done=lambda: {"wild", corpus.layout} <= folders_there(corpus.out, corpus).keys(),
        work=grid.corpora[name].identities * 100.0,
    )


def job_of(cell: Cell, places: Places, machine: Machine, study: str, grid: Grid, *, is_done: bool) -> Job:
    """A cell as a job."""
    folder, line = places.run(cell), line_of(cell, places, machine)
    needs = [f"synth-{cell.corpus}", *([cell.source.name] if cell.source else [])]
    return Job(
        name=cell.name,
        words=lambda: continued(line, folder, identity(cell, line)),
        is_done=lambda: is_done,
        done_share=partial(share_done, folder),
        work=work_of(cell, grid),
        needs=tuple(needs),
        finish=partial(write_result, cell, places, study, line),
    )


def work_of(cell: Cell, grid: Grid) -> float:
    """Roughly how many forwards of an image a cell costs."""
    table = cell.settings["flags"]
    if cell.program not in TIMES_A_TRAINING_STEP:
        return WORK_OF_THE_REST
    epochs = table.get("train", {}).get("epochs", 120.0)
    images = IMAGES_PER_IDENTITY[cell.program] * grid.corpora[cell.corpus].identities
    share = table.get("data", {}).get("identity_share", 1.0) * table.get("data", {}).get("image_share", 1.0)
    terms = [cost for term, cost in MOCO_STEPS.items() if table.get(term, {}).get("weight", 1.0) > 0]
    extra = sum(terms) if cell.program == "pretrain" else 0.0
    return TIMES_A_TRAINING_STEP[cell.program] * epochs * images * share * (1.0 + extra)
