"""`upreid study`: run the cells of a grid, restartably, and show what there is."""

from pathlib import Path

from upreid.config.grid import read_grid
from upreid.config.study import StudyConfig
from upreid.errors import InputError
from upreid.runtime.console import say
from upreid.runtime.folder import claim
from upreid.runtime.jobs import run_jobs
from upreid.study.cells import cells_of
from upreid.study.lines import check_lines, machine
from upreid.study.memory import remember
from upreid.study.places import Places
from upreid.study.report import show
from upreid.study.work import jobs_of


def run(config: StudyConfig) -> None:
    """Do what is not done yet, then show all of it; or, with `--table`, only show it."""
    if config.table is not None:
        if config.grid is not None or config.out is not None:
            raise InputError("upreid study --table OUT shows what is in OUT and takes neither a grid nor --out")
        show(Places(config.table))
        return
    assert config.grid is not None
    name = Path(config.grid).stem if config.grid.endswith(".toml") else config.grid
    places = Places(config.out or Path("studies") / name)
    grid = read_grid(config.grid)
    cells, where = cells_of(grid), machine(config.device, config.slots)
    check_lines(grid, cells, places, where)
    with claim(places.out, resume=places.memory.exists() or places.results.is_dir()):  # results may come from elsewhere
        remember(name, grid, cells, places)
        say(f"study '{name}': {len(cells)} cells, {len(where.slots)} at a time on {where.device}")
        try:
            run_jobs(
                jobs_of(grid, cells, places, where, name),
                places.out / "logs",
                slots=where.slots,
                what=name,
                keeps_going=True,
            )
        finally:
            say(f"what there is: upreid study --table {places.out}")
        show(places)
