"""What the terms of a pre-training look at: views of some images, how similar they are, and its patches."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.nn import functional as F

from upreid.commands.diagnose import take_up, views_of
from upreid.methods.method import batch_size
from upreid.methods.pretraining import preprocess
from upreid.report.activation import Picture, activations, picture
from upreid.report.runs import ReportedRun
from upreid.runtime.charts import Chart, histogram
from upreid.runtime.compute import Compute

NUM_IMAGES = 6
BINS = 50
SEED = 1
VIEWS = {"query": "view 1", "key": "view 2"}


@dataclass(frozen=True, kw_only=True)
class PatchTable:
    """Mean similarity of each patch of one version to each patch of the other version of the same image."""

    names: list[str]
    values: list[list[float]]
    shades: list[list[float]]
    """The values from 0, the least of all, to 1."""
    who: str
    """Whose vectors of patches are compared."""


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What one run's terms look at."""

    name: str
    images: int
    rows: list[list[Picture]]
    """Pictures of an image: the original, its views, and where the feature map is long."""
    similarities: Chart
    patches: PatchTable | None


def look(run: ReportedRun, compute: Compute, unlabelled: Path | None) -> Terms:
    """Embed one batch of the run's images, in new views, with the network as it was last saved."""
    taken = take_up(run.folder, compute, unlabelled)
    views = next(views_of(taken, images=1, seed=SEED))
    method, pixels = taken.method, preprocess(taken.config)
    embedded = {name: F.normalize(method.embeddings(views[name]).float()) for name in ("original", *VIEWS)}
    own = {name: (embedded[name] * embedded["original"]).sum(dim=1) for name in VIEWS}
    strangers = (embedded["query"] * embedded["original"].roll(1, dims=0)).sum(dim=1)
    some = views["original"][:NUM_IMAGES]
    lit = activations(method.encoder().backbone, some, pixels, "feature map")
    rows: list[list[Picture]] = []
    for place in range(len(some)):
        pictures = [picture(some[place], pixels, "original")]
        for name, words in VIEWS.items():
            likeness = f"{words}: {own[name][place]:.2f}"
            pictures.append(picture(views[name][place], pixels, f"{likeness} similar to the original", likeness))
        rows.append([*pictures, *lit[place : place + 1]])
    compared = [
        ("views and their originals", torch.cat(list(own.values()))),
        ("views and originals of other images", strangers),
    ]
    edges = torch.linspace(-1, 1, BINS + 1)
    lines = [
        histogram(torch.histc(values.cpu(), BINS, -1, 1).tolist(), edges.tolist(), label, style)
        for style, (label, values) in enumerate(compared)
    ]
    patches = None
    if "query_patches" in views:
        versions = [method.patch_vectors(views[f"{name}_patches"]) for name in ("query", "key")]
        patches = patch_table(versions, method.diagnosis_protocol())
    return Terms(
        name=run.name,
        images=batch_size(views),
        rows=rows,
        similarities=Chart(
            title=f"{run.name}: similarity of views and originals",
            x_label="cosine similarity",
            note=f"percent of the pairs; on average {compared[0][1].mean():.2f} and {strangers.mean():.2f}",
            lines=lines,
            from_zero=True,
        ),
        patches=patches,
    )


def patch_table(vectors: Sequence[dict[str, torch.Tensor]], protocol: dict[str, object]) -> PatchTable | None:
    """Compare the two versions of the patches: those of the patch head where there is one, else the backbone's features."""
    who = "head_" if "head_" in vectors[0] else ""
    if who not in vectors[0]:
        return None
    query, key = (some[who].float() for some in vectors)
    means = (query @ key.transpose(1, 2)).mean(dim=0)
    shades = (means - means.min()) / (means.max() - means.min()).clamp(min=1e-12)
    grid = protocol.get("patches")
    columns = grid[1] if isinstance(grid, list) else len(means)
    return PatchTable(
        names=[f"{place // columns + 1}.{place % columns + 1}" for place in range(len(means))],
        values=means.tolist(),
        shades=shades.tolist(),
        who="the patch head's embeddings" if who else "the backbone's features",
    )
