import pytest
import torch

from upreid.commands.pretrain import method_of
from upreid.config.command_line import parse
from upreid.config.pretrain import MocoV2Config
from upreid.config.recipe import read_recipe
from upreid.errors import InputError
from upreid.methods.pretraining import Setup
from upreid.models.network import Network

SETUP = Setup(device=torch.device("cpu"), num_images=1000, steps_per_epoch=10)
VIT = [
    "--recipe",
    "luperson-vit-small",
    "--model.backbone",
    "vit_tiny_patch16_224",
    "--augment.height",
    "64",
    "--augment.width",
    "32",
    "--intrinsic.weight",
    "3",
]


def made(*flags: str) -> Network:
    recipe, own = "both-terms-laptop", ["--model.channels", "4"]
    if "--recipe" in flags:
        recipe, own, flags = flags[1], [], flags[2:]
    words = ["--recipe", recipe, *read_recipe(recipe, "pretrain"), "--data.root", "images", "--out", "run"]
    return method_of(parse(MocoV2Config, [*words, *own, *flags], program="pretrain"), SETUP).student


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--intrinsic.source", "pixels", "--intrinsic.rows", "3"], "3 x 2 does not divide an input of 64 x 32"),
        (["--intrinsic.source", "map", "--intrinsic.rows", "8"], "8 x 2 does not divide a feature map of 4 x 2"),
        (["--intrinsic.source", "map", "--model.last-stride", "2"], "4 x 2 does not divide a feature map of 2 x 1"),
        ([*VIT, "--intrinsic.rows", "3"], "3 x 2 does not divide a feature map of 4 x 2"),
    ],
)
def test_patches_must_tile_what_they_are_cut_from(flags: list[str], words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        made(*flags)
    assert "\n" not in str(caught.value)


def test_where_patches_come_from_changes_no_weight_at_the_start() -> None:
    pixels, maps = (made("--intrinsic.source", source).state_dict() for source in ("pixels", "map"))
    assert pixels.keys() == maps.keys()
    assert all((pixels[name] == maps[name]).all() for name in pixels)


def test_the_recipe_for_vits_contrasts_regions_of_the_map_of_tokens() -> None:
    net = made(*VIT)
    assert net.regions == (4, 2)
    pictures = torch.randn(2, 1, 3, 64, 32)
    found = net(None, pictures)[1]
    assert found.shape == (2, 8, 128)
    found.square()[..., 0].sum().backward()
    assert net.backbone.patch_embed.proj.weight.grad.abs().sum() > 0
