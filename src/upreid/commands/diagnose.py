"""`upreid diagnose`: what a pre-training did to its embeddings, term by term, and whether a shortcut solves it.

- `alignment`: squared distance of two augmented views; `alignment_original`: of a view and its original.
- `alignment_people`: of labelled images of one person from two cameras; `uniformity` of original images' embeddings,
  `uniformity_features` of labelled images' features (Wang and Isola, https://arxiv.org/abs/2005.10242).
- `same_camera`: share of nearest strangers seen by the same camera, against `same_camera_chance`.
- `gradient_TERM`: length of a term's gradient in the backbone, with its weight.
- `patch_within`: a patch is found among its image's patches; `patch_by_position`: among those of another image, where only
  position can tell; `patch_across`: among the same position of other images; `position_share`: what position explains of
  the first. By the backbone's features, and, with `head_` before them, by the patch head's embeddings. Patches are
  made as the run's `intrinsic` says, whatever its weight: compare runs with the same grid, source and preset.
"""

import itertools
import json
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from upreid.commands.pretrain import method_of
from upreid.config.commands import DiagnoseConfig, OptionalSet
from upreid.config.pretrain import PretrainConfig
from upreid.data.benchmarks import Benchmark, open_benchmark
from upreid.data.records import Record, cameras, people
from upreid.data.sources.recognise import open_source
from upreid.data.sources.source import Source
from upreid.errors import InputError
from upreid.methods.method import Method, batch_size
from upreid.methods.pretraining import Setup, preprocess
from upreid.models.batchnorm import untracked
from upreid.retrieval.features import features
from upreid.retrieval.geometry import alignment, camera_bias, patch_discrimination, uniformity
from upreid.runtime.compute import Compute, settle
from upreid.runtime.console import progress, say
from upreid.runtime.distributed import ALONE
from upreid.runtime.faults import machine_faults
from upreid.runtime.files import check_target, json_with, write_text
from upreid.training.feeds.unlabelled import UnlabelledFeed
from upreid.training.precision import Precision, settle_precision
from upreid.training.saved import saved_run, saved_state
from upreid.training.state import restore_method
from upreid.training.states import States
from upreid.types import Views

PAIRS_AT_A_TIME = 8192


@dataclass(frozen=True, kw_only=True)
class TakenUp:
    """A pre-training run as it was last saved; nothing done here is saved."""

    config: PretrainConfig
    hash: str
    method: Method
    compute: Compute
    source: Source
    step: int

    @property
    def precision(self) -> Precision:
        """How the run computes."""
        return settle_precision(self.config.train, self.compute.device, ALONE, self.config.out)


def take_up(folder: Path, compute: Compute, unlabelled: Path | None = None) -> TakenUp:
    """Load a run's configuration and state; InputError where they do not belong together.

    `unlabelled` is where its images are now, if they have moved.
    """
    saved = saved_run(folder, "pretrain")
    config, state = saved.config, saved_state(folder, saved.hash, States(folder))
    if state is None:
        raise InputError(f"no state in {folder}: the run was stopped before its first save; resume it first")
    wanted = config.data
    source = open_source(unlabelled or wanted.root, cfs_share=wanted.cfs_share, patience=wanted.patience)
    per_epoch = max(len(source) // config.train.batch, 1)
    method = method_of(config, Setup(device=compute.device, num_images=len(source), steps_per_epoch=per_epoch))
    method = method.to(compute.device)
    restore_method(method, state, ALONE)
    step = int(state["step"])
    return TakenUp(config=config, hash=state["hash"], method=method, compute=compute, source=source, step=step)


def views_of(run: TakenUp, *, images: int, seed: int) -> Iterator[Views]:
    """Yield whole batches with every view, also those that no term of the run asks for; random numbers of `seed`."""
    feed = UnlabelledFeed(
        run.source,
        run.method.diagnosis_views(),
        preprocess=preprocess(run.config),
        batch=run.config.train.batch,
        seed=seed,
        compute=run.compute,
        unreadable_share=run.config.data.unreadable_share,
    )
    steps = max(min(images // feed.batch, feed.steps_per_epoch), 1)
    yield from map(feed.prepare, feed.batches(0, steps))


def gradient_norms(run: TakenUp, views: Views) -> dict[str, float]:
    """Return the length of each loss's gradient in the backbone's parameters, with the full weight of the loss."""
    method, whole = run.method, slice(0, batch_size(views))
    method.train()
    with untracked(method):
        with run.precision.autocast():
            targets = method.targets(views, run.step)
            outputs = method.student(*method.inputs(views, whole))
        losses = method.losses(outputs, views, targets, whole)
    weights = method.weights(sys.maxsize)  # every ramp is over
    parameters = list(method.encoder().backbone.parameters())
    return {name: weights.get(name, 1.0) * length_of_gradient(loss, parameters) for name, loss in losses.items()}


def length_of_gradient(loss: Tensor, parameters: Sequence[nn.Parameter]) -> float:
    """Return the Euclidean norm over all parameters; the graph is kept for the next loss."""
    parts = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
    return torch.stack([part.float().norm() for part in parts if part is not None]).norm().item()


@machine_faults()
def run(config: DiagnoseConfig) -> dict[str, Any]:
    """Measure, print, and save where `out` says; return what was saved."""
    if config.out:
        check_target(config.out, "--out", json_with("protocol"))
    compute = settle(config.device, config.threads, config.workers, workers_wanted=1, prefix="--")
    compute.start()
    labelled = labelled_set(config.data)
    taken_up = take_up(config.run, compute, config.unlabelled)
    numbers = {**on_views(taken_up, config), **(on_people(taken_up, labelled) if labelled else {})}
    protocol = {
        "run_hash": taken_up.hash,
        "recipe": taken_up.config.recipe,
        "step": taken_up.step,
        "dataset": labelled.name if labelled else None,
        "images": config.images,
        "batch": taken_up.config.train.batch,
        **taken_up.method.diagnosis_protocol(),
        "seed": config.seed,
    }
    finite = {name: None if math.isnan(value) else value for name, value in numbers.items()}  # JSON has no NaN
    text = json.dumps({**finite, "protocol": protocol}, indent=2, allow_nan=False)
    print(text)
    if config.out:
        write_text(config.out, text + "\n")
        say(f"written to {config.out}")
    return {**finite, "protocol": protocol}


def labelled_set(data: OptionalSet) -> Benchmark | None:
    """The labelled set that is looked at; None where none is given."""
    if data.name is None and data.root is None:
        return None
    if data.name is None or data.root is None:
        raise InputError("--data.name and --data.root name a labelled set together; give both, or leave both out")
    return open_benchmark(data.name, data.root)


def on_views(run: TakenUp, config: DiagnoseConfig) -> dict[str, float]:
    """Unlabelled images in new views: alignment, uniformity, patches, gradients; means over batches."""
    found: list[dict[str, float]] = []
    originals: list[Tensor] = []
    method = run.method
    with progress("diagnosis", config.images, "images") as meter:
        for views in views_of(run, images=config.images, seed=config.seed):
            query, key, original = (method.embeddings(views[name]) for name in ("query", "key", "original"))
            originals.append(original)
            numbers = {"alignment": alignment(query, key), "alignment_original": alignment(query, original)}
            if "query_patches" in views:
                vectors = [method.patch_vectors(views[name]) for name in ("query_patches", "key_patches")]
                for prefix in vectors[0]:
                    numbers |= on_patches(prefix, *(some[prefix] for some in vectors))
            lengths = gradient_norms(run, views)
            found.append(numbers | {f"gradient_{name}": value for name, value in lengths.items()})
            meter.advance(len(query))
    means = {name: fmean(numbers[name] for numbers in found) for name in found[0]}
    return {**means, "uniformity": uniformity(torch.cat(originals))}


def on_patches(
    prefix: str, query: Float[Tensor, "images patches dim"], key: Float[Tensor, "images patches dim"]
) -> dict[str, float]:
    """Patch discrimination in percent, and the share of position."""
    found = patch_discrimination(query, key)
    shares = {"within": found.within, "by_position": found.by_position, "across": found.across}
    numbers = {f"{prefix}patch_{name}": 100 * value for name, value in shares.items()}
    return numbers | {f"{prefix}position_share": found.position_share}


def on_people(run: TakenUp, labelled: Benchmark) -> dict[str, float]:
    """Labelled images by the backbone's features, as retrieval uses them."""
    records = [*labelled.query, *labelled.gallery]
    backbone = run.method.encoder().backbone.eval()
    vectors = F.normalize(features(lambda images, _: backbone(images), records, preprocess(run.config), run.compute))
    ids, seen = torch.tensor(people(records)), torch.tensor(cameras(records))
    bias = camera_bias(vectors, ids, seen)
    pairs = torch.tensor(pairs_of_people(records)).split(PAIRS_AT_A_TIME)
    sums = [len(some) * alignment(vectors[some[:, 0]], vectors[some[:, 1]]) for some in pairs]
    return {
        "alignment_people": sum(sums) / sum(map(len, pairs)),
        "uniformity_features": uniformity(vectors),
        "same_camera": 100 * bias.share,
        "same_camera_chance": 100 * bias.chance,
    }


def pairs_of_people(records: Sequence[Record]) -> list[tuple[int, int]]:
    """Places of every two images that show one person from two cameras."""
    places: dict[int, list[int]] = {}
    for place, person in enumerate(people(records)):
        places.setdefault(person, []).append(place)
    seen = cameras(records)
    return [
        (one, other)
        for group in places.values()
        for one, other in itertools.combinations(group, 2)
        if seen[one] != seen[other]
    ]
