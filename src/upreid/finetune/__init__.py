"""`upreid finetune`: train an encoder on a labelled set, and evaluate it."""

from upreid.finetune.program import resume, run

__all__ = ["resume", "run"]
