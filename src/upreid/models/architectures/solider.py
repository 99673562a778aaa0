"""SOLIDER's Swin transformer, in which a semantic weight steers the maps of every stage (Chen et al., arXiv 2303.17602).

It differs from timm's Swin where windows do not fit the map: the map is padded first and shifted afterwards, and windows keep
their size on smaller maps. The names of the layers are those of the published weights.

`solider_swin_small` has the semantic weight 0.2 of SOLIDER's fine-tuning on Market1501 and MSMT17; no tensor shows it.
"""

from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from upreid.models.architectures.registry import register

WINDOW = 7
"""Height and width of a window, in tokens."""
SEMANTIC_WEIGHT = 0.2
"""Share of semantic information, against appearance."""
SIZES: dict[str, dict[str, Any]] = {
    "tiny": {"dim": 96, "depths": (2, 2, 6, 2), "heads": (3, 6, 12, 24)},
    "small": {"dim": 96, "depths": (2, 2, 18, 2), "heads": (3, 6, 12, 24)},
    "base": {"dim": 128, "depths": (2, 2, 18, 2), "heads": (4, 8, 16, 32)},
}


def windows(maps: Float[Tensor, "batch height width dim"]) -> Float[Tensor, "_ window dim"]:
    """Cut maps into windows, row by row."""
    batch, height, width, dim = maps.shape
    cut = maps.view(batch, height // WINDOW, WINDOW, width // WINDOW, WINDOW, dim)
    return cut.transpose(2, 3).reshape(-1, WINDOW * WINDOW, dim)


def joined_windows(
    tokens: Float[Tensor, "_ window dim"], height: int, width: int
) -> Float[Tensor, "_ height width dim"]:
    """Invert `windows`."""
    rows, columns = height // WINDOW, width // WINDOW
    cut = tokens.view(-1, rows, columns, WINDOW, WINDOW, tokens.shape[-1])
    return cut.transpose(2, 3).reshape(-1, height, width, tokens.shape[-1])


class WindowAttention(nn.Module):
    """Attention among the tokens of a window, with a bias for each relative position."""

    relative_position_index: Tensor

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * WINDOW - 1) ** 2, heads))
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)
        places = torch.cartesian_prod(torch.arange(WINDOW), torch.arange(WINDOW))
        apart = places[:, None] - places[None, :] + WINDOW - 1  # [window, window, 2]
        self.register_buffer(
            "relative_position_index", apart[..., 0] * (2 * WINDOW - 1) + apart[..., 1], persistent=False
        )
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(
        self, tokens: Float[Tensor, "windows window dim"], mask: Float[Tensor, "kinds window window"] | None
    ) -> Float[Tensor, "windows window dim"]:
        """Return the new tokens; `mask` keeps tokens apart that are no neighbours, for each kind of window."""
        query, key, value = self.qkv(tokens).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        bias = self.relative_position_bias_table[self.relative_position_index].permute(2, 0, 1)[None]
        if mask is not None:
            bias = bias + mask.repeat(len(tokens) // len(mask), 1, 1)[:, None]
        new = F.scaled_dot_product_attention(query, key, value, attn_mask=bias.expand(len(tokens), -1, -1, -1))
        return self.proj(new.transpose(1, 2).flatten(2))


class ShiftedWindows(nn.Module):
    """Pads a map to whole windows, shifts it, and lets the tokens of each window attend to each other."""

    def __init__(self, dim: int, heads: int, shift: int) -> None:
        super().__init__()
        self.w_msa, self.shift = WindowAttention(dim, heads), shift

    def forward(self, maps: Float[Tensor, "batch height width dim"]) -> Float[Tensor, "batch height width dim"]:
        """Return the new maps."""
        height, width = maps.shape[1:3]
        padded = F.pad(maps, (0, 0, 0, -width % WINDOW, 0, -height % WINDOW))
        whole = padded.shape[1], padded.shape[2]
        mask = None
        if self.shift:
            padded = padded.roll((-self.shift, -self.shift), dims=(1, 2))
            mask = self.mask(*whole, like=maps)
        attended = joined_windows(self.w_msa(windows(padded), mask), *whole)
        if self.shift:
            attended = attended.roll((self.shift, self.shift), dims=(1, 2))
        return attended[:, :height, :width]

    def mask(self, height: int, width: int, *, like: Tensor) -> Float[Tensor, "kinds window window"]:
        """Return -100 between tokens that the shift brought together from opposite borders, and 0 elsewhere."""
        borders = [
            torch.bucketize(
                torch.arange(size, device=like.device),
                torch.tensor([size - WINDOW, size - self.shift], device=like.device),
                right=True,
            )
            for size in (height, width)
        ]
        region = (3 * borders[0][:, None] + borders[1][None, :]).to(like.dtype)
        kinds = windows(region[None, :, :, None])[..., 0]
        return (kinds[:, :, None] != kinds[:, None, :]).to(like.dtype) * -100.0


class SwinBlock(nn.Module):
    """Attention in windows and a feed-forward network, each beside a shortcut."""

    def __init__(self, dim: int, heads: int, shift: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attn = ShiftedWindows(dim, heads, shift)
        layers = nn.Sequential(nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU()), nn.Linear(4 * dim, dim))
        self.ffn = nn.ModuleDict({"layers": layers})

    def forward(self, maps: Float[Tensor, "batch height width dim"]) -> Float[Tensor, "batch height width dim"]:
        """Return the new maps."""
        maps = maps + self.attn(self.norm1(maps))
        return maps + self.ffn["layers"](self.norm2(maps))


class Merging(nn.Module):
    """Joins four neighbours into one token of twice the width; the order of their channels is that of `unfold`."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm, self.reduction = nn.LayerNorm(4 * dim), nn.Linear(4 * dim, 2 * dim, bias=False)

    def forward(self, maps: Float[Tensor, "batch height width dim"]) -> Float[Tensor, "batch rows columns twice"]:
        """Return the smaller maps; odd heights and widths are padded."""
        even = F.pad(maps, (0, 0, 0, maps.shape[2] % 2, 0, maps.shape[1] % 2))
        cut = even.unflatten(1, (-1, 2)).unflatten(3, (-1, 2))  # [batch, rows, 2, columns, 2, dim]
        return self.reduction(self.norm(cut.permute(0, 1, 3, 5, 2, 4).flatten(3)))


class SoliderSwin(nn.Module):
    """The whole network; its feature is the mean of the last stage's normalised map."""

    def __init__(self, *, dim: int, depths: tuple[int, ...], heads: tuple[int, ...]) -> None:
        super().__init__()
        self.patch_embed = nn.ModuleDict({"projection": nn.Conv2d(3, dim, 4, stride=4), "norm": nn.LayerNorm(dim)})
        widths = [dim * 2**number for number in range(len(depths))]
        self.stages = nn.ModuleList()
        for number, (width, depth, count) in enumerate(zip(widths, depths, heads, strict=True)):
            blocks = nn.ModuleList(SwinBlock(width, count, shift=place % 2 * (WINDOW // 2)) for place in range(depth))
            stage = {"blocks": blocks} | ({"downsample": Merging(width)} if number < len(depths) - 1 else {})
            self.stages.append(nn.ModuleDict(stage))
        for number, width in enumerate(widths):
            setattr(self, f"norm{number}", nn.LayerNorm(width))
        after = [*widths[1:], widths[-1]]
        self.semantic_embed_w = nn.ModuleList(nn.Linear(2, width) for width in after)
        self.semantic_embed_b = nn.ModuleList(nn.Linear(2, width) for width in after)
        self.num_features, self.output_fmt = widths[-1], "NHWC"
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        for name, parameter in self.named_parameters():  # frozen in the source, or of no effect on the feature
            parameter.requires_grad_(not name.startswith(("semantic_embed", "norm0.", "norm1.", "norm2.")))

    def forward_features(self, x: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch rows columns dim"]:
        """Return the last stage's normalised map, channels last."""
        x = F.pad(x, (0, -x.shape[3] % 4, 0, -x.shape[2] % 4))
        maps = self.patch_embed["norm"](self.patch_embed["projection"](x).permute(0, 2, 3, 1))
        weights = maps.new_tensor([SEMANTIC_WEIGHT, 1.0 - SEMANTIC_WEIGHT])
        last = len(self.stages) - 1
        for number, stage in enumerate(self.stages):
            for block in stage["blocks"]:  # pyright: ignore[reportIndexIssue]
                maps = block(maps)
            if number < last:  # the last stage's own embedding acts behind the feature, so it does not matter
                maps = stage["downsample"](maps)  # pyright: ignore[reportIndexIssue]
                scale, shift = self.semantic_embed_w[number](weights), self.semantic_embed_b[number](weights)
                maps = maps * F.softplus(scale) + shift
        return getattr(self, f"norm{last}")(maps)

    def forward(self, x: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch dim"]:
        """Return the feature."""
        return self.forward_features(x).mean(dim=(1, 2))


for _size, _options in SIZES.items():
    register(f"solider_swin_{_size}", partial(SoliderSwin, **_options))
