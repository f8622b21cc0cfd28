"""The benchmarks do the work they say they do; how long it takes is for reading."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_mha as tm
from tests.support import require

torch = require.module("torch")

from tests.benchmarks import kernels, models, report  # noqa: E402
from tests.benchmarks.rows import Result, Row  # noqa: E402

ROWS = [
    row
    for section in (kernels.products, kernels.softmaxes, kernels.attentions, models.layers)
    for row in section(True, 1)
]


def _values(found: Any) -> np.ndarray:
    return found.detach().numpy() if isinstance(found, torch.Tensor) else np.asarray(found.data)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_each_does_the_same_work(row: Row) -> None:
    with tm.set_grad_enabled(row.grad), torch.set_grad_enabled(row.grad):
        ours, theirs = _values(row.ours()), _values(row.theirs())
        assert ours.shape == theirs.shape
        if row.exact:
            exact = _values(row.exact())
            np.testing.assert_allclose(ours, exact, rtol=1e-3, atol=1e-4)
            np.testing.assert_allclose(theirs, exact, rtol=1e-3, atol=1e-4)
        if row.numpy:
            np.testing.assert_allclose(row.numpy(), theirs, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("row", list(models.training(True, 1)), ids=lambda row: row.name)
def test_training_steps_run(row: Row) -> None:
    row.ours()
    row.theirs()


FAST = Result("P1", "matmul 8 × 8 nn", 1, 1e-6, 2e-6, 3e-6, aim=0.95, speed=1e9)
SLOW = Result("P2", "softmax 64 × 64", 1, 4e-6, None, 4e-6, aim=2.0)
HEAVY = Result("P7", "memory", 1, 50.0, None, 100.0, aim=1.0, unit="MB")
LATE = Result("P8", "first step", 1, 20.0, most=10.0)


def test_ratio_is_to_the_best_of_the_others() -> None:
    assert FAST.ratio == 2
    assert LATE.ratio is None


def test_what_was_reached_of_the_aim() -> None:
    reached = [r.reached for r in (FAST, SLOW, HEAVY, LATE)]
    assert reached == pytest.approx([2 / 0.95, 0.5, 2, 0.5])


def test_mean_is_of_times_only() -> None:
    assert report.mean([FAST, SLOW, HEAVY, LATE]) == pytest.approx(np.sqrt(2))


def test_lines_have_the_headers_cells() -> None:
    for result in (FAST, SLOW, HEAVY, LATE):
        assert report.line(result).count("|") == report.HEADER.count("|")
    assert "**softmax" in report.line(SLOW)
    assert "**" not in report.line(FAST)


def test_page_tells_the_misses_first() -> None:
    worse = dataclasses.replace(SLOW, name="softmax 1 × 1", ours=8e-6)
    page = report.page([FAST, SLOW, worse, HEAVY, LATE], {1: 1e11}, ["light.svg", "dark.svg"])
    misses = page[page.index("## What misses") : page.index("## P1")]
    assert misses.index("softmax 1 × 1") < misses.index("softmax 64 × 64")
    assert "matmul" not in misses
    assert all(f"## {section}: " in page for section in ("P1", "P2", "P7", "P8"))


def test_a_busy_machine_is_told() -> None:
    arguments: Any = ([FAST], {1: 1e11}, ["light.svg", "dark.svg"])
    assert "load 3.0" in report.page(*arguments, load=3.0)
    assert "Other programs" not in report.page(*arguments, load=0.1)


def test_plot_has_text_that_is_text(tmp_path: Path) -> None:
    require.module("matplotlib")
    for theme in report.THEMES:
        report.plot([FAST, SLOW, HEAVY], {1: 1e11}, tmp_path / f"{theme}.svg", theme)
        svg = (tmp_path / f"{theme}.svg").read_text(encoding="utf-8")
        assert "tinygrad_mha" in svg
        assert "Matrix products" in svg
