"""What older keys of the query's own tracklet are to it, and whose original the consistency term looks at."""

import pytest
import torch

from upreid.data.augment import OriginalView, TrackletNumber
from upreid.losses.contrast import info_nce, mean_nce
from upreid.methods.moco_v2 import MocoV2
from upreid.types import Views

BATCH = 16
ALONE = ["--consistency.weight", "0", "--intrinsic.weight", "0"]
HOW = ["--train.batch", str(BATCH), "--model.bn-groups", "2", "--train.accumulate", "2"]
IDS = torch.arange(BATCH) // 2


def views_of(method: MocoV2, seed: int) -> Views:
    numbers = torch.Generator().manual_seed(seed)
    return {
        name: IDS.clone() if isinstance(view, TrackletNumber) else torch.randn(BATCH, 3, 64, 32, generator=numbers)
        for name, view in method.views().items()
    }


@pytest.mark.parametrize("role", ["left-out", "positives"])
def test_from_the_second_step_on_keys_of_the_own_tracklet_are_no_negatives(role: str, made) -> None:
    method = made(*ALONE, *HOW, "--contrast.mates", role)
    first = views_of(method, 1)
    method.after_update(method.targets(first, 0))
    views, part = views_of(method, 2), slice(8, 16)
    targets = method.targets(views, 1)
    outputs = method.student(*method.inputs(views, part))
    loss = method.losses(outputs, views, targets, part)["contrast"]
    mates = IDS[8:, None] == method.keys.tracklets[None]
    assert mates.sum(dim=1).tolist() == [2] * 8  # the queue of 32 holds the 16 keys of one step
    query, key, past = outputs[0], targets.keys[8:], method.keys.keys
    kept = [past[~row] for row in mates]
    slow = [info_nce(query[i : i + 1], key[i : i + 1], some, temperature=0.2) for i, some in enumerate(kept)]
    expected = {"left-out": torch.stack(slow).mean(), "positives": mean_nce(query, key, past, mates, temperature=0.2)}
    torch.testing.assert_close(loss, expected[role])
    assert not torch.isclose(loss, info_nce(query, key, past, temperature=0.2))


def test_the_own_tracklet_is_no_past_original_either(made) -> None:
    method = made("--intrinsic.weight", "0", *HOW, "--contrast.mates", "left-out", "--consistency.original", "key")
    views = views_of(method, 1)
    method.after_update(method.targets(views, 0))
    targets, part = method.targets(views, 1), slice(0, 8)
    outputs = method.student(*method.inputs(views, part))
    queue = method.intra_identity.consistency.originals
    loss = method.losses(outputs, views, targets, part)["consistency"]
    left_out = queue.of_tracklets(IDS[:8])
    assert left_out.sum(dim=1).tolist() == [2] * 8
    originals = targets.intra_identity.originals[:8]
    torch.testing.assert_close(loss, info_nce(outputs[0], originals, queue.keys, temperature=0.2, left_out=left_out))


@pytest.mark.parametrize("whose", ["query", "key"])
def test_the_original_is_that_of_one_crop_and_the_other_is_not_made(whose: str, made) -> None:
    views = made("--consistency.original", whose, "--consistency.share", "0.5", "--train.batch", "64").views()
    originals = [view for view in views.values() if isinstance(view, OriginalView)]
    assert [view.of_mate for view in originals] == [whose == "key"]
    assert originals[0].images is not None


def test_as_negatives_they_need_no_numbers(made) -> None:
    method = made("--contrast.mates", "negatives")
    assert not any(isinstance(view, TrackletNumber) for view in method.views().values())
    assert method.keys.tracklets is None
    assert set(made("--contrast.mates", "left-out").diagnosis_views()) == set(method.diagnosis_views())


def test_the_log_says_what_they_are(made) -> None:
    flags = ["--contrast.mates", "positives", "--consistency.original", "key"]
    said = " ".join(made(*flags).explanations())
    assert "older keys of the own tracklet as further positives" in said
    assert "with the key's original" in said
