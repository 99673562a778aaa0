"""Rules that rename the tensors of a format. A rule is a pattern and what replaces it, and the first that matches counts.

A tensor that no rule names keeps its name. The encoder's own tensors begin with `backbone/`, and a name may become

- `backbone/NAME`, a tensor of the backbone by timm's name, or `head/NAME`, a tensor of a head of ours;
- `backbone/NAME#1`, a piece of a tensor; pieces are joined in the order of their numbers;
- `left/NAME`, a tensor that is left on purpose.

`{last}` is the number of a ViT's last block, `{last_part}` the place of the last stage in a branch of MGN, `{domain}` the
number of the domain whose BatchNorm is taken.
"""

Rules = tuple[tuple[str, str], ...]

CHILDREN = {0: "conv1", 1: "bn1", 4: "layer1", 5: "layer2", 6: "layer3", 7: "layer4"}
"""Children of a ResNet in an nn.Sequential: 2 and 3 are ReLU and pooling."""
SEQUENTIAL: Rules = tuple((rf"^backbone/{place}\.", f"backbone/{name}.") for place, name in CHILDREN.items())
WITHOUT_RELU: Rules = (
    (r"^backbone/0\.", "backbone/conv1."), (r"^backbone/1\.", "backbone/bn1."), (r"^backbone/3\.", "backbone/layer1."),
    (r"^backbone/4\.", "backbone/layer2."), (r"^backbone/5\.", "backbone/layer3."), (r"^backbone/6\.", "backbone/layer4."),
)  # fmt: skip
NECK: Rules = (
    (r"^(?:bottleneck|feat_bn)\.(?=\w+$)", "head/neck."),
    (r"^(?:gap|global_pool|gem)\.p$", "head/pool.power"),
)
TARGET_DOMAIN: Rules = (
    (r"^(?:backbone/)?(.+)\.BN_S\.", r"left/BN_S.\1."),
    *((rf"^backbone/{place}\.(.+\.)?BN_T\.", rf"backbone/{name}.\1") for place, name in CHILDREN.items()),
    (r"^feat_bn\.BN_T\.", "head/neck."),
    *SEQUENTIAL,
)
"""SpCL with a source has each BatchNorm twice, for the source (BN_S) and for the target (BN_T), and tests with the latter."""
OPEN_UN_REID: Rules = (
    (r"^backbone/(.+)\.dsbn\.{domain}\.", r"backbone/\1."),
    (r"^head\.feat_bn\.dsbn\.{domain}\.", "head/neck."),
    (r"^(?:backbone/)?(.+)\.dsbn\.", r"left/dsbn.\1."),
    (r"^head\.feat_bn\.", "head/neck."),
    (r"^global_pooling\.p$", "head/pool.power"),
)
FAST_REID: Rules = (
    (r"^heads\.(?:bottleneck\.0|bnneck)\.", "head/neck."),
    (r"^heads\.pool_layer\.p$", "head/pool.power"),
)
PARTS = {"b1": 0, "b2": 1, "b3": 2, "b21": 3, "b22": 4, "b31": 5, "b32": 6, "b33": 7}
"""Heads of fast-reid's MGN, by their places among our parts."""
MGN: Rules = (
    (r"^backbone/6\.", "backbone/layer3.0."),
    *SEQUENTIAL[:4],
    (r"^b1\.1\.", "backbone/layer4."),
    *((rf"^b1\.0\.{block}\.", f"backbone/layer3.{block + 1}.") for block in range(36)),
    (r"^b2\.1\.", "head/branches.0.{last_part}."),
    (r"^b3\.1\.", "head/branches.1.{last_part}."),
    (r"^b2\.0\.", "head/branches.0."),
    (r"^b3\.0\.", "head/branches.1."),
    *((rf"^{name}_head\.pool_layer\.p$", f"head/embeds.{place}.pool.power") for name, place in PARTS.items()),
    *((rf"^{name}_head\.bottleneck\.0\.", f"head/embeds.{place}.reduce.") for name, place in PARTS.items()),
    *((rf"^{name}_head\.bottleneck\.1\.", f"head/necks.{place}.") for name, place in PARTS.items()),
    *((rf"^heads_extra_bn_b{branch}\.", f"head/extra_bn.{branch - 1}.") for branch in (1, 2, 3)),
)
NECKS: Rules = (
    (r"^bottleneck\.", "head/necks.0."),
    (r"^bottleneck_(\d)\.", r"head/necks.\1."),
    (r"^backbone/sie_embed$", "head/camera_embedding"),
)
JPM: Rules = (
    (r"^backbone/(blocks\.{last}\.|norm\.)", r"left/\1"),
    (r"^b1\.0\.", "backbone/blocks.{last}."),
    (r"^b1\.1\.", "backbone/norm."),
    (r"^b2\.", "head/local."),
    *NECKS,
)
"""TransReID with the jigsaw branch applies `b1` in place of the backbone's last block and norm, which it never trains."""
SWIN: Rules = ((r"^backbone/(.*)relative_position_index$", r"left/\1relative_position_index"), *NECK)
CLIP_VISUAL: Rules = (
    (r"^backbone/conv1\.", "backbone/patch_embed.proj."),
    (r"^backbone/class_embedding$", "backbone/cls_token"),
    (r"^backbone/positional_embedding$", "backbone/pos_embed"),
    (r"^backbone/ln_pre\.", "backbone/norm_pre."),
    (r"^backbone/ln_post\.", "backbone/norm."),
    (r"^backbone/proj$", "left/proj"),
    (r"^cv_embed$", "backbone/cv_embed"),  # CLIP-ReID adds it to the class token
    (r"^backbone/transformer\.resblocks\.(\d+)\.ln_(\d)\.", r"backbone/blocks.\1.norm\2."),
    (r"^backbone/transformer\.resblocks\.(\d+)\.attn\.in_proj_", r"backbone/blocks.\1.attn.qkv."),
    (r"^backbone/transformer\.resblocks\.(\d+)\.attn\.out_proj\.", r"backbone/blocks.\1.attn.proj."),
    (r"^backbone/transformer\.resblocks\.(\d+)\.mlp\.c_fc\.", r"backbone/blocks.\1.mlp.fc1."),
    (r"^backbone/transformer\.resblocks\.(\d+)\.mlp\.c_proj\.", r"backbone/blocks.\1.mlp.fc2."),
    *NECK,
)
TORCHVISION_VIT: Rules = (
    (r"^backbone/conv_proj\.", "backbone/patch_embed.proj."),
    (r"^backbone/class_token$", "backbone/cls_token"),
    (r"^backbone/encoder\.pos_embedding$", "backbone/pos_embed"),
    (r"^backbone/encoder\.ln\.", "backbone/norm."),
    (r"^backbone/heads\.", "left/heads."),
    (r"^backbone/encoder\.layers\.encoder_layer_(\d+)\.ln_(\d)\.", r"backbone/blocks.\1.norm\2."),
    (r"^backbone/encoder\.layers\.encoder_layer_(\d+)\.self_attention\.in_proj_", r"backbone/blocks.\1.attn.qkv."),
    (r"^backbone/encoder\.layers\.encoder_layer_(\d+)\.self_attention\.out_proj\.", r"backbone/blocks.\1.attn.proj."),
    (r"^backbone/encoder\.layers\.encoder_layer_(\d+)\.mlp\.(?:0|linear_1)\.", r"backbone/blocks.\1.mlp.fc1."),
    (r"^backbone/encoder\.layers\.encoder_layer_(\d+)\.mlp\.(?:3|linear_2)\.", r"backbone/blocks.\1.mlp.fc2."),
)
LAYER = r"^backbone/encoder\.layer\.(\d+)\."
TRANSFORMERS_VIT: Rules = (
    (r"^backbone/embeddings\.cls_token$", "backbone/cls_token"),
    (r"^backbone/embeddings\.position_embeddings$", "backbone/pos_embed"),
    (r"^backbone/embeddings\.patch_embeddings\.projection\.", "backbone/patch_embed.proj."),
    (r"^backbone/embeddings\.mask_token$", "left/mask_token"),
    (r"^backbone/layernorm\.", "backbone/norm."),
    (r"^backbone/pooler\.", "left/pooler."),
    *((LAYER + rf"attention\.attention\.{name}\.(\w+)$", rf"backbone/blocks.\1.attn.qkv.\2#{place}")
      for place, name in enumerate(("query", "key", "value"))),
    (LAYER + r"attention\.output\.dense\.", r"backbone/blocks.\1.attn.proj."),
    (LAYER + r"intermediate\.dense\.", r"backbone/blocks.\1.mlp.fc1."),
    (LAYER + r"output\.dense\.", r"backbone/blocks.\1.mlp.fc2."),
    (LAYER + r"layernorm_before\.", r"backbone/blocks.\1.norm1."),
    (LAYER + r"layernorm_after\.", r"backbone/blocks.\1.norm2."),
    (LAYER + r"layer_scale(\d)\.lambda1$", r"backbone/blocks.\1.ls\2.gamma"),
    (LAYER, r"backbone/blocks.\1."),
)  # fmt: skip
CLIP_LAYER = r"^backbone/encoder\.layers\.(\d+)\."
TRANSFORMERS_CLIP: Rules = (
    (r"^backbone/embeddings\.class_embedding$", "backbone/cls_token"),
    (r"^backbone/embeddings\.position_embedding\.weight$", "backbone/pos_embed"),
    (r"^backbone/embeddings\.position_ids$", "left/position_ids"),
    (r"^backbone/embeddings\.patch_embedding\.", "backbone/patch_embed.proj."),
    (r"^backbone/pre_layrnorm\.", "backbone/norm_pre."),
    (r"^backbone/post_layernorm\.", "backbone/norm."),
    *((CLIP_LAYER + rf"self_attn\.{name}_proj\.(\w+)$", rf"backbone/blocks.\1.attn.qkv.\2#{place}")
      for place, name in enumerate("qkv")),
    (CLIP_LAYER + r"self_attn\.out_proj\.", r"backbone/blocks.\1.attn.proj."),
    (CLIP_LAYER + r"layer_norm(\d)\.", r"backbone/blocks.\1.norm\2."),
    (CLIP_LAYER, r"backbone/blocks.\1."),
)  # fmt: skip
STAGE = r"^backbone/encoder\.stages\.(\d+)\.layers\.(\d+)\."
TRANSFORMERS_RESNET: Rules = (
    (r"^backbone/embedder\.embedder\.convolution\.", "backbone/conv1."),
    (r"^backbone/embedder\.embedder\.normalization\.", "backbone/bn1."),
    (STAGE + r"shortcut\.convolution\.", r"backbone/layer{\1+1}.\2.downsample.0."),
    (STAGE + r"shortcut\.normalization\.", r"backbone/layer{\1+1}.\2.downsample.1."),
    (STAGE + r"layer\.(\d)\.convolution\.", r"backbone/layer{\1+1}.\2.conv{\3+1}."),
    (STAGE + r"layer\.(\d)\.normalization\.", r"backbone/layer{\1+1}.\2.bn{\3+1}."),
)
"""`{\\1+1}` is the number that a group found, plus one."""
