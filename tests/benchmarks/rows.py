"""A line of the table: one piece of work, by each; and what was found."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

import tinygrad_mha as tm

from .timing import Work, alternate


@dataclass
class Row:
    """The same work, by each.

    Attributes
    ----------
    section, name : str
        "P1", and what is done.
    ours, theirs, numpy : callable
        The work: this project's, PyTorch's, NumPy's if it has it.
    aim : float
        How many times faster than the best of the others we want to be.
    grad : bool
        Whether gradients are recorded.
    flops : float
        Operations on numbers, if their speed is the limit.
    moved : callable, optional
        A copy of as many numbers, if memory is the limit.
    exact : callable, optional
        Computes the same in float64.
    """

    section: str
    name: str
    ours: Work
    theirs: Work
    numpy: Work | None = None
    aim: float = 1.0
    grad: bool = False
    flops: float = 0.0
    moved: Work | None = None
    exact: Callable[[], Any] | None = None


@dataclass
class Result:
    """What was measured; times in seconds, memory in MB."""

    section: str
    name: str
    threads: int
    ours: float
    numpy: float | None = None
    torch: float | None = None
    aim: float | None = None  # ratio, at least
    most: float | None = None  # seconds or MB, at most
    unit: str = "s"
    limit: str = ""
    speed: float | None = None  # FLOP/s
    error: str = ""

    @property
    def ratio(self) -> float | None:
        """How many times faster, or smaller, than the best of the others."""
        others = [t for t in (self.numpy, self.torch) if t]
        return min(others) / self.ours if others else None

    @property
    def reached(self) -> float:
        """What was reached, as a share of the aim; 1 is enough."""
        if self.most:
            return self.most / self.ours
        return (self.ratio or 1.0) / (self.aim or 1.0)


def _values(found: Any) -> np.ndarray:
    return found.detach().numpy() if isinstance(found, torch.Tensor) else found.data


def _error(found: Any, exact: np.ndarray) -> float:
    """Root of the mean squared deviation, relative to the truth's."""
    return float(np.sqrt(((_values(found) - exact) ** 2).mean() / (exact**2).mean()))


def measure(row: Row, threads: int, seconds: float, peak: float) -> Result:
    """Measure a row."""
    with tm.set_grad_enabled(row.grad), torch.set_grad_enabled(row.grad):
        works = {"ours": row.ours, "torch": row.theirs, "numpy": row.numpy, "copy": row.moved}
        used = {name: work for name, work in works.items() if work}
        times = dict(zip(used, alternate(list(used.values()), seconds, threads), strict=True))
        result = Result(
            row.section, row.name, threads, times["ours"], times.get("numpy"), times["torch"],
            row.aim,
        )  # fmt: skip
        if row.flops:
            result.speed = row.flops / times["ours"]
            result.limit = f"{result.speed / 1e9:.0f} GFLOP/s, {result.speed / peak:.2f} of peak"
        if row.moved:
            result.limit = f"{times['ours'] / times['copy']:.2f} × a copy"
        if row.exact:
            exact = _values(row.exact()).astype(np.float64)
            result.error = f"{_error(row.ours(), exact):.1e} / {_error(row.theirs(), exact):.1e}"
    return result


def arrays(*shapes: tuple[int, ...]) -> list[np.ndarray]:
    """Random numbers, the same in every run."""
    rng = np.random.default_rng(0)
    return [rng.standard_normal(shape).astype(np.float32) for shape in shapes]


def both(array: np.ndarray, grad: bool = False) -> tuple[Any, Any]:
    """The same numbers as our tensor and as PyTorch's."""
    return tm.Tensor(array, grad), torch.from_numpy(array.copy()).requires_grad_(grad)


def backward(forward: Work, inputs: list[Any]) -> Any:
    """Run forward and backward; return the gradient of the first input."""
    for tensor in inputs:
        tensor.grad = None
    out: Any = forward()
    (out[0] if isinstance(out, tuple) else out).sum().backward()
    return inputs[0].grad


def cores() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
