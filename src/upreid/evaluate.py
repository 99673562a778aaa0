"""`upreid evaluate`: an encoder, a labelled set, and numbers that say how they were made."""

import hashlib
import json
from pathlib import Path
from typing import Any

from upreid.build.labelled import benchmark, result_line, retrieve
from upreid.config.downstream import EvaluateConfig
from upreid.models.encoder import Encoder, load_encoder
from upreid.runtime.compute import settle
from upreid.runtime.console import say
from upreid.runtime.files import write_text
from upreid.types import Preprocess


def run(config: EvaluateConfig) -> dict[str, Any]:
    """Evaluate, print, and save where `out` says; return what was saved."""
    compute = settle(config.device, config.threads, config.workers, workers_wanted=1)
    compute.start()
    labelled = benchmark(config.data)
    encoder = load_encoder(config.encoder, device=compute.device)
    has_neck = encoder.neck is not None
    encode = encoder.before_neck if config.neck == "before" else encoder
    result = retrieve(
        encode,
        labelled,
        preprocess(config, encoder),
        compute,
        metric=config.metric,
        batch=config.batch,
        flip=config.flip,
    )
    checkpoint = {"encoder": config.encoder.name, "encoder_sha256": sha256(config.encoder)}
    result["protocol"] |= {**checkpoint, "neck": config.neck if has_neck else "none"}
    say(f"{labelled.name}: {result_line(result)}")
    text = json.dumps(result, indent=2)
    print(text)
    if config.out:
        write_text(config.out, text + "\n")
        say(f"written to {config.out}")
    return result


def preprocess(config: EvaluateConfig, encoder: Encoder) -> Preprocess:
    """Input size from the flags where given, else from the encoder's header; say which won."""
    header = encoder.preprocess
    height, width = config.height or header.height, config.width or header.width
    source = "the encoder's header" if not (config.height or config.width) else "--height/--width"
    say(f"input {height}x{width} from {source}; mean and std from the encoder's header")
    return Preprocess(height=height, width=width, mean=header.mean, std=header.std)


def sha256(path: Path) -> str:
    """Hash of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
