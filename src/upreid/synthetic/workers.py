"""Rendering in several processes; which of them takes a picture changes nothing about it."""

from pathlib import Path

from upreid.runtime.console import progress
from upreid.runtime.pool import in_processes, usable_cores
from upreid.synthetic.corpus import Shot, take
from upreid.synthetic.settings import CorpusSettings

IMAGES_PER_TASK = 50
IMAGES_WORTH_A_WORKER = 300
"""Starting a process costs about as much as rendering this many pictures (at 128 x 64)."""


def default_workers(num_images: int) -> int:
    """One worker per core that this process may use, fewer where there is little to do."""
    return max(1, min(usable_cores(), num_images // IMAGES_WORTH_A_WORKER))


def render(root: Path, corpus: CorpusSettings, shots: dict[str, list[Shot]], workers: int) -> None:
    """Write every shot below `root`, each list in the folder it is named by."""
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
