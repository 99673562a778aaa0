"""Where a result comes from: versions, commit, hardware."""

import subprocess
from importlib import metadata
from pathlib import Path

from upreid.runtime.compute import hardware


def provenance() -> dict[str, object]:
    """Versions of what computes, the commit of our source where there is one, and the machine."""
    packages = ("upreid", "torch", "torchvision", "timm", "numpy", "pillow")
    return {
        "versions": {name: version(name) for name in packages},
        "commit": commit(),
        "hardware": hardware(),
    }


def version(package: str) -> str | None:
    """Return the version of a package, or None where it is not installed: our own source runs without that, too."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def commit() -> str | None:
    """Commit of the source tree that runs, with `+` where files differ from it; None for an installed package."""
    folder = Path(__file__).parent
    words = ["git", "-C", str(folder), "describe", "--always", "--abbrev=40", "--dirty=+", "--exclude=*"]
    try:
        tracked = subprocess.run(
            [*words[:3], "ls-files", "--error-unmatch", __file__], capture_output=True, check=False
        )
        if tracked.returncode:
            return None
        return subprocess.run(words, capture_output=True, check=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
