"""`upreid split`: write down which images a small-scale or few-shot fine-tuning trains on."""

from upreid.config.commands import SplitConfig
from upreid.data.benchmarks import open_benchmark
from upreid.data.settings import TrainingPart
from upreid.data.splits import split_of, training_part, write_split
from upreid.errors import InputError
from upreid.runtime.console import say
from upreid.runtime.files import check_target, json_with


def run(config: SplitConfig) -> None:
    """Draw, write, and say what was drawn."""
    labelled = open_benchmark(config.name, config.root)
    if config.out.resolve().is_relative_to(labelled.root.resolve()):
        raise InputError(f"--out {config.out} is inside the data set's folder, which stays as it came; choose another")
    check_target(config.out, "--out", json_with("format", "hash", "images"))
    data = TrainingPart(
        name=labelled.name,
        root=config.root,
        identity_share=config.identity_share,
        image_share=config.image_share,
        split_seed=config.seed,
    )
    chosen = training_part(data, labelled.train)
    split = split_of(data, chosen)
    write_split(config.out, split)
    people = len({record.person for record in chosen})
    say(f"{config.out}: {len(chosen)} images of {people} people (of {len(labelled.train)} images), hash {split.hash}")
