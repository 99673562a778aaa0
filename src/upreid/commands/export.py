"""`upreid export`: an encoder as an ONNX file that another program loads, and how far its features are from ours."""

from upreid.config.commands import ExportConfig
from upreid.models.encoder import load_encoder
from upreid.models.onnx_file import CONTRACTS, check_name, embeds_cameras, require_export, sidecar, write_onnx
from upreid.runtime.console import say
from upreid.runtime.files import check_target, json_with


def run(config: ExportConfig) -> None:
    """Export, compare, and say what the program will give the file."""
    contract = CONTRACTS[config.for_]
    check_name(config.out, contract)
    require_export()
    check_target(config.out, "OUT", lambda content: "upreid" in content and "onnx" in content.lower())
    if contract.name == "boxmot":
        check_target(sidecar(config.out), "the file beside OUT,", json_with("artifact_sha256"))
    encoder = load_encoder(config.encoder)
    parity = write_onnx(config.out, encoder, contract, neck=config.neck, half=config.half)
    header = encoder.header
    say(f"input {contract.image_name} [batch, 3, {header.height}, {header.width}]: {contract.description}")
    say(f"output {contract.output_name} [batch, dim], not scaled to unit length, {config.neck or header.neck} the neck")
    if embeds_cameras(encoder):
        say("the encoder embeds cameras, which a tracker does not know: the embedding is left out")
    print("batch  largest difference  smallest cosine")
    for batch, found in parity.items():
        print(f"{batch:>5}  {found['largest_difference']:18.2e}  {found['smallest_cosine']:15.7f}")
    say(f"written to {config.out}")
