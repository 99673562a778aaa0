"""The table of formats: how each is recognised, the rules that rename its tensors, and what its weights do not show.

Names are those of `naming.py`: the encoder's own tensors begin with `backbone/`. The first format whose marks all occur, and
whose `absent` do not, is taken. The rules stand in `rules.py`.
"""

from dataclasses import dataclass
from typing import Literal

from upreid.models.foreign.rules import (
    CLIP_VISUAL,
    FAST_REID,
    JPM,
    MGN,
    NECK,
    NECKS,
    SEQUENTIAL,
    SWIN,
    TORCHVISION_VIT,
    TRANSFORMERS_CLIP,
    TRANSFORMERS_RESNET,
    TRANSFORMERS_VIT,
    WITHOUT_RELU,
    Rules,
)  # fmt: skip
from upreid.models.foreign.statistics import CLIP, HALF, IMAGENET, Statistics

RESNETS = (
    "resnet50", "resnet101", "resnet152", "resnet18", "resnet34", "resnet26", "resnet50d", "resnet101d",
    "wide_resnet50_2", "wide_resnet101_2", "resnext50_32x4d", "resnext101_32x8d",
)  # fmt: skip
VITS = (
    "vit_small_patch16_224", "vit_base_patch16_224", "vit_tiny_patch16_224", "vit_large_patch16_224",
    "vit_small_patch8_224", "vit_base_patch8_224", "vit_small_patch32_224", "vit_base_patch32_224",
    "deit_small_distilled_patch16_224", "deit_base_distilled_patch16_224", "deit_tiny_distilled_patch16_224",
    "vit_small_patch14_dinov2", "vit_base_patch14_dinov2", "vit_large_patch14_dinov2",
    "vit_small_patch14_reg4_dinov2", "vit_base_patch14_reg4_dinov2", "vit_large_patch14_reg4_dinov2",
)  # fmt: skip
DEPTHS = (50, 101, 152, 18, 34)
IBN_RESNETS = tuple(f"resnet{depth}_ibn_a" for depth in DEPTHS)
BOT_RESNETS = tuple(f"bot_resnet{depth}" for depth in DEPTHS)
FASTREID_PLAIN = tuple(f"fastreid_resnet{depth}{ibn}" for ibn in ("", "_ibn") for depth in DEPTHS)
FASTREID = (*FASTREID_PLAIN, *(f"fastreid_resnet{depth}{ibn}_nl" for ibn in ("", "_ibn") for depth in DEPTHS[:3]))
OSNETS = ("osnet_x1_0", "osnet_x0_75", "osnet_x0_5", "osnet_x0_25", "osnet_ibn_x1_0", "osnet_ain_x1_0")
ICS_VITS = tuple(f"vit_{size}_patch16_ics" for size in ("small", "base", "tiny"))
PASS_VITS = tuple(f"pass_vit_{size}_patch16" for size in ("small", "base", "tiny"))
SWINS = tuple(f"solider_swin_{size}" for size in ("tiny", "small", "base"))
CLIP_VITS = tuple(f"vit_{size}_clip_quickgelu_224" for size in ("base_patch16", "base_patch32", "large_patch14"))


@dataclass(frozen=True, kw_only=True)
class Format:
    """One row of the table."""

    name: str
    marks: tuple[str, ...]
    """Patterns, each of which some tensor's name matches."""
    backbones: tuple[str, ...]
    """Networks that it may hold; which one is told by shapes."""
    absent: tuple[str, ...] = ()
    """Patterns that no tensor's name matches."""
    roles: tuple[str, ...] = ()
    """Roles, one of which the encoder has; any where there are none."""
    rules: Rules = ()
    statistics: Statistics | None = None
    """Statistics of its images; where there are none, the file's name decides."""
    size: tuple[int, int] = (256, 128)
    """Height and width of its images, where the file does not show them."""
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    last_stride: Literal[1, 2] | None = None
    """Stride of a ResNet's last stage; None is the network's own, 2."""
    note: str = ""
    """What no weight shows, and the format decides."""

    @property
    def neck(self) -> Literal["after", "before"]:
        """Return the side of the neck from which its program takes features: all that grew from TransReID's, before it."""
        return "before" if self.name.startswith(("TransReID", "PASS", "SOLIDER", "CLIP-ReID")) else "after"


CEILING = "the stem's pooling has no padding and rounds up, as fast-reid's does"
NO_RELU = "the stem has no ReLU, as in the code that writes this format"
FORMATS = (
    Format(
        name="MGN of LUPerson's fast-reid",
        marks=(r"^backbone/6\.conv1\.", r"^b1\.0\.0\.conv1\.", r"^heads_extra_bn_b1\."),
        backbones=(*RESNETS[:3], *IBN_RESNETS[:3]),
        rules=MGN,
        statistics=IMAGENET,
        size=(384, 128),
        interpolation="bicubic",
        last_stride=1,
        note="the stem's pooling has padding, as in LUPerson's fork",
    ),
    Format(
        name="MGN of fast-reid",
        marks=(r"^backbone/6\.conv1\.", r"^b1\.0\.0\.conv1\.", r"^b1_head\."),
        backbones=FASTREID_PLAIN,
        rules=MGN,
        statistics=IMAGENET,
        size=(384, 128),
        interpolation="bicubic",
        last_stride=1,
        note=CEILING,
    ),
    Format(
        name="fast-reid",
        marks=(r"^heads\.(bottleneck|bnneck|weight|classifier|cls_layer|pool_layer)",),
        absent=(r"^backbone/patch_embed\.",),
        backbones=FASTREID,
        rules=FAST_REID,
        statistics=IMAGENET,
        interpolation="bicubic",
        last_stride=1,
        note=CEILING,
    ),
    Format(
        name="fast-reid",
        marks=(r"^heads\.(bottleneck|bnneck|weight|pool_layer)", r"^backbone/patch_embed\."),
        backbones=VITS,
        rules=FAST_REID,
        statistics=HALF,
        interpolation="bicubic",
    ),
    Format(
        name="TransReID with the jigsaw branch",
        marks=(r"^b1\.0\.norm1\.", r"^b2\.1\.weight$"),
        backbones=(*VITS[:4], "vit_small_patch16_transreid"),
        rules=JPM,
        statistics=HALF,
        interpolation="bicubic",
    ),
    Format(
        name="TransReID with camera embeddings",
        marks=(r"^backbone/sie_embed$",),
        backbones=(*VITS[:4], "vit_small_patch16_transreid", *ICS_VITS),
        rules=NECKS,
        statistics=HALF,
        interpolation="bicubic",
    ),
    Format(
        name="PASS",
        marks=(r"^backbone/part_token1$",),
        backbones=PASS_VITS,
        rules=NECK,
        interpolation="bicubic",
        note="the feature is the class token beside the mean of the part tokens",
    ),
    Format(
        name="TransReID-SSL with the ICS stem",
        marks=(r"^backbone/patch_embed\.conv\.0\.",),
        backbones=ICS_VITS,
        rules=NECK,
        interpolation="bicubic",
    ),
    Format(
        name="MoCo v3",
        marks=(r"^backbone/patch_embed\.proj\.",),
        roles=("base_encoder", "momentum_encoder"),
        backbones=("vit_small_patch16_mocov3", "vit_base_patch16_224", "vit_large_patch16_224"),
        statistics=IMAGENET,
        note="MoCo v3's small ViT has 12 attention heads, where timm's has 6",
    ),
    Format(
        name="SOLIDER",
        marks=(r"^backbone/patch_embed\.projection\.", r"^backbone/semantic_embed_w\.0\."),
        backbones=SWINS,
        rules=SWIN,
        statistics=HALF,
        size=(384, 128),
        interpolation="bicubic",
        note="the semantic weight is 0.2, that of SOLIDER's fine-tuning",
    ),
    Format(
        name="CLIP-ReID",
        marks=(r"^backbone/class_embedding$", r"^bottleneck(_proj)?\."),
        backbones=CLIP_VITS,
        rules=CLIP_VISUAL,
        statistics=HALF,
        interpolation="bicubic",
    ),
    Format(
        name="CLIP",
        marks=(r"^backbone/class_embedding$",),
        backbones=CLIP_VITS,
        rules=CLIP_VISUAL,
        statistics=CLIP,
        interpolation="bicubic",
        size=(224, 224),
    ),
    Format(
        name="transformers' CLIP",
        marks=(r"^backbone/embeddings\.patch_embedding\.",),
        backbones=CLIP_VITS,
        rules=TRANSFORMERS_CLIP,
        statistics=CLIP,
        interpolation="bicubic",
        size=(224, 224),
        note="its activation is OpenAI's quick GELU (--backbone vit_base_patch16_clip_224 for the exact one)",
    ),
    Format(
        name="TransReID",
        marks=(r"^backbone/patch_embed\.proj\.", r"^bottleneck\.weight$"),
        backbones=(*VITS, "vit_small_patch16_transreid"),
        rules=NECK,
        statistics=HALF,
        interpolation="bicubic",
    ),
    Format(
        name="Bag of Tricks",
        marks=(r"^backbone/conv1\.weight$", r"^bottleneck\.weight$"),
        absent=(r"\.bn1\.IN\.",),
        backbones=BOT_RESNETS,
        rules=NECK,
        statistics=IMAGENET,
        last_stride=1,
        note=NO_RELU,
    ),
    Format(
        name="Bag of Tricks with IBN",
        marks=(r"^backbone/conv1\.weight$", r"^bottleneck\.weight$", r"\.bn1\.IN\."),
        backbones=IBN_RESNETS,
        rules=NECK,
        statistics=IMAGENET,
        last_stride=1,
    ),
    Format(
        name="SpCL, Cluster-Contrast",
        marks=(r"^backbone/7\.0\.conv1\.", r"^feat_bn\."),
        backbones=(*RESNETS, *IBN_RESNETS),
        rules=(*SEQUENTIAL, *NECK),
        statistics=IMAGENET,
        interpolation="bicubic",
        last_stride=1,
    ),
    Format(
        name="MMT",
        marks=(r"^backbone/3\.0\.conv1\.", r"^backbone/6\.0\.conv1\.", r"^feat_bn\."),
        backbones=(*BOT_RESNETS, *IBN_RESNETS),
        rules=(*WITHOUT_RELU, *NECK),
        statistics=IMAGENET,
        interpolation="bicubic",
        last_stride=1,
        note=NO_RELU,
    ),
    Format(
        name="a ResNet in an nn.Sequential",
        marks=(r"^backbone/7\.0\.conv1\.",),
        backbones=RESNETS,
        rules=(*SEQUENTIAL, *NECK),
    ),
    Format(
        name="layumi",
        marks=(r"^backbone/conv1\.weight$", r"^classifier\.add_block\.0\."),
        backbones=RESNETS,
        statistics=IMAGENET,
        interpolation="bicubic",
    ),
    Format(
        name="CION",
        marks=(r"^backbone/conv1\.weight$", r"\.bn1\.IN\."),
        roles=("teacher", "student"),
        backbones=IBN_RESNETS,
        statistics=IMAGENET,
        last_stride=1,
    ),
    Format(
        name="IBN-Net",
        marks=(r"^backbone/conv1\.weight$", r"\.bn1\.IN\."),
        absent=(r"layer\d\.\d+\.IN\.",),
        backbones=IBN_RESNETS,
        statistics=IMAGENET,
    ),
    Format(name="torchreid's OSNet", marks=(r"^backbone/conv1\.conv\.",), backbones=OSNETS, statistics=IMAGENET),
    Format(
        name="torchvision's ViT",
        marks=(r"^backbone/conv_proj\.",),
        backbones=VITS[:8],
        rules=TORCHVISION_VIT,
        statistics=IMAGENET,
        size=(224, 224),
    ),
    Format(
        name="transformers",
        marks=(r"^backbone/embeddings\.patch_embeddings\.",),
        backbones=VITS,
        rules=TRANSFORMERS_VIT,
        size=(224, 224),
    ),
    Format(
        name="transformers",
        marks=(r"^backbone/embedder\.embedder\.",),
        backbones=RESNETS,
        rules=TRANSFORMERS_RESNET,
        statistics=IMAGENET,
        size=(224, 224),
    ),
    Format(name="plain ViT", marks=(r"^backbone/patch_embed\.",), backbones=VITS, interpolation="bilinear"),
    Format(name="plain ResNet", marks=(r"^backbone/conv1\.",), backbones=RESNETS),
)
