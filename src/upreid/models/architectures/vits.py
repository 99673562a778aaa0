"""Vision transformers of person pre-training that timm does not have.

- `vit_small_patch16_ics`: convolutions with IBN ahead of the patches (the ICS stem of TransReID-SSL, arXiv 2111.12084).
- `pass_vit_small_patch16`: three part tokens, each with a position of its own (PASS, arXiv 2203.03931).
- `vit_base_patch16_mae`: the feature is the mean of the patches, with a norm after it (MAE's fine-tuning, arXiv 2111.06377).
- `vit_small_patch16_mocov3`: 12 attention heads at a width of 384, where timm's has 6 (MoCo v3, arXiv 2104.02057).
- `vit_small_patch16_transreid`: TransReID's small ViT: 8 blocks, 8 heads, a width of 768, no biases in its attention.
"""

from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from timm.layers.patch_embed import PatchEmbed
from timm.layers.pos_embed import resample_abs_pos_embed
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from upreid.models.architectures.registry import register
from upreid.models.architectures.reid_resnets import IBN

SIZES: dict[str, dict[str, int]] = {
    "tiny": {"embed_dim": 192, "num_heads": 3},
    "small": {"embed_dim": 384, "num_heads": 6},
    "base": {"embed_dim": 768, "num_heads": 12},
}
LARGE: dict[str, dict[str, int]] = {
    "large_patch16": {"embed_dim": 1024, "depth": 24, "num_heads": 16},
    "huge_patch14": {"embed_dim": 1280, "depth": 32, "num_heads": 16, "patch_size": 14},
}
"""The larger sizes of MAE."""
STEM_WIDTH = 64
"""Number of channels of the ICS stem."""
NUM_PARTS = 3
"""Number of part tokens of PASS."""


class OverlappingPatches(PatchEmbed):
    """Patches that are cut every `stride` pixels, so that they overlap (TransReID, arXiv 2102.04378)."""

    def __init__(self, *places: Any, stride: int, **options: Any) -> None:
        self.stride = stride
        super().__init__(*places, **options)
        self.proj.stride = (stride, stride)

    def _init_img_size(self, img_size: Any) -> Any:
        """Return the size of the input, the grid of patches, and their number."""
        size: Any = super()._init_img_size(img_size)[0]
        grid = self.dynamic_feat_size(size)
        return size, grid, grid[0] * grid[1]

    def dynamic_feat_size(self, img_size: tuple[int, int]) -> tuple[int, int]:
        """Return the grid of patches of an image."""
        patch: Any = self.patch_size
        rows, columns = ((img_size[axis] - patch[axis]) // self.stride + 1 for axis in (0, 1))
        return rows, columns


class ConvolutionalPatches(PatchEmbed):
    """Three convolutions of 64 channels, the first with stride 2, and then patches of half the size."""

    def __init__(self, *places: Any, embed_dim: int, patch_size: Any, **options: Any) -> None:
        super().__init__(*places, embed_dim=embed_dim, patch_size=patch_size, **options)
        half = int(self.patch_size[0]) // 2
        self.conv = nn.Sequential(
            nn.Conv2d(3, STEM_WIDTH, 7, stride=2, padding=3, bias=False), IBN(STEM_WIDTH), nn.ReLU(),
            nn.Conv2d(STEM_WIDTH, STEM_WIDTH, 3, padding=1, bias=False), IBN(STEM_WIDTH), nn.ReLU(),
            nn.Conv2d(STEM_WIDTH, STEM_WIDTH, 3, padding=1, bias=False), nn.BatchNorm2d(STEM_WIDTH), nn.ReLU(),
        )  # fmt: skip
        self.proj = nn.Conv2d(STEM_WIDTH, embed_dim, half, stride=half)

    def forward(self, x: Float[Tensor, "batch 3 height width"]) -> Any:
        """Return the tokens of the patches, in the order that timm asked for."""
        tokens = self.proj(self.conv(x))
        return tokens.flatten(2).transpose(1, 2) if self.flatten else tokens.permute(0, 2, 3, 1)


class PartTokenViT(VisionTransformer):
    """A ViT with a class token and three part tokens; the feature is the class token beside the mean of the parts."""

    def __init__(self, *, embed_dim: int, **options: Any) -> None:
        super().__init__(embed_dim=embed_dim, no_embed_class=True, num_classes=0, **options)
        self.num_prefix_tokens, self.num_features = 1 + NUM_PARTS, 2 * embed_dim
        self.cls_pos = nn.Parameter(torch.zeros(1, 1, embed_dim))
        for part in range(1, NUM_PARTS + 1):
            setattr(self, f"part_token{part}", nn.Parameter(torch.zeros(1, 1, embed_dim)))
            setattr(self, f"part{part}_pos", nn.Parameter(torch.zeros(1, 1, embed_dim)))
        for name, parameter in self.named_parameters():
            if name.startswith(("cls_pos", "part")):
                nn.init.trunc_normal_(parameter, std=0.02)

    def _pos_embed(self, x: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch tokens dim"]:
        """Add the positions, and put the class token and the part tokens with theirs ahead of the patches."""
        positions: Any = self.pos_embed
        if self.dynamic_img_size:
            positions = resample_abs_pos_embed(
                positions, list(x.shape[1:3]), self.patch_embed.grid_size, num_prefix_tokens=0
            )
            x = x.flatten(1, 2)
        parts = range(1, NUM_PARTS + 1)
        ahead: list[Tensor] = [self.cls_token + self.cls_pos]  # pyright: ignore[reportOptionalOperand]
        ahead += [getattr(self, f"part_token{part}") + getattr(self, f"part{part}_pos") for part in parts]
        return torch.cat([*(token.expand(len(x), -1, -1) for token in ahead), x + positions], dim=1)

    def pool(
        self, x: Float[Tensor, "batch tokens dim"], pool_type: str | None = None
    ) -> Float[Tensor, "batch features"]:
        """Return the class token beside the mean of the part tokens, as PASS's fine-tuning does with `cat`."""
        del pool_type
        return torch.cat([x[:, 0], x[:, 1 : 1 + NUM_PARTS].mean(dim=1)], dim=1)


def vit(**options: Any) -> VisionTransformer:
    """Make a plain ViT without a classifier, with the epsilon of DeiT, DINO, MoCo v3 and TransReID in its norms."""
    return VisionTransformer(num_classes=0, **options)


for _size, _widths in SIZES.items():
    register(f"vit_{_size}_patch16_ics", partial(vit, embed_layer=ConvolutionalPatches, **_widths))
    register(f"pass_vit_{_size}_patch16", partial(PartTokenViT, **_widths))
for _name, _widths in ({f"{size}_patch16": widths for size, widths in SIZES.items()} | LARGE).items():
    register(f"vit_{_name}_mae", partial(vit, global_pool="avg", **_widths))
register("vit_small_patch16_mocov3", partial(vit, embed_dim=384, num_heads=12))
register(
    "vit_small_patch16_transreid",
    partial(vit, embed_dim=768, depth=8, num_heads=8, mlp_ratio=3.0, qkv_bias=False),
)
