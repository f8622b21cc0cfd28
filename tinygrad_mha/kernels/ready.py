"""Which types kernels are compiled for, and each of them compiled when it is first asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numba import types

from . import ahead, elements, matrix, rows
from . import fused_attention as fused
from .door import open_door
from .jit import name_of, no_collection, source, target
from .together import name_what_doors_use

_i, _b, _f8 = types.intp, types.boolean, types.float64


def _in(t: Any, n: int) -> Any:
    return source(t, n)


def _out(t: Any, n: int) -> Any:
    return target(t, n)


def _any(t: Any, n: int) -> Any:
    return types.Array(t, n, "A")


def _limits(t: Any) -> tuple[Any, ...]:
    """Mask, whether there is one; bias, whether there is one."""
    return _in(types.uint8, 4), _b, _in(t, 4), _b


#: Causal, scale, dropping, first and last.
_how = _b, _f8, types.Tuple((_i, _i, _i, _f8)), _i, _i

#: For each kernel the types it is compiled for, once per dtype `t`, when it is first called.
_SIGNATURES: dict[Any, Callable[[Any], tuple[Any, ...]]] = {
    matrix.matmul: lambda t: (
        _in(t, 2), _in(t, 2), _out(t, 2), _in(t, 1), _out(types.int64, 2), _b, _i, _i,
    ),
    matrix.linear_gradients: lambda t: (
        *(3 * (_in(t, 2),)), _out(t, 2), _out(t, 2), _out(t, 1), _b, _b, _b,
    ),
    matrix.column_sums: lambda t: (_in(t, 2), _out(t, 1)),
    rows.softmax: lambda t: (_in(t, 2), _in(t, 2), _b, _out(t, 2), _i, _i),
    rows.log_softmax: lambda t: (_in(t, 2), _out(t, 2), _i, _i),
    **dict.fromkeys(
        (rows.softmax_backward, rows.log_softmax_backward),
        lambda t: (_in(t, 2), _in(t, 2), _out(t, 2), _i, _i),
    ),
    rows.logsumexp: lambda t: (_in(t, 2), _out(t, 1), _i, _i),
    rows.cross_entropy: lambda t: (
        _in(t, 2), _in(types.int64, 1), types.int64, _out(t, 1), _out(t, 1), _i, _i,
    ),
    rows.cross_entropy_backward: lambda t: (
        _in(t, 2), _in(t, 1), _in(t, 1), _in(types.int64, 1), types.int64, _out(t, 2), _i, _i,
    ),
    rows.add_rows: lambda t: (_in(t, 2), _in(types.int64, 1), _out(t, 2), _i, _i),
    rows.layer_norm: lambda t: (
        _in(t, 2), _in(t, 1), _in(t, 1), _f8, _out(t, 2), _out(t, 1), _out(t, 1), _i, _i,
    ),
    rows.layer_norm_backward: lambda t: (
        _in(t, 2), _in(t, 2), _in(t, 1), _in(t, 1), _in(t, 1),
        _out(t, 2), _out(t, 1), _out(t, 1), _i, _i,
    ),
    **dict.fromkeys(
        (elements.erf, elements.sigmoid, elements.silu, elements.gelu, elements.gelu_tanh),
        lambda t: (_in(t, 1), _out(t, 1), _i, _i),
    ),
    **dict.fromkeys(
        (
            elements.relu_backward, elements.silu_backward, elements.gelu_backward,
            elements.gelu_tanh_backward,
        ),
        lambda t: (_in(t, 1), _in(t, 1), _out(t, 1), _i, _i),
    ),
    elements.squared_error: lambda t: (_in(t, 1), _in(t, 1), _out(t, 1), _f8),
    elements.adamw: lambda t: (
        _out(t, 1), _in(t, 1), _out(t, 1), _out(t, 1), *(6 * (_f8,)),
    ),
    elements.sgd: lambda t: (_out(t, 1), _in(t, 1), _out(t, 1), _f8, _f8),
    fused.attention: lambda t: (
        *(3 * (_in(t, 4),)), *_limits(t), _any(t, 4), _out(t, 2), *_how,
    ),
    fused.attention_weights: lambda t: (
        _in(t, 4), _in(t, 4), *_limits(t), _out(t, 4), _b, _f8, _i, _i,
    ),
    fused.attention_backward: lambda t: (
        *(5 * (_in(t, 4),)), _in(t, 2), *_limits(t), *(3 * (_any(t, 4),)), *_how,
    ),
}  # fmt: skip

_ready: dict[tuple[Any, np.dtype[Any], str], Callable[..., Any]] = {}


def kernel_for(dispatcher: Any, dtype: np.dtype[Any], way: str = "") -> Callable[..., Any]:
    """Return a kernel that is compiled for a dtype: once, for all layouts of its arguments.

    It is a :mod:`.door` of the machine code, see :func:`.open_door`. Dtypes and dimensions are
    right by then, or the door declines or refuses.
    """
    run = _ready.get((dispatcher, dtype, way))
    if run is None:
        ahead.wait_for(name_of(dispatcher))
        number = types.float32 if dtype == np.float32 else types.float64
        signature = _SIGNATURES[dispatcher](number)
        name_what_doors_use()
        with no_collection():
            dispatcher.compile(signature)
        run = open_door(dispatcher.overloads[signature], way)
        _ready[dispatcher, dtype, way] = run
    return run


def names() -> set[str]:
    """Names of all kernels."""
    return {name_of(dispatcher) for dispatcher in _SIGNATURES}


def compile_now(wanted: Sequence[str]) -> None:
    """Compile kernels for float32, and print the name of each when it is on disk."""
    for dispatcher in sorted(_SIGNATURES, key=name_of):
        if name_of(dispatcher) in wanted:
            kernel_for(dispatcher, np.dtype(np.float32))
            print(name_of(dispatcher), flush=True)


class Ready(dict[np.dtype[Any], Callable[..., Any]]):
    """A kernel for each dtype, compiled when it is first asked for; found in the shortest time."""

    def __init__(self, dispatcher: Any, way: str = "") -> None:
        self.dispatcher, self.way = dispatcher, way
        #: The door for several threads.
        self.together = self if way else Ready(dispatcher, "together")

    def __missing__(self, dtype: np.dtype[Any]) -> Callable[..., Any]:
        self[dtype] = kernel_for(self.dispatcher, dtype, self.way)
        return self[dtype]
