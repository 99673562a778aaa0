"""`upreid evaluate`: an encoder, a labelled set, and numbers that say how they were made."""

import json
from dataclasses import replace
from typing import Any

from upreid.build.labelled import benchmark, encoding, identity_of, result_line, retrieve
from upreid.config.evaluate import EvaluateConfig
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
    how = encoding(encoder, config), labelled, preprocess(config, encoder), compute, config
    result = retrieve(*how, batch=config.batch)
    result["protocol"] |= identity_of(config.encoder, encoder, config)
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
    say(f"input {height}x{width} from {source}; mean, std and interpolation from the encoder's header")
    return replace(header, height=height, width=width)
