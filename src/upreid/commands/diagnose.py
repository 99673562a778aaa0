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
from collections.abc import Sequence
from statistics import fmean
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from upreid.build.diagnosis import TakenUp, embedded, gradient_norms, patch_vectors, take_up, views_of
from upreid.build.pretraining import preprocess
from upreid.config.diagnose import DiagnoseConfig
from upreid.data.benchmarks import Benchmark, open_benchmark
from upreid.data.records import Record, cameras, people
from upreid.errors import InputError
from upreid.retrieval.features import features
from upreid.retrieval.geometry import alignment, camera_bias, patch_discrimination, uniformity
from upreid.runtime.compute import settle
from upreid.runtime.console import progress, say
from upreid.runtime.files import write_text

PAIRS_AT_A_TIME = 8192


def run(config: DiagnoseConfig) -> dict[str, Any]:
    """Measure, print, and save where `out` says; return what was saved."""
    if config.images < 2:
        raise InputError(f"--images {config.images}: give 2 or more")
    compute = settle(config.device, config.threads, config.workers, workers_wanted=1)
    compute.start()
    labelled = open_benchmark(config.data.name, config.data.root)
    taken_up = take_up(config.run, compute, config.unlabelled)
    numbers = {**on_views(taken_up, config), **on_people(taken_up, labelled)}
    protocol = {
        "run_hash": taken_up.hash,
        "recipe": taken_up.config.recipe,
        "step": taken_up.step,
        "dataset": labelled.name,
        "images": config.images,
        "batch": taken_up.config.train.batch,
        "patches": [taken_up.config.intrinsic.rows, taken_up.config.intrinsic.columns],
        "patch_source": taken_up.config.intrinsic.source,
        "patch_preset": taken_up.config.intrinsic.preset,
        "seed": config.seed,
    }
    finite = {name: None if math.isnan(value) else value for name, value in numbers.items()}  # JSON has no NaN
    text = json.dumps({**finite, "protocol": protocol}, indent=2, allow_nan=False)
    print(text)
    if config.out:
        write_text(config.out, text + "\n")
        say(f"written to {config.out}")
    return {**finite, "protocol": protocol}


def on_views(run: TakenUp, config: DiagnoseConfig) -> dict[str, float]:
    """Unlabelled images in new views: alignment, uniformity, patches, gradients; means over batches."""
    found: list[dict[str, float]] = []
    originals: list[Tensor] = []
    network = run.method.network
    with progress("diagnosis", config.images, "images") as meter:
        for views in views_of(run, images=config.images, seed=config.seed):
            assert views.original is not None
            assert views.query_patches is not None
            assert views.key_patches is not None
            query, key, original = (embedded(network, view) for view in (views.query, views.key, views.original))
            originals.append(original)
            numbers = {"alignment": alignment(query, key), "alignment_original": alignment(query, original)}
            patches = views.query_patches, views.key_patches
            for prefix, head in {"": None, "head_": network.patch_head}.items():
                if not prefix or head is not None:
                    vectors = [patch_vectors(network, some, head) for some in patches]
                    numbers |= on_patches(prefix, *vectors)
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
    backbone = run.method.network.backbone.eval()
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
