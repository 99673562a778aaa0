"""`upreid adapt --choose`: try values of a setting in short runs, and train with the one that a label-free score prefers.

Each trial is a run of its own in `OUT/trials`, from the same start and with the same random numbers as the training. Its score is
the silhouette of its last clustering, over all images and with outliers as 0. Trials are not evaluated: no label is looked at.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from upreid.config.adapt import AdaptConfig
from upreid.config.command_line import parse
from upreid.config.files import read_json, to_dict, to_flags
from upreid.config.options import known_flags
from upreid.config.training import MonitorConfig
from upreid.errors import DataError, InputError, UpreidError, nearest
from upreid.retrieval.cluster_report import PoorClustersError
from upreid.runtime.console import logging_to, say
from upreid.runtime.files import sweep, write_text
from upreid.runtime.folder import claim
from upreid.runtime.journal import read_journal
from upreid.runtime.launcher import num_ranks
from upreid.training.saved import saved_run

TRIALS, SCORES = "trials", "choice.json"
SECTIONS = ("cluster", "memory", "optim")
"""Sections whose settings can be chosen: what is trained on, and with what network, is not."""
SHAPES_OF_THE_SCORE = ("cluster.k1", "cluster.k2")
SCORE = "silhouette of a trial's last clustering, on Jaccard distances, outliers as 0; no labels"

Train = Callable[..., int]
"""Trains a configuration: `train(config, resumes=..., is_trial=...)` returns the exit code."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A value of the setting that is chosen."""

    value: str
    settings: AdaptConfig
    """The training with this value."""
    short: AdaptConfig
    """Its beginning, which is the trial."""


def begin(config: AdaptConfig, train: Train, check: Callable[[AdaptConfig], None], *, resumes: bool = False) -> int:
    """Try the values of `--choose`, then train with the best; return the exit code of the run that came to its end last."""
    if num_ranks() > 1:
        raise InputError(
            "--choose tries its values in one process: run it without torchrun, then give the value that it chose as a flag"
        )
    path, trials = trials_of(config)
    for trial in trials:
        try:
            check(trial.settings)
        except InputError as error:
            raise InputError(f"--choose {config.choose[0]}: {error}") from error
    folder = config.out / TRIALS
    with claim(config.out, resume=resumes), logging_to(config.out / "logs" / "adapt.log"):
        folder.mkdir(exist_ok=True)
        sweep(folder)
        if not (folder / "config.json").exists():
            facts = {"program": "adapt", "settings": to_dict(config), "started_in": str(Path.cwd())}
            write_text(folder / "config.json", json.dumps(facts, indent=2) + "\n")
        scores: dict[str, Any] = {}
        if (config.out / SCORES).exists():
            scores = read_json(config.out / SCORES).get("scores", {})
        for number, trial in enumerate(trials, start=1):
            if trial.value in scores:
                continue
            say(f"trial {number} of {len(trials)}: {path} {trial.value}, {trial.short.train.steps} steps")
            try:
                code, scores[trial.value] = tried(trial, train)
            except UpreidError:
                forget(folder)
                raise
            if code:
                say(f"the choice goes on with: upreid adapt --resume {config.out}")
                return code
            write_text(config.out / SCORES, json.dumps(facts_of(path, trials, scores), indent=2) + "\n")
        chosen = best(path, trials, scores)
        for trial in trials:
            say(f"{path} {trial.value}: {described(scores[trial.value])}{', chosen' if trial is chosen else ''}")
    return train(config, resumes=True)


def forget(folder: Path) -> None:
    """Leave nothing of a choice whose first trial was refused before its first step."""
    if [path.name for path in folder.iterdir()] == ["config.json"]:
        (folder / "config.json").unlink()
        folder.rmdir()


def applied(config: AdaptConfig) -> tuple[AdaptConfig, dict[str, Any]]:
    """Return the training with the value that the trials speak for, and what a protocol should say about the choice."""
    facts = read_json(config.out / SCORES)
    path, trials = trials_of(config)
    return best(path, trials, facts.get("scores", {})).settings, facts


def is_under_way(folder: Path) -> bool:
    """Tell whether a run is still at its trials."""
    return (folder / TRIALS / "config.json").exists() and not (folder / "config.json").exists()


def going_on(folder: Path, flags: Sequence[str]) -> AdaptConfig:
    """Read what a run that is still at its trials was started with; `flags` may change what decides no number."""
    saved = saved_run(folder / TRIALS, "adapt", flags)
    if saved.start is not None:
        raise InputError("--resume goes on in the run's own folder; leave --out away")
    return replace(saved.config, out=folder)


def trials_of(config: AdaptConfig) -> tuple[str, list[Trial]]:
    """Return the full name of the setting, and a trial for each value; InputError for what cannot be chosen."""
    name, *values = config.choose
    options = {option.path: option for option in known_flags(type(config)).values()}
    able = {path: option for path, option in options.items() if path.startswith(tuple(f"{one}." for one in SECTIONS))}
    wanted = name.replace("-", "_")
    found = [path for path in able if wanted in (path, path.partition(".")[2])]
    if len(found) != 1:
        known = " and ".join((", ".join(SECTIONS[:-1]), SECTIONS[-1]))
        hint = f"; did you mean {' or '.join(found)}?" if found else nearest(wanted, [*able])
        raise InputError(f"--choose '{name}': expected a setting of the sections {known}, such as eps{hint}")
    path = found[0]
    if path in SHAPES_OF_THE_SCORE:
        raise InputError(f"--choose {name}: the distances of the score depend on {path}; choose it by other means")
    if able[path].count != 1:
        raise InputError(f"--choose {name}: expected a setting of one value, and {path} has another number of them")
    if len(values) < 2:
        raise InputError(
            f"--choose {name} {' '.join(values)}".rstrip()
            + f": expected two values or more to choose from, such as --choose {name} 0.5 0.6"
        )
    plain = replace(config, choose=())
    words = to_flags(to_dict(plain))
    try:
        all_settings = [
            parse(type(config), [*words, f"{able[path].flag}={value}"], program="adapt") for value in values
        ]
    except InputError as error:
        raise InputError(f"--choose {name}: {error}") from error
    for place, one in enumerate(all_settings):
        if one in all_settings[:place]:
            raise InputError(f"--choose {name}: {values[place]} stands there twice; give each value once")
    last = path.rpartition(".")[2].replace("_", "-")
    return path, [
        Trial(value=value, settings=one, short=short(one, config.out / TRIALS / f"{last}-{value}"))
        for value, one in zip(values, all_settings, strict=True)
    ]


def short(config: AdaptConfig, out: Path) -> AdaptConfig:
    """Return the trial of a training: its first epochs, not watched by a monitor."""
    train = config.train
    length = max(round(min(config.trial_epochs, train.epochs) * train.iterations), 1)
    steps = length if train.steps is None else min(length, train.steps)
    return replace(config, out=out, train=replace(train, steps=steps), monitor=MonitorConfig(), tensorboard=False)


def tried(trial: Trial, train: Train) -> tuple[int, dict[str, Any]]:
    """Run a trial, or go on with it; return its exit code and what it is worth."""
    out = trial.short.out
    try:
        code = train(trial.short, resumes=(out / "config.json").exists(), is_trial=True)
    except PoorClustersError as error:
        say(f"no clusters to learn from: {error}")
        return 0, {"silhouette": None, "refused": str(error)}
    if code:
        return code, {}
    report = [row["clusters"] for row in read_journal(out / "metrics.jsonl") if "clusters" in row][-1]
    if "source_alone" in report:
        return 0, {"silhouette": None, "refused": report["source_alone"]}
    return 0, {name: report[name] for name in ("silhouette", "clusters", "outlier_share")}


def best(path: str, trials: Sequence[Trial], scores: dict[str, Any]) -> Trial:
    """Return the trial with the highest silhouette, of equal ones the first; InputError where none has clusters."""
    if any(trial.value not in scores for trial in trials):
        raise DataError(
            f"{trials[0].short.out.parent.parent / SCORES} lacks trials of {path}; restore it, or start anew"
        )
    able = [trial for trial in trials if scores[trial.value]["silhouette"] is not None]
    if not able:
        first = scores[trials[0].value]["refused"]
        raise InputError(f"no value of {path} gives clusters to learn from; with {trials[0].value}: {first}")
    return max(able, key=lambda trial: scores[trial.value]["silhouette"])


def facts_of(path: str, trials: Sequence[Trial], scores: dict[str, Any]) -> dict[str, Any]:
    """Return what a protocol should say about the choice."""
    facts = {"setting": path, "score": SCORE, "steps_of_a_trial": trials[0].short.train.steps, "scores": scores}
    if len(scores) == len(trials) and any(one["silhouette"] is not None for one in scores.values()):
        facts["chosen"] = best(path, trials, scores).value
    return facts


def described(score: dict[str, Any]) -> str:
    """Write the score of a trial in words."""
    if score["silhouette"] is None:
        return "no clusters to learn from"
    return f"silhouette {score['silhouette']:.4f}, {score['clusters']} clusters, {score['outlier_share']:.1%} outliers"
