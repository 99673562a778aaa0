"""Formats of ResNets and OSNets. The first whose marks all occur in a file, and whose `absent` do not, is taken."""

from dataclasses import replace

from upreid.models.foreign import networks, rules
from upreid.models.foreign.formats import Format
from upreid.models.foreign.statistics import IMAGENET

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
SPCL = Format(
    name="SpCL, Cluster-Contrast",
    marks=(r"^backbone/7\.0\.conv1\.", r"^feat_bn\.weight$"),
    backbones=(*networks.RESNETS, *networks.IBN_RESNETS),
    rules=(*rules.SEQUENTIAL, *rules.NECK),
    statistics=IMAGENET,
    interpolation="bicubic",
    last_stride=1,
)
RESNET_FORMATS = (
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
        name="Bag of Tricks with SE",
        marks=(r"^backbone/layer0\.conv1\.", r"^bottleneck\.weight$"),
        backbones=networks.SENETS,
        rules=rules.NECK,
        statistics=IMAGENET,
        last_stride=1,
    ),
    SPCL,
    replace(
        SPCL,
        name="SpCL with a source",
        marks=(r"^backbone/7\.0\.conv1\.", r"^feat_bn\.BN_T\."),
        rules=rules.TARGET_DOMAIN,
        note="of each BatchNorm the target's (BN_T) was taken, with which SpCL tests, and the source's (BN_S) was left",
    ),
    Format(
        name="OpenUnReID",
        marks=(r"^backbone/conv1\.weight$", r"^head\.feat_bn\."),
        backbones=(*networks.RESNETS, *networks.IBN_RESNETS),
        rules=rules.OPEN_UN_REID,
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
        name="CION",
        marks=(r"^backbone/conv1\.weight$", r"^Loss\.center$"),
        roles=("teacher", "student"),
        backbones=networks.RESNETS,
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
        name="transformers",
        marks=(r"^backbone/embedder\.embedder\.",),
        backbones=networks.RESNETS,
        rules=rules.TRANSFORMERS_RESNET,
        statistics=IMAGENET,
        size=(224, 224),
    ),
    Format(
        name="Cadene's SENets",
        marks=(r"^backbone/layer0\.conv1\.",),
        backbones=networks.SENETS,
        statistics=IMAGENET,
        size=(224, 224),
    ),
    Format(name="plain ResNet", marks=(r"^backbone/conv1\.",), backbones=networks.RESNETS),
)
