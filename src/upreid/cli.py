"""The command line: one table of commands; usage, help and dispatch come out of it. Nothing heavy is imported before parsing."""

import os
import select
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from io import TextIOWrapper
from pathlib import Path

from upreid.errors import InputError, UpreidError, in_one_line, nearest
from upreid.runtime.launcher import num_ranks, rank
from upreid.runtime.processes import end_with_parent

STANDARD_OUTPUT = 1
RESUME = {"--resume RUN": "continue a run after an interruption"}


@dataclass(frozen=True)
class Command:
    """A row of the table of commands."""

    module: str
    """Module of this package whose `run` takes the configuration."""
    schema: str
    """Module and class of the configuration; of a training without the class, which its method names (config/methods.py)."""
    places: tuple[str, ...]
    """Fields that need no flag, in their order."""
    lines: dict[str, str]
    """Words that may follow the command's name, and one line of help for each."""


COMMANDS: dict[str, Command] = {
    "synth": Command(
        "commands.synth",
        "commands:SynthConfig",
        ("out",),
        {"OUT": "render synthetic pedestrians: unlabelled ones, and a labelled benchmark"},
    ),
    "pack": Command(
        "commands.pack",
        "commands:PackConfig",
        ("src", "out"),
        {"SRC OUT": "pack images of any source into shards that training reads at random"},
    ),
    "pretrain": Command(
        "commands.pretrain",
        "methods",
        ("recipe",),
        {"RECIPE": "train an encoder on unlabelled images of people", **RESUME},
    ),
    "doctor": Command(
        "commands.doctor",
        "commands:DoctorConfig",
        ("name", "root"),
        {
            "DATASET ROOT": "check a labelled set before hours are spent on it",
            "unlabelled ROOT": "check images without labels, and their tracklets",
        },
    ),
    "split": Command(
        "commands.split",
        "commands:SplitConfig",
        ("name", "root"),
        {"DATASET ROOT": "write down a small-scale or few-shot part of a training set"},
    ),
    "finetune": Command(
        "commands.finetune",
        "methods",
        ("recipe",),
        {"RECIPE": "train an encoder on a labelled set, and evaluate it", **RESUME},
    ),
    "adapt": Command(
        "commands.adapt",
        "methods",
        ("recipe",),
        {"RECIPE": "train an encoder on images without labels by clustering them", **RESUME},
    ),
    "evaluate": Command(
        "commands.evaluate",
        "commands:EvaluateConfig",
        ("encoder",),
        {"ENCODER": "measure retrieval with an encoder, and say how it was measured"},
    ),
    "export": Command(
        "commands.export",
        "interchange:ExportConfig",
        ("encoder", "out"),
        {"ENCODER OUT.onnx --for PROGRAM": "write an encoder as an ONNX file that a tracker loads"},
    ),
    "transfer": Command(
        "commands.transfer",
        "commands:TransferConfig",
        ("encoders",),
        {"ENCODER... --data SET=ROOT...": "evaluate encoders on sets that they were not fine-tuned on, in one table"},
    ),
    "extract": Command(
        "commands.extract",
        "interchange:ExtractConfig",
        ("encoder", "source", "out"),
        {"ENCODER SOURCE OUT": "write the features of the images of any source, with their names"},
    ),
    "search": Command(
        "commands.search",
        "interchange:SearchConfig",
        ("features", "query"),
        {"FEATURES QUERY...": "find the images that are nearest to some others"},
    ),
    "calibrate": Command(
        "commands.calibrate",
        "calibrate:CalibrateConfig",
        ("encoder",),
        {"ENCODER": "find the distance up to which two images are taken for one person, and test it on others"},
    ),
    "diagnose": Command(
        "commands.diagnose",
        "commands:DiagnoseConfig",
        ("run",),
        {"RUN": "measure what a pre-training did to its embeddings, term by term"},
    ),
    "watch": Command(
        "commands.watch",
        "watch:WatchConfig",
        ("runs",),
        {"RUN...": "watch runs in TensorBoard or Weights & Biases, from their metrics.jsonl"},
    ),
    "convert": Command(
        "commands.convert",
        "interchange:ConvertConfig",
        ("src", "out"),
        {"IN OUT": "read the weights of another program, or write them for one (--to)"},
    ),
    "table": Command(
        "commands.table",
        "commands:TableConfig",
        ("runs",),
        {"RUN...": "print the results of several runs side by side"},
    ),
    "report": Command(
        "report",
        "commands:ReportConfig",
        ("runs",),
        {"RUN... --out PAGE": "write one page about runs: curves, results, ranked lists, what their encoders see"},
    ),
    "study": Command(
        "study",
        "study:StudyConfig",
        ("grid",),
        {
            "GRID": "run a declared grid of pre-trainings and what follows them, or continue it",
            "--table OUT": "print the results that a study has so far",
        },
    ),
    "demo": Command(
        "demo", "commands:DemoConfig", (), {"": "do all of it on synthetic people, and show a table and a page"}
    ),
}
"""Name of a command -> its row, in the order of a newcomer's first day."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return its exit code. Bad input: one line on standard error, and 2."""
    if arguments is None:
        start_in_utf8()
        end_with_parent()
    words = list(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):  # a name that the terminal cannot show is written with escapes
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        code = dispatch(words)
        sys.stdout.flush()
    except UpreidError as error:
        complain(str(error), alone=error.is_of_one_rank)
        return error.exit_code
    except OSError as error:  # full disk, missing permission: the system's words name the file
        if is_reader_gone(error):
            return 141  # 128 + SIGPIPE, as other programs end whose reader (`| head`) has seen enough
        complain(f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}", alone=True)
    except KeyboardInterrupt:
        complain("interrupted")
        return 130
    else:
        return code
    return 2


def start_in_utf8() -> None:
    """Start again in Python's UTF-8 mode where the locale has another encoding: names in lists and indexes are UTF-8."""
    if sys.getfilesystemencoding() != "utf-8":
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])


def dispatch(words: list[str]) -> int:
    """Find the command, fill its configuration, import its program, and run it."""
    if not words or words[0] in ("-h", "--help"):
        print(usage(), end="", file=sys.stdout if words else sys.stderr)
        return 0 if words else 2
    if words[0] == "--version":
        from upreid import __version__

        print(f"upreid {__version__}")
        return 0
    from upreid.config.command_line import parse, parse_training

    name, *rest = words
    if name not in COMMANDS:
        raise InputError(f"upreid has no command '{name}'{nearest(name, list(COMMANDS))}")
    command = COMMANDS[name]
    module, _, schema = command.schema.partition(":")
    if schema:
        kind = getattr(import_module(f"upreid.config.{module}"), schema)
        config = parse(kind, rest, program=name, places=command.places)
    elif not {"-h", "--help"} & set(rest) and (going_on := resumed(name, rest)):
        return import_module(f"upreid.{command.module}").resume(*going_on)
    else:
        config = parse_training(name, rest)
    code = import_module(f"upreid.{command.module}").run(config)
    return code if isinstance(code, int) else 0


def usage() -> str:
    """Say what can be typed, in one line each."""
    rows = [(f"{name} {words}".rstrip(), what) for name, row in COMMANDS.items() for words, what in row.lines.items()]
    width = max(len(line) for line, _ in rows)
    lines = "\n".join(f"  {line:{width}}  {what}" for line, what in rows)
    return (
        "usage: upreid COMMAND ...        (upreid COMMAND --help lists its flags)\n\n"
        f"{lines}\n\n  {'--version':{width}}  print the version\n"
    )


def resumed(name: str, words: Sequence[str]) -> tuple[Path, list[str]] | None:
    """Return the run that `--resume RUN` names, and the flags around it; None where there is no such flag."""
    from upreid.config.options import expanded

    places = [place for place, word in enumerate(words) if word.partition("=")[0] == "--resume"]
    if not places:
        return None
    _, equals, run = words[places[0]].partition("=")
    rest = [*words[: places[0]], *words[places[0] + 1 :]]
    if not equals and rest[places[0] :]:
        run = rest.pop(places[0])
    if not run or run.startswith("-"):
        raise InputError(f"upreid {name} --resume needs the folder of a run, as in: upreid {name} --resume RUN")
    if rest and not rest[0].startswith("--"):
        raise InputError(
            f"upreid {name} --resume takes the folder of a run and flags that decide no number, and got '{rest[0]}': a run "
            f"goes on as it was begun"
        )
    try:
        return Path(expanded(run, Path)), rest
    except ValueError as error:
        raise InputError(f"--resume got '{run}'; {error}") from error


def is_reader_gone(error: OSError) -> bool:
    """Tell whether nobody reads standard output any more; what is left in its buffer then goes nowhere."""
    if not (isinstance(error, BrokenPipeError) and hasattr(select, "poll")):
        return False
    output = select.poll()
    output.register(STANDARD_OUTPUT, 0)
    is_gone = any(event & select.POLLERR for _, event in output.poll(0))
    if is_gone:
        os.dup2(os.open(os.devnull, os.O_WRONLY), STANDARD_OUTPUT)
    return is_gone


def complain(line: str, *, alone: bool = False) -> None:
    """Say what is wrong on standard error; rank 0 speaks for all, or each for itself where it is `alone` with it."""
    if rank() == 0 or alone:
        who = f"rank {rank()}: " if num_ranks() > 1 and alone else ""
        print(f"upreid: error: {who}{in_one_line(line)}", file=sys.stderr)
