"""`upreid pretrain`: unlabelled person images in, an encoder out."""

from upreid.pretrain.program import resume, run

__all__ = ["resume", "run"]
