"""The intrinsic term on regions of the two views' own maps, matched by where the crops lie; and originals as keys."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torchvision.transforms import functional as vision

from upreid.cli import main
from upreid.data.augment import PRESETS, Augment, Augmentation, CropBox, StrongView
from upreid.errors import InputError
from upreid.losses.intrinsic import READINGS
from upreid.methods import step_cost
from upreid.models.regions import overlap_of, regions_of_boxes
from upreid.types import ImageBatch, Preprocess

PLAIN = Augmentation(crop_area=(0.4, 1.0), crop_ratio=(0.4, 0.9), flip_probability=0.5)
VIEWS = ["--intrinsic.source", "views"]


def test_matched_regions_show_the_same_place_of_the_picture() -> None:
    """The colours of the picture are its coordinates, so the mean colour of a region is its place."""
    y, x = np.mgrid[0:256, 0:128]
    picture = Image.fromarray(np.stack([2 * x, y, 0 * x], axis=2).astype(np.uint8))
    pixels, sizes = vision.pil_to_tensor(picture).expand(64, -1, -1, -1), torch.tensor([[256, 128]]).expand(64, 2)
    batch = ImageBatch(pixels=pixels, extents=sizes, file_sizes=sizes, indices=torch.arange(64), epoch=0)
    requests = {name: StrongView(preset=PLAIN) for name in ("query", "key")}
    boxes = {f"{name}_box": CropBox(of=name, preset=PLAIN) for name in requests}
    size = Preprocess(height=64, width=32, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    views = Augment({**requests, **boxes}, preprocess=size, seed=1)(batch)
    in_query, in_key, enough = overlap_of(views["query_box"], views["key_box"])
    assert 0.3 < enough.float().mean() < 1
    mirrored = views["query_box"][:, 1] > views["query_box"][:, 3]
    assert 0 < mirrored.sum() < 64
    places = [regions_of_boxes(views[name], box, 4, 2)[enough] for name, box in (("query", in_query), ("key", in_key))]
    assert (places[0] - places[1]).abs().max() < 0.02
    by_row = places[0][:, :, 1].unflatten(1, (4, 2))
    by_column = places[0][:, :, 0].unflatten(1, (4, 2))
    assert (by_row.diff(dim=1) > 0).all()
    assert (by_column.diff(dim=2) > 0).all()


@pytest.mark.parametrize("reading", READINGS)
def test_images_without_an_overlap_do_not_count(reading: str) -> None:
    numbers = torch.Generator().manual_seed(0)
    query, key = (nn.functional.normalize(torch.randn(5, 8, 6, generator=numbers).double(), dim=2) for _ in range(2))
    how = {"temperature": 0.2, "hardest": None, "columns": 2}
    loss, counts = READINGS[reading].loss, torch.tensor([1.0, 0.0, 1.0, 0.0, 1.0]).double()
    query, rows = query.requires_grad_(), torch.tensor([0, 2, 4])
    weighed = loss(query, key, torch.arange(5), weights=counts / counts.mean(), **how)
    torch.testing.assert_close(weighed, loss(query[rows], key, rows, **how))
    torch.testing.assert_close(
        loss(query, key, torch.arange(5), weights=torch.ones(5).double(), **how),
        loss(query, key, torch.arange(5), **how),
    )
    gradient = torch.autograd.grad(weighed, query)[0].abs().sum(dim=(1, 2))
    assert (gradient > 0).tolist() == [True, False, True, False, True]
    nothing = loss(query, key, torch.arange(5), weights=torch.zeros(5).double(), **how)
    assert nothing.item() == 0
    assert not torch.autograd.grad(nothing, query)[0].any()


def test_regions_come_from_the_forwards_of_query_and_key_and_teach_the_backbone(made) -> None:
    method = made(*VIEWS, "--train.batch", "16", "--consistency.weight", "0")
    assert method.views().keys() == {"query", "key", "query_box", "key_box"}
    views = noise_with_boxes(method)
    forwards: list[int] = []
    for network in (method.student, method.teacher):
        network.backbone.conv1.register_forward_hook(lambda _, given, __: forwards.append(len(given[0])))
    targets = method.targets(views, 0)
    outputs = method.student(*method.inputs(views, slice(0, 16)))
    assert forwards == [16, 16]
    assert outputs[1].shape == targets.intra_identity.patches.shape == (16, 8, 16)
    losses = method.losses(outputs, views, targets, slice(0, 16))
    gradient = torch.autograd.grad(losses["intrinsic"], method.student.backbone.conv1.weight, retain_graph=True)[0]
    assert gradient.abs().sum() > 0
    plain = made("--train.batch", "16", "--consistency.weight", "0")
    embeddings = plain.student(views["query"], None)[0]
    torch.testing.assert_close(outputs[0], embeddings)  # the image is embedded as without regions


def noise_with_boxes(method):
    boxes = torch.tensor([[0.0, 0.0, 0.9, 1.0], [0.1, 1.0, 1.0, 0.1]]).expand(16, 2, 4)
    pictures = torch.randn(2, 16, 3, 64, 32, generator=torch.Generator().manual_seed(0))
    return {"query": pictures[0], "key": pictures[1], "query_box": boxes[:, 0], "key_box": boxes[:, 1]}


def test_keys_that_are_originals_need_no_second_forward_for_the_consistency_term(made, noise) -> None:
    method = made("--contrast.key", "original", "--consistency.reading", "g-rel", "--intrinsic.weight", "0")
    assert method.views().keys() == {"query", "key"}
    views = noise(method, 64)
    targets = method.targets(views, 0)
    assert torch.equal(targets.intra_identity.originals, targets.keys)
    losses = method.losses(method.student(*method.inputs(views, slice(0, 64))), views, targets, slice(0, 64))
    assert losses.keys() == {"contrast", "consistency"}
    with_regions = made("--contrast.key", "original", *VIEWS)
    assert with_regions.views().keys() == {"query", "key", "query_box"}  # the key is the whole picture
    in_key = with_regions.intra_identity.overlap({"query_box": torch.tensor([[0.25, 0.0, 0.75, 1.0]])}).in_key
    assert in_key.tolist() == [[0.25, 0.0, 0.75, 1.0]]


@pytest.mark.parametrize(
    ("flags", "cost"),
    [
        (VIEWS, 5.0),
        ([*VIEWS, "--consistency.weight", "0"], 4.0),
        (["--contrast.key", "original"], 8.0),
        (["--contrast.key", "original", *VIEWS], 4.0),
    ],
)
def test_forwards_that_are_there_already_cost_nothing(flags: list[str], cost: float, config) -> None:
    assert step_cost(config(*flags)) == cost


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ([*VIEWS, "--intrinsic.share", "0.5"], r"--intrinsic\.share 0\.5 saves nothing"),
        (["--contrast.key", "original", "--consistency.begin", "0.5"], "save nothing with --contrast.key original"),
        ([*VIEWS, "--intrinsic.rows", "3"], "3 x 2 does not divide a feature map of 4 x 2"),
    ],
)
def test_settings_without_effect_are_refused(flags: list[str], words: str, made) -> None:
    with pytest.raises(InputError, match=words):
        made(*flags)


@pytest.mark.slow
@pytest.mark.parametrize("flags", [[*VIEWS, "--intrinsic.end", "0.5"], ["--contrast.key", "original"]])
def test_such_a_run_resumes_bit_for_bit(pictures: Path, tmp_path: Path, flags: list[str], train) -> None:
    for run in ("whole", "part"):
        assert train(pictures, tmp_path / run, *flags) == 0
    (tmp_path / "part" / "states" / "step-000000004.pt").replace(tmp_path / "part" / "state.pt")
    (tmp_path / "part" / "encoder.safetensors").unlink()
    assert main(["pretrain", "--resume", str(tmp_path / "part")]) == 0
    first, second = ((tmp_path / run / "encoder.safetensors").read_bytes() for run in ("whole", "part"))
    assert first == second


def test_two_views_of_a_person_overlap_most_of_the_time() -> None:
    sizes = torch.tensor([[160, 64]]).expand(256, 2)
    pixels = torch.zeros(256, 3, 160, 64, dtype=torch.uint8)
    batch = ImageBatch(pixels=pixels, extents=sizes, file_sizes=sizes, indices=torch.arange(256), epoch=0)
    size = Preprocess(height=64, width=32, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    for name, least in (("luperson", 0.3), ("person", 0.95)):
        boxes = {one: CropBox(of=one, preset=PRESETS[name]) for one in ("query", "key")}
        views = Augment(boxes, preprocess=size, seed=1)(batch)
        assert overlap_of(views["query"], views["key"])[2].float().mean() > least
