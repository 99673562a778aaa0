"""BNNeck: metric learning before a BatchNorm, classification after it (Bag of Tricks, https://arxiv.org/abs/1903.07071)."""

from jaxtyping import Float, Int64
from torch import Tensor, nn

from upreid.models.backbone import num_features, require_resnet
from upreid.models.heads.parts import POOLS, Parts, extra_norm, neck
from upreid.models.settings import HeadSettings


class BNNeck(nn.Module):
    """Head with the whole image as its one part. GeM pooling and the extra BatchNorm need a ResNet."""

    def __init__(self, backbone: nn.Module, settings: HeadSettings) -> None:
        super().__init__()
        dim = num_features(backbone)
        self.neck = neck(dim)
        self.pools = settings.pool != "avg" or settings.extra_bn
        if self.pools:
            require_resnet(
                backbone,
                type(backbone).__name__,
                "--head.pool gem or --head.extra-bn",
                "say --head.pool avg and --head.no-extra-bn",
            )
            self.extra_bn = extra_norm(dim, wanted=settings.extra_bn)
            self.pool = POOLS[settings.pool]()
        self.part_dims = (dim,)
        self.identity_weights = self.feature_weights = (1.0,)
        self.triplets = (((0,), 1.0),)

    def forward(
        self,
        backbone: nn.Module,
        images: Float[Tensor, "batch 3 height width"],
        cameras: Int64[Tensor, " batch"] | None = None,
    ) -> Parts:
        """Return the features of the whole image; `cameras` do not matter."""
        del cameras
        maps = backbone.forward_features if self.pools else None
        features = self.pool(self.extra_bn(maps(images))) if maps else backbone(images)  # pyright: ignore
        return Parts((features,), (self.neck(features),))

    def body(self) -> list[nn.Module]:
        """Return nothing, because no piece of the backbone is copied."""
        return []
