"""Every format of the table: a file with the names that its program writes, and the features of the network that wrote it."""

import argparse
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F

from upreid.errors import DataError
from upreid.models.backbone import create_backbone
from upreid.models.encoder import Encoder, load_encoder, save_encoder
from upreid.models.foreign import Choices, make_encoder, read_checkpoint
from upreid.models.foreign.renaming import FORMATS
from upreid.models.header import EncoderHeader
from upreid.models.heads import HeadSettings, create_head

SIZE = {"height": 64, "width": 32}


def lively(net: nn.Module, seed: int = 0) -> nn.Module:
    """Give every weight and statistic of a network a value of its own, so that no two networks agree by chance."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in net.state_dict().items():
            if tensor.is_floating_point():
                noise = torch.rand(tensor.shape, generator=generator)
                if "running_var" in name:
                    tensor.copy_(0.5 + noise)
                elif tensor.ndim < 2:
                    tensor.add_(0.2 * (noise - 0.5))
                elif name.endswith(("pos_embed", "token", "embedding", "_pos", "table")) or "token" in name:
                    tensor.copy_(noise - 0.5)
    return net.eval()


def ours(backbone: str, head: HeadSettings | None = None, **options: Any) -> Encoder:
    """An encoder of ours with lively weights."""
    torch.manual_seed(1)
    size = {name: options.pop(name, value) for name, value in SIZE.items()}
    stride = options.get("last_stride")
    statistics = {"mean": (0.5,) * 3, "std": (0.5,) * 3}
    header = EncoderHeader(backbone=backbone, channels=None, last_stride=stride, head=head, **statistics, **size)
    net = lively(create_backbone(backbone, **size, **options))
    return Encoder(net, header, lively(create_head(net, head), 1) if head else None).eval()


def put(tensors: dict[str, Tensor], *rules: tuple[str, str]) -> dict[str, Tensor]:
    """Rename tensors by the first rule that matches; the others stay."""
    new = {}
    for name, tensor in tensors.items():
        rule = next(((pattern, target) for pattern, target in rules if re.search(pattern, name)), None)
        new[re.sub(*rule, name) if rule else name] = tensor
    return new


NECK = HeadSettings(name="bnneck")
GEM = HeadSettings(name="bnneck", pool="gem")
SEQUENTIAL = [
    (rf"^backbone\.{ours}\.", rf"base.{place}.")
    for place, ours in ((0, "conv1"), (1, "bn1"), (4, "layer1"), (5, "layer2"), (6, "layer3"), (7, "layer4"))
]
CLASSIFIER = {"classifier.weight": torch.zeros(5, 8)}


@dataclass
class Case:
    """A network, the file that its program writes, and what is read from it."""

    encoder: Callable[[], Encoder]
    file: Callable[[dict[str, Tensor]], Any]
    source: str
    last_stride: int | None = None
    name: str = "checkpoint.pth"
    choices: Choices = field(default_factory=Choices)


def base(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """What BoT and the TransReID family write."""
    return put(tensors, (r"^backbone\.", "base."), (r"^head\.neck\.", "bottleneck.")) | CLASSIFIER


def prefixed(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}{name}": tensor for name, tensor in tensors.items()}


def jigsaw(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """TransReID's file: its base keeps the last block and norm that it started from, and never applies them."""
    new = put(
        tensors, (r"^head\.necks\.0\.", "bottleneck."), (r"^head\.necks\.(\d)\.", r"bottleneck_\1."), (r"^head\.local\.", "b2."),
        (r"^head\.camera_embedding$", "base.sie_embed"), (r"^backbone\.blocks\.11\.", "b1.0."), (r"^backbone\.norm\.", "b1.1."),
        (r"^backbone\.", "base."),
    )  # fmt: skip
    stale = {
        name.replace("b1.0.", "base.blocks.11."): torch.full_like(tensor, 7.0)
        for name, tensor in new.items()
        if name.startswith("b1.0.")
    }
    return (
        new
        | stale
        | {"base.norm.weight": torch.ones(192), "base.norm.bias": torch.ones(192), "base.fc.weight": torch.ones(3, 192)}
        | CLASSIFIER
    )


CASES = {
    "LUPerson released": Case(
        lambda: ours("resnet18"),
        lambda t: {n.removeprefix("backbone."): x for n, x in t.items()},
        "LUPerson, released",
        name="lup_moco_r18.pth",
    ),
    "Bag of Tricks": Case(lambda: ours("bot_resnet18", NECK, last_stride=1), base, "Bag of Tricks", 1),
    "Bag of Tricks, wrapped": Case(
        lambda: ours("bot_resnet18", NECK, last_stride=1),
        lambda t: {"model": prefixed("_orig_mod.module.", base(t)), "args": argparse.Namespace(lr=1)},
        "Bag of Tricks",
        1,
    ),
    "Bag of Tricks, stride by a flag": Case(
        lambda: ours("bot_resnet18", NECK), base, "Bag of Tricks", 2, choices=Choices(last_stride=2)
    ),
    "Bag of Tricks, IBN": Case(lambda: ours("resnet18_ibn_a", NECK, last_stride=1), base, "Bag of Tricks with IBN", 1),
    "CION": Case(
        lambda: ours("resnet18_ibn_a", last_stride=1),
        lambda t: {
            "teacher": prefixed("module.", t),
            "student": prefixed("module.", {n: x + 1 for n, x in t.items()}),
            "args": argparse.Namespace(),
        },
        "CION, teacher",
        1,
    ),
    "IBN-Net": Case(
        lambda: ours("resnet18_ibn_a"), lambda t: {"state_dict": put(t, (r"^backbone\.", "module."))}, "IBN-Net"
    ),
    "SpCL": Case(
        lambda: ours("resnet18", NECK, last_stride=1),
        lambda t: {"state_dict": prefixed("module.", put(t, *SEQUENTIAL, (r"^head\.neck\.", "feat_bn."))), "epoch": 3},
        "SpCL, Cluster-Contrast",
        1,
    ),
    "Cluster-Contrast, GeM": Case(
        lambda: ours("resnet18", GEM, last_stride=1),
        lambda t: {
            "state_dict": prefixed(
                "module.", put(t, *SEQUENTIAL, (r"^head\.neck\.", "feat_bn."), (r"^head\.pool\.power$", "gap.p"))
            )
        },
        "SpCL, Cluster-Contrast",
        1,
    ),
    "MMT": Case(
        lambda: ours("bot_resnet18", NECK, last_stride=1),
        lambda t: {
            "state_dict": put(
                t,
                *(
                    (rf"^backbone\.{o}\.", f"base.{p}.")
                    for p, o in ((0, "conv1"), (1, "bn1"), (3, "layer1"), (4, "layer2"), (5, "layer3"), (6, "layer4"))
                ),
                (r"^head\.neck\.", "feat_bn."),
            )
        },
        "MMT",
        1,
    ),
    "fast-reid, BoT": Case(
        lambda: ours("fastreid_resnet18", NECK, last_stride=1),
        lambda t: {
            "model": put(t, (r"^head\.neck\.", "heads.bottleneck.0.")) | {"heads.weight": torch.zeros(3, 512)},
            "iteration": 9,
        },
        "fast-reid",
        1,
    ),
    "fast-reid, SBS": Case(
        lambda: ours("fastreid_resnet50_ibn_nl", GEM, last_stride=1),
        lambda t: {
            "model": put(t, (r"^head\.neck\.", "heads.bottleneck.0."), (r"^head\.pool\.power$", "heads.pool_layer.p"))
            | {"heads.weight": torch.zeros(3, 2048)}
        },
        "fast-reid",
        1,
    ),
    "fast-reid, v1.0": Case(
        lambda: ours("fastreid_resnet18", NECK, last_stride=1),
        lambda t: {"model": put(t, (r"^head\.neck\.", "heads.bnneck."))},
        "fast-reid",
        1,
    ),
    "fast-reid, SE and IBN": Case(
        lambda: ours("fastreid_resnet18_ibn_se", NECK, last_stride=1),
        lambda t: {"model": put(t, (r"^head\.neck\.", "heads.bottleneck.0.")) | {"heads.weight": torch.zeros(3, 512)}},
        "fast-reid",
        1,
    ),
    "IBN-Net, IBN-b": Case(
        lambda: ours("resnet18_ibn_b"),
        lambda t: put(t, (r"^backbone\.", "module.")) | {"module.fc.weight": torch.zeros(3, 512)},
        "IBN-Net",
    ),
    "torchreid, a linear layer": Case(
        lambda: ours("resnet18", last_stride=1),
        lambda t: {
            "state_dict": put(t, (r"^backbone\.", "module."))
            | {"module.fc.0.weight": torch.zeros(8, 512), "module.fc.1.running_mean": torch.zeros(8)}
            | {"module.classifier.weight": torch.zeros(3, 8)}
        },
        "torchreid's ResNet with a linear layer",
        1,
    ),
    "layumi, IBN": Case(
        lambda: ours("resnet18_ibn_a"),
        lambda t: put(t, (r"^backbone\.", "model.")) | {"classifier.add_block.0.weight": torch.zeros(512, 512)},
        "layumi",
    ),
    "layumi": Case(
        lambda: ours("resnet18"),
        lambda t: (
            put(t, (r"^backbone\.", "model."))
            | {"model.fc.weight": torch.zeros(3, 512), "classifier.add_block.0.weight": torch.zeros(512, 512)}
        ),
        "layumi",
    ),
    "torchreid's OSNet": Case(
        lambda: ours("osnet_x0_25"),
        lambda t: {
            "state_dict": put(t, (r"^backbone\.", "module.")) | {"module.classifier.weight": torch.zeros(3, 512)}
        },
        "torchreid's OSNet",
    ),
    "torchreid's OSNet-IBN": Case(
        lambda: ours("osnet_ibn_x1_0"), lambda t: put(t, (r"^backbone\.", "")), "torchreid's OSNet"
    ),
    "torchreid's OSNet-AIN": Case(
        lambda: ours("osnet_ain_x1_0"), lambda t: put(t, (r"^backbone\.", "")), "torchreid's OSNet"
    ),
    "BoxMOT": Case(
        lambda: ours("osnet_x0_5"),
        lambda t: {"model_name": "osnet_x0_5", "img_size": [256, 128], "state_dict": put(t, (r"^backbone\.", ""))},
        "torchreid's OSNet",
        name="osnet.pt",
    ),
    "TransReID": Case(lambda: ours("vit_tiny_patch16_224", NECK), base, "TransReID"),
    "TransReID, cameras": Case(
        lambda: ours("vit_tiny_patch16_224", HeadSettings(name="transreid", cameras=(1, 2, 3), camera_weight=3.0)),
        (
            lambda t: put(
                t,
                (r"^head\.necks\.0\.", "bottleneck."),
                (r"^head\.camera_embedding$", "base.sie_embed"),
                (r"^backbone\.", "base."),
            )
        ),
        "TransReID with camera embeddings",
    ),
    "TransReID, JPM and cameras": Case(
        lambda: ours(
            "vit_tiny_patch16_224",
            HeadSettings(name="transreid", cameras=(1, 2, 3), camera_weight=3.0, jigsaw=True, published_jigsaw=True),
        ),
        jigsaw,
        "TransReID with the jigsaw branch",
    ),
    "TransReID-SSL, ICS": Case(
        lambda: ours("vit_tiny_patch16_ics"),
        lambda t: {
            "teacher": t | {"head.mlp.0.weight": torch.zeros(3)},
            "student": prefixed("module.", t),
            "args": argparse.Namespace(),
        },
        "ViT, teacher",
    ),
    "PASS": Case(lambda: ours("pass_vit_tiny_patch16"), lambda t: {"teacher": t, "epoch": 100}, "ViT, teacher"),
    "PASS, fine-tuned": Case(lambda: ours("pass_vit_tiny_patch16", NECK), base, "PASS, fine-tuned"),
    "SOLIDER": Case(
        lambda: ours("solider_swin_tiny"),
        lambda t: {
            "teacher": t
            | {"backbone.stages.0.blocks.0.attn.w_msa.relative_position_index": torch.zeros(49, 49, dtype=torch.long)},
            "args": argparse.Namespace(),
        },
        "SOLIDER, teacher",
    ),
    "SOLIDER-REID": Case(lambda: ours("solider_swin_tiny", NECK), base, "SOLIDER"),
    "PersonViT": Case(
        lambda: ours("vit_tiny_patch16_224"),
        lambda t: {
            "teacher": t | {"backbone.masked_embed": torch.zeros(1, 192)},
            "ibot_loss": {"center": torch.zeros(1, 3)},
        },
        "ViT, teacher",
    ),
    "HAP": Case(
        lambda: ours("vit_tiny_patch16_224"),
        lambda t: {
            "model": put(t, (r"^backbone\.", ""))
            | {"mask_token": torch.zeros(1, 1, 8), "decoder_embed.weight": torch.zeros(3)},
            "args": argparse.Namespace(),
        },
        "ViT, plain file",
    ),
    "Lightning": Case(
        lambda: ours("resnet18"),
        lambda t: {
            "state_dict": t | {n.replace("backbone.", "momentum_backbone."): x + 1 for n, x in t.items()},
            "hyper_parameters": {"lr": 1.0},
        },
        "ResNet, plain file",
    ),
    "an unheard-of wrapper": Case(
        lambda: ours("resnet18"), lambda t: {"weights": {"my": prefixed("student_net_2.", t)}}, "ResNet, plain file"
    ),
    "another network of timm's": Case(
        lambda: ours("convnext_atto"),
        lambda t: put(t, (r"^backbone\.", "net.")),
        "ResNet, plain file",
        choices=Choices(backbone="convnext_atto"),
    ),
    "fast-reid, SBS with ResNeSt": Case(
        lambda: ours("fastreid_resnest50_nl", GEM, last_stride=1),
        lambda t: {
            "model": put(t, (r"^head\.neck\.", "heads.bottleneck.0."), (r"^head\.pool\.power$", "heads.pool_layer.p"))
            | {"heads.weight": torch.zeros(3, 2048)}
        },
        "fast-reid",
        1,
    ),
    "IBN-Net, SE": Case(lambda: ours("se_resnet50_ibn_a"), lambda t: put(t, (r"^backbone\.", "module.")), "IBN-Net"),
    "torchreid's OSNet-AIN of half the width": Case(
        lambda: ours("osnet_ain_x0_5"), lambda t: put(t, (r"^backbone\.", "")), "torchreid's OSNet"
    ),
}


def features(encoder: Encoder) -> Tensor:
    images = torch.randn(2, 3, encoder.header.height, encoder.header.width, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        return encoder.after_neck(images, torch.tensor([1, 3]))


def converted(path: Path, choices: Choices | None = None) -> Encoder:
    return make_encoder(read_checkpoint(path, choices), path, **SIZE)[0]


FAST = ("LUPerson released", "Bag of Tricks", "TransReID, cameras", "PASS", "HAP", "MMT", "Lightning")


@pytest.mark.parametrize(
    "case",
    [pytest.param(case, id=name, marks=() if name in FAST else pytest.mark.slow) for name, case in CASES.items()],
)
def test_a_file_gives_the_features_of_the_network_that_wrote_it(case: Case, save, tmp_path):
    source = case.encoder()
    tensors = {name: tensor.clone() for name, tensor in source.state_dict().items()}
    path = save(case.file(tensors), case.name)
    foreign = read_checkpoint(path, case.choices)
    assert (foreign.source, foreign.last_stride) == (case.source, case.last_stride)
    encoder, _ = make_encoder(foreign, path, **SIZE)
    wanted = features(source)
    torch.testing.assert_close(features(encoder), wanted, atol=1e-5, rtol=1e-5)
    assert (encoder.head is None) == (source.head is None)
    is_from_transreid = case.source.startswith(("TransReID", "PASS", "SOLIDER", "CLIP-ReID"))
    assert (encoder.header.neck == "before") == (is_from_transreid and encoder.head is not None)
    save_encoder(tmp_path / "out.safetensors", encoder)
    torch.testing.assert_close(features(load_encoder(tmp_path / "out.safetensors")), wanted, atol=1e-5, rtol=1e-5)


@pytest.mark.slow
def test_the_mgn_of_fast_reid_and_of_luperson_give_the_features_of_their_network(save):
    for backbone, extra_bn in (("fastreid_resnet50", False), ("resnet50", True)):
        settings = HeadSettings(name="mgn", pool="gem", extra_bn=extra_bn)
        source = ours(backbone, settings, last_stride=1, height=96)
        parts = ("b1", "b2", "b3", "b21", "b22", "b31", "b32", "b33")
        rules = [(rf"^head\.embeds\.{at}\.pool\.power$", f"{name}_head.pool_layer.p") for at, name in enumerate(parts)]
        rules += [(rf"^head\.embeds\.{at}\.reduce\.", f"{name}_head.bottleneck.0.") for at, name in enumerate(parts)]
        rules += [(rf"^head\.necks\.{at}\.", f"{name}_head.bottleneck.1.") for at, name in enumerate(parts)]
        rules += [(rf"^head\.extra_bn\.{at}\.", f"heads_extra_bn_b{at + 1}.") for at in range(3)]
        rules += [(rf"^head\.branches\.{at}\.5\.", f"b{at + 2}.1.") for at in range(2)]
        rules += [(rf"^head\.branches\.{at}\.", f"b{at + 2}.0.") for at in range(2)]
        rules += [(r"^backbone\.layer3\.0\.", "backbone.6."), (r"^backbone\.layer4\.", "b1.1.")]
        rules += [(rf"^backbone\.layer3\.{at + 1}\.", f"b1.0.{at}.") for at in range(5)]
        rules += [
            (rf"^backbone\.{o}\.", f"backbone.{p}.")
            for p, o in ((0, "conv1"), (1, "bn1"), (4, "layer1"), (5, "layer2"))
        ]
        model = {
            n: x[..., None, None] if "bottleneck.0." in n else x for n, x in put(source.state_dict(), *rules).items()
        }
        model |= {
            "pixel_mean": torch.tensor([89.896, 79.2, 80.073])[None, :, None, None],
            "pixel_std": torch.tensor([63.872, 64.305, 63.839])[None, :, None, None],
        }
        foreign = read_checkpoint(save({"model": model}, "mgn.pth"))
        assert foreign.size == (384, 128)
        assert foreign.mean == (0.352533, 0.310588, 0.314012)
        encoder, _ = make_encoder(foreign, Path("mgn.pth"), height=96, width=32)
        torch.testing.assert_close(features(encoder), features(source), atol=1e-5, rtol=1e-5)


def test_overlapping_patches_are_told_from_the_positions(save):
    source = ours("vit_tiny_patch16_224", NECK, height=256, width=128, patch_stride=12)
    foreign = read_checkpoint(save(base(source.state_dict())))
    assert (foreign.size, foreign.patch_stride) == ((256, 128), 12)
    encoder, _ = make_encoder(foreign, Path("x.pth"), height=256, width=128)
    torch.testing.assert_close(features(encoder), features(source), atol=1e-5, rtol=1e-5)
    assert encoder.header.patch_stride == 12


@pytest.mark.slow
def test_the_small_vit_of_moco_v3_has_twelve_heads_by_its_format_and_a_flat_file_by_a_flag(save):
    source = ours("vit_small_patch16_mocov3")
    path = save(
        {"state_dict": {n.replace("backbone.", "module.base_encoder."): x for n, x in source.state_dict().items()}}
    )
    torch.testing.assert_close(features(converted(path)), features(source), atol=1e-5, rtol=1e-5)
    path = save({n.removeprefix("backbone."): x for n, x in source.state_dict().items()})
    torch.testing.assert_close(
        features(converted(path, Choices(attention_heads=12))), features(source), atol=1e-5, rtol=1e-5
    )
    assert not torch.allclose(features(converted(path)), features(source), atol=1e-3)


@pytest.mark.slow
def test_torchvision_s_vit_gives_torchvision_s_features(save):
    torch.manual_seed(3)
    model = lively(torchvision.models.vit_b_16(weights=None))
    encoder, _ = make_encoder(read_checkpoint(path := save(model.state_dict())), path, height=224, width=224)
    images = torch.randn(2, 3, 224, 224)
    model.heads = nn.Identity()
    with torch.no_grad():
        torch.testing.assert_close(encoder(images), model(images), atol=1e-5, rtol=1e-5)


TO_TRANSFORMERS = [
    (r"^backbone\.cls_token$", "vit.embeddings.cls_token"),
    (r"^backbone\.pos_embed$", "vit.embeddings.position_embeddings"),
    (r"^backbone\.patch_embed\.proj\.", "vit.embeddings.patch_embeddings.projection."),
    (r"^backbone\.norm\.", "vit.layernorm."),
    (r"^backbone\.blocks\.(\d+)\.attn\.proj\.", r"vit.encoder.layer.\1.attention.output.dense."),
    (r"^backbone\.blocks\.(\d+)\.mlp\.fc1\.", r"vit.encoder.layer.\1.intermediate.dense."),
    (r"^backbone\.blocks\.(\d+)\.mlp\.fc2\.", r"vit.encoder.layer.\1.output.dense."),
    (r"^backbone\.blocks\.(\d+)\.norm1\.", r"vit.encoder.layer.\1.layernorm_before."),
    (r"^backbone\.blocks\.(\d+)\.norm2\.", r"vit.encoder.layer.\1.layernorm_after."),
]


def test_transformers_names_of_a_vit_are_read(save):
    source = ours("vit_tiny_patch16_224")
    tensors = put(source.state_dict(), *TO_TRANSFORMERS)
    for name in [name for name in tensors if ".attn.qkv." in name]:
        layer, kind = re.fullmatch(r"backbone\.blocks\.(\d+)\.attn\.qkv\.(\w+)", name).groups()
        for part, piece in zip(("query", "key", "value"), tensors.pop(name).chunk(3), strict=True):
            tensors[f"vit.encoder.layer.{layer}.attention.attention.{part}.{kind}"] = piece
    path = save(tensors | {"vit.pooler.dense.weight": torch.zeros(3), "classifier.weight": torch.zeros(3)})
    torch.testing.assert_close(features(converted(path)), features(source), atol=1e-5, rtol=1e-5)


def test_transformers_names_of_a_resnet_are_read(save):
    source = ours("resnet18")
    stage = lambda m: f"resnet.encoder.stages.{int(m[1]) - 1}.layers.{m[2]}."  # noqa: E731
    tensors = {}
    for name, tensor in source.state_dict().items():
        name = re.sub(r"^backbone\.conv1\.", "resnet.embedder.embedder.convolution.", name)
        name = re.sub(r"^backbone\.bn1\.", "resnet.embedder.embedder.normalization.", name)
        name = re.sub(r"^backbone\.layer(\d)\.(\d+)\.", stage, name)
        name = re.sub(r"downsample\.(\d)\.", lambda m: f"shortcut.{('convolution', 'normalization')[int(m[1])]}.", name)
        name = re.sub(
            r"\.(conv|bn)(\d)\.",
            lambda m: f".layer.{int(m[2]) - 1}.{'convolution' if m[1] == 'conv' else 'normalization'}.",
            name,
        )
        tensors[name] = tensor
    torch.testing.assert_close(features(converted(save(tensors))), features(source), atol=1e-5, rtol=1e-5)


class QuickAttention(nn.Module):
    """A block of CLIP's image encoder, written from its published structure."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.attn, self.ln_1, self.ln_2 = (
            nn.MultiheadAttention(dim, heads, batch_first=True),
            nn.LayerNorm(dim),
            nn.LayerNorm(dim),
        )
        self.mlp = nn.ModuleDict({"c_fc": nn.Linear(dim, 4 * dim), "c_proj": nn.Linear(4 * dim, dim)})

    def forward(self, x: Tensor) -> Tensor:
        normed = self.ln_1(x)
        x = x + self.attn(normed, normed, normed, need_weights=False)[0]
        hidden = self.mlp["c_fc"](self.ln_2(x))
        return x + self.mlp["c_proj"](hidden * torch.sigmoid(1.702 * hidden))


class Visual(nn.Module):
    """CLIP's image encoder as CLIP-ReID keeps it."""

    def __init__(self, dim: int, places: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, dim, 16, stride=16, bias=False)
        self.class_embedding, self.positional_embedding = (
            nn.Parameter(torch.zeros(dim)),
            nn.Parameter(torch.zeros(places, dim)),
        )
        self.ln_pre, self.ln_post, self.proj = nn.LayerNorm(dim), nn.LayerNorm(dim), nn.Parameter(torch.zeros(dim, 512))
        self.transformer = nn.ModuleDict(
            {"resblocks": nn.Sequential(*[QuickAttention(dim, dim // 64) for _ in range(12)])}
        )

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.conv1(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.class_embedding.expand(len(x), 1, -1), tokens], dim=1) + self.positional_embedding
        return self.ln_post(self.transformer["resblocks"](self.ln_pre(tokens)))[:, 0]


@pytest.mark.slow
def test_the_image_encoder_of_clip_reid_gives_its_features(save):
    torch.manual_seed(2)
    visual = lively(Visual(768, 1 + 8))
    tensors = prefixed("image_encoder.", visual.state_dict()) | {
        "prompt_learner.cls_ctx": torch.zeros(3),
        "text_encoder.positional_embedding": torch.zeros(77, 512),
        "bottleneck_proj.weight": torch.ones(512),
    }
    path = save(tensors)
    foreign = read_checkpoint(path)
    assert foreign.source == "CLIP-ReID"
    encoder, _ = make_encoder(foreign, path, **SIZE)
    images = torch.randn(2, 3, 64, 32)
    with torch.no_grad():
        torch.testing.assert_close(encoder(images), visual(images), atol=1e-5, rtol=1e-5)


def test_a_camera_embedding_on_the_class_token_alone_is_no_head_of_ours_and_is_left(save):
    source = ours("vit_tiny_patch16_224", NECK)
    head = {"bottleneck.weight": torch.ones(99)}
    foreign = read_checkpoint(path := save(base(source.state_dict()) | head))
    encoder, said = make_encoder(foreign, path, **SIZE)
    assert encoder.head is None
    assert "its head was left, because 1 tensors of it are none of ours (neck.weight)" in said


@pytest.mark.slow
def test_camera_embeddings_of_clip_reid_are_refused_by_name(save):
    """They are added to the class token, beside the image encoder in its file, so that leaving them changes the features."""
    encoder = prefixed("image_encoder.", Visual(768, 1 + 8).state_dict()) | {"bottleneck.weight": torch.ones(768)}
    path = save(encoder | {"cv_embed": torch.ones(6, 768)})
    with pytest.raises(
        DataError, match=r"no place for 1 of its tensors \(cv_embed\); it is a network with camera or view"
    ):
        make_encoder(read_checkpoint(path), path, **SIZE)


def test_what_a_file_of_boxmot_says_of_its_images_wins(save):
    tensors = put(ours("osnet_x0_25").state_dict(), (r"^backbone\.", ""))
    about = {"model_name": "osnet_x0_25", "num_classes": 7, "state_dict": tensors}
    foreign = read_checkpoint(save(about | {"img_size": [384, 128], "preprocess": "resize"}))
    assert foreign.size == (384, 128)
    assert "images of 384x128, as BoxMOT wrote into it" in foreign.sentences
    foreign = read_checkpoint(save(about | {"img_size": "huge", "preprocess": "resize_pad"}))
    assert foreign.size == (256, 128)
    assert any("'resize_pad'; upreid resizes without borders" in sentence for sentence in foreign.sentences)


def test_a_network_that_no_format_holds_is_refused_by_the_names_of_its_tensors(save):
    path = save({"module.0.weight": torch.zeros(64, 3, 7, 7), "module.4.fc1.weight": torch.zeros(1)})
    with pytest.raises(DataError, match=r"of no format that upreid knows \(its tensors: backbone/0\.weight, "):
        read_checkpoint(path)
    path = save(
        {"teacher": {"patch_embed.projection.weight": torch.zeros(96, 3, 4, 4), "norm0.weight": torch.zeros(96)}}
    )
    with pytest.raises(
        DataError, match=r"has no place for patch_embed\.projection\.weight, norm0\.weight; --backbone NAME"
    ):
        read_checkpoint(path)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_read(save, dtype):
    source = ours("osnet_x0_25")
    tensors = {
        n.removeprefix("backbone."): x.to(dtype) if x.is_floating_point() else x for n, x in source.state_dict().items()
    }
    assert F.cosine_similarity(features(converted(save(tensors))), features(source)).min() > 0.99


def test_a_format_that_the_file_is_not_of_and_one_that_is_unknown_are_refused(save, resnet):
    path = save(resnet.state_dict())
    with pytest.raises(DataError, match="is not of the format 'PASS'"):
        read_checkpoint(path, Choices(format="PASS"))
    with pytest.raises(ValueError, match="--format PAST: unknown; did you mean 'PASS'"):
        read_checkpoint(path, Choices(format="PAST"))
    with pytest.raises(ValueError, match="--backbone resnet81: unknown"):
        read_checkpoint(path, Choices(backbone="resnet81"))


@pytest.mark.slow
def test_every_network_of_the_table_can_be_made():
    for name in {
        name
        for row in FORMATS
        for name in row.backbones
        if name.startswith(("bot_", "fastreid_", "osnet_", "pass_", "solider_"))
    }:
        with torch.device("meta"):
            assert create_backbone(name, height=64, width=32).num_features


def test_the_headers_of_networks_without_the_new_fields_are_as_they_were():
    header = ours("resnet18", NECK).header
    assert {"patch_stride", "attention_heads"}.isdisjoint(header.as_dict())
    assert "published_jigsaw" not in header.as_dict()["head"]
    assert replace(header, patch_stride=12).as_dict()["patch_stride"] == 12
