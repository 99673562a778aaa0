"""How many images and people each set has, as published, and how what was read differs.

Market-1501, MSMT17: the sets' papers and every reader of them. CUHK03: zhunzhong07/person-re-ranking, CUHK03-NP/README.md
(0621a59). PersonX: yxgeee/SpCL, spcl/datasets/personx.py (a92497b) for the subset; for the original release the counts
per background in SpCL#8, times the number of backgrounds.
"""

MSMT17_TEST = {"query": (11_659, 3_060), "gallery": (82_161, 3_060)}
MSMT17 = {"train": (30_248, 1_041), **MSMT17_TEST}
MSMT17_TRAINVAL = {"train": (32_621, 1_041), **MSMT17_TEST}
CUHK03_LABELED = {"train": (7_368, 767), "query": (1_400, 700), "gallery": (5_328, 700)}
CUHK03_DETECTED = {"train": (7_365, 767), "query": (1_400, 700), "gallery": (5_332, 700)}
PERSONX_BACKGROUND = {"train": (14_760, 410), "query": (856, 856), "gallery": (30_816, 856)}
"""Of the original release, per background."""

PUBLISHED: dict[str, dict[str, tuple[int, int]]] = {
    "market1501": {"train": (12_936, 751), "query": (3_368, 750), "gallery": (15_913, 751)},
    "market1501-500k": {"train": (12_936, 751), "query": (3_368, 750)},
    "cuhk03-np-labeled": CUHK03_LABELED,
    "cuhk03-np-detected": CUHK03_DETECTED,
    "cuhk03-raw-labeled": CUHK03_LABELED,
    "cuhk03-raw-detected": CUHK03_DETECTED,
    "msmt17-v1": MSMT17,
    "msmt17-v2": MSMT17,
    "msmt17-v1-trainval": MSMT17_TRAINVAL,
    "msmt17-v2-trainval": MSMT17_TRAINVAL,
    "msmt17-ecn": MSMT17_TRAINVAL,
    "personx": {"train": (9_840, 410), "query": (5_136, 856), "gallery": (30_816, 856)},
}
"""Images and people by name and list; Market's gallery counts person 0, the distractors, as one person."""


def published(name: str) -> dict[str, tuple[int, int]]:
    """Known counts; none for custom sets."""
    original, _, backgrounds = name.partition("personx-original")
    if original or not name.startswith("personx-original"):
        return PUBLISHED.get(name, {})
    times = len(backgrounds.lstrip("-")) or 6
    return {part: (times * images, people) for part, (images, people) in PERSONX_BACKGROUND.items()}


def differences(name: str, counts: dict[str, dict[str, int]]) -> list[str]:
    """A sentence for every list whose counts are not the published ones."""
    sentences = []
    for part, (images, people) in published(name).items():
        found = counts[part]
        if (found["images"], found["people"]) != (images, people):
            has = f"{part} has {found['images']:,} images of {found['people']:,} people"
            sentences.append(f"{has}; published: {images:,} of {people:,}")
    return sentences
