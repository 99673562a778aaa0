import json
import re
from pathlib import Path
from typing import Any

import pytest

from upreid.commands import table
from upreid.config.commands import TableConfig
from upreid.errors import InputError

PROTOCOL: dict[str, Any] = {
    "dataset": "market1501",
    "input": [64, 32],
    "recipe": "laptop-bot",
    "init": "runs/a/encoder.safetensors",
    "encoder": "encoder.safetensors",
    "trained_on": "market1501",
    "metric": "cosine",
    "flip": False,
    "neck": "after",
    "rerank": None,
    "query": {"images": 10},
    "gallery": {"images": 20},
}


def result(folder: Path, name: str, mean_ap: float, **changes: Any) -> Path:
    run = folder / name
    run.mkdir()
    content = {"mAP": mean_ap, "rank1": mean_ap + 10, "protocol": PROTOCOL | {"seed": 1} | changes}
    (run / "retrieval.json").write_text(json.dumps(content))
    return run


def printed(capsys: pytest.CaptureFixture[str], *runs: Path, form: Any = "markdown") -> list[str]:
    table.run(TableConfig(runs=runs, format=form))
    return capsys.readouterr().out.strip().splitlines()


def test_seeds_share_a_cell_with_mean_and_standard_deviation(tmp_path: Path, capsys) -> None:
    runs = [result(tmp_path, f"s{seed}", 20.0 + seed, seed=seed) for seed in (1, 2, 3)]
    lines = printed(capsys, *runs)
    assert lines[0] == "| start | recipe | trained on | input | market1501, mAP / Rank-1 |"
    assert lines[2:] == [
        "| a/encoder.safetensors | laptop-bot | market1501 | 64x32 | 22.0 ± 1.0 / 32.0 ± 1.0 (3 seeds) |"
    ]


def test_methods_are_rows_and_data_sets_columns(tmp_path: Path, capsys) -> None:
    one = result(tmp_path, "one", 20.0)
    two = result(tmp_path, "two", 30.0, init="random")
    across = result(tmp_path, "across", 5.0, dataset="msmt17-v2", query={"images": 3})
    lines = printed(capsys, one, two, across)
    assert lines[0].endswith("| market1501, mAP / Rank-1 | msmt17-v2, mAP / Rank-1 |")
    assert lines[2].endswith("| 20.0 / 30.0 | 5.0 / 15.0 |")
    assert lines[3].endswith("| 30.0 / 40.0 |  |")
    assert len(lines) == 4


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"rerank": {"method": "k-reciprocal", "k1": 20}},
            "rerank none; .*rerank method k-reciprocal variant classic k1 20",
        ),
        ({"gallery": {"images": 21}}, "gallery images 20; .*gallery images 21"),
        ({"flip": True}, "flip False; .*flip True"),
        ({"neck": "before"}, "neck after; .*neck before"),
    ],
)
def test_results_of_different_protocols_never_share_a_column_and_it_says_why(
    tmp_path: Path, capsys, change: dict[str, Any], words: str
) -> None:
    lines = printed(capsys, result(tmp_path, "one", 20.0), result(tmp_path, "two", 25.0, **change))
    assert "market1501 [1], mAP / Rank-1 | market1501 [2], mAP / Rank-1" in lines[0]
    assert "was measured in 2 ways that cannot be compared" in lines[-1]
    assert re.search(words, lines[-1]) or re.search("; .*".join(reversed(words.split("; .*"))), lines[-1])


def test_re_ranking_of_an_earlier_version_shares_a_column_with_the_classic_variant_alone(
    tmp_path: Path, capsys
) -> None:
    rerank = {"k1": 20, "k2": 6, "lambda": 0.3}
    early = result(tmp_path, "early", 20.0, rerank={"method": "k-reciprocal", **rerank})
    now = result(tmp_path, "now", 22.0, seed=2, rerank={"method": "k-reciprocal", "variant": "classic", **rerank})
    other = result(tmp_path, "other", 30.0, rerank={"method": "k-reciprocal", "variant": "fast-reid", **rerank})
    assert "21.0 ± 1.4" in printed(capsys, early, now)[2]
    assert "[2]" in printed(capsys, early, other)[0]


def test_two_results_with_one_seed_are_not_averaged(tmp_path: Path, capsys) -> None:
    with pytest.raises(InputError, match=r"one.*two.*leave one out"):
        printed(capsys, result(tmp_path, "one", 20.0), result(tmp_path, "two", 25.0))


def test_latex_has_its_characters_escaped(tmp_path: Path, capsys) -> None:
    runs = [result(tmp_path, f"s{n}", 20.0 + n, seed=n, trained_on="market1501, 30% of the ids") for n in (1, 2)]
    lines = printed(capsys, *runs, form="latex")
    assert lines[0] == r"\begin{tabular}{llllc}"
    assert r"30\% of the ids & 64x32 & 21.5 $\pm$ 0.7 / 31.5 $\pm$ 0.7 (2 seeds) \\" in lines[4]
    assert lines[-1] == r"\end{tabular}"


def test_what_is_no_result_is_refused(tmp_path: Path, capsys) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"no results at .*empty/retrieval\.json"):
        printed(capsys, tmp_path / "empty")
    (tmp_path / "numbers.json").write_text('{"mAP": 3}')
    with pytest.raises(InputError, match="no result with a protocol"):
        printed(capsys, tmp_path / "numbers.json")
