"""The command line: one sub-command per program; nothing heavy is imported before it is needed."""

import re
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from upreid.errors import InputError, UpreidError, in_one_line, nearest
from upreid.runtime.faults import in_words
from upreid.runtime.launcher import num_ranks, rank

USAGE = """\
usage: upreid COMMAND ...        (upreid COMMAND --help lists its flags)

  synth OUT              render synthetic pedestrians: unlabelled, and a labelled benchmark
  pack SRC OUT           images of any source into shards that training reads at random
  pretrain RECIPE        unlabelled person images in, an encoder out
  pretrain --resume RUN  go on after an interruption
  doctor DATASET ROOT    check a labelled set before hours are spent on it
  split DATASET ROOT     write down a small-scale or few-shot part of a training set
  finetune RECIPE        train an encoder on a labelled set, and evaluate it
  finetune --resume RUN  go on after an interruption
  evaluate ENCODER       retrieval numbers with their protocol
  diagnose RUN           what a pre-training did to its embeddings, term by term
  table RUN...           results of several runs side by side
  study GRID             a declared grid of pre-trainings and what follows them; goes on where it was stopped
  study --table OUT      what there is of a study
  demo                   all of it on synthetic people: a table and a page

  --version              print the version
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return its exit code. Bad input: one line on standard error, and 2."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return dispatch(words)
    except UpreidError as error:
        complain(last_line(error), alone=error.is_of_one_rank)
    except RuntimeError as error:
        if (line := in_words(error)) is None:
            raise
        complain(line, alone=True)
    except OSError as error:  # full disk, missing permission, broken pipe: the system's words name the file
        complain(f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}", alone=True)
    except KeyboardInterrupt:
        complain("interrupted")
        return 130
    return 2


def dispatch(words: list[str]) -> int:
    """Find the command and hand it its arguments."""
    if not words or words[0] in ("-h", "--help"):
        print(USAGE, end="")
        return 0
    if words[0] == "--version":
        from upreid import __version__

        print(f"upreid {__version__}")
        return 0
    name, *rest = words
    if name not in COMMANDS:
        raise InputError(f"upreid has no command '{name}'{nearest(name, list(COMMANDS))}")
    return COMMANDS[name](rest) or 0


def pretrain(words: list[str]) -> int:
    """Start or resume a pre-training."""
    return with_recipe("pretrain", words)


def finetune(words: list[str]) -> int:
    """Start or resume a fine-tuning."""
    return with_recipe("finetune", words)


def evaluate(words: list[str]) -> int:
    """Evaluate an encoder file."""
    return with_places("evaluate", "upreid.config.evaluate", "EvaluateConfig", ["encoder"], words)


def pack(words: list[str]) -> int:
    """Pack images into shards."""
    return with_places("pack", "upreid.config.pack", "PackConfig", ["src", "out"], words)


def doctor(words: list[str]) -> int:
    """Check a labelled set."""
    return with_places("doctor", "upreid.config.doctor", "DoctorConfig", ["name", "root"], words)


def split(words: list[str]) -> int:
    """Write a split file."""
    return with_places("split", "upreid.config.split", "SplitConfig", ["name", "root"], words)


def table(words: list[str]) -> int:
    """Print results side by side."""
    return with_places("table", "upreid.config.table", "TableConfig", ["runs"], words)


def synth(words: list[str]) -> int:
    """Render a corpus."""
    return with_places("synth", "upreid.config.tours", "SynthConfig", ["out"], words)


def demo(words: list[str]) -> int:
    """Run the tour."""
    return with_places("demo", "upreid.config.tours", "DemoConfig", [], words)


def diagnose(words: list[str]) -> int:
    """Look into a pre-training run."""
    return with_places("diagnose", "upreid.config.diagnose", "DiagnoseConfig", ["run"], words)


def study(words: list[str]) -> int:
    """Run a grid, or print what there is of one."""
    places = [] if any(word.partition("=")[0] == "--table" for word in words) else ["grid"]
    return with_places("study", "upreid.config.study", "StudyConfig", places, words)


COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "synth": synth,
    "pretrain": pretrain,
    "doctor": doctor,
    "split": split,
    "pack": pack,
    "finetune": finetune,
    "evaluate": evaluate,
    "table": table,
    "diagnose": diagnose,
    "study": study,
    "demo": demo,
}


def with_recipe(name: str, words: list[str]) -> int:
    """Put the flags of the recipe that `words` begin with ahead of the user's."""
    from upreid.config.methods import schema_of
    from upreid.config.recipe import read_recipe, recipe_names

    if words and words[0] in ("-h", "--help"):
        return run(name, schema_of(name, words), words)
    if words and words[0] == "--resume":
        if len(words) != 2:
            raise InputError(
                f"upreid {name} --resume takes the folder of a run and nothing else: a run goes on as it was begun"
            )
        return program(name).resume(Path(words[1]))
    if not words or words[0].startswith("--"):
        raise InputError(f"upreid {name} needs a recipe first; known: {', '.join(recipe_names(name))}")
    recipe, *flags = words
    words = ["--recipe", recipe, *read_recipe(recipe, name), *flags]
    return run(name, schema_of(name, words), words)


def with_places(name: str, module: str, schema: str, fields: list[str], words: list[str]) -> int:
    """Take the words before the first flag as the flags `fields`; the last of them takes all that are left."""
    kind = getattr(import_module(module), schema)
    flags = next((place for place, word in enumerate(words) if word.startswith("-")), len(words))
    places, rest = words[:flags], words[flags:]
    if {"-h", "--help"} & set(rest):
        return run(name, kind, ["--help"])
    wanted = [field for field in fields if f"--{field}" not in rest]
    if len(places) < len(wanted):
        words_wanted = " ".join(field.upper() for field in wanted)
        raise InputError(f"upreid {name} needs {words_wanted} first, as in: upreid {name} {words_wanted} ...")
    given: list[str] = []
    for field in wanted[:-1]:
        given += [f"--{field}", *places[:1]]
        places = places[1:]
    return run(name, kind, [*given, *([f"--{wanted[-1]}", *places] if wanted and places else []), *rest])


def run(name: str, schema: type[Any], words: list[str]) -> int:
    """Parse, then import the program and run it."""
    from upreid.config.command_line import parse

    code = program(name).run(parse(schema, words, program=name))
    return code if isinstance(code, int) else 0


def program(name: str) -> Any:
    """Import a program, and torch with it."""
    home = "upreid" if name in ("study", "demo") else "upreid.commands"
    return import_module(f"{home}.{name}")


def complain(line: str, *, alone: bool = False) -> None:
    """Say what is wrong on standard error; rank 0 speaks for all, or each for itself where it is `alone` with it."""
    if rank() == 0 or alone:
        who = f"rank {rank()}: " if num_ranks() > 1 and alone else ""
        print(f"upreid: error: {who}{in_one_line(line)}", file=sys.stderr)


def last_line(error: UpreidError) -> str:
    """An error that crossed a loader's worker carries that worker's traceback above its message."""
    return re.split(r"upreid\.errors\.\w+: ", str(error))[-1].strip() or repr(error)


if __name__ == "__main__":
    sys.exit(main())
