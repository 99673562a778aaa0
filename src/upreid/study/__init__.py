"""`upreid study`: a tour over a declared grid of pre-trainings and what follows them."""

from upreid.study.program import run

__all__ = ["run"]
