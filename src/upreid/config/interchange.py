"""The knobs of the commands that carry weights and features in and out; a sentence under each."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from upreid.config.training import ComputeConfig
from upreid.ranges import Count, CountOrZero, Deviation, Interpolation, Mean, NotNegative, Pixels, ShareOrZero


@dataclass(frozen=True, kw_only=True)
class ConvertConfig:
    """Convert weights: those of another program into an encoder file, or an encoder into what another program loads."""

    src: Path
    """Checkpoint of another program, encoder file, or folder of a run or of a model."""
    out: Path
    """File or folder to write."""
    to: Literal["upreid", "timm", "torchvision", "fast-reid", "torchreid", "transreid", "reid", "folder"] = "upreid"
    """Program that is to load the result; folder is a model folder with a card."""
    format: str | None = None
    """Name of the format of the checkpoint, as docs/weights.md lists them; by default it is recognised."""
    backbone: str | None = None
    """Name of the network in the checkpoint, of timm or upreid; by default it is told from the shapes."""
    last_stride: Literal[1, 2] | None = None
    """Stride of a ResNet's last stage, which no weight shows; by default that of the format."""
    patch_stride: Pixels | None = None
    """Distance of a ViT's patches in pixels; by default told from its positions."""
    attention_heads: Pixels | None = None
    """Number of attention heads of a ViT, which no weight shows; by default that of the network."""
    domain: CountOrZero | None = None
    """Number of the set, counted from 0, whose BatchNorm is taken from a checkpoint of OpenUnReID that has one for each set."""
    height: Pixels | None = None
    """Input height in pixels; by default that of the file or of its format."""
    width: Pixels | None = None
    """Input width in pixels; by default that of the file or of its format."""
    mean: tuple[Mean, Mean, Mean] | None = None
    """Mean of the pixels from 0 to 1 in each channel; by default that of the file or of its format."""
    std: tuple[Deviation, Deviation, Deviation] | None = None
    """Standard deviation of the pixels from 0 to 1 in each channel; by default that of the file or of its format."""
    interpolation: Interpolation | None = None
    """Interpolation with which images are resized; by default that of the format."""
    without_head: bool = False
    """Backbone alone: a fine-tuned head is left behind."""
    push: str | None = None
    """Name ORG/NAME in a hub that the model folder is sent to."""


@dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """Export an encoder for another program: one file with the weights inside and a fixed size of the input, or reid's folder."""

    encoder: Path
    """Encoder file that pretrain or finetune wrote, or the folder of a run or of a model."""
    out: Path
    """File to write, whose name ends in .onnx, or in .pt2 for a program; for reid a folder."""
    for_: Annotated[
        Literal["plain", "plain-normalised", "boxmot", "ultralytics", "program", "reid"], tyro.conf.arg(name="for")
    ] = "plain"
    """Program that is to load the result. It decides what the graph is given: plain and ultralytics give RGB from 0 to 1,
    boxmot RGB normalised by ImageNet's statistics, plain-normalised RGB normalised by the encoder's own; program is a
    program of torch.export, which takes RGB from 0 to 1. For reid, Roboflow's, the result is a folder of weights and settings."""
    neck: Literal["after", "before"] | None = None
    """Side of the BNNeck from which features are taken, where the encoder has one; by default the side that its recipe tests."""
    half: bool = False
    """Weights and arithmetic in half precision; input and output stay in single precision."""
    cameras: Literal["left-out", "mean"] = "left-out"
    """Embedding of cameras, which trackers do not know: left out, or the mean over the cameras of the training for all images."""


@dataclass(frozen=True, kw_only=True)
class ExtractConfig(ComputeConfig):
    """Features of the images of any source, with their names, in one file; the same line goes on after an interruption."""

    encoder: Path
    """Encoder file that pretrain or finetune wrote."""
    source: Path
    """Folder of images, an lmdb, tar archives, or a packed set."""
    out: Path
    """File for the features; its name ends in .safetensors, .npz or .parquet."""
    batch: Count = 128
    """Number of images in a forward pass."""
    flip: bool = False
    """Features as the mean over an image and its mirror image."""
    neck: Literal["after", "before"] | None = None
    """Side of the BNNeck from which features are taken, where the encoder has one; by default the side that its recipe tests."""
    unreadable_share: ShareOrZero = 0.01
    """Share of images that may be unreadable; above it the program stops, below it they are left out and named."""


@dataclass(frozen=True, kw_only=True)
class SearchConfig(ComputeConfig):
    """Search for images among the features that extract made: the nearest ones, as JSON and as a page with pictures."""

    features: Path
    """File of features that extract wrote."""
    query: tuple[Path, ...]
    """Images to search for, or folders of them."""
    encoder: Path
    """Encoder that the features were made with; another one is refused."""
    top: Count = 10
    """Number of entries to list for each query."""
    metric: Literal["cosine", "euclidean"] = "cosine"
    """Distance between features: cosine or Euclidean."""
    engine: Literal["torch", "faiss"] = "torch"
    """Engine of the search, which is exact with both: torch, or faiss (pip install 'upreid[faiss]')."""
    threshold: NotNegative | None = None
    """Largest distance of an entry that counts; a query without any is said not to be here. By default that of the encoder's
    calibration, where it has one."""
    out: Path | None = None
    """JSON file for what was found."""
    page: Path | None = None
    """HTML page with the pictures of queries and of what was found for them."""
    source: Path | None = None
    """Place of the images for the page, where they have moved since their features were made."""
