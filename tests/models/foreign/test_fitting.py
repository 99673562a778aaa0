from dataclasses import replace
from pathlib import Path

import pytest
import torch
from timm.layers.pos_embed import resample_abs_pos_embed

from upreid.errors import InputError
from upreid.models.backbone import create_backbone
from upreid.models.foreign import Foreign, load_into
from upreid.models.foreign.fitting import old_grid, resample

PATH = Path("given.pth")


def foreign(backbone, tensors=None, name="resnet18"):
    tensors = backbone.state_dict() if tensors is None else tensors
    return Foreign(backbone=name, tensors=tensors, mean=(0.5,) * 3, std=(0.5,) * 3, source="a test", sentences=[])


def counted(tensors):
    return {name: tensor for name, tensor in tensors.items() if "num_batches" not in name}


@pytest.fixture
def fresh():
    torch.manual_seed(7)
    return create_backbone("resnet18", height=64, width=32)


def test_everything_but_the_clock_is_copied_and_counted(fresh, resnet):
    matched, rest = load_into(fresh, foreign(resnet), PATH)
    wanted = counted(resnet.state_dict())
    assert all(torch.equal(tensor, wanted[name]) for name, tensor in counted(fresh.state_dict()).items())
    elements = sum(tensor.numel() for tensor in wanted.values())
    assert (
        matched == f"{len(wanted)} of {len(wanted)} tensors of resnet18 matched ({elements:,} of {elements:,} elements)"
    )
    assert rest == "0 missing; 0 unexpected; 0 of another shape"


def test_files_from_before_the_clock_existed_and_half_precision_are_welcome(fresh, resnet):
    tensors = {name: tensor.half() for name, tensor in counted(resnet.state_dict()).items()}
    _, rest = load_into(fresh, foreign(resnet, tensors), PATH)
    assert rest.startswith("0 missing")
    assert fresh.conv1.weight.dtype == torch.float32
    assert torch.equal(fresh.conv1.weight, resnet.conv1.weight.half().float())


def test_what_differs_is_counted_and_the_first_names_are_given(fresh, resnet):
    tensors = dict(resnet.state_dict())
    del tensors["bn1.weight"]
    tensors["bn1.bias"] = torch.zeros(3)
    tensors |= {f"fc.{index}.weight": torch.zeros(1) for index in range(5)}
    before = fresh.bn1.bias.clone()
    matched, rest = load_into(fresh, foreign(resnet, tensors), PATH)
    assert matched.startswith("98 of 100 tensors")
    assert "1 missing (bn1.weight)" in rest
    assert "5 unexpected (fc.0.weight, fc.1.weight, fc.2.weight, ...)" in rest
    assert "1 of another shape (bn1.bias (3,) for (64,))" in rest
    assert torch.equal(fresh.bn1.bias, before)


@pytest.mark.parametrize(("num_missing", "fits"), [(5, True), (6, False)])
def test_five_of_a_hundred_tensors_may_be_missing_and_six_may_not(fresh, resnet, num_missing, fits):
    statistics = [name for name in resnet.state_dict() if name.endswith("running_mean")]  # few elements
    tensors = {name: tensor for name, tensor in resnet.state_dict().items() if name not in statistics[:num_missing]}
    before = {name: tensor.clone() for name, tensor in fresh.state_dict().items()}
    if fits:
        assert load_into(fresh, foreign(resnet, tensors), PATH)[0].startswith("95 of 100 tensors")
        return
    with pytest.raises(InputError) as caught:
        load_into(fresh, foreign(resnet, tensors), PATH)
    message = str(caught.value)
    assert "\n" not in message
    assert "given.pth: 94 of 100 tensors of resnet18 matched" in message
    assert "6 missing (bn1.running_mean, layer1.0.bn1.running_mean, layer1.0.bn2.running_mean, ...)" in message
    assert "95% of both" in message
    assert all(torch.equal(tensor, before[name]) for name, tensor in fresh.state_dict().items())


def test_one_large_tensor_counts_by_its_elements(fresh, resnet):
    tensors = {name: tensor for name, tensor in resnet.state_dict().items() if name != "layer4.1.conv2.weight"}
    with pytest.raises(InputError, match=r"99 of 100 tensors .* 1 missing \(layer4\.1\.conv2\.weight\)"):
        load_into(fresh, foreign(resnet, tensors), PATH)


def test_names_of_another_family_match_nothing(fresh, resnet):
    tensors = {f"strange.{name}": tensor for name, tensor in resnet.state_dict().items()}
    with pytest.raises(InputError, match="0 of 100 tensors"):
        load_into(fresh, foreign(resnet, tensors), PATH)


def test_without_the_first_layer_nothing_is_loaded_whatever_the_share(fresh, resnet):
    tensors = resnet.state_dict() | {"conv1.weight": torch.zeros(64, 1, 7, 7)}
    before = fresh.layer1[0].conv1.weight.clone()
    with pytest.raises(InputError, match=r"conv1\.weight is missing or of a shape.*99 of 100"):
        load_into(fresh, foreign(resnet, tensors), PATH)
    assert torch.equal(fresh.layer1[0].conv1.weight, before)


def test_a_vit_with_a_convolutional_stem_is_refused(vit):
    """TransReID-SSL's ICS stem: three convolutions, then an 8x8 projection of 64 channels."""
    tensors = vit.state_dict() | {"patch_embed.proj.weight": torch.zeros(192, 64, 8, 8)}
    backbone = create_backbone("vit_tiny_patch16_224", height=64, width=32)
    with pytest.raises(InputError, match=r"patch_embed\.proj\.weight is missing or of a shape"):
        load_into(backbone, foreign(vit, tensors, "vit_tiny_patch16_224"), PATH)


@pytest.mark.parametrize(
    ("height", "width", "said"), [(256, 128, ["position embedding resampled from 14x14 to 16x8"]), (224, 224, [])]
)
def test_a_position_embedding_is_resampled_to_the_backbone_s_grid_and_that_is_said(vit, height, width, said):
    backbone = create_backbone("vit_tiny_patch16_224", height=height, width=width)
    given = foreign(vit, name="vit_tiny_patch16_224")
    assert load_into(backbone, given, PATH)[2:] == said
    wanted = resample_abs_pos_embed(vit.pos_embed, [height // 16, width // 16], [14, 14])
    torch.testing.assert_close(backbone.pos_embed, wanted)
    assert given.tensors["pos_embed"].shape == (1, 197, 192)


@pytest.mark.parametrize("shape", [(1, 1 + 131, 192), (197, 192), (1, 128, 192)])
def test_a_position_embedding_of_no_known_grid_is_refused(vit, shape):
    """The last is PASS's: 16x8 patches, and no slot for the class token."""
    backbone = create_backbone("vit_tiny_patch16_224", height=256, width=128)
    tensors = vit.state_dict() | {"pos_embed": torch.zeros(shape)}
    with pytest.raises(InputError, match="pos_embed is missing or of a shape"):
        load_into(backbone, replace(foreign(vit, name="vit_tiny_patch16_224"), tensors=tensors), PATH)


@pytest.mark.parametrize(
    ("num_patches", "grid"), [(196, (14, 14)), (128, (16, 8)), (192, (24, 8)), (1, (1, 1)), (210, None), (0, None)]
)
def test_grids_are_square_or_as_tall_as_people(num_patches, grid):
    assert old_grid(num_patches) == grid


def test_a_linear_ramp_stays_a_ramp_from_top_to_bottom():
    height, width = 14, 14
    rows = torch.arange(height).float()[:, None].expand(height, width)
    positions = torch.cat([torch.full((1, 1, 1), -5.0), rows.reshape(1, -1, 1)], dim=1)
    resampled, old = resample(positions, grid=(16, 8), num_prefix=1)
    assert old == (14, 14)
    assert resampled[0, 0, 0] == -5
    ramp = resampled[0, 1:, 0].reshape(16, 8)
    assert (ramp.diff(dim=0) > 0).all()
    torch.testing.assert_close(ramp, ramp[:, :1].expand(16, 8))
