"""Pages of the site that are made from the code: every option of every command, the public names, the losses, the recipes."""

import ast
import importlib
import inspect
import re
from collections.abc import Iterator
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import cache
from pathlib import Path
from textwrap import dedent
from typing import Any, get_args, get_type_hints

from upreid.cli import COMMANDS
from upreid.config.methods import METHODS
from upreid.config.options import Option, bare, choices_of, known_flags, without_none
from upreid.config.recipe import flags, load, shipped_recipes
from upreid.ranges import FOR_PIXELS, Range


def filled(page: str) -> str:
    """Replace each line `<!-- made from the code: NAME -->` of a page by what the function NAME of this module returns."""
    return re.sub(r"<!-- made from the code: (\w+) -->", lambda found: MADE[found[1]](), page)


def commands() -> str:
    """Return a section for each command: its lines, and a table of its options for each method that it trains with."""
    sections: list[str] = []
    for name, row in COMMANDS.items():
        lines = "\n".join(f"    upreid {name} {words}".rstrip() for words in row.lines)
        sections.append(f"## upreid {name}\n\n{lines}")
        schemas = {
            method: entry.config
            for method, entry in METHODS.items()
            if entry.program == name and row.schema == "methods"
        }
        if not schemas:
            module, _, schema = row.schema.partition(":")
            schemas = {"": getattr(importlib.import_module(f"upreid.config.{module}"), schema)}
        for method, schema in schemas.items():
            heading = f"### --method {method}\n\n" if len(schemas) > 1 else ""
            sections.append(f"{heading}{first_paragraph(schema)}\n\n{options_table(schema, row.places)}")
    return "\n\n".join(sections)


def options_table(schema: type[Any], places: tuple[str, ...]) -> str:
    """Return the options of a schema as a table: flag, meaning, values, default."""
    settings = {setting.path: setting for setting in settings_of(schema)}
    rows = ["| option | meaning |", "|---|---|"]
    for path, option in {option.path: option for option in known_flags(schema).values()}.items():
        name = path.upper() if path in places else option.flag
        default = "required" if option.is_required else shown(settings[path].default)
        takes = "; ".join(filter(None, (values(option), default)))
        rows.append(f"| `{name}` | {cell(settings[path].meaning)} *({takes})* |")
    return "\n".join(rows)


@dataclass(frozen=True)
class Setting:
    """A field of a schema: its path, its default, and the sentence under it."""

    path: str
    default: Any
    meaning: str


def settings_of(schema: type[Any], prefix: str = "", values: Any = None) -> Iterator[Setting]:
    """Walk the fields of a schema and of its sections; `values` is an instance whose values are the defaults."""
    kinds, sentences = get_type_hints(schema), sentences_of(schema)
    for field in fields(schema):
        value = getattr(values, field.name) if values is not None else default_of(field)
        kind = kinds[field.name]
        if is_dataclass(kind) and isinstance(kind, type):
            yield from settings_of(kind, f"{prefix}{field.name}.", value)
        else:
            yield Setting(prefix + field.name, value, sentences.get(field.name, ""))


def default_of(field: Any) -> Any:
    """Return the default of a dataclass's field; None where it has none."""
    if field.default_factory is not MISSING:
        return field.default_factory()
    return None if field.default is MISSING else field.default


def sentences_of(schema: type[Any]) -> dict[str, str]:
    """Map each field of a dataclass, inherited ones too, to the sentence that stands under it in the source."""
    found: dict[str, str] = {}
    for one in reversed(schema.__mro__):
        if not is_dataclass(one):
            continue
        body = ast.parse(dedent(inspect.getsource(one))).body[0]
        assert isinstance(body, ast.ClassDef)
        for field, under in zip(body.body, body.body[1:], strict=False):
            is_sentence = isinstance(under, ast.Expr) and isinstance(under.value, ast.Constant)
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and is_sentence:
                found[field.target.id] = str(under.value.value)
    return found


def values(option: Option) -> str:
    """Say what an option takes."""
    kind, _ = without_none(option.kind)
    if option.count == 0:
        return f"switch, or `{option.negation}`"
    if choices := choices_of(kind):
        return "one of " + ", ".join(f"`{word}`" for word in choices)
    limits = next((str(limit) for limit in get_args(kind)[1:] if isinstance(limit, Range)), "")
    limits = limits.removesuffix(FOR_PIXELS).replace(f"{2**63 - 1:,}", "2⁶³ - 1")
    word = {int: "whole number", float: "number", Path: "path"}.get(bare(kind), "name")
    many = {1: "", None: ", any number of them"}.get(option.count, f", {option.count} of them")
    return cell(f"{word}{limits}{many}")


def shown(value: Any) -> str:
    """Say what the default of an option is; nothing where there is none."""
    if value is None or value == ():
        return ""
    if isinstance(value, bool):
        return f"default {'on' if value else 'off'}"
    return f"default `{' '.join(map(str, value)) if isinstance(value, tuple) else value}`"


def recipes() -> str:
    """Return a table of the recipes of each program, and each recipe's own settings."""
    programs: dict[str, list[str]] = {}
    for name, path in shipped_recipes().items():
        programs.setdefault(load(path)["program"], []).append(name)
    sections = []
    for program in sorted(programs, key=list(COMMANDS).index):
        rows = ["| recipe | what it is | source | score |", "|---|---|---|---|"]
        details = []
        for name in programs[program]:
            path = shipped_recipes()[name]
            remark, base = remarks(path.read_text()), load(path).get("base")
            rows.append(
                f"| [`{name}`](#{name}) | {cell(remark['what'])} | {cell(remark['source'])} | {cell(remark['score'])} |"
            )
            own = {key: value for key, value in load(path).items() if key not in ("program", "base")}
            written = " ".join(flags(own)) or "none"
            stands = f"Stands on [`{base}`](#{base}); its own settings:" if base else "Settings:"
            details.append(f"### {name}\n\n{stands}\n\n```text\n{wrapped(written)}\n```")
        sections.append(f"## For upreid {program}\n\n" + "\n".join(rows) + "\n\n" + "\n\n".join(details))
    return "\n\n".join(sections)


def remarks(text: str) -> dict[str, str]:
    """Read the comment at the head of a recipe: what it is, its source, and the score that is known."""
    lines = [line.removeprefix("#").strip() for line in text.splitlines() if line.startswith("#")]
    prose = " ".join(line for line in lines if not re.match(r"(upreid|torchrun) ", line))
    what, _, rest = prose.partition("Source:")
    source, _, score = rest.partition("Expected score:")
    return {"what": what.strip(), "source": source.strip(), "score": score.strip()}


def wrapped(words: str, width: int = 96) -> str:
    """Break a line of flags before a flag where it grows too long."""
    lines = [""]
    for word in re.split(r" (?=--)", words):
        if lines[-1] and len(lines[-1]) + len(word) >= width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return "\n".join(lines)


def counts() -> str:
    """Return the published counts of the labelled sets as a table."""
    from upreid.data.benchmarks import BENCHMARKS
    from upreid.data.benchmarks.benchmark import published

    rows = ["| name | train | query | gallery |", "|---|---|---|---|"]
    for name in BENCHMARKS:
        parts = published(name)
        numbers = [
            f"{parts[part][0]:,} / {parts[part][1]:,}" if part in parts else ""
            for part in ("train", "query", "gallery")
        ]
        rows += [f"| `{name}` | {' | '.join(numbers)} |"] if parts else []
    return "\n".join(rows)


def public_names() -> str:
    """Return signature and docstring of every public name of the package."""
    package = importlib.import_module("upreid")
    names = [name for name in package.__all__ if not name.startswith("_")]
    return "\n\n".join(entry(getattr(package, name)) for name in names)


def losses() -> str:
    """Return signature and docstring of every loss."""
    import upreid.losses

    sections = []
    for path in sorted(Path(next(iter(upreid.losses.__path__))).glob("[a-z]*.py")):
        module = importlib.import_module(f"upreid.losses.{path.stem}")
        own = [one for _, one in inspect.getmembers(module, inspect.isfunction) if one.__module__ == module.__name__]
        own = [one for one in own if not one.__name__.startswith("_") and inspect.getdoc(one)]
        own.sort(key=lambda one: one.__code__.co_firstlineno)
        parts = "\n\n".join(entry(one, level=4, prefix="") for one in own)
        sections.append(f"### upreid.losses.{path.stem}\n\n{markdown(module)}\n\n{parts}")
    return "\n\n".join(sections)


def entry(one: Any, *, level: int = 3, prefix: str = "upreid.") -> str:
    """Return heading, signature, docstring and public methods of a function or a class."""
    heading = f"{'#' * level} {prefix if level < 5 else ''}{one.__name__}"
    text = f"{heading}\n\n```python\n{signature(one)}\n```\n\n{markdown(one)}"
    if inspect.isclass(one):
        sentences = sentences_of(one) if is_dataclass(one) else {}
        rows = (
            [f"| `{field.name}` | {cell(sentences.get(field.name, ''))} |" for field in fields(one)]
            if sentences
            else []
        )
        text += "\n\n" + "\n".join(["| attribute | meaning |", "|---|---|", *rows]) if rows else ""
        own = [getattr(member, "fget", member) for name, member in vars(one).items() if not name.startswith("_")]
        members = [member for member in own if inspect.isfunction(member) and inspect.getdoc(member)]
        text += "".join(f"\n\n{entry(member, level=level + 1, prefix='')}" for member in members)
    return text


@cache
def signature(one: Any) -> str:
    """Return the head of a function or a class as it stands in the source, one argument a line where it is long."""
    node = ast.parse(dedent(inspect.getsource(inspect.unwrap(one)))).body[0]
    if isinstance(node, ast.ClassDef):
        return f"class {node.name}({', '.join(map(ast.unparse, node.bases))})".replace("()", "")
    assert isinstance(node, ast.FunctionDef)
    arguments, result = ast.unparse(node.args), f" -> {ast.unparse(node.returns)}" if node.returns else ""
    line = f"{node.name}({arguments}){result}".replace("'", '"')
    if len(line) <= 100:
        return line
    parts = re.split(r", (?=\*?\w+(?::|,|$|\)|=)|\*,|\*\*)(?![^\[]*\])", arguments.replace("'", '"'))
    lines = [re.sub(r"^(\w+: .+?)=", r"\1 = ", part) for part in parts]
    return f"{node.name}(\n" + "".join(f"    {line},\n" for line in lines) + ")" + result.replace("'", '"')


def markdown(one: Any) -> str:
    """Return the docstring of a module, class or function as Markdown: loops and indented paragraphs are code."""
    paragraphs = re.split(r"\n\s*\n", inspect.getdoc(one) or "")
    is_code = re.compile(r"    |for .*:\n")
    return "\n\n".join(
        f"```python\n{dedent(text).strip()}\n```" if is_code.match(text) else text for text in paragraphs
    )


def first_paragraph(one: Any) -> str:
    """Return the first paragraph of a docstring."""
    return (inspect.getdoc(one) or "").partition("\n\n")[0]


def cell(text: str) -> str:
    """Return a text that stands in one cell of a table, with links to the pages that it names."""
    text = re.sub(r"docs/([\w-]+)\.md", r"[\1](\1.md)", text).replace("README.md", "[start](index.md)")
    return " ".join(text.replace("|", "\\|").split())


MADE = {"commands": commands, "counts": counts, "recipes": recipes, "public_names": public_names, "losses": losses}
"""Word in a page -> the function that makes what stands there."""
