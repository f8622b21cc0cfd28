"""The command ``tinygrad-mha``: what it writes, what it says, how it ends."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.viz.test_pictures import without_typst
from tinygrad_mha.cli import main
from tinygrad_mha.tasks import char_model
from tinygrad_mha.viz.theme import THEMES

SMALL = ["--layers", "1", "--heads", "2", "--width", "8"]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that one small demo wrote."""
    out = tmp_path_factory.mktemp("demo")
    assert main(["demo", "--steps", "3", *SMALL, "--out", str(out)]) == 0
    return out


def test_demo_writes_its_files_and_nothing_else(demo: Path) -> None:
    assert sorted(p.name for p in demo.iterdir()) == [
        "film.html",
        "graph.svg",
        "model.safetensors",
        "report.html",
    ]
    assert "<svg" in (demo / "graph.svg").read_text(encoding="utf-8")
    assert "</html>" in (demo / "report.html").read_text(encoding="utf-8")


def test_demo_says_what_it_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        main(["demo", "--steps", "2", *SMALL, "--attention", "additive", "--out", str(tmp_path)])
        == 0
    )
    out = capsys.readouterr().out
    for part in ("held out", "additive attention", "bits per character", "report.html"):
        assert part in out


def test_same_seed_gives_the_same_checkpoint(tmp_path: Path, demo: Path) -> None:
    main(["demo", "--steps", "3", *SMALL, "--out", str(tmp_path)])
    assert (tmp_path / "model.safetensors").read_bytes() == (
        demo / "model.safetensors"
    ).read_bytes()


def test_sample_continues_and_repeats(demo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["sample", str(demo / "model.safetensors"), "--prompt", "The ", "--length", "20"]
    written = []
    for _ in range(2):
        assert main(command) == 0
        written.append(capsys.readouterr().out)
    assert written[0] == written[1]
    assert written[0].startswith("The ")
    assert len(written[0].rstrip("\n")) <= 24


def test_demo_without_a_film_trains_the_same(tmp_path: Path, demo: Path) -> None:
    assert main(["demo", "--steps", "3", *SMALL, "--no-film", "--out", str(tmp_path)]) == 0
    assert not (tmp_path / "film.html").exists()
    mine, filmed = (folder / "model.safetensors" for folder in (tmp_path, demo))
    assert mine.read_bytes() == filmed.read_bytes()


def test_graph_draws_a_text_of_ones_own(
    demo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["graph", str(demo / "model.safetensors"), "--text", "of mine", "--out"]
    assert main([*command, str(tmp_path / "new" / "folder")]) == 0
    assert sorted(p.name for p in (tmp_path / "new" / "folder").iterdir()) == [
        "graph.json",
        "graph.svg",
        "graph.txt",
        "report.html",
    ]
    out = capsys.readouterr().out
    assert "blocks.0.attention     2" in out  # what the loss is without head 2
    lanes = json.loads((tmp_path / "new/folder/graph.json").read_text())["attentions"][0]["lanes"]
    assert all(f"{lane['ablation']:+.3g}" in out for lane in lanes)


@pytest.mark.parametrize(
    ("text", "notes"),
    [
        ("all of it", []),
        ("日本 x\x01\udcff", ["not in the model's alphabet, so read as \ufffd: ⟨1⟩ 日 本 ⟨dcff⟩"]),
        ("ab" * 200, ["reads 64 characters at a time; of 400 these are drawn: 'abab"]),
        ("é" * 66, ["reads 64 characters", "so read as \ufffd: é"]),
        ("a" * 65, []),  # the last one is what the model has to foretell
    ],
    ids=["whole", "strange", "long", "both", "just"],
)
def test_graph_says_what_it_does_not_read(
    demo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, notes: list[str]
) -> None:
    command = ["graph", str(demo / "model.safetensors"), "--text", text, "--formats", "txt"]
    assert main([*command, "--out", str(tmp_path)]) == 0
    told = [line for line in capsys.readouterr().out.splitlines() if line.startswith("Note")]
    assert len(told) == len(notes)
    assert all(part in line for part, line in zip(notes, told, strict=True))


def test_graph_interrupted_leaves_nothing_half_written(
    demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    (tmp_path / "graph.svg").write_text("an older one")
    monkeypatch.setattr(os, "replace", interrupted)  # just before a file would appear
    assert main(["graph", str(demo / "model.safetensors"), "--out", str(tmp_path)]) == 130
    assert [p.name for p in tmp_path.iterdir()] == ["graph.svg"]
    assert (tmp_path / "graph.svg").read_text() == "an older one"
    assert "interrupted" in capsys.readouterr().err


def test_graph_replaces_older_files_but_no_folder(
    demo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "graph.txt").write_text("an older one")
    (tmp_path / "graph.json").mkdir()
    command = ["graph", str(demo / "model.safetensors"), "--out", str(tmp_path)]
    assert main([*command, "--formats", "txt,json"]) == 1
    assert "an older one" not in (tmp_path / "graph.txt").read_text("utf-8")
    assert f"cannot write {tmp_path / 'graph.json'}" in capsys.readouterr().err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["graph.json", "graph.txt"]


def test_graph_compares_two_models(
    demo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["demo", "--steps", "1", *SMALL, "--no-film", "--out", str(tmp_path)]) == 0
    models = [str(folder / "model.safetensors") for folder in (demo, tmp_path)]
    command = ["graph", models[0], "--diff", models[1], "--out", str(tmp_path / "out")]
    assert main([*command, "--formats", "svg, .txt", "--theme", "dark"]) == 0
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "diff.svg",
        "diff.txt",
        "graph.svg",
        "graph.txt",
    ]
    told = (tmp_path / "out" / "diff.txt").read_text("utf-8")
    assert "Heads of blocks.0.attention" in told
    assert "≥" not in told  # every difference is exact
    assert str(tmp_path / "out" / "diff.svg") in capsys.readouterr().out


@pytest.mark.parametrize(
    ("theme", "opens"), [(None, "system"), ("light", "light"), ("dark", "dark"), ("print", "light")]
)
def test_the_theme_reaches_pictures_and_pages(
    demo: Path, tmp_path: Path, theme: str | None, opens: str
) -> None:
    model = str(demo / "model.safetensors")
    command = ["graph", model, "--diff", model, "--out", str(tmp_path), "--formats", "svg,html"]
    assert main([*command, "--theme", theme] if theme else command) == 0
    picture = (tmp_path / "graph.svg").read_text("utf-8")
    assert (THEMES["dark"].paper in picture) == (theme == "dark")
    page = (tmp_path / "report.html").read_text("utf-8")
    assert f'<html lang="en" data-theme="{opens}"' in page
    compared = (tmp_path / "diff.html").read_text("utf-8")
    assert (f'data-around="{opens}">' in compared[:200]) == (opens != "system")


def test_explain(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "softmax"]) == 0
    assert "yᵢ = eˣⁱ / Σⱼ eˣʲ" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("command", "part"),
    [
        (["demo", "--width", "10", "--heads", "3"], "multiple"),
        (["demo", "--text", "x"], "two characters"),
        (["demo", "--out", "/proc/nowhere"], "cannot write"),
        (["sample", "no.safetensors"], "no checkpoint"),
        (["explain", "no_such_operation"], "no_such_operation"),
        (["sample", __file__], "not a whole safetensors file"),
        (["graph", "no.safetensors"], "no checkpoint"),
        (["graph", "{model}", "--text", "x"], "two characters"),
        (["graph", "{model}", "--diff", "other.safetensors"], "no checkpoint 'other.safetensors'"),
        (["graph", "{model}", "--out", "/proc/nowhere"], "cannot write"),
        (["graph", "{model}", "--formats", "svg,pdf"], "graph.pdf: PDF needs a program"),
        (["graph", "{model}", "--formats", "dot,pdf"], "pip install 'tinygrad-mha[pdf]'"),
        (["sample", "{model}", "--temperature", "nan"], "--temperature nan"),
        (["sample", "{model}", "--temperature", "inf"], "--temperature inf"),
        (["sample", "{model}", "--temperature", "-1"], "--temperature -1"),
        (["sample", "."], "'.' is a folder"),
    ],
)
def test_mistakes_are_explained_in_one_line(
    command: list[str],
    part: str,
    demo: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    without_typst(monkeypatch)
    monkeypatch.setattr(shutil, "which", lambda name: None)  # no Graphviz but that of pip
    command = [part.format(model=demo / "model.safetensors") for part in command]
    assert main(command) == 1
    captured = capsys.readouterr()
    assert part in captured.err
    assert captured.err.startswith("tinygrad-mha: ")
    assert "Traceback" not in captured.err
    assert captured.out == "", "found out before the work"
    assert list(tmp_path.iterdir()) == [], "nothing half written"


@pytest.mark.parametrize(
    "command",
    [
        [],
        ["fly"],
        ["demo", "--steps", "0"],
        ["demo", "--attention", "none"],
        ["graph", "model.safetensors", "--formats", "svg,gif"],
        ["graph", "model.safetensors", "--theme", "pink"],
    ],
)
def test_wrong_options_end_with_2(command: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(command)
    assert ended.value.code == 2


def test_interrupt_ends_the_training_and_keeps_what_was_learnt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = char_model.train

    def interrupted_at_three(*arguments, **options):
        for progress in real(*arguments, **options):
            if progress.step == 3:
                os.kill(os.getpid(), signal.SIGINT)
            yield progress

    monkeypatch.setattr(char_model, "train", interrupted_at_three)
    before = signal.getsignal(signal.SIGINT)
    assert main(["demo", "--steps", "1000", *SMALL, "--out", str(tmp_path)]) == 130
    assert signal.getsignal(signal.SIGINT) is before
    assert "Trained 3 steps" in capsys.readouterr().out
    assert (tmp_path / "model.safetensors").exists()
    assert (tmp_path / "report.html").exists()


#: As pip writes it beside the interpreter.
SCRIPT = """import sys
from tinygrad_mha.cli import main
if __name__ == "__main__":
    sys.exit(main())
"""


@pytest.mark.parametrize("imported", ["tinygrad_mha.starting", "numpy", "tinygrad_mha.ops"])
@pytest.mark.parametrize("how", ["module", "script"])
def test_interrupt_while_it_is_imported_ends_it_in_one_line(
    tmp_path: Path, how: str, imported: str
) -> None:
    command = ["-m", "tinygrad_mha"]
    if how == "script":
        (tmp_path / "tinygrad-mha").write_text(SCRIPT)
        command = [str(tmp_path / "tinygrad-mha")]
    root = str(Path(__file__).parent.parent)
    paths = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    # tells of every import once it is done; one that is not interrupted ends by itself
    command = [sys.executable, "-X", "importtime", *command, "explain", "softmax"]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": paths},
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.split("|")[-1].strip() == imported:
                process.send_signal(signal.SIGINT)
                break
        out, err = process.communicate()
    said = [line for line in err.splitlines() if not line.startswith("import time:")]
    assert process.returncode == 130
    assert [line for line in said if line] == ["tinygrad-mha: interrupted"]
    assert out == ""


def test_another_program_keeps_its_interrupt() -> None:
    program = (
        "import signal, tinygrad_mha; print(signal.getsignal(2) is signal.default_int_handler)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parent.parent,
    )
    assert done.stdout == "True\n"


def test_runs_as_a_module() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tinygrad_mha", "--help"],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parent.parent,
    )
    assert "demo" in done.stdout
