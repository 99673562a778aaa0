import json
import subprocess
import sys
from pathlib import Path

import pytest

from upreid.errors import InputError
from upreid.runtime.distributed import World, from_lead

SCRIPT = Path(__file__).parent.parent / "ranks" / "from_lead.py"


def refuse() -> int:
    raise InputError("taken")


def test_alone_a_value_and_an_error_are_those_of_the_call() -> None:
    assert from_lead(lambda: 3, World()) == 3
    with pytest.raises(InputError, match="taken"):
        from_lead(refuse, World())


@pytest.mark.slow
@pytest.mark.ranks
def test_what_rank_0_raises_ends_every_rank_and_ranks_wait_for_hours(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(SCRIPT)]
    done = subprocess.run([*command, str(tmp_path)], capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    lead, other = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))
    assert lead["value"] == other["value"] == ["value", "[1.0, 1.0]"]
    assert lead["refusal"] == ["InputError", "this folder is taken"]
    assert lead["damage"] == ["DataError", "this file is damaged"]
    assert lead["disk"] == ["OSError", "[Errno 28] No space left on device"]
    assert lead["defect"] == ["KeyError", "'name'"]
    assert other["refusal"] == ["RunError", "rank 0 has ended: this folder is taken"]
    assert other["defect"] == ["RunError", "rank 0 has ended: 'name'"]
    assert {other[name][0] for name in ("refusal", "damage", "disk", "defect")} == {"RunError"}
    assert lead["hours"] == other["hours"] == 12
