"""Every step from the formula to the vector gives the right numbers, and is the page's code."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support import require

require.module("numba")

ROOT = Path(__file__).parents[1]


sys.path.insert(0, str(ROOT / "examples"))  # as where a script is run
script: Any = importlib.import_module("from_the_formula_to_the_vector")
sys.path.pop(0)
STEPS = [(subject, step) for subject, steps in script.STEPS.items() for step in steps]


@pytest.mark.parametrize(
    ("subject", "step"), STEPS, ids=[f"{subject}-{step.title}" for subject, step in STEPS]
)
def test_a_step_agrees_with_float64(subject: str, step: Any) -> None:
    sizes = [script.SLOW_SIZE[subject]] if step.slow else [384, 768]
    for size in sizes:
        arrays = script.inputs(subject, size)
        before = [a.copy() for a in arrays[:-1]]
        arrays[-1][:] = np.nan  # what was there before does not count
        values, exact = script.result(step, arrays), script.truth(subject, arrays)
        np.testing.assert_allclose(values, exact, rtol=2e-4, atol=2e-5 * abs(exact).max())
        assert all(np.array_equal(a, b) for a, b in zip(arrays, before, strict=False))


def test_truth_is_the_formula() -> None:
    q, k, v, out = script.inputs("attention", 3)
    scores = [[sum(a * b for a, b in zip(x, y, strict=True)) / 8 for y in k] for x in q]
    weights = np.array([[np.exp(s) / sum(np.exp(row)) for s in row] for row in scores])
    np.testing.assert_allclose(script.truth("attention", [q, k, v, out]), weights @ v, rtol=1e-5)
    np.testing.assert_allclose(script.truth("softmax", [q, out]).sum(1), 1)


def test_the_page_shows_the_code_that_runs() -> None:
    page = (ROOT / "docs" / "from-the-formula-to-the-vector.md").read_text(encoding="utf-8")
    assert page.count("<!-- code: ") >= 12
    assert script.filled(page, {}) == page


def test_the_page_is_filled_with_figures() -> None:
    page = "a\n<!-- figures: matmul -->\nold\n<!-- end -->\n<!-- code: larger -->\n\n<!-- end -->"
    made = script.filled(page, {"matmul": "| new |"})
    assert "| new |" in made
    assert "old" not in made
    assert "return where_less(a, b, b, a)" in made


def test_tables_and_plot(tmp_path: Path) -> None:
    require.module("matplotlib")
    found = script.Found("x", 1, 1e-3, 1e9, 1e-7)
    results = {subject: {1024: [found] * len(steps)} for subject, steps in script.STEPS.items()}
    for subject, by_size in results.items():
        lines = list(script.table(subject, by_size, 1e11))
        assert len(lines) == 2 + len(script.STEPS[subject])
        assert len({line.count("|") for line in lines}) == 1
    script.plot(results, 1e11, tmp_path / "steps.svg", "dark")
    assert "attention, T = 1024" in (tmp_path / "steps.svg").read_text(encoding="utf-8")
