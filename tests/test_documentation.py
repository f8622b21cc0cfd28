"""What the documentation shows is run: docstrings, the README, the pages in docs/."""

import doctest
import importlib
import pkgutil
import re
from pathlib import Path

import numpy as np
import pytest

import tinygrad_mha as tm

ROOT = Path(__file__).parent.parent


def _modules() -> list[str]:
    found = pkgutil.walk_packages(tm.__path__, "tinygrad_mha.")
    return ["tinygrad_mha", *(m.name for m in found if not m.name.endswith("__main__"))]


@pytest.mark.parametrize("name", _modules())
def test_docstring_examples(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(name)
    with np.printoptions():
        result = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert result.failed == 0


def test_operations_examples_are_found() -> None:
    """An operation is an object, not a function; the finder must see its docstring."""
    normalize = importlib.import_module("tinygrad_mha.ops.normalize")

    names = {test.name for test in doctest.DocTestFinder().find(normalize) if test.examples}
    assert "tinygrad_mha.ops.normalize.softmax" in names


def _blocks() -> list[tuple[str, str]]:
    """Python code in Markdown that is whole: it imports what it uses."""
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return [
        (f"{page.name}-{i}", block)
        for page in pages
        if page.exists()
        for i, block in enumerate(
            re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S)
        )
        if "import tinygrad_mha" in block
    ]


@pytest.mark.parametrize(
    "block", [block for _, block in _blocks()], ids=[name for name, _ in _blocks()]
)
def test_code_in_markdown(block: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    exec(compile(block, "README", "exec"), {"__name__": "readme"})


def test_readme_has_code_that_runs() -> None:
    assert any(name.startswith("README") for name, _ in _blocks())
