"""Gradients of a triplet loss over the whole batch: `gathered_triplets.py OUT`, alone or under torchrun."""

import sys
from pathlib import Path

import torch
from torch import nn

from upreid.losses.triplet import batch_hard_triplet
from upreid.runtime.distributed import averaging, gather, gather_with_gradient, join

BATCH = 8


def main(out: Path) -> None:
    torch.manual_seed(0)
    net = nn.Linear(6, 4, dtype=torch.float64)
    inputs = torch.randn(BATCH, 6, dtype=torch.float64)
    people = torch.arange(BATCH) // 2 % 3  # a person's images lie on both ranks
    with join(torch.device("cpu")) as world:
        trained = averaging(net, torch.device("cpu"), world)
        part = world.share(BATCH)
        features = gather_with_gradient(trained(inputs[part]), world)
        loss = batch_hard_triplet(features, gather(people[part], world), margin=0.3)
        loss.backward()
        if world.is_lead:
            torch.save({"loss": loss.detach(), "weight": net.weight.grad, "bias": net.bias.grad}, out)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
