"""The training methods: which configuration each has, and which module builds it."""

from collections.abc import Sequence
from dataclasses import dataclass

from upreid.config.adapt import AdaptConfig
from upreid.config.finetune import FinetuneConfig
from upreid.config.pretrain import MocoV2Config
from upreid.config.training import TrainingConfig
from upreid.errors import InputError, nearest


@dataclass(frozen=True, kw_only=True)
class MethodEntry:
    """A row of the table of methods."""

    program: str
    """Command that trains with the method."""
    config: type[TrainingConfig]
    """Schema of the command line; its default of `method` is the name of the row."""
    module: str
    """Dotted name of the module that builds the method from its configuration."""


METHODS: dict[str, MethodEntry] = {
    "moco-v2": MethodEntry(program="pretrain", config=MocoV2Config, module="upreid.methods.moco_v2"),
    "supervised": MethodEntry(program="finetune", config=FinetuneConfig, module="upreid.methods.supervised"),
    "cluster-contrast": MethodEntry(program="adapt", config=AdaptConfig, module="upreid.methods.cluster_contrast"),
}
"""Name of a method -> its row. The first row of a program is the method of recipes that name none."""


def schema_of(program: str, flags: Sequence[str]) -> type[TrainingConfig]:
    """Return the schema of the method that `flags` name: the last `--method` wins, and without one the first row.

    Raises InputError for a method that the program does not have.
    """
    known = [name for name, entry in METHODS.items() if entry.program == program]
    method = known[0]
    for place, flag in enumerate(flags):
        name, equals, value = flag.partition("=")
        if name == "--method":
            method = value if equals else " ".join(flags[place + 1 : place + 2])
    if method not in known:
        raise InputError(f"--method got '{method}'{nearest(method, known)}")
    return METHODS[method].config
