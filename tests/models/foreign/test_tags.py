import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from upreid.errors import InputError
from upreid.models.foreign import from_tag

PROGRAM = """
import sys, torch
from upreid.errors import InputError
from upreid.models.foreign import from_tag
backbone, mean, std, sentences = from_tag("resnet18.a1_in1k", height=64, width=32)
torch.save({"tensors": backbone.state_dict(), "mean": mean, "std": std, "sentences": sentences}, sys.argv[1])
assert "resnet18.a1_in1k" in from_tag("resnet18", height=64, width=32)[3][0]
vit = from_tag("vit_tiny_patch16_224.augreg_in21k_ft_in1k", height=256, width=128)
assert vit[0].pos_embed.shape == (1, 129, 192) and vit[1:3] == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)), vit[1:3]
try:
    from_tag("resnet18.tv_in1k", height=64, width=32)
except InputError as error:
    print(error)
"""
"""In a process of its own: the hub reads its environment when it is imported."""


def put(home: Path, tag: str, tensors) -> None:
    """Write a model as the Hugging Face hub keeps it."""
    folder, commit = home / "hub" / f"models--timm--{tag}", "0123456789abcdef0123456789abcdef01234567"
    for name in ("refs", "blobs", f"snapshots/{commit}"):
        (folder / name).mkdir(parents=True)
    (folder / "refs" / "main").write_text(commit)
    save_file(tensors, folder / "blobs" / "c0ffee")
    (folder / "snapshots" / commit / "model.safetensors").symlink_to("../../blobs/c0ffee")


@pytest.mark.slow
def test_a_tag_is_loaded_from_the_hub_s_cache_and_without_cache_or_network_refused(tmp_path, resnet, vit):
    put(
        tmp_path,
        "resnet18.a1_in1k",
        resnet.state_dict() | {"fc.weight": torch.zeros(1000, 512), "fc.bias": torch.zeros(1000)},
    )
    head = {"head.weight": torch.zeros(1000, 192), "head.bias": torch.zeros(1000)}
    put(tmp_path, "vit_tiny_patch16_224.augreg_in21k_ft_in1k", vit.state_dict() | head)
    out = tmp_path / "out.pt"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM, str(out)],
        env={name: value for name, value in os.environ.items() if not name.startswith("HF_")}
        | {"HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    got = torch.load(out, weights_only=True)
    assert set(got["tensors"]) == set(resnet.state_dict())
    assert all(torch.equal(tensor, resnet.state_dict()[name]) for name, tensor in got["tensors"].items())
    assert got["mean"] == (0.485, 0.456, 0.406)
    assert got["std"] == (0.229, 0.224, 0.225)
    assert "--input.mean and --input.std" in got["sentences"][0]
    (refusal,) = done.stdout.strip().splitlines()
    assert refusal.startswith("timm cannot load resnet18.tv_in1k (")
    assert "HF_HOME" in refusal


@pytest.mark.parametrize(
    ("tag", "said"),
    [
        ("resnet18.a1_in1", "no weights 'resnet18.a1_in1'; did you mean 'resnet18.a1_in1k'"),
        ("resnet81", "unknown backbone 'resnet81'; did you mean"),
        ("vit_base_patch16_xp_224", "no weights for vit_base_patch16_xp_224"),
    ],
)
def test_unknown_tags_are_refused_with_the_nearest(tag, said):
    with pytest.raises(InputError) as caught:
        from_tag(tag, height=64, width=32)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
