"""A model folder: `config.json`, `model.safetensors` and a card, which upreid loads, timm where it can, and a hub takes."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors.torch import save

from upreid.errors import InputError
from upreid.models.calibration import Calibration
from upreid.models.encoder import KEY, MODEL_FILE, Encoder, plain
from upreid.models.foreign.writing import check
from upreid.runtime.files import json_with, write_aside, write_text

NO_HUB = "--push needs huggingface-hub; install it with pip install 'upreid[hub]'"
NO_HEAD = "none; the feature is the backbone's"
OURS = ("config.json", MODEL_FILE, "README.md")


def write_folder(out: Path, encoder: Encoder) -> None:
    """Write a model folder; a folder that holds other files is refused."""
    if out.exists() and (not out.is_dir() or not {path.name for path in out.iterdir()} <= set(OURS)):
        raise InputError(f"{out} exists and holds something else; give the name of a new folder")
    reason = timm_cannot(encoder)
    tensors = {name: plain(tensor) for name, tensor in encoder.state_dict().items()}
    if not reason:  # timm wants its own names, and the header says what they are
        tensors = {name.removeprefix("backbone."): tensor for name, tensor in tensors.items()}
    out.mkdir(parents=True, exist_ok=True)
    with write_aside(out / MODEL_FILE) as aside:
        aside.write_bytes(
            save(tensors, metadata={KEY: json.dumps(encoder.header.as_dict(), sort_keys=True), "format": "pt"})
        )
    write_text(out / "config.json", json.dumps(configuration(encoder, reason), indent=2) + "\n")
    write_text(out / "README.md", card(encoder, reason))


def timm_cannot(encoder: Encoder) -> str:
    """Return the reason why timm cannot hold an encoder; an empty text where it can."""
    try:
        check("timm", encoder)
    except InputError as error:
        return str(error).partition("because ")[2].partition(";")[0]
    return ""


def configuration(encoder: Encoder, reason: str) -> dict[str, Any]:
    """Return the content of `config.json`: timm's where timm can hold the encoder, and always ours."""
    header = encoder.header
    ours: dict[str, Any] = {"upreid": header.as_dict()}
    if reason:
        return ours | {"library_name": "upreid", "not_for_timm": reason}
    architecture, _, tag = header.backbone.partition(".")
    has_positions = "pos_embed" in encoder.backbone.state_dict()
    pretrained = {
        "tag": tag,
        "custom_load": False,
        "input_size": [3, header.height, header.width],
        "fixed_input_size": has_positions,
        "interpolation": header.interpolation.removesuffix("-aliased"),
        "crop_pct": 1.0,
        "crop_mode": "squash",
        "mean": list(header.mean),
        "std": list(header.std),
        "num_classes": 0,
    }
    size = {"img_size": [header.height, header.width]} if has_positions else {}
    return {
        "architecture": architecture,
        "num_classes": 0,
        "num_features": int(encoder.backbone.num_features),  # pyright: ignore[reportArgumentType]
        "model_args": size,
        "pretrained_cfg": pretrained,
    } | ours


def card(encoder: Encoder, reason: str) -> str:
    """Return the model card: what it is, its data and protocol, how it is loaded, its limits, and what it is for."""
    header = encoder.header
    use = f"Not for timm: {reason}." if reason else 'In timm: `timm.create_model("local-dir:FOLDER", pretrained=True)`.'
    head = (
        f"{json.dumps(asdict(header.head))}; the feature is the one {header.neck} the neck" if header.head else NO_HEAD
    )
    strides = (
        f"last stride {header.last_stride or 'of the network'}, patch stride {header.patch_stride or 'of the network'}"
    )
    pixels = f"{header.interpolation}, RGB from 0 to 1, mean {list(header.mean)}, std {list(header.std)}"
    return f"""---
library_name: {"upreid" if reason else "timm"}
tags:
- person-re-identification
---
# Encoder of persons: {header.backbone}

An encoder of upreid: it turns a picture of one person into a feature; features of the same person are alike.

| | |
|---|---|
| network | {header.backbone}, {strides} |
| head | {head} |
| input | {header.height}x{header.width}, {pixels} |
| weights from | {header.init or "pre-training by upreid"} |
| trained on | {header.trained_on or "see the recipe"} |
| recipe | {header.recipe or "none"}, step {header.step}, seed {header.seed} |
| threshold | {threshold(header.calibration)} |

## Loading

In upreid: `upreid evaluate FOLDER --data.name ... --data.root ...`, or `upreid.load_encoder("FOLDER")`. {use}

## Protocol and numbers

No number is written here. `upreid evaluate` measures with a stated protocol; state the data set and the distance beside a number.

## Limits

Features of different encoders cannot be compared. A threshold depends on the encoder and on the cameras; measure it on people of
your own. Clothes, low light, occlusion and people who were cut badly make features alike or unlike for the wrong reasons.

Trackers shrink crops without antialiasing. That cost small encoders 0.7 mAP where crops were twice as large as the input, and 1.4
where they were four times as large (rendered people). `upreid evaluate --interpolation bilinear-aliased` measures it for yours.

## Intended use

Research, and work on pictures that you may lawfully process. It is not for covert identification or tracking of people.

{header.licence_note}
"""


def threshold(calibration: Calibration | None) -> str:
    """Write the threshold of an encoder for its card."""
    if calibration is None:
        return "none; `upreid calibrate` finds one"
    one = calibration.image
    low, high = one.false_accept_interval
    return (
        f"{calibration.metric} distance {one.distance:.4f} for a false-accept rate of {100 * calibration.false_accept:g} %; on "
        f"{calibration.test_people} other people {100 * one.false_accept:.2g} % ({100 * low:.2g} to {100 * high:.2g} %), false "
        f"rejects {100 * one.false_reject:.2g} %; {calibration.data}; {calibration.pairs}"
    )


def is_model_folder(folder: Path) -> bool:
    """Tell whether a folder has a configuration as we write it."""
    path = folder / "config.json"
    return path.is_file() and json_with("upreid")(path.read_text(encoding="utf-8"))


def tell_folder(folder: Path, before: Encoder, after: Encoder) -> bool:
    """Bring `config.json` and the card of a model folder up to its calibrated encoder; tell whether the card was ours."""
    path, readme = folder / "config.json", folder / "README.md"
    reason = timm_cannot(before)
    write_text(path, json.dumps(configuration(after, reason), indent=2) + "\n")
    is_ours = not readme.exists() or readme.read_text(encoding="utf-8") == card(before, reason)
    if is_ours:
        write_text(readme, card(after, reason))
    return is_ours


def push(folder: Path, name: str) -> str:
    """Send a model folder to a hub; return its address. InputError where the package is missing or the hub refuses."""
    organisation, _, model = name.partition("/")
    if not organisation or not model or "/" in model:
        raise InputError(f"--push {name}: give ORG/NAME, as in --push my-lab/my-encoder")
    try:
        from huggingface_hub import HfApi
    except ImportError as error:
        raise InputError(NO_HUB) from error
    client = HfApi()
    try:
        address = client.create_repo(name, exist_ok=True)
        client.upload_folder(repo_id=name, folder_path=str(folder))
    except Exception as error:  # network, rights and names each raise their own kinds
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError(
            f"--push {name}: the hub did not take it ({reason}); the folder {folder} is whole, push it again"
        ) from error
    return str(address)
