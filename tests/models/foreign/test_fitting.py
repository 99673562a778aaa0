from pathlib import Path

import pytest
import torch
from timm.layers.pos_embed import resample_abs_pos_embed

from upreid.errors import DataError
from upreid.models.backbone import create_backbone
from upreid.models.foreign import Foreign, load_into
from upreid.models.foreign.positions import old_grid, resample

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


def unchanged(backbone, before):
    return all(torch.equal(tensor, before[name]) for name, tensor in backbone.state_dict().items())


def refusal(backbone, given):
    """Load what must be refused; return the message, in one line, after a look that nothing was loaded."""
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    with pytest.raises(DataError) as caught:
        load_into(backbone, given, PATH)
    assert unchanged(backbone, before)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_everything_but_the_clock_is_copied_and_counted(fresh, resnet):
    (found,) = load_into(fresh, foreign(resnet), PATH)
    wanted = counted(resnet.state_dict())
    assert all(torch.equal(tensor, wanted[name]) for name, tensor in counted(fresh.state_dict()).items())
    elements = sum(tensor.numel() for tensor in wanted.values())
    assert found == f"all {len(wanted)} tensors of resnet18 were found ({elements:,} elements)"


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_files_from_before_the_clock_existed_and_other_precisions_are_welcome(fresh, resnet, dtype):
    tensors = {name: tensor.to(dtype) for name, tensor in counted(resnet.state_dict()).items()}
    load_into(fresh, foreign(resnet, tensors), PATH)
    assert fresh.conv1.weight.dtype == torch.float32
    assert torch.equal(fresh.conv1.weight, resnet.conv1.weight.to(dtype).float())


@pytest.mark.parametrize(
    "extra",
    [
        "fc.weight", "fc.0.bias", "classifier.weight", "classifier_1.weight", "heads.bottleneck.0.weight", "bottleneck.bias",
        "bottleneck_3.weight", "head.mlp.0.weight", "head_dist.weight", "projector.0.weight", "predictor.weight",
        "prototypes", "queue", "queue_ptr", "queue2", "mask_token", "masked_embed", "decoder_blocks.0.norm1.weight",
        "decoder_embed.weight", "decoder.weight", "last_linear.weight", "pre_logits.fc.weight", "global_pool.p",
        "avgpool.p", "feat_bn.running_mean", "centers", "memory", "optimizer.state.0.exp_avg",
    ],
)  # fmt: skip
def test_heads_queues_decoders_and_the_like_are_left_and_that_is_said(fresh, resnet, extra):
    *_, said = load_into(fresh, foreign(resnet, resnet.state_dict() | {extra: torch.ones(3)}), PATH)
    assert said == f"1 tensors of heads and the like were left ({extra})"
    assert torch.equal(fresh.conv1.weight, resnet.conv1.weight)


INSIDE = {
    "layer1.0.se.fc1.weight": "attention over channels",
    "layer3.5.IN.weight": "instance normalisation",
    "layer4.1.bn2.BN.bias": "instance normalisation",
    "NL_2.0.theta.weight": "non-local blocks",
    "non_local.0.g.weight": "non-local blocks",
    "layer1.0.conv1.weight_fake_quant.scale": "quantised",
    "layer2.0.conv2_offset.weight": "which has no place",
    "conv1.bias": "which has no place",
    "attnpool.k_proj.weight": "attention pooling",
    "something.weight": "which has no place",
    "fc_norm.weight": "a norm after pooling",
}


@pytest.mark.parametrize(("name", "words"), INSIDE.items())
def test_a_tensor_inside_the_backbone_that_has_no_place_makes_it_another_network(fresh, resnet, name, words):
    message = refusal(fresh, foreign(resnet, resnet.state_dict() | {name: torch.ones(3), "fc.weight": torch.ones(3)}))
    assert f"nearest to resnet18, which has no place for 1 of its tensors ({name})" in message
    assert words in message


def test_at_most_five_names_are_given_and_a_count(fresh, resnet):
    tensors = resnet.state_dict() | {f"layer1.0.extra.{number}": torch.ones(1) for number in range(40)}
    message = refusal(fresh, foreign(resnet, tensors))
    assert "no place for 40 of its tensors" in message
    assert (
        "(layer1.0.extra.0, layer1.0.extra.1, layer1.0.extra.2, layer1.0.extra.3, layer1.0.extra.4 and 35 more)"
        in message
    )


@pytest.mark.parametrize("missing", [["bn1.running_mean"], ["layer4.1.conv2.weight"], ["conv1.weight"]])
def test_a_tensor_that_is_missing_would_stay_random_and_is_refused(fresh, resnet, missing):
    tensors = {name: tensor for name, tensor in resnet.state_dict().items() if name not in missing}
    message = refusal(fresh, foreign(resnet, tensors))
    assert f"of the 100 tensors of that 1 are missing ({missing[0]})" in message


def test_what_is_missing_and_what_is_of_another_shape_are_counted_apart(fresh, resnet):
    tensors = resnet.state_dict() | {"bn1.bias": torch.zeros(3), "conv1.weight": torch.zeros(64, 1, 7, 7)}
    del tensors["bn1.weight"]
    message = refusal(fresh, foreign(resnet, tensors))
    assert "1 are missing (bn1.weight) and 2 are of another shape" in message
    assert "(conv1.weight (64, 1, 7, 7) for (64, 3, 7, 7), bn1.bias (3,) for (64,))" in message


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_not_finite_are_refused_by_name(fresh, resnet, value):
    tensors = {name: tensor.clone() for name, tensor in resnet.state_dict().items()}
    tensors["layer2.0.bn1.running_var"][3] = value
    message = refusal(fresh, foreign(resnet, tensors))
    assert "1 of its weights hold NaN, infinity or no floating-point numbers (layer2.0.bn1.running_var)" in message


@pytest.mark.parametrize("dtype", [torch.int8, torch.complex64, torch.bool])
def test_weights_of_another_kind_of_number_are_refused(fresh, resnet, dtype):
    tensors = resnet.state_dict() | {"conv1.weight": torch.ones(64, 3, 7, 7).to(dtype)}
    assert "no floating-point numbers (conv1.weight)" in refusal(fresh, foreign(resnet, tensors))


def test_names_of_another_family_have_no_place(fresh, resnet):
    tensors = {f"strange.{name}": tensor for name, tensor in resnet.state_dict().items()}
    assert "no place for 100 of its tensors" in refusal(fresh, foreign(resnet, tensors))


VIT = "vit_tiny_patch16_224"


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ("dist_token", "a distillation token"),
        ("part_token1", "part tokens"),
        ("part1_pos", "part tokens"),
        ("cls_pos", "part tokens"),
        ("reg_token", "register tokens"),
        ("register_tokens", "register tokens"),
        ("sie_embed", "camera or view embeddings"),
        ("norm_pre.weight", "a norm before its blocks"),
        ("fc_norm.bias", "a norm after pooling"),
        ("conv_head.0.conv1.weight", "which has no place"),
        ("blocks.3.attn.q_norm.weight", "norms on queries and keys"),
        ("blocks.3.ls1.gamma", "layer scale"),
        ("blocks.3.gamma_2", "layer scale"),
        ("blocks.0.attn.relative_position_bias_table", "relative position"),
        ("rope.freqs", "relative position"),
        ("blocks.0.attn.q_bias", "biases of its own"),
        ("blocks.0.attn.qkv.lora_A.default.weight", "adapters or prompts"),
        ("patch_embed.conv.1.IN.weight", "another patch stem"),
        ("attn_pool.latent", "attention pooling"),
    ],
)
def test_vits_with_more_inside_are_refused_with_what_they_have(vit, extra, words):
    backbone = create_backbone(VIT, height=64, width=32)
    message = refusal(backbone, foreign(vit, vit.state_dict() | {extra: torch.ones(3)}, VIT))
    assert extra in message
    assert words in message


def test_the_number_of_attention_heads_is_said_because_no_weight_shows_it(vit):
    backbone = create_backbone(VIT, height=224, width=224)
    assert load_into(backbone, foreign(vit, name=VIT), PATH)[-1].startswith("3 attention heads, as vit_tiny")


def test_overlapping_patches_are_refused_for_what_they_are(vit):
    backbone = create_backbone(VIT, height=256, width=128)
    for places, words in {
        1 + 21 * 10: "21x10 of them for patches that overlap (256x128 pixels, stride 12",
        1 + 31 * 10: "31x10",
    }.items():
        tensors = vit.state_dict() | {"pos_embed": torch.zeros(1, places, 192)}
        assert words in refusal(backbone, foreign(vit, tensors, VIT))


def test_a_position_embedding_of_no_known_grid_is_refused(vit):
    backbone = create_backbone(VIT, height=256, width=128)
    tensors = vit.state_dict() | {"pos_embed": torch.zeros(1, 1 + 131, 192)}
    assert "131 of them for patches, which is no grid that upreid can tell" in refusal(
        backbone, foreign(vit, tensors, VIT)
    )


@pytest.mark.parametrize("shape", [(197,), (1, 197, 384), (2, 197, 192)])
def test_a_position_embedding_of_another_shape_is_refused(vit, shape):
    backbone = create_backbone(VIT, height=224, width=224)
    message = refusal(backbone, foreign(vit, vit.state_dict() | {"pos_embed": torch.zeros(shape)}, VIT))
    assert f"is of shape {shape}, not (1, places, 192)" in message


@pytest.mark.parametrize(("places", "grid"), [(196, "14x14"), (128, "16x8")])
def test_a_position_embedding_without_a_place_for_the_class_token_is_refused(vit, places, grid):
    """DeiT III's and PASS's."""
    backbone = create_backbone(VIT, height=224, width=224)
    tensors = vit.state_dict() | {"pos_embed": torch.zeros(1, places, 192)}
    assert f"{places} places, a grid of {grid}, and none for the class token" in refusal(
        backbone, foreign(vit, tensors, VIT)
    )


@pytest.mark.parametrize(
    ("height", "width", "said"), [(256, 128, ["position embedding resampled from 14x14 to 16x8"]), (224, 224, [])]
)
def test_a_position_embedding_is_resampled_to_the_backbone_s_grid_and_that_is_said(vit, height, width, said):
    backbone = create_backbone("vit_tiny_patch16_224", height=height, width=width)
    given = foreign(vit, name="vit_tiny_patch16_224")
    assert load_into(backbone, given, PATH)[1:-1] == said
    wanted = resample_abs_pos_embed(vit.pos_embed, [height // 16, width // 16], [14, 14])
    torch.testing.assert_close(backbone.pos_embed, wanted)
    assert given.tensors["pos_embed"].shape == (1, 197, 192)


@pytest.mark.parametrize(
    ("num_patches", "grid"), [(196, (14, 14)), (128, (16, 8)), (192, (24, 8)), (1, (1, 1)), (210, None), (0, None)]
)
def test_grids_are_square_or_as_tall_as_people(num_patches, grid):
    assert old_grid(num_patches) == grid


def test_a_linear_ramp_stays_a_ramp_from_top_to_bottom():
    height, width = 14, 14
    rows = torch.arange(height).float()[:, None].expand(height, width)
    positions = torch.cat([torch.full((1, 1, 1), -5.0), rows.reshape(1, -1, 1)], dim=1)
    resampled = resample(positions, old=(14, 14), new=(16, 8), num_prefix=1)
    assert resampled[0, 0, 0] == -5
    ramp = resampled[0, 1:, 0].reshape(16, 8)
    assert (ramp.diff(dim=0) > 0).all()
    torch.testing.assert_close(ramp, ramp[:, :1].expand(16, 8))
