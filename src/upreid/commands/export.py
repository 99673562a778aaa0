"""`upreid export`: an encoder as what another program loads, and how far the features of a file are from ours."""

from upreid.config.interchange import ExportConfig
from upreid.errors import InputError
from upreid.models.encoder import load_encoder
from upreid.models.exported import (
    CONTRACTS,
    appearance_thresh,
    check_name,
    embeds_cameras,
    misfit,
    sidecar,
    write_exported,
)
from upreid.models.foreign.writing import write_for
from upreid.runtime.console import say
from upreid.runtime.files import check_target, json_with


def run(config: ExportConfig) -> None:
    """Export, compare, and say what the program will give the file."""
    if config.for_ == "reid":
        export_folder(config)
        return
    contract = CONTRACTS[config.for_]
    check_name(config.out, contract)
    check_target(config.out, "OUT", lambda content: "upreid" in content)
    if contract.name == "boxmot":
        check_target(sidecar(config.out), "the file beside OUT,", json_with("artifact_sha256"))
    encoder = load_encoder(config.encoder)
    how = {"neck": config.neck, "half": config.half, "cameras": config.cameras}
    parity = write_exported(config.out, encoder, contract, **how)
    header = encoder.header
    say(f"input {contract.image_name} [batch, 3, {header.height}, {header.width}]: {contract.description}")
    say(f"output {contract.output_name} [batch, dim], not scaled to unit length, {config.neck or header.neck} the neck")
    if embeds_cameras(encoder):
        said = (
            "the embedding is left out"
            if config.cameras == "left-out"
            else "the mean over the training's cameras stands in"
        )
        say(f"the encoder embeds cameras, which a tracker does not know: {said}")
    found = appearance_thresh(encoder, contract, config.neck)
    if reason := misfit(encoder, config.neck):
        say(f"no threshold: {reason}")
    elif header.calibration and found is not None:
        say(
            f"appearance_thresh {found:g} for {contract.name}: cosine distance {header.calibration.image.distance:.4f}, "
            f"false-accept rate {100 * header.calibration.false_accept:g} %"
        )
    print("batch  largest difference  smallest cosine")
    for batch, found in parity.items():
        print(f"{batch:>5}  {found['largest_difference']:18.2e}  {found['smallest_cosine']:15.7f}")
    say(f"written to {config.out}")


def export_folder(config: ExportConfig) -> None:
    """Write Roboflow's folder, as `upreid convert --to reid` does: weights and no graph, so nothing is to be compared."""
    changes = {"--neck": config.neck, "--half": config.half, "--cameras mean": config.cameras == "mean"}
    if given := [flag for flag, value in changes.items() if value]:
        raise InputError(
            f"{', '.join(given)}: reid loads weights and makes the network itself; leave it out with --for reid"
        )
    if config.out.suffix in (".onnx", ".pt2"):
        raise InputError(f"{config.out}: --for reid writes a folder; give a name without {config.out.suffix}")
    encoder = load_encoder(config.encoder)
    write_for("reid", encoder, config.out)
    header = encoder.header
    say(
        f"input {header.height}x{header.width}, {header.interpolation}, mean {header.mean}, std {header.std}: reid reads that"
    )
    say("output the backbone's, not scaled to unit length")
    say(f"written to {config.out} (reid_config.json, weights.safetensors)")
