"""Multi-head attention on its own autograd engine, with every head drawn.

The usual way in::

    import tinygrad_mha as tm

Names follow PyTorch wherever PyTorch has the thing.
"""

import contextlib
import importlib.util
import os
import warnings
from collections.abc import Mapping
from typing import Any

from . import starting  # noqa: F401  before all that takes its time

# isort: split
from . import autograd, func, nn, optim, viz
from .engine import (
    Tensor,
    enable_grad,
    inference_mode,
    is_grad_enabled,
    no_grad,
    set_grad_enabled,
    tensor,
)
from .kernels import get_num_threads, set_num_threads
from .ops import *  # noqa: F403
from .ops import __all__ as _operations

__version__ = "0.1.0"

# ∞ and nan are values here, as in PyTorch; autograd.detect_anomaly finds where they begin.
# NumPy's warnings about them are silenced, for the lines of this package only.
warnings.filterwarnings(
    "ignore",
    message="(divide by zero|invalid value|overflow|underflow) encountered",
    category=RuntimeWarning,
    module=r"tinygrad_mha\.(engine|ops|kernels)\.",
)


def save(
    tensors: Mapping[str, Any],
    path: str | os.PathLike[str],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write named tensors to a safetensors file; see ``interop.safetensors.save``."""
    from .interop import safetensors

    safetensors.save(tensors, path, metadata)


def load(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """Read the named tensors of a safetensors file; see ``interop.safetensors.load``."""
    from .interop import safetensors

    return safetensors.load(path)


def from_dlpack(array: Any) -> Tensor:
    """Wrap an array of another framework without a copy; see ``interop.dlpack.from_dlpack``."""
    from .interop import dlpack

    return dlpack.from_dlpack(array)


if importlib.util.find_spec("einops") is not None:  # it looks for backends among those imported
    with contextlib.suppress(ImportError):
        from .interop import einops as _einops  # noqa: F401

__all__ = [  # noqa: PLE0604  (the operations' names are strings too)
    "Tensor",
    "autograd",
    "enable_grad",
    "from_dlpack",
    "func",
    "get_num_threads",
    "inference_mode",
    "is_grad_enabled",
    "load",
    "nn",
    "no_grad",
    "optim",
    "save",
    "set_grad_enabled",
    "set_num_threads",
    "tensor",
    "viz",
    *_operations,
]
