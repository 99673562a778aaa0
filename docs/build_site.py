"""Build the documentation site from README.md, CONTRIBUTING.md and the pages of this folder.

    python docs/build_site.py [OUT]

Pages are copied to OUT/pages, what is made from the code is put in (reference.py), and zensical builds OUT/site with warnings
as errors. OUT is build/docs where nothing else is said; pages/ and site/ in it are replaced.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import reference

HERE = Path(__file__).parent
ROOT = HERE.parent
NAVIGATION: dict[str, list[str]] = {
    "": ["index", "tutorial", "concepts"],
    "Pre-train and adapt": ["sources", "recipes", "own-ablation", "without-labels", "datasets"],
    "Use an encoder": ["search", "threshold", "trackers", "weights", "report", "watch"],
    "Reference": ["commands", "python", "new-method", "contributing"],
    "Evidence": ["reproduction", "results", "results-version1", "stand-in", "paper", "performance", "reliability"],
    "Responsibility": ["use-with-care"],
}
"""Title of a section -> its pages. A page that stands in none follows the sections."""


def main() -> int:
    """Write the pages, build the site, and say where it is."""
    build = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "build" / "docs"
    pages = build / "pages"
    for part in (pages, build / "site"):
        shutil.rmtree(part, ignore_errors=True)
    write_pages(pages)
    settings = (HERE / "zensical.toml").read_text(encoding="utf-8")
    (build / "zensical.toml").write_text(settings.replace("nav = []", f"nav = {navigation(pages)}"), encoding="utf-8")
    try:
        import zensical  # noqa: F401
    except ImportError:
        print("the site needs zensical: pip install 'upreid[docs]'", file=sys.stderr)
        return 2
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean"]
    done = subprocess.run(
        command, cwd=build, env=os.environ | {"NO_COLOR": "1"}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        print(re.sub(r"\x1b\[[\d;]*m", "", done.stdout + done.stderr), file=sys.stderr)
        return 1
    site = build / "site"
    print(f"the site is in {site}; its search needs a server: python -m http.server --directory {site}")
    return 0


def write_pages(pages: Path) -> None:
    """Copy the pages and pictures of this folder, README.md as the start, and CONTRIBUTING.md."""
    pages.mkdir(parents=True)
    sources = {path.name: path for path in HERE.glob("*.md")}
    sources |= {"index.md": ROOT / "README.md", "contributing.md": ROOT / "CONTRIBUTING.md"}
    for name, path in sources.items():
        text = reference.filled(path.read_text(encoding="utf-8"))
        (pages / name).write_text(with_links(text, set(sources)), encoding="utf-8")
    for path in (path for kind in ("png", "svg", "css") for path in HERE.glob(f"*.{kind}")):
        shutil.copy(path, pages)


def with_links(text: str, pages: set[str]) -> str:
    """Let links lead where pages are in the site; of links to other files of the repository, the words are left."""

    def moved(found: re.Match[str]) -> str:
        words, target = found[1], found[2]
        if target is None or target.startswith(("http", "#")):  # code, another site, or a place in the same page
            return found[0]
        path, mark, anchor = target.partition("#")
        path = path.removeprefix("../").removeprefix("docs/")
        path = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md"}.get(path, path)
        is_elsewhere = (
            path not in pages and not found[0].startswith("!") and ((ROOT / path).exists() or (HERE / path).exists())
        )
        shown = "!" if found[0].startswith("!") else ""
        return words if is_elsewhere else f"{shown}[{words}]({path}{mark}{anchor})"

    return re.sub(r"```.*?```|`[^`\n]*`|!?\[([^\]]*)\]\(([^)\s]+)\)", moved, text, flags=re.DOTALL)


def navigation(pages: Path) -> str:
    """Return the navigation as TOML: the pages that are there, and after the sections those that stand in none."""
    there = {path.stem for path in pages.glob("*.md")}
    listed = {name for names in NAVIGATION.values() for name in names}
    rows = []
    for section, names in (*NAVIGATION.items(), ("More", sorted(there - listed))):
        links = [f'{{ "{title(pages / f"{name}.md")}" = "{name}.md" }}' for name in names if name in there]
        if links:
            rows += [f'{{ "{section}" = [{", ".join(links)}] }}'] if section else links
    return "[\n  " + ",\n  ".join(rows) + ",\n]"


def title(page: Path) -> str:
    """Return the title of a page, its first heading."""
    if page.stem == "index":
        return "Start"
    return next(
        line.removeprefix("# ") for line in page.read_text(encoding="utf-8").splitlines() if line.startswith("# ")
    )


if __name__ == "__main__":
    sys.exit(main())
