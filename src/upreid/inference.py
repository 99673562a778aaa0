"""An encoder in use: from pictures, paths or any source of images to features.

The pixels are those of the evaluation: the same decoding, resizing and normalisation, bit for bit.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int64
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import Dataset

from upreid.data.dataset import SKIP_LIMIT, SkipLedger, network_input, read_input
from upreid.data.decode import UnreadableImage, decode_image
from upreid.data.loading import make_loader
from upreid.data.records import Record, cameras
from upreid.data.sources.recognise import open_source
from upreid.data.sources.source import Source, place
from upreid.errors import DataError, InputError
from upreid.models.encoder import Encoder, EncoderHeader, encoder_file, encoder_sha256, read_file, rebuild
from upreid.models.heads.parts import Head
from upreid.retrieval.features import Encode, encode_batches
from upreid.runtime.console import say
from upreid.types import Neck, Preprocess

Picture = Image.Image | np.ndarray
"""A picture of Pillow's, or an array [height, width, 3] of 8-bit RGB."""


@dataclass(frozen=True, kw_only=True)
class Transform:
    """Turns a picture into network input as the evaluation does; it may be given to a dataset, also of torchvision."""

    preprocess: Preprocess

    def __call__(self, picture: Picture) -> Float[Tensor, "3 height width"]:
        """Return the normalised input of a picture of Pillow's, or of an array [height, width, 3] of 8-bit RGB.

        The result has the bits that evaluation gives to the picture's file. One case differs: a large JPEG that has been decoded
        already, more than four times as high or wide as the input; evaluation has such files shrunk while they are decoded.

        Raises InputError for another kind of array, and DataError for a picture that cannot be read.
        """
        return picture_input(picture, "the picture", self.preprocess)


@dataclass(frozen=True, kw_only=True)
class ImageFeatures:
    """Features of images, with what they are called and how they were made."""

    features: Float[Tensor, "images dim"]
    """Features in single precision, on the CPU, not scaled to unit length."""
    names: tuple[str, ...]
    """Name of each image in its source."""
    people: tuple[int | None, ...]
    """Person of each image; None where it is not known."""
    cameras: tuple[int | None, ...]
    """Camera of each image; None where it is not known."""
    encoder_sha256: str
    """Hash of the encoder's file, as it is without a calibration."""
    preprocess: Preprocess
    skipped: tuple[str, ...] = ()
    """Images that could not be read and have no feature here: a sentence for each, beginning with its name."""


class ImageEncoder(Encoder):
    """An encoder that also takes pictures: `transform` gives its input, and `features` does all at once."""

    def __init__(self, backbone: nn.Module, header: EncoderHeader, head: Head | None, *, sha256: str) -> None:
        super().__init__(backbone, header, head)
        self.sha256 = sha256

    @property
    def transform(self) -> Transform:
        """The function from a picture to network input [3, height, width]."""
        return Transform(preprocess=self.preprocess)

    def features(
        self,
        images: Sequence[Picture | Path | str],
        *,
        cameras: Sequence[int] | None = None,
        batch: int = 128,
        flip: bool = False,
        neck: Neck | None = None,
    ) -> Float[Tensor, "images dim"]:
        """Return the features of pictures, arrays [height, width, 3] of 8-bit RGB, or paths of image files; no gradient.

        They come in single precision on the CPU, not scaled to unit length; the encoder's device computes them, in evaluation
        mode, `batch` images at a time. `flip` averages over a picture and its mirror image; `neck` is the side of the BNNeck,
        by default that of the header. `cameras`, one number for each image, matters to encoders that embed cameras.

        Raises InputError for what is no picture, and DataError for a file that cannot be read.
        """
        if isinstance(images, Image.Image | Path | str):
            raise InputError(
                f"features takes a list of images, and was given one ({type(images).__name__}); put it in a list"
            )
        if cameras is not None and len(cameras) != len(images):
            raise InputError(f"{len(cameras)} cameras came for {len(images)} images; give one for each")
        check_batch(batch)

        def batches() -> Iterator[Tensor]:
            for start in range(0, len(images), batch):
                some = [
                    any_input(images[at], at, self.preprocess) for at in range(start, min(start + batch, len(images)))
                ]
                yield torch.stack(some)

        if not len(images):
            blank = torch.zeros(1, 3, self.preprocess.height, self.preprocess.width)
            seen = None if self.head is None else getattr(self.head, "cameras", ())[:1] or None
            return encoded(self, [blank], 1, seen, flip=flip, neck=neck)[:0]
        return encoded(self, batches(), len(images), cameras, flip=flip, neck=neck)


def load_encoder(path: Path | str, device: torch.device | str = "cpu") -> ImageEncoder:
    """Load an encoder in evaluation mode, from a file or from the folder of a run.

    It is a module from normalised images [batch, 3, height, width] to features [batch, dim], and takes pictures by its
    `transform` and `features`.

    Raises InputError where there is no such file or device, and DataError where the file is cut short, not ours, of a later
    format, or does not fit its own header tensor for tensor.
    """
    file = encoder_file(Path(path).expanduser())
    encoder = rebuild(file, *read_file(file), device=usable_device(device))
    return ImageEncoder(encoder.backbone, encoder.header, encoder.head, sha256=encoder_sha256(file)).eval()


def usable_device(device: torch.device | str) -> torch.device:
    """Return a device of torch; InputError where there is none of this name."""
    try:
        found = torch.device(device)
    except RuntimeError as error:
        raise InputError(f"device '{device}' is unknown to torch; give cpu or cuda") from error
    if found.type == "cuda" and not torch.cuda.is_available():
        raise InputError(f"device '{device}' was asked for, but torch sees no GPU; leave it out, or give cpu")
    return found


def extract(
    encoder: ImageEncoder,
    source: Path | str | Source | Sequence[Record],
    *,
    batch: int = 128,
    flip: bool = False,
    neck: Neck | None = None,
    workers: int = 0,
    unreadable_share: float = SKIP_LIMIT,
    quiet: bool = False,
) -> ImageFeatures:
    """Return the features of all images of a source, in its order, with their names.

    `source`: the path of a folder, a packed set, an lmdb or tar archives; a source that is open; or a list of a labelled set,
    such as `read_benchmark("market1501", "data/").query`. `workers` processes read the images. An image that cannot be read is
    named on standard error and in the result, and has no row; above the share `unreadable_share` of such images, and for any
    such image of a labelled set, DataError is raised: a ranking without it would be another benchmark.

    Raises InputError where there is no source, and what `load_encoder` and reading raise.
    """
    check_batch(batch)
    if isinstance(source, Path | str):
        source = open_source(Path(source).expanduser())
        if not quiet:
            say(source.description)
    if not len(source):
        raise InputError("there are no images to extract features of; give a source that holds some")
    images = SourceImages(source, encoder.preprocess)
    ledger = SkipLedger(len(images), unreadable_share if isinstance(source, Source) else 0.0)

    def batches() -> Iterator[Tensor]:
        for pixels, skipped in make_loader(
            images, batch_size=batch, workers=workers, collate=collate_inputs, flag="--workers"
        ):
            for sentence in ledger.add(skipped):
                if not quiet:
                    say(f"skipped {sentence}")
            yield pixels

    seen = None if isinstance(source, Source) else cameras(source)
    features = encoded(encoder, batches(), len(images), seen, flip=flip, neck=neck, quiet=quiet)
    kept = [index for index in range(len(images)) if index not in ledger.reasons]
    return ImageFeatures(
        features=features[kept],
        names=tuple(images.name(index) for index in kept),
        people=(None,) * len(kept) if isinstance(source, Source) else tuple(record.person for record in source),
        cameras=(None,) * len(kept) if isinstance(source, Source) else tuple(record.camera for record in source),
        encoder_sha256=encoder.sha256,
        preprocess=encoder.preprocess,
        skipped=tuple(reason for _, reason in sorted(ledger.state())),
    )


class SourceImages(Dataset[tuple[int, Tensor, str]]):
    """Network input of the images of a source; for a file that cannot be read, a black picture and the reason."""

    def __init__(self, source: Source | Sequence[Record], preprocess: Preprocess) -> None:
        self.source, self.preprocess = source, preprocess

    def __len__(self) -> int:
        return len(self.source)

    def name(self, index: int) -> str:
        """Return what an image is called in its source."""
        return self.source.name(index) if isinstance(self.source, Source) else str(self.source[index].path)

    def __getitem__(self, index: int) -> tuple[int, Tensor, str]:
        """Read, decode, resize and normalise one image; return its index with it, and an empty reason where all went well."""
        source = self.source
        if isinstance(source, Source):
            record = Record(path=Path(place(source, index)), source=source, index=index)
        else:
            record = source[index]
        try:
            return index, read_input(record, self.preprocess), ""
        except UnreadableImage as error:
            return index, torch.zeros(3, self.preprocess.height, self.preprocess.width), str(error)


def collate_inputs(items: Sequence[tuple[int, Tensor, str]]) -> tuple[Tensor, list[tuple[int, str]]]:
    """Stack the pixels of a batch, and list what could not be read."""
    pixels = torch.stack([pixels for _, pixels, _ in items])
    return pixels, [(index, reason) for index, _, reason in items if reason]


def any_input(image: Picture | Path | str, number: int, preprocess: Preprocess) -> Float[Tensor, "3 height width"]:
    """Return the network input of image `number` of a list: a picture, an array, or the path of a file."""
    if not isinstance(image, Path | str):
        return picture_input(image, f"image {number} of the list", preprocess)
    try:
        return read_input(Record(path=Path(image).expanduser()), preprocess)
    except UnreadableImage as error:
        raise DataError(f"cannot read image {error}; repair it, or leave it out") from error


def picture_input(picture: Picture, name: str, preprocess: Preprocess) -> Float[Tensor, "3 height width"]:
    """Return the network input of a picture or an array; `name` is what it is called when it fails."""
    if isinstance(picture, np.ndarray):
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or 0 in picture.shape:
            raise InputError(
                f"{name} is an array of shape {picture.shape} and type {picture.dtype}; "
                "expected [height, width, 3] of type uint8, in the order red, green, blue"
            )
        picture = Image.fromarray(np.ascontiguousarray(picture))
    if not isinstance(picture, Image.Image):
        raise InputError(f"{name} is a {type(picture).__name__}; expected a picture of Pillow's, an array or a path")
    try:
        pixels = decode_image(picture, name, target=preprocess.decoded_for)
    except UnreadableImage as error:
        raise DataError(f"cannot read {error}; repair it, or leave it out") from error
    return network_input(pixels, preprocess)


def encoded(
    encoder: ImageEncoder,
    batches: Iterable[Tensor],
    count: int,
    seen: Sequence[int] | None,
    *,
    flip: bool,
    neck: Neck | None,
    quiet: bool = True,
) -> Float[Tensor, "images dim"]:
    """Encode `count` images in evaluation mode, and leave the modes of the encoder's modules as they were."""
    device = next(encoder.parameters()).device
    numbers: Int64[Tensor, " images"] = torch.zeros(count, dtype=torch.long) if seen is None else torch.tensor(seen)
    function: Callable[..., Tensor] = encoder.at_neck(neck)
    encode: Encode = (lambda images, _: function(images)) if seen is None else function
    with in_evaluation_mode(encoder):
        return encode_batches(encode, batches, numbers, device=device, flip=flip, quiet=quiet)


@contextmanager
def in_evaluation_mode(net: nn.Module) -> Iterator[None]:
    """Put a module and its parts into evaluation mode for a while; each returns to the mode that it was in."""
    modes = [(module, module.training) for module in net.modules()]
    net.eval()
    try:
        yield
    finally:
        for module, was_training in modes:
            module.training = was_training


def check_batch(batch: int) -> None:
    """Raise InputError for a batch without images."""
    if batch < 1:
        raise InputError(f"batch {batch}: give the number of images in a forward pass, at least 1")
