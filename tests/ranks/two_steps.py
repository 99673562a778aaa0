"""Some float64 steps on fixed views, as one process or as one of several; run by test_method.py.

python two_steps.py OUT RECIPE_FLAGS...
"""

import sys
from pathlib import Path

import torch

from upreid.build.plan import make_plan
from upreid.build.pretraining import method as build_method
from upreid.build.pretraining import patch_grid
from upreid.build.state import exported
from upreid.config.command_line import parse
from upreid.config.pretrain import MocoV2Config
from upreid.config.recipe import read_recipe
from upreid.data.augment import PatchGrid
from upreid.method import train_step
from upreid.runtime.compute import settle
from upreid.runtime.distributed import World, gather, join
from upreid.types import Views

STEPS, BATCH, HEIGHT, WIDTH = 3, 8, 64, 32


def views_of(step: int, world: World, grid: PatchGrid) -> Views:
    """This rank's part of a batch of noise that every process can make."""
    numbers = torch.Generator().manual_seed(step)
    share = world.share(BATCH)

    def noise(*shape: int) -> torch.Tensor:
        return torch.randn(BATCH, *shape, generator=numbers)[share]

    query, key, original = (noise(3, HEIGHT, WIDTH) for _ in range(3))
    patches = [noise(grid.num_patches, 3, *grid.patch_size(HEIGHT, WIDTH)) for _ in range(2)]
    return Views(query=query, key=key, original=original, query_patches=patches[0], key_patches=patches[1])


def main(out: Path, flags: list[str]) -> None:
    """Do the steps and let rank 0 save what came of them."""
    torch.set_default_dtype(torch.float64)
    required = ["--recipe", "laptop", "--data.root", "none", "--out", str(out), "--train.batch", str(BATCH)]
    small = ["--model.channels", "4", "--model.embed-dim", "16", "--contrast.queue", "20"]
    recipe = read_recipe("laptop", "pretrain")
    config = parse(MocoV2Config, [*required, *recipe, *required, *small, *flags], program="pretrain")
    compute = settle("cpu", 1, 0, workers_wanted=0)
    with join(compute.device) as world:
        plan = make_plan(config, 100, world)
        method = build_method(config, compute, world, plan.steps_per_epoch)
        optimiser = torch.optim.SGD(method.network.parameters(), lr=0.1, momentum=0.9)
        losses = []
        for step in range(STEPS):
            named = train_step(method, views_of(step, world, patch_grid(config)), step, optimiser)
            losses.append(gather(torch.stack(list(named.values()))[None], world).mean(0))
        backbone = exported(method.network.backbone, world)
        if world.is_lead:
            result = {"losses": torch.stack(losses), "keys": method.keys.keys}
            result |= {f"network.{name}": value for name, value in method.network.named_parameters()}
            result |= {f"teacher.{name}": value for name, value in method.teacher.named_parameters()}
            result |= {f"exported.{name}": value for name, value in backbone.state_dict().items()}
            torch.save(result, out)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
