"""Some float64 steps on fixed views, as one process or as one of several; run by test_steps_on_ranks.py.

python two_steps.py OUT RECIPE_FLAGS...
"""

import sys
from pathlib import Path

import torch

from upreid.commands.pretrain import method_of
from upreid.config.command_line import parse
from upreid.config.pretrain import MocoV2Config
from upreid.config.recipe import read_recipe
from upreid.data.augment import PatchGrid, PatchView, TrackletNumber
from upreid.methods.moco_v2 import MocoV2
from upreid.methods.pretraining import Setup
from upreid.runtime.distributed import World, averaging, gather, join
from upreid.training.precision import Precision
from upreid.training.state import exported
from upreid.training.step import train_step
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
    whole = {"query": query, "key": key, "original": original}
    boxes = torch.tensor([[[0.0, 0.1, 0.8, 0.9], [0.2, 1.0, 1.0, 0.0]], [[0.0, 0.0, 0.4, 1.0], [0.6, 0.0, 1.0, 1.0]]])
    query_box, key_box = boxes[torch.arange(BATCH) % 5 // 4].double().unbind(dim=1)  # every fifth pair is apart
    places = {"query_box": query_box[share], "key_box": key_box[share]}
    whole["third"] = noise(3, HEIGHT, WIDTH)
    return {**whole, "query_patches": patches[0], "key_patches": patches[1], **places}


def main(out: Path, flags: list[str]) -> None:
    """Do the steps and let rank 0 save what came of them."""
    torch.set_default_dtype(torch.float64)
    required = ["--recipe", "both-terms-laptop", "--data.root", "none", "--out", str(out), "--train.batch", str(BATCH)]
    small = ["--model.channels", "4", "--model.embed-dim", "16", "--contrast.queue", "20"]
    recipe = read_recipe("both-terms-laptop", "pretrain")
    config = parse(MocoV2Config, [*required, *recipe, *required, *small, *flags], program="pretrain")
    device = torch.device("cpu")
    with join(device) as world:
        setup = Setup(device=device, num_images=100, steps_per_epoch=100 // BATCH, world=world)
        method = method_of(config, setup)
        assert isinstance(method, MocoV2)
        trained = averaging(method.student, device, world)
        optimiser = torch.optim.SGD(method.learning(), lr=0.1, momentum=0.9)
        how = {"precision": Precision(device=device), "accumulate": config.train.accumulate}
        patches = method.views().get("query_patches")
        grid = patches.grid if isinstance(patches, PatchView) else PatchGrid(rows=1, columns=1)
        losses = []
        for step in range(STEPS):
            views = views_of(step, world, grid)
            numbers = torch.arange(step, step + BATCH)[world.share(BATCH)] % 5 // 2  # they come again in later steps
            views |= {name: numbers for name, view in method.views().items() if isinstance(view, TrackletNumber)}
            shares = {name: view.images for name, view in method.views().items() if view.images is not None}
            views |= {name: images.of(views[name]) for name, images in shares.items()}
            named = train_step(method, trained, views, step, optimiser, **how)
            losses.append(gather(torch.stack(list(named.values()))[None], world).mean(0))
        backbone = exported(method.student.backbone, world)
        if world.is_lead:
            result = {"losses": torch.stack(losses), "keys": method.keys.keys}
            result |= {f"network.{name}": value for name, value in method.student.named_parameters()}
            result |= {f"teacher.{name}": value for name, value in method.teacher.named_parameters()}
            result |= {f"exported.{name}": value for name, value in backbone.state_dict().items()}
            torch.save(result, out)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
