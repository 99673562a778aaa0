"""What a UP-ReID step costs against a MoCo v2 step on the same model and batch.

    python benchmarks/pretraining.py

Counted in pixels a MoCo step is 4 forwards of the batch (queries 3, with their backward; keys 1). The originals add 1 and the
patches 4, so a UP-ReID step should cost 9 / 4 = 2.25 MoCo steps. Views are made beforehand: this is the step alone. MoCo is
also measured as the straightforward loop it is in papers (two modules, a Python loop over parameters for the momentum
copy), which says whether our MoCo is a fair baseline. Best of several rounds that alternate.
"""

import resource
import time
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from upreid.build.pretraining import method as build_method
from upreid.config.command_line import parse
from upreid.config.pretrain import PretrainConfig
from upreid.config.recipe import read_recipe
from upreid.method import Method, train_step
from upreid.runtime.compute import settle
from upreid.runtime.distributed import World
from upreid.types import Views

HEIGHT, WIDTH, BATCH, ROUNDS, STEPS = 128, 64, 64, 5, 2


def build(recipe: str) -> tuple[Method, torch.optim.Optimizer]:
    """A method at 128x64 with one BatchNorm group, as on one of several GPUs."""
    words = ["--recipe", recipe, *read_recipe(recipe, "pretrain"), "--data.root", "none", "--out", "none"]
    size = ["--augment.height", HEIGHT, "--augment.width", WIDTH, "--train.batch", BATCH, "--model.bn-groups", 1]
    config = parse(PretrainConfig, [*words, *map(str, size)], program="pretrain")
    method = build_method(config, settle("auto", 1, 0, workers_wanted=0), World(), 1)
    return method, torch.optim.SGD(method.network.parameters(), lr=0.01, momentum=0.9)


def views(device: torch.device) -> Views:
    """Noise in the shapes of one step."""

    def noise(*shape: int) -> Tensor:
        return torch.randn(BATCH, *shape, device=device)

    whole, patch = (3, HEIGHT, WIDTH), (8, 3, HEIGHT // 4, WIDTH // 2)
    return Views(
        query=noise(*whole),
        key=noise(*whole),
        original=noise(*whole),
        query_patches=noise(*patch),
        key_patches=noise(*patch),
    )


def ours(recipe: str, batch: Views) -> Callable[[], object]:
    """Our step in a recipe."""
    method, optimiser = build(recipe)
    return lambda: train_step(method, batch, 0, optimiser)


def straightforward(batch: Views) -> Callable[[], object]:
    """MoCo v2 as a paper's pseudo-code has it."""
    network = build("moco-laptop")[0].network
    query_encoder = nn.Sequential(network.backbone, network.image_head)
    key_encoder = deepcopy(query_encoder)
    queue = F.normalize(torch.randn(128, 1024, device=batch.query.device), dim=0)
    optimiser = torch.optim.SGD(query_encoder.parameters(), lr=0.01, momentum=0.9)

    def step() -> None:
        query = query_encoder(batch.query)
        with torch.no_grad():
            for theirs, our in zip(key_encoder.parameters(), query_encoder.parameters(), strict=True):
                theirs.mul_(0.99).add_(our, alpha=0.01)
            key = key_encoder(batch.key)
        logits = torch.cat([(query * key).sum(1, keepdim=True), query @ queue], dim=1) / 0.2
        loss = F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long, device=logits.device))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        queue[:, : len(key)] = key.T

    return step


def main() -> None:
    torch.set_num_threads(1)
    device = settle("auto", 1, 0, workers_wanted=0).device
    batch = views(device)
    moco_views = Views(query=batch.query, key=batch.key)
    steps = {
        "MoCo v2, straightforward": straightforward(moco_views),
        "MoCo v2 (moco-laptop)": ours("moco-laptop", moco_views),
        "UP-ReID (laptop)": ours("laptop", batch),
    }
    best = dict.fromkeys(steps, float("inf"))
    for number in range(ROUNDS + 1):
        for name, step in steps.items():
            seconds = timed(step, device)
            best[name] = min(best[name], seconds) if number else best[name]  # the first round warms up
    base = best["MoCo v2 (moco-laptop)"]
    print(f"{HEIGHT}x{WIDTH}, batch {BATCH}, one thread on {device}; {Path(__file__).name}")
    for name, seconds in best.items():
        print(f"{name:26s} {1 / seconds:7.2f} steps/s   {seconds / base:5.2f} MoCo steps")
    print(f"UP-ReID / pixel arithmetic: {best['UP-ReID (laptop)'] / base / 2.25:.2f} (at most 1.1)")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")


def timed(step: Callable[[], object], device: torch.device) -> float:
    started = time.perf_counter()
    for _ in range(STEPS):
        step()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - started) / STEPS


if __name__ == "__main__":
    main()
