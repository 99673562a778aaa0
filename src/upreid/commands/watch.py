"""`upreid watch`: the journals of runs in a viewer. A view only: the runs know nothing of it, and the journal stays the truth."""

import json
import time
from collections.abc import Sequence
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any

from upreid.config.watch import WatchConfig
from upreid.errors import InputError, RunError, first_line
from upreid.runtime.console import say
from upreid.runtime.follow import Follower
from upreid.training.recorder import Sink, TensorBoard, scalars

SECONDS = 2.0
"""Seconds between two looks at a journal."""


def run(config: WatchConfig) -> None:
    """Write what the journals hold, and go on with `follow`."""
    names = names_of(config.runs)
    followers = [Follower(run / "metrics.jsonl") for run in config.runs]
    require(config.to)
    with ExitStack() as stack:
        views = [stack.enter_context(opened(config, run, name)) for run, name in zip(config.runs, names, strict=True)]
        seen = 0
        try:
            while True:
                seen += sum(shown(follower, view) for follower, view in zip(followers, views, strict=True))
                if not config.follow:
                    break
                time.sleep(SECONDS)
        except KeyboardInterrupt:
            say("no longer watching; the runs go on")
    where = (
        f"tensorboard --logdir {config.out}"
        if config.to == "tensorboard"
        else f"wandb sync {config.out}/*/wandb/offline-*"
    )
    sent = config.to == "wandb" and config.online
    say(f"{seen} lines of {', '.join(names[:5])} in {config.out}" + ("" if sent else f"; look at them with: {where}"))


def names_of(runs: Sequence[Path]) -> list[str]:
    """Return what the viewer calls each run; InputError for two of one name."""
    names = [run.resolve().name for run in runs]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(f"two runs are called {twice[0]}, and the viewer knows them by that; watch them one by one")
    return names


def require(viewer: str) -> None:
    """Raise InputError where the viewer's package is not installed."""
    if find_spec(viewer) is None:
        raise InputError(f"--to {viewer}, but {viewer} is not installed: pip install 'upreid[{viewer}]'")


def opened(config: WatchConfig, run: Path, name: str) -> "TensorBoard | Wandb":
    """Open the view of a run; what an earlier call has written for it is hidden."""
    if config.to == "tensorboard":
        return TensorBoard(config.out / name)
    return Wandb(config.out / name, run, name, project=config.project, online=config.online)


def shown(follower: Follower, view: Sink) -> int:
    """Hand over what is new, and return how many lines that was."""
    entries = follower.new_entries()
    for entry in entries:
        view.write(**entry)
    return len(entries)


class Wandb:
    """Takes the lines of a journal as a run of Weights & Biases."""

    def __init__(self, folder: Path, run: Path, name: str, *, project: str, online: bool) -> None:
        import wandb

        folder.mkdir(parents=True, exist_ok=True)
        config = run / "config.json"
        try:
            self.run = wandb.init(
                project=project,
                name=name,
                dir=str(folder),
                mode="online" if online else "offline",
                config=json.loads(config.read_text(encoding="utf-8")) if config.is_file() else {},
                reinit="create_new",
                settings=wandb.Settings(silent=True, console="off"),
            )
        except (wandb.Error, ValueError) as error:
            raise RunError(
                f"Weights & Biases could not begin ({first_line(error)}); leave --online out, or log in"
            ) from error

    def write(self, *, step: int, **values: Any) -> None:
        """Take the numbers of a step; several lines of one step are one step there too."""
        self.run.log(scalars(values), step=step)

    def __enter__(self) -> "Wandb":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.run.finish(0 if kind is None else 1)
