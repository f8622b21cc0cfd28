"""Which kernels run: those that numba compiles, or their NumPy twins."""

from __future__ import annotations

import contextlib
import os
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

BACKENDS = ("numba", "numpy")


def _from_environment() -> str:
    name = os.environ.get("TINYGRAD_MHA_BACKEND", "numba")
    if name not in BACKENDS:
        raise ValueError(f"TINYGRAD_MHA_BACKEND is {name!r}; it can be one of {BACKENDS}")
    return name


class Quick(NamedTuple):
    """What computes the matrix products of one dtype, in the order in which it is tried."""

    small: Callable[..., np.ndarray | None]  # the kernel; it makes its result, or declines
    large: Callable[..., np.ndarray | None]  # multiplies two matrices, by several threads
    no_bias: np.ndarray
    alone: np.ndarray  # offsets of a single product, not to be shared: ``(0, most)``
    stacks: Callable[..., np.ndarray]  # multiplies stacks of matrices


#: For each backend and dtype, what small products are computed with: see :func:`.matmul`.
QUICK: dict[str, dict[np.dtype[Any], Quick]] = {name: {} for name in BACKENDS}

#: And the kernel of a small softmax, which makes its result or declines.
SOFTMAX: dict[str, dict[np.dtype[Any], Callable[..., np.ndarray | None]]] = {
    name: {} for name in BACKENDS
}


class _State(threading.local):
    """Each thread starts with what the environment says."""

    name: str = _from_environment()
    quick: dict[np.dtype[Any], Quick] = QUICK[name]
    softmax: dict[np.dtype[Any], Callable[..., np.ndarray | None]] = SOFTMAX[name]


state = _State()


def _switch(owner: Any, name: str) -> None:
    owner.name, owner.quick, owner.softmax = name, QUICK[name], SOFTMAX[name]


def backend() -> str:
    """Name of the backend that runs in this thread.

    Examples
    --------
    >>> from tinygrad_mha import kernels
    >>> with kernels.use_backend("numpy"):
    ...     kernels.backend()
    'numpy'
    """
    return state.name


@contextlib.contextmanager
def use_backend(name: str) -> Iterator[None]:
    """Run a block on one backend, in this thread.

    Parameters
    ----------
    name : {"numba", "numpy"}
        Compiled kernels, or their NumPy twins.

    Raises
    ------
    ValueError
        There is no such backend.

    Examples
    --------
    >>> import numpy as np
    >>> from tinygrad_mha import kernels
    >>> with kernels.use_backend("numpy"):
    ...     kernels.softmax(np.zeros((1, 2)))
    array([[0.5, 0.5]])
    """
    if name not in BACKENDS:
        raise ValueError(f"use_backend: {name!r} is not one of {BACKENDS}")
    before = state.name
    _switch(state, name)
    try:
        yield
    finally:
        _switch(state, before)


def fall_back(error: Exception) -> None:
    """Run everything on the twins from now on, and say why, once."""
    _switch(_State, "numpy")
    for name in ("name", "quick", "softmax"):
        state.__dict__.pop(name, None)
    warnings.warn(
        f"tinygrad_mha: the compiled kernels cannot run here ({type(error).__name__}: {error}); "
        "their NumPy twins take over, which are slower",
        RuntimeWarning,
        stacklevel=2,
    )
