"""The command line: one sub-command per program; nothing heavy is imported before it is needed."""

import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from upreid.errors import InputError, nearest

USAGE = """\
usage: upreid COMMAND ...        (upreid COMMAND --help lists its flags)

  synth OUT              render synthetic pedestrians: unlabelled, and a labelled benchmark
  pretrain RECIPE        unlabelled person images in, an encoder out
  pretrain --resume RUN  go on after an interruption
  finetune RECIPE        train an encoder on a labelled set, and evaluate it
  evaluate ENCODER       retrieval numbers with their protocol
  demo                   all of it on synthetic people: a table and a page

  --version              print the version
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return its exit code. Bad input: one line on standard error, and 2."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return dispatch(words)
    except InputError as error:
        complain(last_line(error))
    except OSError as error:  # full disk, missing permission, broken pipe: the system's words name the file
        complain(f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}")
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
    if words and words[0] == "--resume":
        if len(words) != 2:
            raise InputError(
                "upreid pretrain --resume takes the folder of a run and nothing else: a run goes on as it was begun"
            )
        return program("pretrain").resume(Path(words[1]))
    return with_recipe("pretrain", "upreid.config.pretrain", "PretrainConfig", words)


def finetune(words: list[str]) -> int:
    """Fine-tune with a recipe."""
    return with_recipe("finetune", "upreid.config.downstream", "FinetuneConfig", words)


def evaluate(words: list[str]) -> int:
    """Evaluate an encoder file."""
    return with_place("evaluate", "upreid.config.downstream", "EvaluateConfig", "encoder", words)


def synth(words: list[str]) -> int:
    """Render a corpus."""
    return with_place("synth", "upreid.config.tours", "SynthConfig", "out", words)


def demo(words: list[str]) -> int:
    """Run the tour."""
    return run("demo", "upreid.config.tours", "DemoConfig", words)


COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "synth": synth,
    "pretrain": pretrain,
    "finetune": finetune,
    "evaluate": evaluate,
    "demo": demo,
}


def with_recipe(name: str, module: str, schema: str, words: list[str]) -> int:
    """Put the flags of the recipe that `words` begin with ahead of the user's."""
    from upreid.config.recipe import read_recipe, recipe_names

    if words and words[0] in ("-h", "--help"):
        return run(name, module, schema, words)
    if not words or words[0].startswith("--"):
        raise InputError(f"upreid {name} needs a recipe first; known: {', '.join(recipe_names(name))}")
    recipe, *flags = words
    return run(name, module, schema, ["--recipe", recipe, *read_recipe(recipe, name), *flags])


def with_place(name: str, module: str, schema: str, field: str, words: list[str]) -> int:
    """Take the file or folder that `words` begin with as the flag `field`."""
    if words and not words[0].startswith("-"):
        words = [f"--{field}", *words]
    elif not words or words[0] not in ("-h", "--help", f"--{field}"):
        raise InputError(f"upreid {name} needs {field.upper()} first, as in: upreid {name} {field.upper()} ...")
    return run(name, module, schema, words)


def run(name: str, module: str, schema: str, words: list[str]) -> int:
    """Parse, then import the program and run it."""
    from upreid.config.command_line import parse

    code = program(name).run(parse(getattr(import_module(module), schema), words, program=name))
    return code if isinstance(code, int) else 0


def program(name: str) -> Any:
    """Import a program, and torch with it."""
    return import_module(f"upreid.{name}")


def complain(line: str) -> None:
    """Say what is wrong on standard error; rank 0 speaks for all."""
    if os.environ.get("RANK", "0") == "0":
        print(f"upreid: error: {line}", file=sys.stderr)


def last_line(error: InputError) -> str:
    """An error that crossed a loader's worker carries that worker's traceback above its message."""
    return str(error).splitlines()[-1].removeprefix("upreid.errors.InputError: ") if str(error) else repr(error)


if __name__ == "__main__":
    sys.exit(main())
