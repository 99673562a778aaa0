"""Features at rest: the features of a source's images, their names, and how they were made, in one file.

A `.safetensors` file holds `features` [images, dim] and `names` (UTF-8, with a zero byte between two of them); a `.npz` file
holds the same two arrays. A `.parquet` file holds a row for each image, its `name` and its `feature`. The facts are JSON, in the
header or under `facts`.
"""

import importlib.util
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from upreid.errors import DataError, InputError, first_line
from upreid.runtime.files import write_aside
from upreid.types import Preprocess

KEY = "upreid.features"
SUFFIXES = (".safetensors", ".npz", ".parquet")


@dataclass(frozen=True, kw_only=True)
class FeatureFacts:
    """How features were made."""

    encoder: str
    """Path of the encoder, as it was given."""
    encoder_sha256: str
    source: str
    """Path of the source, as it was given."""
    fingerprint: str
    """What changes when the images' names or their order do."""
    height: int
    width: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str
    neck: str
    flip: bool
    skipped: tuple[str, ...] = ()
    """Images that could not be read and have no row: a sentence for each."""

    @property
    def preprocess(self) -> Preprocess:
        """How pixels became network input."""
        red, green, blue = self.mean
        first, second, third = self.std
        return Preprocess(
            height=self.height,
            width=self.width,
            mean=(red, green, blue),
            std=(first, second, third),
            interpolation=self.interpolation,
        )


@dataclass(frozen=True, kw_only=True)
class FeatureFile:
    """Features with names and facts."""

    features: Float[Tensor, "images dim"]
    """Features in single precision, not scaled to unit length."""
    names: tuple[str, ...]
    facts: FeatureFacts


def check_suffix(path: Path) -> None:
    """Refuse a name that says no form, or one that needs a package that is not installed."""
    if path.suffix not in SUFFIXES:
        raise InputError(f"{path}: the name must end in {' or '.join(SUFFIXES)}, which says the form of the file")
    if path.suffix == ".parquet" and importlib.util.find_spec("pyarrow") is None:
        raise InputError(
            f"{path}: parquet needs pyarrow; install it (pip install 'upreid[parquet]'), or give .safetensors"
        )


def save_features(path: Path, file: FeatureFile) -> None:
    """Write a feature file whole, in the form that its name says."""
    check_suffix(path)
    facts = json.dumps(asdict(file.facts), sort_keys=True)
    names = np.frombuffer("\0".join(file.names).encode("utf-8", errors="surrogateescape"), dtype=np.uint8)
    with write_aside(path) as aside:
        if path.suffix == ".npz":
            with aside.open("wb") as stream:
                np.savez(stream, features=file.features.numpy(), names=names, facts=np.array(facts))
        elif path.suffix == ".parquet":
            save_parquet(aside, file, facts)
        else:
            tensors = {"features": file.features.contiguous(), "names": torch.from_numpy(names.copy())}
            save_file(tensors, aside, metadata={KEY: facts})


def read_features(path: Path) -> FeatureFile:
    """Read a feature file; InputError where there is none, DataError where it is damaged or something else."""
    if not path.is_file():
        raise InputError(f"no feature file {path}; make one with: upreid extract ENCODER SOURCE {path}")
    if path.suffix == ".parquet":
        check_suffix(path)
    contents = {".npz": contents_of_npz, ".parquet": contents_of_parquet}.get(path.suffix, contents_of_safetensors)
    try:
        features, names, facts = contents(path)
        known = FeatureFacts(**{name: tuple_of(value) for name, value in json.loads(facts).items()})
    except (SafetensorError, BadZipFile, OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path} is no feature file of upreid, or is damaged ({first_line(error) or type(error).__name__}); make it "
            "anew with upreid extract"
        ) from error
    listed = tuple(names.tobytes().decode("utf-8", errors="surrogateescape").split("\0")) if len(names) else ()
    if features.ndim != 2 or len(listed) != len(features):
        raise DataError(f"{path} has {len(listed)} names for features of shape {tuple(features.shape)}; make it anew")
    return FeatureFile(features=features, names=listed, facts=known)


def contents_of_safetensors(path: Path) -> tuple[Tensor, np.ndarray, str]:
    """Return features, names as bytes, and facts as JSON."""
    with safe_open(path, framework="pt") as file:
        return file.get_tensor("features").float(), file.get_tensor("names").numpy(), (file.metadata() or {})[KEY]


def contents_of_npz(path: Path) -> tuple[Tensor, np.ndarray, str]:
    """Return features, names as bytes, and facts as JSON; nothing in the file is unpickled."""
    with np.load(path, allow_pickle=False) as file:
        return torch.from_numpy(file["features"]).float(), file["names"], str(file["facts"])


def save_parquet(path: Path, file: FeatureFile, facts: str) -> None:
    """Write a table with a row for each image; InputError for a name that is not UTF-8, which parquet cannot hold."""
    import pyarrow
    from pyarrow import parquet

    try:
        names = pyarrow.array(file.names, type=pyarrow.string())
    except UnicodeEncodeError as error:
        raise InputError(
            f"a name is not UTF-8 ({error.object!a}), which parquet cannot hold; give .safetensors"
        ) from error
    values = pyarrow.array(file.features.flatten().numpy())
    features = pyarrow.FixedSizeListArray.from_arrays(values, file.features.shape[1])
    table = pyarrow.table({"name": names, "feature": features}).replace_schema_metadata({KEY: facts})
    parquet.write_table(table, path)


def contents_of_parquet(path: Path) -> tuple[Tensor, np.ndarray, str]:
    """Return features, names as bytes, and facts as JSON."""
    from pyarrow import parquet

    table = parquet.read_table(path, memory_map=False)
    column = table["feature"].combine_chunks()
    features = column.flatten().to_numpy(zero_copy_only=False).reshape(len(column), column.type.list_size)
    names = "\0".join(table["name"].to_pylist()).encode()
    facts = (table.schema.metadata or {})[KEY.encode()].decode()
    return torch.tensor(features).float(), np.frombuffer(names, dtype=np.uint8), facts


def tuple_of(value: Any) -> Any:
    """Make a tuple of a list, which JSON makes of tuples."""
    return tuple(value) if isinstance(value, list) else value


def joined(parts: Sequence[FeatureFile]) -> FeatureFile:
    """Put the parts of one source after one another."""
    skipped = tuple(sentence for part in parts for sentence in part.facts.skipped)
    return FeatureFile(
        features=torch.cat([part.features for part in parts]),
        names=tuple(name for part in parts for name in part.names),
        facts=replace(parts[0].facts, skipped=skipped),
    )
