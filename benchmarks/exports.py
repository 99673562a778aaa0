"""How far exported networks are from PyTorch's at their full size, in batches of 1, 2 and 7.

    python benchmarks/exports.py                      # for every program, in single precision
    python benchmarks/exports.py --programs boxmot --half
    python benchmarks/exports.py --retrieval runs/mine/encoder.safetensors corpus/market1501    # what half precision costs

Weights are at random, and running statistics are those of noise, so that every BatchNorm does something. `upreid export` makes
the same comparison for each file that it writes.
"""

import argparse
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from upreid.data.benchmarks import open_benchmark
from upreid.models import onnx_file
from upreid.models.encoder import Encoder, load_encoder, skeleton
from upreid.models.exported import BATCHES, CONTRACTS, write_exported
from upreid.models.header import EncoderHeader
from upreid.models.heads import HeadSettings
from upreid.retrieval.evaluation import evaluate_benchmark
from upreid.retrieval.features import encode_benchmark
from upreid.retrieval.settings import Ranking
from upreid.runtime.compute import settle

RESNET = EncoderHeader(
    backbone="resnet50",
    channels=None,
    last_stride=1,
    height=256,
    width=128,
    mean=(0.3525, 0.3106, 0.3140),
    std=(0.2660, 0.2522, 0.2505),
)
VIT = replace(RESNET, backbone="vit_small_patch16_224", last_stride=None)
NETWORKS = {
    "ResNet-50, 256x128": RESNET,
    "ViT-S/16, 256x128": VIT,
    "BoT, ResNet-50, 256x128": replace(RESNET, head=HeadSettings(name="bnneck")),
    "MGN, ResNet-50, 384x128": replace(RESNET, height=384, head=HeadSettings(name="mgn", pool="gem", extra_bn=True)),
    "TransReID with jigsaw, ViT-S/16, 256x128": replace(
        VIT, head=HeadSettings(name="transreid", cameras=(1, 2), camera_weight=3.0, jigsaw=True), neck="before"
    ),
}


def made(header: EncoderHeader) -> Encoder:
    """Make an encoder with weights at random and running statistics of noise."""
    torch.manual_seed(0)
    encoder = skeleton(header)
    with torch.no_grad():
        encoder.train()(torch.randn(8, 3, header.height, header.width), torch.ones(8, dtype=torch.long))
    return encoder.eval()


def retrieval(encoder: Encoder, root: Path) -> None:
    """Print the mAP of an encoder, and of its ONNX files in single and half precision, on a set in Market-1501's layout."""
    labelled, compute = open_benchmark("market1501", root, quiet=True), settle("cpu", 1, 0, workers_wanted=0)
    contract, ranking = CONTRACTS["plain-normalised"], Ranking(neck=encoder.header.neck)
    names = contract.image_name, contract.output_name
    print("| features of | mAP | Rank-1 |\n|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        runs: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {"PyTorch, single": encoder}
        for kind, half in (("single", False), ("half", True)):
            path = Path(folder) / f"{kind}.onnx"
            write_exported(path, encoder, contract, half=half)
            runs[f"onnxruntime, {kind}"] = onnx_file.load(path, *names)
        for name, run in runs.items():
            encoded = encode_benchmark(
                lambda images, _, run=run: run(images), labelled, encoder.preprocess, compute, ranking, quiet=True
            )
            result = evaluate_benchmark(encoded)
            print(f"| {name} | {result['mAP']:.2f} | {result['rank1']:.2f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Parity of exported networks with PyTorch")
    parser.add_argument("--programs", nargs="+", default=["boxmot", "program"], choices=list(CONTRACTS))
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=list(NETWORKS))
    parser.add_argument("--half", action="store_true")
    parser.add_argument("--retrieval", nargs=2, metavar=("ENCODER", "ROOT"))
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.retrieval:
        retrieval(load_encoder(Path(given.retrieval[0])), Path(given.retrieval[1]))
        return
    titles = [f"batch {batch}" for batch in BATCHES]
    print(f"| network | `--for` | {' | '.join(titles)} | smallest cosine | file |")
    print(f"|---|---|{'---|' * len(titles)}---|---|")
    for name in given.networks:
        encoder = made(NETWORKS[name])
        for program in given.programs:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / f"network{CONTRACTS[program].suffix}"
                parity = write_exported(path, encoder, CONTRACTS[program], half=given.half)
                size = f"{path.stat().st_size / 2**20:.0f} MiB"
            found = [parity[str(batch)] for batch in BATCHES]
            differences = " | ".join(f"{one['largest_difference']:.1e}" for one in found)
            print(
                f"| {name} | `{program}` | {differences} | {min(one['smallest_cosine'] for one in found):.6f} | {size} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
