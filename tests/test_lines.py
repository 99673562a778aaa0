"""The lines that users type, as they stand in the documents, in processes of their own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from upreid.cli import COMMANDS, main

LINES = """
upreid synth corpus --identities 40 --seed 1
upreid pretrain laptop --data.root corpus/wild --out runs/a --train.steps 40
upreid pretrain --resume runs/a
upreid evaluate runs/a/encoder.safetensors --data.name market1501 --data.root corpus/market1501 --out runs/a/retrieval.json
upreid finetune laptop-bot --init runs/a/encoder.safetensors --data.name market1501 --data.root corpus/market1501 --out runs/b
upreid report runs/a runs/b --out report.html
"""


@pytest.mark.slow
def test_the_short_lines_work_exactly_so(tmp_path: Path) -> None:
    for line in LINES.strip().splitlines():
        command = [sys.executable, "-W", "error", "-m", *line.split()]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=900, check=False)
        assert done.returncode == 0, f"{line}\n{done.stderr}"
    result = json.loads((tmp_path / "runs/a/retrieval.json").read_text())
    assert set(result) == {"mAP", "mAP_trapezoid", "rank1", "rank5", "rank10", "mINP", "protocol"}
    assert all(0 <= result[name] <= 100 for name in result if name != "protocol")
    assert result["protocol"]["dataset"] == "market1501"
    tuned = json.loads((tmp_path / "runs/b/retrieval.json").read_text())
    assert tuned["mAP"] > result["mAP"]  # forty people's labels are worth more than forty steps without any


def test_help_mistakes_and_import_do_not_wait_for_torch() -> None:
    program = (
        "import sys, upreid\nfrom upreid.cli import COMMANDS, main\n"
        "assert upreid.__version__ and main(['--help']) == 0\n"
        "lines = [['pretrain', 'laptop', '--help'], ['finetune', 'market1501-mgn', '-h'], ['pretrain', 'laptop', '--oops']]\n"
        "for line in [*([name, flag] for name in COMMANDS for flag in ('--help', '--oops')), *lines]:\n"
        "    try:\n        assert main(line) == 2, line\n"
        "    except SystemExit as ended:\n        assert ended.code == 0 and line[-1] != '--oops', line\n"
        "heavy = {'torch', 'torchvision', 'timm', 'numpy', 'scipy', 'PIL'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("upreid: error:") == len(COMMANDS) + 1


def test_the_package_shows_its_public_names() -> None:
    import upreid

    assert dir(upreid) == sorted(upreid.__all__)
    assert {"load_encoder", "evaluate_features", "rerank"} <= set(dir(upreid))


def helped(line: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> str:
    """What `--help` prints, without frames, blanks and line breaks."""
    monkeypatch.setenv("COLUMNS", "100")
    with pytest.raises(SystemExit) as ended:
        main(line.split())
    assert ended.value.code == 0
    return "".join(capsys.readouterr().out.replace("│", " ").split())


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("pretrain laptop --help", "--augment.height INT Input height of the network in pixels. (recipe laptop: 64)"),
        ("pretrain laptop --help", "--train.epochs FLOAT Number of passes over the images. (recipe laptop: 40.0)"),
        (
            "pretrain moco-laptop --help",
            "--optim.lr-batch INT Batch size that the learning rate is meant for. (default: 256)",
        ),
        ("pretrain moco-laptop --help", "its views are not made and its forward is not run. (recipe moco-laptop: 0.0)"),
        ("finetune market1501-mgn --help", "(recipe market1501-mgn: market1501)"),
        ("finetune market1501-mgn --help", "probability mass given to the other classes. (recipe mgn: 0.1)"),
        ("finetune market1501-mgn --help", "Forward passes in bfloat16 (autocast). (default: False)"),
        ("finetune --init random bot -h", "Forward passes in bfloat16 (autocast). (recipe bot: True)"),
        ("evaluate --help", "[OPTIONS] ENCODER"),
        ("pretrain --help", "[OPTIONS] RECIPE"),
        ("pretrain --help", "Number of passes over the images. (default: 200.0)"),
        ("pack --help", "SRC OUT"),
        ("pretrain --help", "Recipes: both-terms-laptop, both-terms-luperson-resnet50, laptop,"),
        ("finetune --resume RUN --help", "Recipes: bot,"),
    ],
)
def test_help_shows_the_values_of_the_recipe_and_where_each_comes_from(
    line: str, said: str, capsys, monkeypatch
) -> None:
    assert said.replace(" ", "") in helped(line, capsys, monkeypatch)


def test_without_a_command_the_usage_is_printed_and_the_code_is_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    said = capsys.readouterr()
    assert said.err.startswith("usage: upreid COMMAND")
    assert not said.out
    assert main(["--help"]) == 0
    assert capsys.readouterr().out == said.err
    assert all(f"  {name} " in said.err for name in COMMANDS)


def test_a_reader_that_has_seen_enough_ends_the_program_without_a_complaint() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-W", "error", "-m", "upreid", "--help"]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    assert f"usage: upreid {command}" in capsys.readouterr().out


def test_the_command_is_installed_beside_python() -> None:
    command = Path(sys.executable).with_name("upreid")
    done = subprocess.run([command, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("upreid ")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("pretrian", "did you mean 'pretrain'"),
        ("pretrain", "needs a recipe first; known: both-terms-laptop"),
        ("pretrain laptp --data.root x --out y", "did you mean 'laptop'"),
        ("pretrain --resume nowhere", "nothing to resume at nowhere"),
        ("pretrain --resume=nowhere", "nothing to resume at nowhere"),
        ("pretrain --resume a --train.steps 3", "nothing to resume at a"),
        ("pretrain laptop --resume a", "takes the folder of a run and flags that decide no number, and got 'laptop'"),
        ("finetune --resume", "upreid finetune --resume needs the folder of a run"),
        ("pretrain --resume=", "upreid pretrain --resume needs the folder of a run"),
        ("pretrain --resume --train.threads 1", "upreid pretrain --resume needs the folder of a run"),
        ("pretrain --resume ~nobody-here/run", "--resume got '~nobody-here/run'; give another path"),
        ("pretrain --data.root x --out y", "needs a recipe first; known: both-terms-laptop"),
        ("pretrain laptop --root x", "has no option --root; did you mean --data.root or --monitor.root?"),
        ("pretrain laptop --batch 8", "has no option --batch; did you mean --train.batch?"),
        ("pretrain laptop --out", "--out takes one value and got none"),
        ("pretrain laptop --out -x", "has no option -x"),
        ("pretrain laptop --out a b c d", "--out takes one value, and 'b' follows it"),
        ("pretrain laptop more --out a", "upreid pretrain got 'more', which belongs to no option"),
        (
            "pretrain laptop --train.bf16=yes",
            "--train.bf16 takes no value (write --train.bf16 or --train.no-bf16) and got",
        ),
        ("pretrain laptop --augment.mean 1 1", "--augment.mean takes 3 values and got '1', '1'"),
        ("pretrain laptop --method simclr", "--method got 'simclr'; known: moco-v2"),
        ("pretrain laptop --out y", "upreid pretrain needs --data.root; upreid pretrain --help says what each is"),
        ("evaluate e --train.device cpu", "has no option --train.device; did you mean --device?"),
        ("evaluate e f --data.name a --data.root x", "upreid evaluate got 'f', which belongs to no option"),
        ("evaluate e", "upreid evaluate needs --data.name and --data.root"),
        ("finetune bot --gibberish-of-length", "upreid finetune --help lists the options"),
        ("study", "needs GRID first"),
        ("diagnose", "needs RUN first"),
        ("diagnose nowhere", "nothing to resume at nowhere"),
        ("diagnose nowhere --data.name market1501", "--data.name and --data.root name a labelled set together"),
        ("evaluate", "needs ENCODER first"),
        ("evaluate none --data.name market1501 --data.root x", "no folder x"),
        ("evaluate none --data.name market --data.root x", "did you mean 'market1501'"),
        ("synth", "needs OUT first"),
        ("synth corpus --identities 0", "identities"),
        ("finetune laptop --init random --data.name market1501 --data.root x --out y", "program"),
    ],
)
def test_a_wrong_line_gets_one_line_back_and_code_2(line: str, words: str, tmp_path: Path, capsys) -> None:
    from upreid.cli import main

    before = Path.cwd()
    os.chdir(tmp_path)
    try:
        assert main(line.split()) == 2
    finally:
        os.chdir(before)
    said = capsys.readouterr().err.strip().splitlines()
    assert [text for text in said if text.startswith("upreid: error:")] == said[-1:]
    assert words in said[-1]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("text", "words"), [('{"program": "finetune"}', "run of finetune"), ('{"progr', "not JSON")])
def test_a_folder_that_is_not_a_pre_training_is_not_resumed(text: str, words: str, tmp_path: Path, capsys) -> None:
    from upreid.cli import main

    (tmp_path / "config.json").write_text(text)
    assert main(["pretrain", "--resume", str(tmp_path)]) == 2
    assert words in capsys.readouterr().err


@pytest.mark.slow
def test_compiling_without_a_compiler_is_refused_in_one_line(tmp_path: Path, run_upreid) -> None:
    (tmp_path / "a.png").touch()
    words = ["--data.root", tmp_path, "--out", tmp_path / "run", "--train.compile", "--train.device", "cpu"]
    done = run_upreid("pretrain", "laptop", *words, CXX="no-such-compiler")
    assert done.returncode == 2
    assert "C++ compiler" in done.stderr.strip().splitlines()[-1]


@pytest.mark.slow
def test_tensorboard_sees_what_the_journal_says(pictures: Path, tmp_path: Path, run_upreid) -> None:
    small = [
        "--model.channels",
        4,
        "--train.batch",
        8,
        "--model.bn-groups",
        2,
        "--contrast.queue",
        16,
        "--train.steps",
        3,
    ]
    alone = ["--train.threads", 1, "--train.workers", 0, "--train.device", "cpu", "--tensorboard"]
    environment = {"PYTHONWARNINGS": "default"}
    done = run_upreid(
        "pretrain",
        "both-terms-laptop",
        "--data.root",
        pictures,
        "--out",
        tmp_path / "run",
        *small,
        *alone,
        **environment,
    )
    assert done.returncode == 0, done.stderr
    events = list((tmp_path / "run" / "logs" / "tensorboard").iterdir())
    assert len(events) == 1
    assert b"intrinsic" in events[0].read_bytes()
