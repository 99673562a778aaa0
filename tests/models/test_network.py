import pytest
import torch
from torch import nn

from upreid.models.backbone import create_backbone
from upreid.models.batchnorm import group_batch_norm
from upreid.models.keys import follow, momentum_copy
from upreid.models.network import Network, Projector, deinterleave, interleave


def network(groups=1, regions=None):
    torch.manual_seed(0)
    backbone = create_backbone("resnet18", height=64, width=32, channels=4)
    net = Network(backbone, Projector(32, 32, 8), Projector(32, 32, 8), regions).double()
    return group_batch_norm(net, groups)


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("groups", [1, 2, 3])
def test_interleaving_puts_contiguous_images_into_one_group_and_comes_undone(groups):
    tiles = noise(6, 4, 3, 2, 2)
    rows = interleave(tiles, groups)
    for group in range(groups):
        size = 6 // groups
        mine = tiles[group * size : (group + 1) * size].flatten(0, 1)
        assert torch.equal(rows[group::groups].sort(0).values, mine.sort(0).values)
    assert torch.equal(deinterleave(rows.flatten(1), groups, 4), tiles.flatten(2))


def test_groups_are_forwards_of_contiguous_parts():
    images, patches = noise(6, 3, 64, 32), noise(6, 8, 3, 16, 16, seed=1)
    whole = network(2)(images, patches)
    for number, part in enumerate(whole):
        halves = [network(1)(images[some], patches[some])[number] for some in (slice(3), slice(3, 6))]
        torch.testing.assert_close(part, torch.cat(halves))


def test_embeddings_have_unit_length_and_keep_the_order_of_images_and_patches():
    net = network().eval()
    images, patches = noise(4, 3, 64, 32), noise(4, 8, 3, 16, 16, seed=1)
    image, patch = net(images, patches)
    assert (image.shape, patch.shape) == ((4, 8), (4, 8, 8))
    torch.testing.assert_close(image.norm(dim=1), torch.ones(4, dtype=torch.float64))
    torch.testing.assert_close(patch.norm(dim=2), torch.ones(4, 8, dtype=torch.float64))
    torch.testing.assert_close(net(None, patches[2:3, 5:6])[1][0, 0], patch[2, 5])


def test_patches_leave_the_running_statistics_alone_and_still_teach_the_backbone():
    net = network(2)
    before = {name: buffer.clone() for name, buffer in net.named_buffers()}
    net(None, noise(4, 8, 3, 16, 16))[1].square()[..., 0].sum().backward()
    assert all(torch.equal(buffer, before[name]) for name, buffer in net.named_buffers())
    assert net.backbone.conv1.weight.grad.abs().sum() > 0
    net(noise(4, 3, 64, 32), None)
    assert not torch.equal(net.backbone.bn1.running_mean, before["backbone.bn1.running_mean"])


@pytest.mark.parametrize(("rows", "columns"), [(2, 1), (1, 1), (2, 2)])
def test_with_regions_a_patch_is_a_part_of_the_map_of_its_whole_picture(rows, columns):
    net = network(regions=(rows, columns)).eval()
    pictures = noise(3, 1, 3, 128, 128)
    found = net(None, pictures)[1]
    assert found.shape == (3, rows * columns, 8)
    for number, picture in enumerate(pictures):
        (whole,) = net.backbone.forward_features(picture)  # [channels, 4, 4]
        height, width = 4 // rows, 4 // columns
        for row in range(rows):
            for column in range(columns):
                there = whole[:, row * height :, column * width :][:, :height, :width].mean(dim=(1, 2))
                torch.testing.assert_close(found[number, row * columns + column], net.patch_head(there[None])[0])


def test_groups_are_forwards_of_contiguous_parts_with_regions_too():
    pictures = noise(6, 1, 3, 64, 64)
    whole = network(2, regions=(2, 1))(None, pictures)[1]
    halves = [network(1, regions=(2, 1))(None, pictures[some])[1] for some in (slice(3), slice(3, 6))]
    torch.testing.assert_close(whole, torch.cat(halves))


def test_images_and_patches_have_heads_of_their_own():
    net = network()
    net(noise(4, 3, 64, 32), None)[0].sum().backward()
    assert all(parameter.grad is None for parameter in net.patch_head.parameters())


def test_under_autocast_embeddings_are_in_single_precision():
    net = network().float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert net(noise(4, 3, 64, 32).float(), None)[0].dtype == torch.float32


@pytest.mark.parametrize("momentum", [1.0, 0.0, 0.9])
def test_the_teacher_follows_parameters_and_not_buffers(momentum):
    student, teacher = network(), momentum_copy(network())
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.add_(1)
    before = {name: value.clone() for name, value in teacher.named_parameters()}
    student.backbone.bn1.running_mean.fill_(5)
    follow(teacher, student, momentum)
    for (name, ours), theirs in zip(teacher.named_parameters(), student.parameters(), strict=True):
        torch.testing.assert_close(ours, momentum * before[name] + (1 - momentum) * theirs)
        if momentum == 1.0:
            assert torch.equal(ours, before[name])
    assert teacher.backbone.bn1.running_mean.abs().max() == 0


def test_the_teacher_is_a_copy_that_learns_nothing():
    student = network()
    teacher = momentum_copy(student)
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
    addresses = {parameter.data_ptr() for parameter in student.parameters()}
    assert not any(parameter.data_ptr() in addresses for parameter in teacher.parameters())
    assert isinstance(teacher, nn.Module)


@pytest.mark.parametrize("groups", [1, 2])
def test_no_gradient_is_copied_for_a_relu_in_place_on_a_view(groups):
    outputs = network(groups)(noise(4, 3, 64, 32), noise(4, 8, 3, 16, 16))
    waiting, seen = [output.grad_fn for output in outputs], set()
    while waiting:
        node = waiting.pop()
        seen.add(node.name())
        waiting += [following for following, _ in node.next_functions if following is not None]
    assert any("BatchNorm" in name for name in seen)
    assert not [name for name in seen if "CopySlices" in name or "AsStrided" in name]
