"""Which backend computes: the compiled kernels where they can run, or their twins."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import numpy as np

from . import reference
from .backend import fall_back, state

Array = np.ndarray

_compiled: ModuleType | None = None


def load() -> ModuleType:
    """Import the compiled kernels, and numba with them; the twins where that cannot be."""
    global _compiled
    try:
        from . import compiled
    except RecursionError:  # called from deep inside: no reason to do without for good
        raise
    except Exception as error:  # numba fails in many ways: no wheel, no LLVM, a broken install
        fall_back(error)
        return reference
    _compiled = compiled
    return compiled


def backend_for(x: Array) -> Any:
    """Choose who computes: kernels are for float32 and float64."""
    if state.name == "numpy" or x.dtype.char not in "fd":
        return reference
    return _compiled or load()


@contextlib.contextmanager
def on_compile(listener: Callable[[str, str, float], object]) -> Iterator[None]:
    """Call `listener` whenever a kernel is compiled, which happens once per machine.

    Parameters
    ----------
    listener : callable
        Called with the kernel's name, "start" or "done", and the seconds it took.

    Examples
    --------
    >>> from tinygrad_mha import kernels
    >>> with kernels.on_compile(lambda kernel, state, seconds: None):
    ...     pass
    """
    if state.name == "numpy" or (_compiled or load()) is reference:
        yield
        return
    from . import jit

    with jit.on_compile(listener):
        yield
