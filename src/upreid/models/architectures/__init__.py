"""Published networks that timm does not have; each is registered with timm under its name, so that it is made as any other."""

from upreid.models.architectures import osnet, reid_resnets, solider, vits

__all__ = ["osnet", "reid_resnets", "solider", "vits"]
