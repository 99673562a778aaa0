"""All that is to be measured on a GPU, in one script: under eight minutes on one GPU, without a network or a data set.

    PYTHONPATH=src python benchmarks/gpu.py --out DIR
    PYTHONPATH=src python benchmarks/gpu.py --out DIR --parts machine steps-resnet50 --budget 200
    PYTHONPATH=src python benchmarks/gpu.py --out DIR --tiny    # tests the script itself, on a CPU, in about a minute

It needs PyTorch, torchvision, timm, tyro, rich, safetensors and jaxtyping, and for re-ranking scipy; it renders its own crops.
Every part (`_gpu_parts.py`) runs in a process of its own, so that one that fails, hangs or runs out of memory ends alone;
it is stopped after three times the seconds that it should take. A
measurement is printed and written to DIR/rows.jsonl as soon as it is made; after every part DIR/gpu.json and DIR/gpu.md (tables
for docs/performance.md) are written anew. A second call with other parts adds to the same folder.
"""

import argparse
import json
import multiprocessing
import os
import signal
import sys
import tempfile
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any

from _gpu_bench import Bench
from _gpu_parts import PARTS
from upreid.runtime.compute import provenance
from upreid.runtime.files import write_text

Row = dict[str, Any]


class Report:
    """The measurements of all parts, in a file to which each is appended when it is made."""

    def __init__(self, out: Path) -> None:
        self.out, self.path = out, out / "rows.jsonl"

    def rows(self) -> list[Row]:
        """Read what has been measured; a line that was cut off is left out."""
        lines = self.path.read_bytes().splitlines(keepends=True) if self.path.exists() else []
        return [json.loads(line) for line in lines if line.endswith(b"\n")]

    def forget(self, parts: list[str]) -> None:
        """Drop earlier measurements of parts that are measured again."""
        kept = [row for row in self.rows() if row["part"] not in parts]
        write_text(self.path, "".join(json.dumps(row) + "\n" for row in kept))

    def add(self, part: str, case: str, **values: Any) -> None:
        """Write one measurement down, and print it."""
        with self.path.open("a") as file:
            file.write(json.dumps({"part": part, "case": case, **values}) + "\n")
        shown = "  ".join(f"{name} {shortened(value)}" for name, value in values.items())
        print(f"{part:18s} {case}: {shown}", flush=True)

    def publish(self, facts: Row) -> None:
        """Write all that has been measured as JSON and as tables."""
        rows = self.rows()
        write_text(self.out / "gpu.json", json.dumps({**facts, "rows": rows}, indent=2) + "\n")
        names = dict.fromkeys(row["part"] for row in rows)
        tables = [table([row for row in rows if row["part"] == name], title=name) for name in names]
        machine = f"{facts['hardware']['gpu']}, torch {facts['hardware']['torch']}, commit {facts['commit']}"
        write_text(self.out / "gpu.md", f"`python benchmarks/gpu.py` on {machine}\n\n" + "\n".join(tables))


def table(rows: list[Row], title: str) -> str:
    """Write the rows of a part as a table in Markdown, and its errors below it."""
    good, bad = [row for row in rows if "error" not in row], [row for row in rows if "error" in row]
    columns = list(dict.fromkeys(name for row in good for name in row if name not in ("part", "case")))
    lines = [f"### {title}", ""]
    if good:
        lines += ["| | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for row in good:
        lines.append(f"| {row['case']} | " + " | ".join(shortened(row.get(name, "")) for name in columns) + " |")
    lines += [f"- {row['case']}: {str(row['error']).splitlines()[-1]}" for row in bad]
    return "\n".join(lines) + "\n"


def shortened(value: Any) -> str:
    """Write a number with three significant digits, and anything else in one line."""
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value).rpartition("\n")[2]


def measure(name: str, bench: Bench, report: Report, log: Path) -> None:
    """Do a part in the process that was forked for it; its messages go to the log."""
    os.setsid()
    with log.open("a") as file:
        os.dup2(file.fileno(), sys.stderr.fileno())
    try:
        PARTS[name].measure(bench, lambda case, **values: report.add(name, case, **values))
    except BaseException as error:
        report.add(name, type(error).__name__, error=traceback.format_exc().strip())
        sys.exit(1)


def do(name: str, bench: Bench, report: Report, log: Path, seconds: float) -> None:
    """Fork a process for a part, and end it with all that it started when its time is over."""
    began, failed = time.monotonic(), sum("error" in row for row in report.rows())
    child = multiprocessing.get_context("fork").Process(target=measure, args=(name, bench, report, log))
    child.start()
    try:
        child.join(seconds)
        is_late = child.is_alive()
    finally:
        assert child.pid is not None
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.join()
    if is_late:
        report.add(name, "time", error=f"stopped after {seconds:.0f} seconds")
    elif child.exitcode and sum("error" in row for row in report.rows()) == failed:
        report.add(name, "process", error=f"ended with exit code {child.exitcode}; see {log.name}")
    print(f"{name:18s} took {time.monotonic() - began:.0f} s", flush=True)


def facts_of(tiny: bool) -> Row:
    """Ask for versions and hardware in another process: a process that has touched CUDA cannot be forked for a part."""
    with multiprocessing.get_context("fork").Pool(1) as pool:
        facts: Row = pool.apply(provenance)
    if facts["hardware"]["gpu"] == "none" and not tiny:
        sys.exit("torch sees no GPU; --tiny tests the script itself on a CPU")
    return facts


def main() -> int:
    """Do the parts; the exit code is 1 where one of them failed."""
    parser = argparse.ArgumentParser(description="All that is to be measured on a GPU")
    parser.add_argument("--out", type=Path, required=True, help="folder for rows.jsonl, gpu.json, gpu.md and gpu.log")
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS), help="in this order")
    parser.add_argument("--budget", type=float, default=460.0, help="seconds for everything; 460 by default")
    parser.add_argument("--work", type=Path, help="folder for crops and runs; a temporary one by default")
    parser.add_argument("--tiny", action="store_true", help="test the script itself on a CPU")
    given = parser.parse_args()
    began = time.monotonic()
    given.out.mkdir(parents=True, exist_ok=True)
    report, log = Report(given.out), given.out / "gpu.log"
    report.forget(given.parts)
    facts = facts_of(given.tiny)
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(work=given.work or Path(folder), tiny=given.tiny)
        for name in given.parts:
            left = given.budget - (time.monotonic() - began)
            expected = PARTS[name].seconds
            if left < expected / 2:
                report.add(name, "time", error=f"left out: {left:.0f} of {given.budget:.0f} seconds are left")
            else:
                do(name, bench, report, log, left if given.tiny else min(left, 3 * expected))
            report.publish(facts)
    return int(any("error" in row for row in report.rows()))


if __name__ == "__main__":
    sys.exit(main())
