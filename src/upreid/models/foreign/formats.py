"""The table of formats: how each is recognised, the rules that rename its tensors, and what its weights do not show.

Names are those of `naming.py`: the encoder's own tensors begin with `backbone/`. The first format whose marks all occur, and
whose `absent` do not, is taken. The rules stand in `rules.py`.
"""

from dataclasses import dataclass, replace
from typing import Literal

from upreid.models.foreign import networks, rules
from upreid.models.foreign.statistics import CLIP, HALF, IMAGENET, Statistics

Rules = rules.Rules


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
FAST_REID_RESNET = Format(
    name="fast-reid",
    marks=(r"^heads\.(bottleneck|bnneck|weight|classifier|cls_layer|pool_layer)",),
    absent=(r"^backbone/patch_embed\.",),
    backbones=networks.FASTREID,
    rules=rules.FAST_REID,
    statistics=IMAGENET,
    interpolation="bicubic",
    last_stride=1,
    note=CEILING,
)
FORMATS = (
    Format(
        name="MGN of LUPerson's fast-reid",
        marks=(r"^backbone/6\.conv1\.", r"^b1\.0\.0\.conv1\.", r"^heads_extra_bn_b1\."),
        backbones=(*networks.RESNETS[:3], *networks.IBN_RESNETS[:3]),
        rules=rules.MGN,
        statistics=IMAGENET,
        size=(384, 128),
        interpolation="bicubic",
        last_stride=1,
        note="the stem's pooling has padding, as in LUPerson's fork",
    ),
    Format(
        name="MGN of fast-reid",
        marks=(r"^backbone/6\.conv1\.", r"^b1\.0\.0\.conv1\.", r"^b1_head\."),
        backbones=networks.FASTREID_PLAIN,
        rules=rules.MGN,
        statistics=IMAGENET,
        size=(384, 128),
        interpolation="bicubic",
        last_stride=1,
        note=CEILING,
    ),
    replace(
        FAST_REID_RESNET, marks=(*FAST_REID_RESNET.marks, r"^backbone/layer1\.0\.se\."), backbones=networks.FASTREID_SE
    ),
    replace(
        FAST_REID_RESNET,
        marks=(*FAST_REID_RESNET.marks, r"^backbone/layer1\.0\.conv2\.fc1\."),
        backbones=networks.FASTREID_RESNESTS,
        note="",
    ),
    FAST_REID_RESNET,
    Format(
        name="fast-reid",
        marks=(r"^heads\.(bottleneck|bnneck|weight|pool_layer)", r"^backbone/patch_embed\."),
        backbones=networks.VITS,
        rules=rules.FAST_REID,
        statistics=HALF,
        interpolation="bicubic",
    ),
    Format(
        name="TransReID with the jigsaw branch",
        marks=(r"^b1\.0\.norm1\.", r"^b2\.1\.weight$"),
        backbones=(*networks.VITS[:4], "vit_small_patch16_transreid"),
        rules=rules.JPM,
        statistics=HALF,
        interpolation="bicubic",
    ),
    Format(
        name="TransReID with camera embeddings",
        marks=(r"^backbone/sie_embed$",),
        backbones=(*networks.VITS[:4], "vit_small_patch16_transreid", *networks.ICS_VITS),
        rules=rules.NECKS,
        statistics=HALF,
        interpolation="bicubic",
    ),
    Format(
        name="PASS",
        marks=(r"^backbone/part_token1$",),
        backbones=networks.PASS_VITS,
        rules=rules.NECK,
        interpolation="bicubic",
        note="the feature is the class token beside the mean of the part tokens",
    ),
    Format(
        name="TransReID-SSL with the ICS stem",
        marks=(r"^backbone/patch_embed\.conv\.0\.",),
        backbones=networks.ICS_VITS,
        rules=rules.NECK,
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
        backbones=networks.SWINS,
        rules=rules.SWIN,
        statistics=HALF,
        size=(384, 128),
        interpolation="bicubic",
        note="the semantic weight is 0.2, that of SOLIDER's fine-tuning",
    ),
    Format(
        name="CLIP-ReID",
        marks=(r"^backbone/class_embedding$", r"^bottleneck(_proj)?\."),
        backbones=networks.CLIP_VITS,
        rules=rules.CLIP_VISUAL,
        statistics=HALF,
        interpolation="bicubic",
    ),
    Format(
        name="CLIP",
        marks=(r"^backbone/class_embedding$",),
        backbones=networks.CLIP_VITS,
        rules=rules.CLIP_VISUAL,
        statistics=CLIP,
        interpolation="bicubic",
        size=(224, 224),
    ),
    Format(
        name="transformers' CLIP",
        marks=(r"^backbone/embeddings\.patch_embedding\.",),
        backbones=networks.CLIP_VITS,
        rules=rules.TRANSFORMERS_CLIP,
        statistics=CLIP,
        interpolation="bicubic",
        size=(224, 224),
        note="its activation is OpenAI's quick GELU (--backbone vit_base_patch16_clip_224 for the exact one)",
    ),
    Format(
        name="TransReID",
        marks=(r"^backbone/patch_embed\.proj\.", r"^bottleneck\.weight$"),
        backbones=(*networks.VITS, "vit_small_patch16_transreid"),
        rules=rules.NECK,
        statistics=HALF,
        interpolation="bicubic",
    ),
    Format(
        name="Bag of Tricks",
        marks=(r"^backbone/conv1\.weight$", r"^bottleneck\.weight$"),
        absent=(r"\.bn1\.IN\.",),
        backbones=networks.BOT_RESNETS,
        rules=rules.NECK,
        statistics=IMAGENET,
        last_stride=1,
        note=NO_RELU,
    ),
    Format(
        name="Bag of Tricks with IBN",
        marks=(r"^backbone/conv1\.weight$", r"^bottleneck\.weight$", r"\.bn1\.IN\."),
        backbones=networks.IBN_RESNETS,
        rules=rules.NECK,
        statistics=IMAGENET,
        last_stride=1,
    ),
    Format(
        name="SpCL, Cluster-Contrast",
        marks=(r"^backbone/7\.0\.conv1\.", r"^feat_bn\."),
        backbones=(*networks.RESNETS, *networks.IBN_RESNETS),
        rules=(*rules.SEQUENTIAL, *rules.NECK),
        statistics=IMAGENET,
        interpolation="bicubic",
        last_stride=1,
    ),
    Format(
        name="MMT",
        marks=(r"^backbone/3\.0\.conv1\.", r"^backbone/6\.0\.conv1\.", r"^feat_bn\."),
        backbones=(*networks.BOT_RESNETS, *networks.IBN_RESNETS),
        rules=(*rules.WITHOUT_RELU, *rules.NECK),
        statistics=IMAGENET,
        interpolation="bicubic",
        last_stride=1,
        note=NO_RELU,
    ),
    Format(
        name="a ResNet in an nn.Sequential",
        marks=(r"^backbone/7\.0\.conv1\.",),
        backbones=networks.RESNETS,
        rules=(*rules.SEQUENTIAL, *rules.NECK),
    ),
    Format(
        name="layumi",
        marks=(r"^backbone/conv1\.weight$", r"^classifier\.add_block\.0\."),
        backbones=(*networks.RESNETS, *networks.IBN_RESNETS),
        statistics=IMAGENET,
        interpolation="bicubic",
    ),
    Format(
        name="torchreid's ResNet with a linear layer",
        marks=(r"^backbone/conv1\.weight$", r"^backbone/fc\.1\.running_mean$", r"^backbone/classifier\."),
        absent=(r"^backbone/fc\.[2-9]\.",),
        backbones=networks.RESNETS,
        statistics=IMAGENET,
        last_stride=1,
        note="its linear layer with BatchNorm (fc) is left: features are those that it was given",
    ),
    Format(
        name="IBN-Net",
        marks=(r"^backbone/conv1\.weight$", r"\.bn1\.IN\.", r"^backbone/layer1\.0\.se\.fc\."),
        backbones=networks.SE_RESNETS,
        statistics=IMAGENET,
    ),
    Format(
        name="IBN-Net",
        marks=(r"^backbone/conv1\.weight$", r"^backbone/layer1\.\d+\.IN\."),
        backbones=networks.IBN_B_RESNETS,
        statistics=IMAGENET,
    ),
    Format(
        name="CION",
        marks=(r"^backbone/conv1\.weight$", r"\.bn1\.IN\."),
        roles=("teacher", "student"),
        backbones=networks.IBN_RESNETS,
        statistics=IMAGENET,
        last_stride=1,
    ),
    Format(
        name="IBN-Net",
        marks=(r"^backbone/conv1\.weight$", r"\.bn1\.IN\."),
        absent=(r"layer\d\.\d+\.IN\.",),
        backbones=networks.IBN_RESNETS,
        statistics=IMAGENET,
    ),
    Format(
        name="torchreid's OSNet", marks=(r"^backbone/conv1\.conv\.",), backbones=networks.OSNETS, statistics=IMAGENET
    ),
    Format(
        name="torchvision's ViT",
        marks=(r"^backbone/conv_proj\.",),
        backbones=networks.VITS[:8],
        rules=rules.TORCHVISION_VIT,
        statistics=IMAGENET,
        size=(224, 224),
    ),
    Format(
        name="transformers",
        marks=(r"^backbone/embeddings\.patch_embeddings\.",),
        backbones=networks.VITS,
        rules=rules.TRANSFORMERS_VIT,
        size=(224, 224),
    ),
    Format(
        name="transformers",
        marks=(r"^backbone/embedder\.embedder\.",),
        backbones=networks.RESNETS,
        rules=rules.TRANSFORMERS_RESNET,
        statistics=IMAGENET,
        size=(224, 224),
    ),
    Format(name="plain ViT", marks=(r"^backbone/patch_embed\.",), backbones=networks.VITS, interpolation="bilinear"),
    Format(name="plain ResNet", marks=(r"^backbone/conv1\.",), backbones=networks.RESNETS),
)
