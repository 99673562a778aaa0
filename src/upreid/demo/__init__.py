"""`upreid demo`: a tour that calls the programs one after the other, and shows what came out."""

from upreid.demo.tour import run

__all__ = ["run"]
