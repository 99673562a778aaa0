"""Labelled sets, each read as its authors laid it out."""

from collections.abc import Callable
from pathlib import Path

from upreid.data.benchmarks.benchmark import Benchmark
from upreid.data.benchmarks.market1501 import read_market1501

__all__ = ["BENCHMARKS", "Benchmark"]

BENCHMARKS: dict[str, Callable[[Path], Benchmark]] = {"market1501": read_market1501}
