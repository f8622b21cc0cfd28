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


PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]


def _anchor(heading: str) -> str:
    """The name that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    links = re.findall(r"\]\(([^)\s]+)\)|(?:src|srcset|href)=\"([^\"]+)\"", text)
    for link in (one or other for one, other in links):
        if re.match(r"https?://|mailto:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page.name} links to {link}"
        if anchor and target.suffix == ".md":
            headings = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.M)
            assert anchor in map(_anchor, headings), f"{page.name} links to {link}"


def test_every_page_and_example_is_in_the_index() -> None:
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    files = [*(ROOT / "docs").glob("*.md"), *(ROOT / "examples").glob("*.*")]
    missing = [f.name for f in files if f.name != "README.md" and f"{f.name})" not in index]
    assert not missing
    assert "docs/README.md" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_readme_has_code_that_runs() -> None:
    assert any(name.startswith("README") for name, _ in _blocks())


def test_where_a_step_goes_has_a_place_for_every_table() -> None:
    script = (ROOT / "examples" / "where_a_step_goes.py").read_text("utf-8")
    cases = re.findall(r'"(\w+)": \(\(', script)
    page = (ROOT / "docs" / "where-a-step-goes.md").read_text("utf-8")
    assert re.findall(r"<!-- figures: (\w+) -->\n.*?\n<!-- end -->", page, re.S) == cases
