"""The knobs of the commands that train nothing."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from upreid.config.training import ComputeConfig
from upreid.data.settings import LabelledSet, UnlabelledSet
from upreid.ranges import (
    Count,
    Epochs,
    Interpolation,
    Pixels,
    Range,
    Seed,
    Share,
)
from upreid.retrieval.settings import EncoderRanking
from upreid.synthetic.settings import CorpusSettings


@dataclass(frozen=True, kw_only=True)
class SynthConfig(CorpusSettings):
    """Render synthetic pedestrians: an unlabelled `wild/` set and a labelled benchmark of other people."""

    out: Path
    """Folder that the images are written to."""
    workers: Count | None = None
    """Number of processes; by default one per core."""


@dataclass(frozen=True, kw_only=True)
class PackConfig(UnlabelledSet):
    """Pack images into tar shards that training reads at random; any source that `upreid pretrain` takes."""

    src: Path
    """Folder of images, an lmdb, tar archives, a packed set, or a labelled set."""
    out: Path
    """Folder of the shards; the same line goes on after an interruption, and verifies a pack that is finished."""
    name: str | None = None
    """Name of the labelled set at SRC, such as market1501: list, person and camera of every image are packed too."""
    height: Pixels | None = None
    """Height in pixels to which higher images are shrunk; none is enlarged."""
    width: Pixels | None = None
    """Width in pixels to which wider images are shrunk; none is enlarged."""
    quality: Annotated[int, Range(least=1, most=100)] | None = None
    """JPEG quality with which every image is encoded anew; by default only shrunk images are, with 95."""
    shard_size: Count = 10_000
    """Number of images in a shard."""
    tracklets: Path | None = None
    """List of the tracklets of the images, or the word own, folders or names: the packed set carries them (docs/sources.md)."""
    workers: Count | None = None
    """Number of processes; by default one per core."""


@dataclass(frozen=True, kw_only=True)
class DoctorConfig(LabelledSet):
    """Check a labelled set, or with the name `unlabelled` images without labels, before hours are spent on them."""

    name: str
    """Layout and variant of the labelled set, such as market1501 or msmt17-v2; or the word unlabelled."""
    root: Path
    """Folder of the labelled set, or the one above it; any source that pretrain takes, where it is unlabelled."""
    tracklets: Path | None = None
    """List of the tracklets of unlabelled images, or the word own, folders or names (docs/sources.md)."""
    quick: bool = False
    """Quick check: whatever would read every image is left out."""


@dataclass(frozen=True, kw_only=True)
class SplitConfig(LabelledSet):
    """Write a split file: which images a small-scale or few-shot fine-tuning trains on."""

    out: Path
    """JSON file to write; not inside the data set's folder."""
    identity_share: Share = 1.0
    """Small-scale setting: share of the identities that are kept, with all their images."""
    image_share: Share = 1.0
    """Few-shot setting: share of every identity's images that is kept, one image at least."""
    seed: Seed = 1
    """Seed of the draw: which identities or images are kept."""


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig(EncoderRanking, ComputeConfig):
    """Retrieval with an encoder on a labelled set, its own or another one (cross-domain)."""

    encoder: Path
    """Encoder file that pretrain or finetune wrote."""
    data: LabelledSet
    out: Path | None = None
    """JSON file for the numbers and their protocol."""
    page: Path | None = None
    """HTML page with the best and the worst queries and the pictures that were found for them."""
    height: Pixels | None = None
    """Input height in pixels; by default that of the encoder's header."""
    width: Pixels | None = None
    """Input width in pixels; by default that of the encoder's header."""
    interpolation: Interpolation | None = None
    """Interpolation with which images are resized: bilinear or bicubic with antialiasing, or bilinear-aliased, as trackers do it;
    by default that of the encoder's header."""
    batch: Count = 128
    """Number of images in a forward pass."""


@dataclass(frozen=True, kw_only=True)
class TransferConfig(EncoderRanking, ComputeConfig):
    """Retrieval with several encoders on several labelled sets, in one table that marks each encoder's own set."""

    encoders: tuple[Path, ...]
    """Encoder files, or folders of runs."""
    data: tuple[str, ...]
    """Labelled sets to evaluate on, each as NAME=ROOT, such as market1501=data/market1501."""
    out: Path | None = None
    """JSON file for all numbers and their protocols."""
    format: Literal["markdown", "latex"] = "markdown"
    """Format of the printed table: Markdown or LaTeX."""
    metrics: tuple[Literal["mAP", "mAP_trapezoid", "rank1", "rank5", "rank10", "mINP"], ...] = ("mAP", "rank1")
    """Numbers of a cell of the table, in this order."""
    batch: Count = 128
    """Number of images in a forward pass."""


@dataclass(frozen=True, kw_only=True)
class OptionalSet:
    """Labelled set that is looked at only where it is given."""

    name: str | None = None
    """Layout and variant of the labelled set, such as market1501 or msmt17-v2; without it none is looked at."""
    root: Path | None = None
    """Folder of the labelled set, or the one above it."""


@dataclass(frozen=True, kw_only=True)
class DiagnoseConfig(ComputeConfig):
    """Look into a pre-training run: what its terms do to the embeddings, and whether they are solved by a shortcut."""

    run: Path
    """Folder of a pre-training run."""
    data: OptionalSet = field(default_factory=OptionalSet)
    out: Path | None = None
    """JSON file for the numbers and their protocol."""
    unlabelled: Path | None = None
    """Folder of unlabelled images; by default the one that the run was trained on."""
    images: Annotated[int, Range(least=2)] = 1024
    """Number of unlabelled images to look at; all of them where there are fewer."""
    seed: Seed = 1
    """Seed of the choice of images and of their views."""


@dataclass(frozen=True, kw_only=True)
class TableConfig:
    """Print results side by side; runs that differ in their seed only become mean and standard deviation."""

    runs: tuple[Path, ...]
    """Folders of fine-tuning runs, or JSON files that evaluate wrote."""
    format: Literal["markdown", "latex"] = "markdown"
    """Format of the printed table: Markdown or LaTeX."""
    metrics: tuple[Literal["mAP", "mAP_trapezoid", "rank1", "rank5", "rank10", "mINP"], ...] = ("mAP", "rank1")
    """Numbers of a cell of the table, in this order."""


@dataclass(frozen=True, kw_only=True)
class ReportConfig(ComputeConfig):
    """Report on one run or several: a self-contained page with curves, results, ranked lists and what the encoders see."""

    runs: tuple[Path, ...]
    """Folders of runs, finished or not."""
    out: Path
    """HTML page to write."""
    data: OptionalSet = field(default_factory=OptionalSet)
    people: Count = 100
    """Number of test people of a labelled set whose pictures and distances are shown."""
    unlabelled: Path | None = None
    """Folder of unlabelled images whose views are shown; by default the one that a pre-training was trained on."""


@dataclass(frozen=True, kw_only=True)
class DemoConfig:
    """Render, pre-train with MoCo v2 and UP-ReID, fine-tune, evaluate, and show what came out."""

    out: Path = Path("demo")
    """Folder of the tour; what is there already is reused."""
    identities: Annotated[int, Range(least=4, most=9999)] = 250
    """Number of people in the labelled benchmark; `wild/` shows others, with 12 pictures for each of these."""
    epochs: Epochs = 20.0
    """Number of passes over `wild/` in the pre-training with MoCo v2; UP-ReID makes as many as cost the same."""
    finetune_epochs: Epochs = 30.0
    """Number of passes over the labelled images in each fine-tuning."""
    identity_share: Share = 0.3
    """Share of the labelled identities that is used in fine-tuning."""
    seeds: Count = 3
    """Number of fine-tunings per start, each with its own seed."""
    seed: Seed = 1
    """Seed of the corpus and of the pre-trainings."""
