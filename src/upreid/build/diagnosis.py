"""A pre-training run taken up again to be looked into: its networks, its views, and the gradient of each of its terms."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from upreid.build.pretraining import loader, patch_grid, preprocess, regions
from upreid.build.pretraining import method as build_method
from upreid.build.saved import saved_config, saved_state
from upreid.build.state import restore_module
from upreid.config.pretrain import MocoV2Config
from upreid.data.augment import PATCH_PRESETS, PRESETS, Augment
from upreid.data.sources.recognise import open_source
from upreid.data.sources.source import Source
from upreid.errors import InputError
from upreid.method import Method, encode_targets, query_losses
from upreid.models.batchnorm import untracked
from upreid.models.network import Network, Projector
from upreid.runtime.compute import Compute
from upreid.runtime.distributed import World
from upreid.runtime.states import States
from upreid.types import ImageBatch, Views


@dataclass(frozen=True, kw_only=True)
class TakenUp:
    """A run as it was last saved; nothing done here is saved."""

    config: MocoV2Config
    hash: str
    method: Method
    compute: Compute
    source: Source
    step: int


def take_up(folder: Path, compute: Compute, unlabelled: Path | None = None) -> TakenUp:
    """Load a run's configuration and state; InputError where they do not belong together.

    `unlabelled` is where its images are now, if they have moved.
    """
    config = saved_config(folder, "pretrain")
    state = saved_state(config, States(folder))
    if state is None:
        raise InputError(f"no state in {folder}: the run was stopped before its first save; resume it first")
    wanted = config.data
    source = open_source(unlabelled or wanted.root, cfs_share=wanted.cfs_share, patience=wanted.patience)
    eager = replace(config, train=replace(config.train, compile=False))
    method = build_method(eager, compute, World(), max(len(source) // config.train.batch, 1))
    for name, module in (("network", method.network), ("teacher", method.teacher)):
        restore_module(name, module, state, World())
    method.network.regions = regions(config, method.network.backbone)  # also where no term of the run asks for patches
    method.keys.load_state_dict(state["keys"])
    if method.originals is not None:
        method.originals.load_state_dict(state["originals"])
    return TakenUp(
        config=config, hash=state["hash"], method=method, compute=compute, source=source, step=int(state["step"])
    )


def views_of(run: TakenUp, *, images: int, seed: int) -> Iterator[Views]:
    """Whole batches with every view, also those that no term of the run asks for; random numbers of `seed`."""
    config = replace(run.config, train=replace(run.config.train, seed=seed))
    augment = Augment(
        PRESETS[config.augment.preset],
        preprocess=preprocess(config),
        seed=seed,
        original=True,
        patches=patch_grid(config),
        patch_preset=PATCH_PRESETS[config.intrinsic.preset],
    )
    per_epoch = len(run.source) // config.train.batch
    steps = max(min(images // config.train.batch, per_epoch), 1)
    for batch, _ in loader(config, run.source, augment, run.compute, World(), 0, steps):
        yield augment(batch.to(run.compute.device)) if isinstance(batch, ImageBatch) else batch


def gradient_norms(run: TakenUp, views: Views) -> dict[str, float]:
    """Length of each term's gradient in the backbone's parameters, with the term's full weight."""
    method = run.method
    needed = replace(
        views,
        original=views.original if method.consistency else None,
        query_patches=views.query_patches if method.intrinsic else None,
        key_patches=views.key_patches if method.intrinsic else None,
    )
    method.network.train()
    method.teacher.train()
    with untracked(method.network), untracked(method.teacher):
        with method.autocast():
            targets = encode_targets(method, needed, run.step)
        part = torch.arange(len(needed.query), device=needed.query.device)
        losses = query_losses(method, needed, targets, part)
    weights = {"contrast": 1.0}
    weights |= {"consistency": method.consistency.weight} if method.consistency else {}
    weights |= {"intrinsic": method.intrinsic.weight} if method.intrinsic else {}
    parameters = list(method.network.backbone.parameters())
    return {name: weights[name] * length_of_gradient(loss, parameters) for name, loss in losses.items()}


def length_of_gradient(loss: Tensor, parameters: Sequence[Tensor]) -> float:
    """Euclidean norm over all parameters; the graph is kept for the next term."""
    parts = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
    return torch.stack([part.float().norm() for part in parts if part is not None]).norm().item()


@torch.no_grad()
def embedded(network: Network, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch dim"]:
    """Image embeddings as the exported encoder would make them: with running statistics."""
    network.eval()
    return network(images, None)[0]


@torch.no_grad()
def patch_vectors(
    network: Network, patches: Float[Tensor, "images patches 3 height width"], head: Projector | None
) -> Float[Tensor, "images parts dim"]:
    """Unit vectors of patches, normalised by the statistics of patches as in training: embeddings, or the backbone's features."""
    network.train()
    features = network.patch_features(patches)
    return head(features) if head is not None else F.normalize(features.float(), dim=-1)
