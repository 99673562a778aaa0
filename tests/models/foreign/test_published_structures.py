"""Formats whose network is written here once more from its published structure: the features that are read are its own."""

from functools import partial

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F

from upreid.errors import DataError, InputError
from upreid.models.encoder import load_encoder, save_encoder
from upreid.models.foreign import Choices, Foreign, make_encoder, read_checkpoint

SIZE = {"height": 64, "width": 32}


def prefixed(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}{name}": tensor for name, tensor in tensors.items()}


def lively(net: nn.Module) -> nn.Module:
    """Give every norm, statistic, token and position a value of its own, so that no two networks agree by chance."""
    with torch.no_grad():
        for name, tensor in net.state_dict().items():
            if "running_var" in name:
                tensor.uniform_(0.5, 1.5)
            elif tensor.is_floating_point() and (tensor.ndim < 2 or "token" in name or "pos" in name):
                tensor.add_(0.2 * torch.rand_like(tensor) - 0.1)
    return net.eval()


def images(height: int = 64, width: int = 32) -> Tensor:
    return torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(3))


def assert_same_features(path, net: nn.Module, tmp_path, choices: Choices | None = None) -> Foreign:
    """The features are those of the network, at once and from the encoder file that is written."""
    foreign = read_checkpoint(path, choices)
    encoder, said = make_encoder(foreign, path, **SIZE)
    foreign.sentences.extend(said)
    with torch.no_grad():
        wanted = net.eval()(images())
        torch.testing.assert_close(encoder(images()), wanted, atol=1e-5, rtol=1e-5)
        save_encoder(tmp_path / "out.safetensors", encoder)
        torch.testing.assert_close(load_encoder(tmp_path / "out.safetensors")(images()), wanted, atol=1e-5, rtol=1e-5)
    return foreign


class TwoNorms(nn.Module):
    """A BatchNorm for the source and one for the target, which alone is tested (SpCL)."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.BN_S, self.BN_T = type(norm)(norm.num_features), type(norm)(norm.num_features)

    def forward(self, x: Tensor) -> Tensor:
        return self.BN_T(x)


class NumberedNorms(nn.Module):
    """A BatchNorm for each set of the training (OpenUnReID)."""

    def __init__(self, norm: nn.Module, tested: int) -> None:
        super().__init__()
        self.dsbn, self.tested = nn.ModuleList([type(norm)(norm.num_features) for _ in range(2)]), tested

    def forward(self, x: Tensor) -> Tensor:
        return self.dsbn[self.tested](x)


class HalfInstance(nn.Module):
    """IBN-a: the first half of the channels is normalised by image."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.IN, self.BN = nn.InstanceNorm2d(channels // 2, affine=True), nn.BatchNorm2d(channels // 2)

    def forward(self, x: Tensor) -> Tensor:
        first, rest = x.chunk(2, dim=1)
        return torch.cat([self.IN(first), self.BN(rest)], dim=1)


def with_domains(net: nn.Module, make) -> nn.Module:
    """Replace every BatchNorm by one for each domain."""
    for name, child in net.named_children():
        is_norm = isinstance(child, nn.BatchNorm1d | nn.BatchNorm2d)
        setattr(net, name, make(child) if is_norm else with_domains(child, make))
    return net


def resnet(*, ibn: bool) -> nn.Module:
    """torchvision's ResNet with a last stride of 1, as these programs cut it."""
    net = torchvision.models.resnet18()
    net.layer4[0].conv1.stride = net.layer4[0].downsample[0].stride = (1, 1)
    for block in (block for stage in (net.layer1, net.layer2, net.layer3) for block in stage) if ibn else ():
        block.bn1 = HalfInstance(block.bn1.num_features)
    return net


class SpCL(nn.Module):
    """SpCL's network: the children of a ResNet, the mean, and a BatchNorm."""

    def __init__(self, *, ibn: bool) -> None:
        super().__init__()
        self.base, self.feat_bn = nn.Sequential(*list(resnet(ibn=ibn).children())[:-2]), nn.BatchNorm1d(512)

    def forward(self, x: Tensor) -> Tensor:
        return self.feat_bn(self.base(x).mean(dim=(2, 3)))


WITH_IBN = pytest.mark.parametrize("ibn", [False, pytest.param(True, marks=pytest.mark.slow)])


@WITH_IBN
def test_of_spcl_with_a_source_the_target_s_statistics_are_read(save, tmp_path, ibn):
    torch.manual_seed(1)
    net = lively(with_domains(SpCL(ibn=ibn), TwoNorms))
    assert not torch.equal(net.feat_bn.BN_S.running_mean, net.feat_bn.BN_T.running_mean)
    path = save({"state_dict": prefixed("module.", net.state_dict()), "epoch": 50, "best_mAP": 0.7})
    foreign = assert_same_features(path, net, tmp_path)
    assert (foreign.backbone, foreign.source) == ("resnet18_ibn_a" if ibn else "resnet18", "SpCL with a source")
    assert (foreign.last_stride, foreign.interpolation) == (1, "bicubic")
    said = "; ".join(foreign.sentences)
    assert "the target's (BN_T) was taken, with which SpCL tests, and the source's (BN_S) was left" in said
    assert "105 tensors beside it were left: BN_S" in said
    assert "its head comes with it: bnneck" in said


class PoweredMean(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.p = nn.Parameter(torch.tensor([2.5]))

    def forward(self, x: Tensor) -> Tensor:
        return x.clamp(min=1e-6).pow(self.p).mean(dim=(2, 3)).pow(1.0 / self.p)


class OpenUnReID(nn.Module):
    """OpenUnReID's network: a ResNet, generalised means, and a BatchNorm."""

    def __init__(self, *, ibn: bool) -> None:
        super().__init__()
        self.backbone = resnet(ibn=ibn)
        self.backbone.avgpool = self.backbone.fc = nn.Identity()
        self.global_pooling, self.head = PoweredMean(), nn.ModuleDict({"feat_bn": nn.BatchNorm1d(512)})

    def forward(self, x: Tensor) -> Tensor:
        for name, child in self.backbone.named_children():
            x = child(x) if name not in ("avgpool", "fc") else x
        return self.head["feat_bn"](self.global_pooling(x))


def saved_by_open_un_reid(net: nn.Module) -> dict[str, object]:
    tensors = prefixed("module.", net.state_dict() | {"classifier.weight": torch.zeros(5, 512)})
    return {"state_dict_1": tensors, "epoch": 50, "best_mAP": 0.7}


@pytest.mark.parametrize("domain", [0, pytest.param(1, marks=pytest.mark.slow)])
@WITH_IBN
def test_of_openunreid_the_statistics_of_the_set_that_the_user_names_are_read(save, tmp_path, ibn, domain):
    torch.manual_seed(1)
    net = lively(with_domains(OpenUnReID(ibn=ibn), partial(NumberedNorms, tested=domain)))
    path = save(saved_by_open_un_reid(net))
    foreign = assert_same_features(path, net, tmp_path, Choices(domain=domain))
    assert (foreign.source, foreign.last_stride, foreign.interpolation) == ("OpenUnReID", 1, "bicubic")
    said = "; ".join(foreign.sentences)
    assert f"of the BatchNorms of 2 domains those of domain {domain} were taken, and the others were left" in said


def test_openunreid_does_not_say_which_set_is_the_target_so_the_user_must(save):
    path = save(saved_by_open_un_reid(with_domains(OpenUnReID(ibn=False), partial(NumberedNorms, tested=0))))
    with pytest.raises(InputError, match=r"a BatchNorm for each of 2 domains.*upreid convert --domain N"):
        read_checkpoint(path)
    with pytest.raises(InputError, match=r"--domain 2: .* has the domains 0, 1$"):
        read_checkpoint(path, Choices(domain=2))


@pytest.mark.slow
def test_openunreid_without_domains_is_read_with_its_last_stride(save, tmp_path):
    torch.manual_seed(1)
    path = save(saved_by_open_un_reid(net := lively(OpenUnReID(ibn=False))))
    assert assert_same_features(path, net, tmp_path).last_stride == 1
    with pytest.raises(InputError, match=r"--domain 0: .* has no numbered domains; leave it out"):
        read_checkpoint(path, Choices(domain=0))


def test_of_the_two_networks_and_their_means_of_openunreid_s_mmt_none_is_chosen(save):
    net = OpenUnReID(ibn=False).state_dict()
    both = prefixed("module.net.", net) | prefixed("module.mean_net.", net)
    path = save({"state_dict_1": both, "state_dict_2": both, "epoch": 50})
    with pytest.raises(DataError, match=r"holds 4 encoders \(state_dict_1\.module\.mean_net\.backbone, "):
        read_checkpoint(path)


def test_a_file_whose_norms_are_of_two_domains_in_another_layout_is_refused_for_that(save, resnet):
    """Of such files some programs test with the target's statistics, and others with the source's."""
    tensors = {name: tensor for name, tensor in resnet.state_dict().items() if not name.startswith("layer2.0.bn1.")}
    tensors |= {f"layer2.0.bn1.BN_{domain}.weight": torch.ones(128) for domain in "ST"}
    path = save({"state_dict": prefixed("backbone.", tensors) | {"bn.weight": torch.ones(512)}})
    with pytest.raises(DataError, match="it is a network with a batch normalisation for each domain"):
        make_encoder(read_checkpoint(path), path, **SIZE)


class SqueezeBlock(nn.Module):
    """A block of Cadene's SENets: SE-ResNets stride in the first convolution, the others in the second."""

    def __init__(self, kind: str, channels: int, planes: int, stride: int) -> None:
        super().__init__()
        first, width, groups = {
            "resnet": (planes, planes, 1), "resnext": (planes * 2, planes * 2, 32), "senet": (planes * 2, planes * 4, 64)
        }[kind]  # fmt: skip
        early = stride if kind == "resnet" else 1
        self.conv1, self.bn1 = nn.Conv2d(channels, first, 1, early, bias=False), nn.BatchNorm2d(first)
        self.conv2 = nn.Conv2d(first, width, 3, stride // early, 1, groups=groups, bias=False)
        self.bn2, self.conv3 = nn.BatchNorm2d(width), nn.Conv2d(width, planes * 4, 1, bias=False)
        self.bn3, self.downsample = nn.BatchNorm2d(planes * 4), None
        if stride > 1 or channels != planes * 4:
            size = 3 if kind == "senet" and planes > 64 else 1
            shortcut = nn.Conv2d(channels, planes * 4, size, stride, size // 2, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(planes * 4))
        self.se_module = nn.ModuleDict(
            {"fc1": nn.Conv2d(planes * 4, planes // 4, 1), "fc2": nn.Conv2d(planes // 4, planes * 4, 1)}
        )

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))))
        out = self.bn3(self.conv3(out))
        squeezed = F.relu(self.se_module["fc1"](out.mean(dim=(2, 3), keepdim=True)))
        out = out * self.se_module["fc2"](squeezed).sigmoid()
        return F.relu(out + (x if self.downsample is None else self.downsample(x)))


class BagOfTricks(nn.Module):
    """Bag of Tricks' network on one of Cadene's SENets."""

    def __init__(self, kind: str, depths: tuple[int, ...], last_stride: int = 1) -> None:
        super().__init__()
        three = kind == "senet"
        sizes = [(3, 64, 3, 2), (64, 64, 3, 1), (64, 128, 3, 1)] if three else [(3, 64, 7, 2)]
        stem = nn.Sequential()
        for number, (before, after, size, stride) in enumerate(sizes, start=1):
            stem.add_module(f"conv{number}", nn.Conv2d(before, after, size, stride, size // 2, bias=False))
            stem.add_module(f"bn{number}", nn.BatchNorm2d(after))
            stem.add_module(f"relu{number}", nn.ReLU())
        stem.add_module("pool", nn.MaxPool2d(3, stride=2, ceil_mode=True))
        self.base, channels = nn.Sequential(), 128 if three else 64
        self.base.add_module("layer0", stem)
        for number, (depth, stride) in enumerate(zip(depths, (1, 2, 2, last_stride), strict=True), start=1):
            planes, blocks = 32 * 2**number, nn.Sequential()
            for place in range(depth):
                blocks.append(SqueezeBlock(kind, channels, planes, stride if place == 0 else 1))
                channels = planes * 4
            self.base.add_module(f"layer{number}", blocks)
        self.bottleneck = nn.BatchNorm1d(channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.bottleneck(self.base(x).mean(dim=(2, 3)))


SENETS = {
    "legacy_seresnet50": ("resnet", (3, 4, 6, 3)),
    "legacy_seresnext50_32x4d": ("resnext", (3, 4, 6, 3)),
    "legacy_senet154": ("senet", (3, 8, 36, 3)),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SENETS)
def test_bag_of_tricks_se_resnets_are_read_with_their_last_stride_of_1(save, tmp_path, name):
    torch.manual_seed(1)
    net = lively(BagOfTricks(*SENETS[name]))
    path = save(net.state_dict() | {"classifier.weight": torch.zeros(5, 2048)})
    foreign = assert_same_features(path, net, tmp_path)
    assert (foreign.backbone, foreign.source, foreign.last_stride) == (name, "Bag of Tricks with SE", 1)
    assert any("stride 1 in the last stage, that of the format" in sentence for sentence in foreign.sentences)


@pytest.mark.slow
def test_cadene_s_own_files_have_a_last_stride_of_2(save, tmp_path):
    torch.manual_seed(1)
    net = lively(BagOfTricks(*SENETS["legacy_seresnet50"], last_stride=2))
    tensors = {name.removeprefix("base."): tensor for name, tensor in net.base.state_dict().items()}
    path = save(tensors | {"last_linear.weight": torch.zeros(1000, 2048)})
    net.bottleneck = nn.Identity()
    foreign = assert_same_features(path, net, tmp_path)
    assert (foreign.source, foreign.last_stride) == ("Cadene's SENets", None)


class PlainBlock(nn.Module):
    """A block of a ViT, with timm's names, which are MAE's."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.norm2, self.heads = nn.LayerNorm(dim, eps=1e-6), nn.LayerNorm(dim, eps=1e-6), heads
        self.attn = nn.ModuleDict({"qkv": nn.Linear(dim, 3 * dim), "proj": nn.Linear(dim, dim)})
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(dim, 4 * dim), "fc2": nn.Linear(4 * dim, dim)})

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.attn["qkv"](self.norm1(x)).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        weights = (query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5).softmax(dim=-1)
        x = x + self.attn["proj"]((weights @ value).transpose(1, 2).flatten(2))
        return x + self.mlp["fc2"](F.gelu(self.mlp["fc1"](self.norm2(x))))


class FineTunedMAE(nn.Module):
    """MAE's ViT as it is fine-tuned: the patches are averaged without the class token, and then normalised."""

    def __init__(self, dim: int, heads: int, depth: int, places: int, patch: int) -> None:
        super().__init__()
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, dim, patch, stride=patch)})
        self.cls_token, self.pos_embed = nn.Parameter(torch.zeros(1, 1, dim)), nn.Parameter(torch.zeros(1, places, dim))
        self.blocks = nn.Sequential(*[PlainBlock(dim, heads) for _ in range(depth)])
        self.fc_norm = nn.LayerNorm(dim, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        patches = self.patch_embed["proj"](x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.cls_token.expand(len(x), -1, -1), patches], dim=1) + self.pos_embed
        return self.fc_norm(self.blocks(tokens)[:, 1:].mean(dim=1))


@pytest.mark.slow
def test_the_feature_of_a_fine_tuned_mae_is_the_normalised_mean_of_its_patches(save, tmp_path):
    torch.manual_seed(1)
    net = lively(FineTunedMAE(dim=192, heads=3, depth=12, places=9, patch=16))
    path = save({"model": net.state_dict() | {"head.weight": torch.zeros(5, 192)}, "epoch": 99})
    foreign = assert_same_features(path, net, tmp_path)
    assert (foreign.backbone, foreign.source) == ("vit_tiny_patch16_mae", "fine-tuned MAE")
    assert foreign.interpolation == "bicubic"


def test_a_vit_with_a_norm_before_and_one_after_its_mean_is_neither_and_is_refused(save, vit):
    path = save(vit.state_dict() | {"fc_norm.weight": torch.ones(192), "fc_norm.bias": torch.ones(192)})
    with pytest.raises(DataError, match=r"no place for 2 of its tensors \(norm\.weight, norm\.bias\)"):
        make_encoder(read_checkpoint(path), path, height=224, width=224)


@pytest.mark.slow
def test_the_training_checkpoint_of_cion_without_ibn_is_known_by_the_name_of_its_loss(save, tmp_path):
    torch.manual_seed(1)
    net = lively(resnet(ibn=False))
    net.fc = nn.Identity()
    teacher = prefixed("module.backbone.", net.state_dict()) | {"module.head.last_layer.weight_g": torch.ones(9, 1)}
    student = {name: tensor + 1 for name, tensor in teacher.items()}
    content = {"student": student, "teacher": teacher, "epoch": 100}
    foreign = assert_same_features(save(content | {"Loss": {"center": torch.zeros(1, 9)}}), net, tmp_path)
    assert (foreign.source, foreign.last_stride) == ("CION, teacher", 1)
    assert read_checkpoint(save(content | {"dino_loss": {"center": torch.zeros(1, 9)}})).last_stride is None
