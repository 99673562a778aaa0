"""The loop of fine-tuning: steps, states to resume from, and the encoder."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Int64
from torch import Tensor, nn

from upreid.build.finetuning import Batch, Schedule, TrainingSet, set_frozen
from upreid.build.state import exported, module_state
from upreid.config.files import digest
from upreid.config.finetune import FinetuneConfig
from upreid.data.augment.downstream import DownstreamAugment
from upreid.losses.circle import circle_logits
from upreid.losses.identity import smoothed_cross_entropy
from upreid.losses.triplet import batch_hard_triplet
from upreid.models.encoder import Encoder, save_encoder
from upreid.models.trainee import Trainee
from upreid.runtime.compute import Compute
from upreid.runtime.console import Meter, progress, say
from upreid.runtime.distributed import World, averaging, gather, gather_with_gradient
from upreid.runtime.interrupt import Stop, is_time_to_stop, saving
from upreid.runtime.record import Record
from upreid.runtime.seed import stream_key
from upreid.runtime.states import States


@dataclass(frozen=True, kw_only=True)
class Session:
    """One process's part in a run."""

    config: FinetuneConfig
    plan: Schedule
    data: TrainingSet
    net: Trainee
    augment: DownstreamAugment
    optimiser: torch.optim.Optimizer
    record: Record
    compute: Compute
    world: World
    split: dict[str, Any]
    states: States
    stop: Stop


def train(run: Session, first: int) -> int:
    """Go from step `first` to the last; return the exit code: 0, or 128 + the signal that asked to stop."""
    plan, batch = run.plan, run.config.train.identities * run.config.train.images
    trained = None
    with progress(
        "fine-tuning", plan.steps * batch, "images", done=first * batch, quiet=not run.world.is_lead
    ) as meter:
        for step, part in enumerate(run.data.steps(first, plan.steps), start=first):
            if trained is None or step == plan.frozen_steps:
                set_frozen(run.net, frozen=step < plan.frozen_steps)
                trained = averaging(run.net, run.compute.device, run.world)  # DDP notes at its start what learns
            one_step(run, trained, part, step, meter)
            if closing(run, step + 1) and step + 1 < plan.steps:
                if run.world.is_lead:
                    say(f"stopped at step {step + 1} of {plan.steps}; go on: upreid finetune --resume {run.config.out}")
                return 128 + (run.stop.signal or 0)
    return 0


def one_step(run: Session, trained: nn.Module, part: Batch, step: int, meter: Meter) -> None:
    """Augment, forward, losses, backward, step."""
    config, device, world = run.config, run.compute.device, run.world
    torch.manual_seed(stream_key(config.train.seed, step, f"fine-tuning step of rank {world.rank}"))  # stochastic depth
    lr = run.plan.lr_at(step)
    for group in run.optimiser.param_groups:
        group["lr"] = lr
    people = part.people.to(device)
    images = run.augment(part.images.to(device), step, first=world.rank * len(people))
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=config.train.bf16):
        scores, compared = trained(images, part.cameras)
    losses = {
        "identity": identity_loss(config, run.net, scores, people),
        "triplet": triplet_loss(config, run.net, compared, people, world),
    }
    run.optimiser.zero_grad()
    (losses["identity"] + config.loss.triplet_weight * losses["triplet"]).backward()
    run.optimiser.step()
    run.record.add(step, lr, {name: loss.detach() for name, loss in losses.items()})
    meter.advance(len(people) * world.size, run.record.note())


def identity_loss(
    config: FinetuneConfig, net: Trainee, scores: Sequence[Tensor], people: Int64[Tensor, " batch"]
) -> Tensor:
    """Classification of every part, weighted as the head says."""
    wanted = config.loss
    total = torch.zeros((), device=people.device)
    assert net.encoder.head is not None
    for part, weight in zip(scores, net.encoder.head.identity_weights, strict=True):
        logits = part.float()
        if wanted.identity == "circle":
            logits = circle_logits(logits, people, scale=wanted.circle_scale, margin=wanted.circle_margin)
        total = total + weight * smoothed_cross_entropy(logits, people, smoothing=wanted.smoothing)
    return total


def triplet_loss(
    config: FinetuneConfig, net: Trainee, compared: Sequence[Tensor], people: Int64[Tensor, " batch"], world: World
) -> Tensor:
    """Batch-hard triplets over the whole batch of all ranks, for the groups of parts that the head names."""
    margin = config.loss.margin if config.loss.triplet == "margin" else None
    everybody = gather(people, world)
    total = torch.zeros((), device=people.device)
    assert net.encoder.head is not None
    for group, weight in net.encoder.head.triplets:
        features = torch.cat([compared[part].float() for part in group], dim=1)
        loss = batch_hard_triplet(gather_with_gradient(features, world), everybody, margin=margin)
        total = total + weight * loss
    return total


def closing(run: Session, steps_done: int) -> bool:
    """Save where it is time to; return whether the run is to stop here."""
    stops = is_time_to_stop(run.stop, steps_done, run.compute.device, run.world)
    if stops or steps_done == run.plan.steps or steps_done % run.config.train.save_every == 0:
        save(run, steps_done)
    return stops


@saving()
def save(run: Session, steps_done: int) -> None:
    """Write `encoder.safetensors` and a state, once every loss up to here is known to be finite."""
    run.record.read()
    hash_ = digest(run.config)
    state = {"step": steps_done, "hash": hash_, "world_size": run.world.size}
    state |= {**module_state("trainee", run.net, run.world), "optimiser": run.optimiser.state_dict()}
    encoder = exported(run.net.encoder, run.world)
    if run.world.is_lead:
        header = replace(encoder.header, recipe_hash=hash_, step=steps_done)
        encoder = Encoder(encoder.backbone, header, encoder.head)
        save_encoder(run.config.out / "encoder.safetensors", encoder)
        run.states.save(state)
