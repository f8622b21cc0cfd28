"""NumPy's functions on tensors: ``np.sum(t, axis=0)`` is ``tm.sum(t, dim=0)``, with its gradient.

A function that has no counterpart here runs on the arrays, and its results are tensors
again; but not if one of the tensors requires a gradient, which would be lost without a word
(NEP 18, "A dispatch mechanism for NumPy's high level array functions").
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..engine import Tensor
from ..engine.op import plain
from ..engine.tensor import UFUNCS, as_array, weak

#: NumPy's names for our arguments.
_ARGUMENTS = {"axis": "dim", "keepdims": "keepdim", "ddof": "correction", "repeats": "repeats"}


def _ours(name: str) -> Callable[..., Any]:
    from .. import ops  # this room itself, complete only when all of it is loaded

    return getattr(ops, name)


def _renamed(name: str) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        # ours or PyTorch's defaults stand where NumPy's say "no value"
        given = {
            _ARGUMENTS.get(key, key): value
            for key, value in kwargs.items()
            if value is not None and value is not np._NoValue
        }
        return _ours(name)(*args, **given)

    return call


def _spread(x: Any, correction: float, name: str, axis: Any, keepdims: Any) -> Any:
    keep = keepdims is True
    return _ours(name)(x, dim=axis, correction=correction, keepdim=keep)


_FUNCTIONS: dict[Any, Callable[..., Any]] = {
    getattr(np, name): _renamed(ours)
    for name, ours in {
        "sum": "sum", "mean": "mean", "prod": "prod", "amax": "amax", "amin": "amin",
        "max": "amax", "min": "amin", "argmax": "argmax", "argmin": "argmin",
        "any": "any", "all": "all", "cumsum": "cumsum", "cumprod": "cumprod",
        "concatenate": "cat", "stack": "stack", "squeeze": "squeeze", "swapaxes": "transpose",
        "moveaxis": "movedim", "expand_dims": "unsqueeze", "broadcast_to": "broadcast_to",
        "reshape": "reshape", "where": "where", "clip": "clamp", "dot": "matmul",
        "einsum": "einsum", "outer": "outer", "trace": "trace", "tile": "tile", "flip": "flip",
        "tril": "tril", "triu": "triu", "diagonal": "diagonal", "take_along_axis":
        "take_along_dim", "zeros_like": "zeros_like", "ones_like": "ones_like", "copy": "clone",
        "nan_to_num": "nan_to_num",
    }.items()
}  # fmt: skip
_FUNCTIONS[np.transpose] = lambda a, axes=None: _ours("permute")(
    a, tuple(range(a.ndim))[::-1] if axes is None else tuple(axes)
)
_FUNCTIONS[np.var] = lambda a, axis=None, ddof=0, keepdims=False, **_: _spread(
    a, ddof, "var", axis, keepdims
)
_FUNCTIONS[np.std] = lambda a, axis=None, ddof=0, keepdims=False, **_: _spread(
    a, ddof, "std", axis, keepdims
)


#: Of what a tensor is, not of its values: no gradient is lost.
for _function in (np.shape, np.ndim, np.size, np.iscomplexobj, np.isrealobj, np.result_type):
    _FUNCTIONS[_function] = lambda *args, _function=_function, **kwargs: _function(
        *_mapped(args, plain), **_mapped(kwargs, plain)
    )


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        return [t for item in value for t in _tensors(item)]
    return []


def _mapped(value: Any, function: Callable[[Any], Any]) -> Any:
    """Apply a function to everything in nested tuples, lists and dicts."""
    if isinstance(value, dict):
        return {key: _mapped(item, function) for key, item in value.items()}
    if isinstance(value, list | tuple):
        items = [_mapped(item, function) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    return function(value)


def _array_function(
    self: Tensor, function: Any, types: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    ours = _FUNCTIONS.get(function)
    if ours is not None:
        return ours(*args, **kwargs)
    name = f"{function.__module__}.{function.__name__}"
    _refuse_gradients(name, _tensors((args, kwargs)))
    return _mapped(function(*_mapped(args, plain), **_mapped(kwargs, plain)), _wrapped)


def _refuse_gradients(name: str, tensors: list[Tensor]) -> None:
    for tensor in tensors:
        if tensor.requires_grad:
            raise TypeError(
                f"{name}: has no gradient here, and a tensor of shape {tensor.shape} requires one; "
                "use a function of tinygrad_mha, or pass .detach()"
            )


def _wrapped(value: Any) -> Any:
    return Tensor(value) if _is_numeric(value) else value


def _is_numeric(value: Any) -> bool:
    return isinstance(value, np.ndarray | np.generic) and value.dtype.kind in "biuf"


def _operand(value: Any) -> Any:
    """What a ufunc takes beside a tensor: lists too, whose floats are float32 here."""
    return as_array(value) if isinstance(value, list | tuple) else weak(value)


def _array_ufunc(self: Tensor, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
    """``np.exp(t)``, ``array + t``: a tensor again, with its gradient, never a bare array."""
    operation = UFUNCS.get(ufunc)
    if operation is not None and method == "__call__" and not kwargs:
        return operation(*map(_operand, inputs))
    name = f"numpy.{ufunc.__name__}" + ("" if method == "__call__" else f".{method}")
    out = kwargs.get("out", ())
    if _tensors(out):
        raise TypeError(f"{name}: out is a tensor; write its method in place, such as add_()")
    _refuse_gradients(name, _tensors((inputs, kwargs)))
    found = getattr(ufunc, method)(*_mapped(inputs, plain), **_mapped(kwargs, plain))
    return found if out or method == "at" else _mapped(found, _wrapped)


def attach(tensor: type[Tensor]) -> None:
    """Give the class NumPy's protocols."""
    setattr(tensor, "__array_ufunc__", _array_ufunc)  # noqa: B010
    setattr(tensor, "__array_function__", _array_function)  # noqa: B010
