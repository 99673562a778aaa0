"""`upreid calibrate`: up to which distance two features are taken for one person, from some people, tested on others."""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch

from upreid.commands.calibration_sets import calibration_set
from upreid.config.calibrate import CalibrateConfig
from upreid.errors import InputError, RunError
from upreid.inference import load_encoder
from upreid.models.calibration import Calibration, Threshold, percent, percents
from upreid.models.encoder import MODEL_FILE, Encoder, calibrate_file, encoder_file, encoder_sha256
from upreid.models.foreign.folder import is_model_folder, tell_folder
from upreid.retrieval.calibration import (
    Calibrated,
    Tested,
    calibrate,
    check,
    check_people,
    curve,
    has_same_pairs,
    split_people,
)
from upreid.retrieval.calibration_page import calibration_page
from upreid.retrieval.pairs import LabelledFeatures, Tally, width_for
from upreid.runtime.compute import settle
from upreid.runtime.console import say
from upreid.runtime.files import check_target, json_with, write_text
from upreid.runtime.pages import is_page, require_pages
from upreid.types import Neck

OTHER_RATES = (0.001, 0.003, 0.01, 0.03, 0.1)
"""False-accept rates whose price is told beside the wanted one."""
BARS = 60
"""Number of bars of a histogram."""
POINTS = 101
"""Number of points of the curve that are saved."""


def run(config: CalibrateConfig) -> None:
    """Measure, test, write into the encoder's file, and say and save what was found."""
    if config.out:
        check_target(config.out, "--out", json_with("calibration"))
    if config.page:
        check_target(config.page, "--page", is_page)
        require_pages("pages (--page)")
    compute = settle(config.device, config.threads, config.workers, workers_wanted=1, prefix="--")
    torch.set_num_threads(compute.threads)
    path = encoder_file(config.encoder)
    encoder = load_encoder(path, compute.device)
    if not os.access(path.parent, os.W_OK):
        raise InputError(f"{path} is to be written anew, and you may not write to its folder; calibrate a copy of it")
    some, data, rule = calibration_set(config, encoder, compute)
    calibration, result = calibrated(config, some, neck=config.neck or encoder.header.neck, data=data, rule=rule)
    if encoder_sha256(path) != encoder.sha256:
        raise RunError(f"{path} was changed while it was calibrated; calibrate what is there now")
    calibrate_file(path, calibration)
    if path.name == MODEL_FILE and is_model_folder(path.parent):
        after = Encoder(encoder.backbone, replace(encoder.header, calibration=calibration), encoder.head)
        if not tell_folder(path.parent, encoder, after):
            say(f"{path.parent / 'README.md'} was edited and is left as it is")
    print(json.dumps(result["calibration"], indent=2))
    for sentence in sentences(calibration, result):
        say(sentence)
    say(f"written into {path}; upreid search and upreid export use it")
    if config.out:
        write_text(config.out, json.dumps(result, indent=2) + "\n")
        say(f"numbers: {config.out}")
    if config.page:
        write_text(config.page, calibration_page(result, encoder=str(config.encoder)))
        say(f"page: {config.page}")


def calibrated(
    config: CalibrateConfig, some: LabelledFeatures, *, neck: Neck, data: str, rule: str
) -> tuple[Calibration, dict[str, Any]]:
    """Calibrate on some people and test on the others, for single images and for means over tracklets."""
    width = width_for(some.features, config.metric)
    own, others = split_people(some, config.test_share, config.seed)
    for part, what in ((own, "to calibrate on"), (others, "to test on")):
        check_people(part, config.false_accept, what)
    say(f"{own.num_people} people to calibrate on, {others.num_people} others to test on; {rule}")
    thresholds, details = {}, {}
    for kind in ("image", "tracklet") if some.tracks is not None else ("image",):
        parts = [part.means(config.metric) if kind == "tracklet" else part for part in (own, others)]
        if kind == "tracklet" and not all(map(has_same_pairs, parts)):
            say("no threshold for tracklets: there are not two of one person that count")
            continue
        how = {"metric": config.metric, "width": width, "seed": config.seed}
        found = calibrate(parts[0], config.false_accept, num_others=others.num_people, **how)
        tested = check(parts[1], found.distance, config.false_accept, **how)
        thresholds[kind] = threshold_of(found, tested)
        details[kind] = details_of(found, tested)
    calibration = Calibration(
        false_accept=config.false_accept,
        metric=config.metric,
        neck=neck,
        flip=config.flip,
        data=data,
        pairs=rule,
        people=own.num_people,
        test_people=others.num_people,
        **thresholds,
    )
    return calibration, {"calibration": asdict(calibration), "details": details}


def threshold_of(found: Calibrated, tested: Tested) -> Threshold:
    """Put together what is written into the encoder's file."""
    return Threshold(
        distance=found.distance,
        interval=found.interval,
        expected=found.expected,
        false_accept=tested.false_accept,
        false_accept_interval=tested.false_accept_interval,
        false_reject=tested.false_reject,
        false_reject_interval=tested.false_reject_interval,
    )


def details_of(found: Calibrated, tested: Tested) -> dict[str, Any]:
    """Describe both groups of people: their pairs, their equal error rate, other thresholds, and the curve."""
    about: dict[str, Any] = {"strangers_within_threshold": tested.stranger_share}
    for name, tally in (("calibration", found.tally), ("test", tested.tally)):
        line = curve(tally)
        rate, distance = line.equal_error
        used = np.flatnonzero((tally.same + tally.different).numpy())
        steps = np.unique(np.linspace(max(used[0] - 1, 0), used[-1], POINTS).astype(np.int64))
        about[name] = {
            "pairs_of_one_person": int(tally.same.sum()),
            "pairs_of_two_people": int(tally.different.sum()),
            "equal_error_rate": rate,
            "equal_error_distance": distance,
            "other_rates": [line.at(rate) for rate in OTHER_RATES],
            "histogram": histogram(tally),
            "curve": {
                "distance": (steps * line.width).tolist(),
                "false_accept": line.false_accept[steps].tolist(),
                "false_reject": line.false_reject[steps].tolist(),
            },
        }
    return about


def histogram(tally: Tally) -> dict[str, list[float]]:
    """Return the number of pairs of both kinds in `BARS` ranges of distances, from the first pair to the last."""
    counts = {"one_person": tally.same.numpy(), "two_people": tally.different.numpy()}
    used = np.flatnonzero(sum(counts.values()))
    steps = (
        np.linspace(max(used[0] - 1, 0), used[-1], BARS + 1).round().astype(np.int64)
    )  # a step ends where its number says
    sums = {name: np.diff(np.concatenate([[0], of.cumsum()])[steps + 1]) for name, of in counts.items()}
    for name, of in counts.items():
        sums[name][0] += of[: steps[0] + 1].sum()
    return {"distance": (steps * tally.width).tolist(), **{name: of.tolist() for name, of in sums.items()}}


def sentences(calibration: Calibration, result: dict[str, Any]) -> list[str]:
    """Say what was found, in percent."""
    said = []
    for kind in ("image", "tracklet"):
        one: Threshold | None = getattr(calibration, kind)
        if one is None:
            continue
        details = result["details"][kind]
        said += [
            f"{kind}s: {calibration.metric} distance {one.distance:.4f} ({between(one.interval)}) for a false-accept rate of "
            f"{percent(calibration.false_accept)}; expected on others: {percents(one.expected)}",
            f"{kind}s: on {calibration.test_people} other people false accepts {percent(one.false_accept)} "
            f"({percents(one.false_accept_interval)}), false rejects {percent(one.false_reject)} "
            f"({percents(one.false_reject_interval)}); equal error rate {percent(details['test']['equal_error_rate'])}",
        ]
    found = result["details"]["image"]["strangers_within_threshold"]
    said.append(
        f"a rate is one of pairs: among all images of the {calibration.test_people} other people, {percent(found)} of the "
        "images have one of somebody else within the threshold; for large galleries calibrate with a lower --false-accept"
    )
    return said


def between(distances: Sequence[float]) -> str:
    """Write an interval of distances."""
    return " to ".join(f"{distance:.4f}" for distance in distances)
