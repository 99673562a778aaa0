import argparse

import numpy as np
import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

from upreid.errors import DataError
from upreid.models.backbone import create_backbone
from upreid.models.foreign import load_into, read_checkpoint

LUPERSON = ((0.3525, 0.3106, 0.3140), (0.2660, 0.2522, 0.2505))
LUPERSON_NL = ((0.3452, 0.3070, 0.3114), (0.2633, 0.2500, 0.2480))
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
WRAPPERS = [
    "",
    "module.",
    "_orig_mod.",
    "encoder_q.",
    "backbone.",
    "base.",
    "model.",
    "module._orig_mod.",
    "module.model.base.",
    "model.module.encoder_q.backbone.",
]


def prefixed(prefix: str, tensors):
    return {f"{prefix}{name}": tensor for name, tensor in tensors.items()}


def features(backbone: nn.Module):
    images = torch.randn(2, 3, 64, 32, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        return backbone.eval()(images)


def loaded(path, height=64, width=32, device="cpu"):
    """Read a file and fill a fresh backbone with it."""
    foreign = read_checkpoint(path)
    torch.manual_seed(99)
    with torch.device(device):
        backbone = create_backbone(foreign.backbone, height=height, width=width)
    load_into(backbone, foreign, path)
    return backbone


def test_a_released_file_with_luperson_s_name_gives_the_features_of_its_model(save, resnet):
    path = save(resnet.state_dict(), "lup_moco_r18.pth")
    foreign = read_checkpoint(path)
    assert (foreign.backbone, foreign.source) == ("resnet18", "LUPerson, released")
    assert (foreign.mean, foreign.std) == LUPERSON
    assert torch.equal(features(loaded(path)), features(resnet))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet50", "resnet101", "resnet152"])
def test_torchvision_s_resnets_give_torchvision_s_features(save, name):
    torch.manual_seed(4)
    model = torchvision.models.get_model(name, weights=None)
    path = save({name: tensor for name, tensor in model.state_dict().items() if not name.startswith("fc.")}, "r.pth")
    assert read_checkpoint(path).backbone == name
    model.fc = nn.Identity()
    torch.testing.assert_close(features(loaded(path)), features(model))


@pytest.mark.parametrize("prefix", ["module.", ""])
def test_the_query_encoder_of_a_training_checkpoint_is_taken_and_that_is_said(
    save, moco, resnet, momentum_resnet, prefix
):
    moco["state_dict"] = {
        name.replace("module.", prefix, 1): tensor for name, tensor in reversed(moco["state_dict"].items())
    }
    path = save(moco, "ckpt_0199.pth")
    foreign = read_checkpoint(path)
    assert foreign.source == "LUPerson / MoCo training checkpoint, encoder_q"
    assert (foreign.mean, foreign.std) == LUPERSON
    num_beside = len(momentum_resnet.state_dict()) + 4 + 2 + 1  # encoder_k with its head, queue, optimizer
    assert f"encoder_q was taken; {num_beside} tensors beside it were left" in foreign.sentences[1]
    assert all(word in foreign.sentences[1] for word in ("encoder_k", "queue", "queue_ptr", "optimizer"))
    assert torch.equal(features(loaded(path)), features(resnet))


def test_the_key_encoder_is_taken_where_there_is_no_other(save, moco, momentum_resnet):
    moco["state_dict"] = {name: tensor for name, tensor in moco["state_dict"].items() if "encoder_q" not in name}
    path = save(moco)
    assert read_checkpoint(path).source.endswith("encoder_k")
    assert torch.equal(features(loaded(path)), features(momentum_resnet))


@pytest.mark.parametrize("outer", [None, "state_dict", "model"])
@pytest.mark.parametrize("prefix", WRAPPERS)
def test_wrappers_are_stripped_in_any_nesting(save, resnet, prefix, outer):
    tensors = prefixed(prefix, resnet.state_dict()) | {"classifier.weight": torch.zeros(3, 512)}
    foreign = read_checkpoint(save(tensors if outer is None else {outer: tensors, "epoch": 3}))
    assert foreign.backbone == "resnet18"
    assert set(foreign.tensors) - {"classifier.weight"} == set(resnet.state_dict())
    assert all(torch.equal(foreign.tensors[name], tensor) for name, tensor in resnet.state_dict().items())


def test_the_children_of_a_sequential_resnet_get_their_names_back(save, resnet):
    positions = {"conv1": "0", "bn1": "1", "layer1": "4", "layer2": "5", "layer3": "6", "layer4": "7"}
    tensors = {
        f"module.base.{positions[head]}.{rest}": tensor
        for name, tensor in resnet.state_dict().items()
        for head, _, rest in [name.partition(".")]
    }
    path = save({"state_dict": tensors | {"module.feat_bn.weight": torch.ones(512)}, "best_mAP": 0.5})
    assert torch.equal(features(loaded(path)), features(resnet))


def test_safetensors_files_are_read(tmp_path, resnet):
    save_file(resnet.state_dict() | {"fc.weight": torch.zeros(10, 512)}, tmp_path / "model.safetensors")
    assert torch.equal(features(loaded(tmp_path / "model.safetensors")), features(resnet))


@pytest.mark.slow
def test_the_teacher_of_dino_is_taken_and_its_positions_fitted_to_tall_images(save, vit):
    teacher = prefixed("backbone.", vit.state_dict()) | {"head.last_layer.weight_g": torch.ones(5, 1)}
    student = {f"module.{name}": torch.zeros_like(tensor) for name, tensor in teacher.items()}
    path = save({"student": student, "teacher": teacher, "epoch": 100, "dino_loss": {"center": torch.zeros(1, 5)}})
    foreign = read_checkpoint(path)
    assert foreign.backbone == "vit_tiny_patch16_224"
    assert (foreign.mean, foreign.std) == IMAGENET
    assert "teacher was taken" in foreign.sentences[1]
    assert "student" in foreign.sentences[1]
    backbone = loaded(path, height=256, width=128)
    wanted = create_backbone("vit_tiny_patch16_224", height=224, width=224)
    wanted.load_state_dict(vit.state_dict())
    wanted.set_input_size(img_size=(256, 128))
    images = torch.randn(2, 3, 256, 128)
    with torch.no_grad():
        torch.testing.assert_close(backbone.eval()(images), wanted.eval()(images))


@pytest.mark.parametrize("left_out", ["nothing", "bn1.weight", "layer4.0"])
@pytest.mark.parametrize("name", ["resnet50", "resnet101", "resnet152", "wide_resnet50_2", "resnext50_32x4d"])
def test_backbones_are_told_apart_by_their_shapes_even_with_a_head_and_without_a_block(save, name, left_out):
    shapes = torchvision.models.get_model(name, weights=None).to("meta").state_dict()
    tensors = {
        key: torch.zeros(()).expand(tensor.shape) for key, tensor in shapes.items() if not key.startswith(left_out)
    }
    assert read_checkpoint(save(tensors)).backbone == name


@pytest.mark.parametrize(
    ("name", "statistics"),
    [
        ("lup_moco_r50.pth", LUPERSON),
        ("LUP_moco_r50.PTH", LUPERSON),
        ("lup_unlabelled_only.pth", LUPERSON),
        ("lupws_r50.pth", LUPERSON_NL),
        ("luperson-nl_r50.pth", LUPERSON_NL),
        ("LUPersonNL.pth", LUPERSON_NL),
        ("lup_nl_pnl.pth", LUPERSON_NL),
        ("resnet50-11ad3fa6.pth", IMAGENET),
        ("only_nl.pth", IMAGENET),
    ],
)
def test_the_name_of_a_plain_file_decides_mean_and_std_and_the_log_says_why(save, resnet, name, statistics):
    foreign = read_checkpoint(save(resnet.state_dict(), name))
    assert (foreign.mean, foreign.std) == statistics
    sentence = foreign.sentences[-1]
    assert str(statistics[0]) in sentence
    assert "because" in sentence
    assert "--input.mean and --input.std" in sentence


@pytest.mark.parametrize(
    ("name", "statistics"),
    [("lupws_ckpt.pth", LUPERSON_NL), ("ckpt_0090.pth", LUPERSON), ("moco_v2_800ep_pretrain.pth.tar", IMAGENET)],
)
def test_a_training_checkpoint_has_luperson_s_unless_its_name_says_otherwise(save, moco, name, statistics):
    foreign = read_checkpoint(save(moco, name))
    assert (foreign.mean, foreign.std) == statistics


def test_prototypes_beside_the_encoder_are_those_of_luperson_nl(save, moco):
    moco["state_dict"]["module.prototypes"] = torch.zeros(9, 4)
    foreign = read_checkpoint(save(moco, "ckpt_0090.pth"))
    assert (foreign.mean, foreign.std) == LUPERSON_NL


def test_transreid_ssl_trained_vits_with_imagenet_s_whatever_their_name(save, vit):
    foreign = read_checkpoint(save(vit.state_dict(), "vit_tiny_lup.pth"))
    assert (foreign.mean, foreign.std) == IMAGENET


def test_other_models_are_refused_with_the_nearest_that_is_known(save, resnet):
    narrow = create_backbone("resnet18", height=64, width=32, channels=4)
    with pytest.raises(
        DataError, match=r"no backbone that upreid can tell.*nearest, resnet50, shares 0% and has no place for conv1"
    ):
        read_checkpoint(save(narrow.state_dict()))
    with pytest.raises(DataError, match=r"none of its 1 tensors is a first convolution \(text\.weight\)"):
        read_checkpoint(save({"text.weight": torch.zeros(3, 3)}))
    headless = {name: tensor for name, tensor in resnet.state_dict().items() if not name.startswith("conv1")}
    with pytest.raises(DataError, match="first convolution"):
        read_checkpoint(save(headless))


def test_reading_draws_no_random_numbers(save, resnet):
    path = save(resnet.state_dict())
    torch.manual_seed(3)
    read_checkpoint(path)
    after = torch.rand(1)
    torch.manual_seed(3)
    assert torch.equal(after, torch.rand(1))


def test_two_encoders_with_equal_rights_are_refused(save, resnet, momentum_resnet):
    tensors = prefixed("model.", resnet.state_dict()) | prefixed("net.", momentum_resnet.state_dict())
    with pytest.raises(DataError, match=r"holds 2 encoders \(model, net\), and nothing says which is wanted"):
        read_checkpoint(save(tensors))


def ibn_b(tensors):
    """An instance normalisation more behind some blocks, as in IBN-Net b, but the first normalisation stays a batch's."""
    more = {f"layer{stage}.1.IN.{kind}": torch.ones(64 * stage) for stage in (1, 2) for kind in ("weight", "bias")}
    return tensors | more


def non_local(tensors):
    """Non-local blocks as fast-reid names them."""
    return tensors | {f"NL_2.0.{name}.weight": torch.zeros(4, 8, 1, 1) for name in ("g", "theta", "phi", "W.0")}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "prefix", "nearest", "more"),
    [
        (ibn_b, "", "resnet18_ibn_b", r"2 of its tensors \(bn1.running_mean, bn1.running_var\)"),
        (ibn_b, "backbone.", "fastreid_resnet18", r"4 of its tensors \(layer1.1.IN.weight"),
        (ibn_b, "module.base.", "fastreid_resnet18", r"4 of its tensors \(layer1.1.IN.weight"),
        (non_local, "", "resnet18", r"4 of its tensors \(NL_2.0.g.weight"),
        (non_local, "backbone.", "fastreid_resnet18", r"4 of its tensors \(NL_2.0.g.weight"),
        (non_local, "module.base.", "fastreid_resnet18", r"4 of its tensors \(NL_2.0.g.weight"),
    ],
)
def test_a_resnet_with_more_inside_is_not_taken_for_a_plain_one(save, resnet, change, prefix, nearest, more):
    tensors = prefixed(prefix, change(dict(resnet.state_dict()))) | {"heads.weight": torch.zeros(3)}
    with pytest.raises(DataError, match=f"nearest to {nearest}, which has no place for {more}"):
        loaded(save({"model": tensors}))


SAME_FEATURES = [
    ("resnet18", (64, 32)),
    ("resnet26", (64, 32)),
    ("vit_tiny_patch16_224", (224, 224)),
    ("deit_tiny_patch16_224", (224, 224)),
    ("deit_tiny_distilled_patch16_224", (224, 224)),
    ("vit_tiny_patch16_384", (384, 384)),
]


@pytest.mark.parametrize(("name", "size"), SAME_FEATURES)
def test_a_timm_model_that_is_accepted_gives_its_own_features(save, name, size):
    torch.manual_seed(6)
    model = timm.create_model(name, num_classes=10).eval()
    for parameter in model.parameters():  # timm starts some at 0 or 1, where two networks could agree by chance
        nn.init.normal_(parameter, std=0.1)
    path = save({"state_dict": model.state_dict(), "args": argparse.Namespace(model=name), "metric": np.float64(0.5)})
    backbone = loaded(path, *size)
    images = torch.randn(2, 3, *size)
    with torch.no_grad():
        wanted = model.forward_head(model.forward_features(images), pre_logits=True)
        torch.testing.assert_close(backbone.eval()(images), wanted)


OTHER_NETWORKS = {
    "seresnet50": "attention over channels",
    "ecaresnet50d": "attention over channels",
    "resnet50c": "a stem of several convolutions",
    "resnet50t": "of another shape",
    "resnet50_gn": "missing",
    "resnest14d": "no backbone that upreid can tell",
    "vit_base_patch16_clip_224": "a norm before its blocks",
    "vit_base_patch16_clip_quickgelu_224": "a norm before its blocks",
    "vit_base_patch16_siglip_224": "attention pooling",
    "vit_base_patch16_rpn_224": "missing (cls_token, blocks.0.attn.qkv.bias",
    "vit_base_patch16_gap_224": "missing (cls_token)",
    "vit_base_patch16_224_miil": "missing (blocks.0.attn.qkv.bias",
    "vit_base_patch16_reg4_gap_256": "register tokens",
    "vit_base_patch16_rope_224": "layer scale",
    "vit_relpos_base_patch16_cls_224": "relative position",
    "beit_base_patch16_224": "layer scale",
    "deit3_small_patch16_224": "of another shape (patch_embed.proj.weight",
    "vit_tiny_r_s16_p8_224": "no network with names that upreid knows",
    "flexivit_small": "none for the class token",
}
"""Real timm models whose tensors are nearest to a plain ResNet's or ViT's, and what makes them others."""


@pytest.mark.parametrize(("name", "words"), OTHER_NETWORKS.items())
def test_a_timm_model_that_is_another_network_is_refused_for_what_it_is(save, name, words):
    with torch.device("meta"):
        model = timm.create_model(name, num_classes=3)
    tensors = {key: torch.zeros(()).expand(tensor.shape) for key, tensor in model.state_dict().items()}
    path = save(tensors)
    with pytest.raises(DataError) as caught:
        loaded(path, 224, 224, device="meta")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_mae_s_decoder_and_mask_are_left(save, vit):
    more = {
        "mask_token": torch.zeros(1, 1, 8),
        "decoder_embed.weight": torch.zeros(8, 192),
        "decoder_norm.bias": torch.zeros(8),
    }
    path = save({"model": vit.state_dict() | more, "args": argparse.Namespace()})
    images = torch.randn(2, 3, 224, 224)
    with torch.no_grad():
        assert torch.equal(loaded(path, 224, 224).eval()(images), vit(images))
