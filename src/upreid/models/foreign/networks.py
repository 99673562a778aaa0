"""The networks that files of the known formats may hold; which one a file holds is told by shapes."""

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
IBN_B_RESNETS = tuple(f"resnet{depth}_ibn_b" for depth in DEPTHS)
SE_RESNETS = tuple(f"se_resnet{depth}_ibn_a" for depth in DEPTHS[:3])
SENETS = (
    *(f"legacy_seresnet{depth}" for depth in DEPTHS),
    "legacy_seresnext50_32x4d", "legacy_seresnext101_32x4d", "legacy_seresnext26_32x4d", "legacy_senet154",
)  # fmt: skip
BOT_RESNETS = tuple(f"bot_resnet{depth}" for depth in DEPTHS)
FASTREID_PLAIN = tuple(f"fastreid_resnet{depth}{ibn}" for ibn in ("", "_ibn") for depth in DEPTHS)
FASTREID = (*FASTREID_PLAIN, *(f"fastreid_resnet{depth}{ibn}_nl" for ibn in ("", "_ibn") for depth in DEPTHS[:3]))
FASTREID_SE = tuple(
    f"fastreid_resnet{depth}{ibn}_se{non_local}"
    for ibn in ("", "_ibn")
    for non_local in ("", "_nl")
    for depth in (DEPTHS[:3] if non_local else DEPTHS)
)
FASTREID_RESNESTS = tuple(f"fastreid_resnest{depth}{non_local}" for non_local in ("", "_nl") for depth in DEPTHS[:2])
AIN = tuple(f"osnet_ain_{width}" for width in ("x1_0", "x0_75", "x0_5", "x0_25"))
OSNETS = ("osnet_x1_0", "osnet_x0_75", "osnet_x0_5", "osnet_x0_25", "osnet_ibn_x1_0", *AIN)
ICS_VITS = tuple(f"vit_{size}_patch16_ics" for size in ("small", "base", "tiny"))
PASS_VITS = tuple(f"pass_vit_{size}_patch16" for size in ("small", "base", "tiny"))
MAE_VITS = (*(f"vit_{size}_patch16_mae" for size in ("base", "large", "small", "tiny")), "vit_huge_patch14_mae")
SWINS = tuple(f"solider_swin_{size}" for size in ("tiny", "small", "base"))
CLIP_VITS = tuple(f"vit_{size}_clip_quickgelu_224" for size in ("base_patch16", "base_patch32", "large_patch14"))
