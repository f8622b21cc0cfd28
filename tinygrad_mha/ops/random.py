"""Random numbers, all from one generator that :func:`manual_seed` sets."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import numpy.typing as npt

from ..engine import Sample, Tensor, op
from ..engine.op import Value
from .axes import broadcast_axis


class _Source(threading.local):
    """Each thread draws from a generator of its own: NumPy's are not safe to share."""

    def __init__(self) -> None:
        self.generator = np.random.default_rng()


_source = _Source()


def manual_seed(seed: int) -> None:
    """Start this thread's random numbers anew; the same seed gives the same numbers.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.manual_seed(0); a = tm.rand(3)
    >>> tm.manual_seed(0); b = tm.rand(3)
    >>> bool((a == b).data.all())
    True
    """
    _source.generator = np.random.default_rng(seed)


def generator() -> np.random.Generator:
    """Return the generator that this thread draws from."""
    return _source.generator


def _drawn(values: Any, dtype: npt.DTypeLike, requires_grad: bool) -> Tensor:
    return Tensor(np.asarray(values).astype(dtype, copy=False), requires_grad)


def rand(*shape: int, dtype: npt.DTypeLike = np.float32, requires_grad: bool = False) -> Tensor:
    """Draw uniform numbers from [0, 1).

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.rand(2, 3).shape
    (2, 3)
    """
    return _drawn(generator().random(shape), dtype, requires_grad)


def randn(*shape: int, dtype: npt.DTypeLike = np.float32, requires_grad: bool = False) -> Tensor:
    """Draw standard normal numbers.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.randn(2, 3).shape
    (2, 3)
    """
    return _drawn(generator().standard_normal(shape), dtype, requires_grad)


def randint(low: int, high: int, shape: tuple[int, ...]) -> Tensor:
    """Draw integers from `low` to `high` − 1.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.randint(0, 10, (2, 3)).dtype
    dtype('int64')
    """
    return Tensor(generator().integers(low, high, shape))


@op(
    "y = x · keep / (1 − p)",
    symbol="dropout",
    axis=broadcast_axis,
    method=False,
    torch="ours:scaled_mask",
    samples=(Sample(((2, 3), np.array([[True, False, True], [True, True, False]])), {"p": 0.25}),),
)
def scaled_mask(x: Value, keep: Value, p: float) -> Value:
    """Zero where `keep` is False, the rest scaled so that the expectation stays."""
    return x * (keep * x.dtype.type(1 / (1 - p) if p < 1 else 0.0))


@scaled_mask.gradient("x", "dx = dy · keep / (1 − p)")
def scaled_mask_dx(dy: Value, keep: Value, p: float) -> Value:
    return scaled_mask(dy, keep, p)


def dropout(x: Tensor, p: float = 0.5, training: bool = True) -> Tensor:
    """Drop each element with probability `p`, and scale the rest by 1/(1 − p).

    Parameters
    ----------
    x : Tensor
        Any shape.
    p : float, default 0.5
        From 0 to 1.
    training : bool, default True
        False returns `x` as it is.

    Returns
    -------
    Tensor
        Of the shape of `x`.

    Raises
    ------
    ValueError
        `p` is not between 0 and 1.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.nn.functional.dropout(tm.ones(3), p=0.0)
    tensor([1., 1., 1.])
    """
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"dropout: p is {p}, expected a probability from 0 to 1")
    if not training or p == 0.0:
        return x
    kept: Tensor = scaled_mask(x, generator().random(x.shape) >= p, p=p)
    return kept
