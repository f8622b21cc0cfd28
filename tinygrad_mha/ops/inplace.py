"""Writing into tensors: ``x[index] = value``, ``x += y``, ``copy_``, ``zero_``, ``fill_``."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..engine import Sample, Tensor, op
from ..engine.inplace import apply_, view_
from ..engine.op import Value
from ..engine.tensor import replay
from .axes import Shape
from .cumulative import cumprod, cumsum
from .diagonal import tril, triu
from .elementwise import (
    add,
    bitwise_and,
    bitwise_or,
    bitwise_xor,
    div,
    floor_divide,
    mul,
    pow,
    remainder,
    sub,
)
from .index import getitem, is_basic, plain_index, put_at, two_steps
from .products import addmm, baddbmm
from .random import Generator, draws_from
from .rearrange import squeeze, t
from .scatter import scatter, scatter_add, scatter_reduce
from .shape import sum_to, transpose, unsqueeze
from .slices import index_add, index_copy, index_fill, index_put, masked_scatter

_row = ((getitem, (1,)),)
_columns = ((getitem, ((slice(None), slice(0, 3, 2)),)),)


@op(
    "y = x, with value in the place of one of its views",
    symbol="[ ] =",
    method=False,
    torch="ours:assign",
    samples=(
        Sample(((3, 4), (4,)), {"steps": _row}),
        Sample(((3, 4), (3, 1)), {"steps": _columns}),
    ),
)
def assign(x: Value, value: Value, steps: Any) -> Value:
    """Replace what a chain of views shows of a tensor.

    Parameters
    ----------
    x : Tensor
        Any shape.
    value : Tensor
        Broadcasts to the view's shape.
    steps : tuple of (Op, tuple)
        The views, one of another, each with its parameters.
    """
    y = x.copy()
    replay(y, steps)[...] = value
    return y


@assign.gradient("x", "dx = dy, with 0 in the place of the view")
def assign_dx(dy: Value, steps: Any) -> Value:
    return assign(dy, np.zeros((), dy.dtype), steps)


@assign.gradient("value", "dvalue = the view of dy")
def assign_dvalue(dy: Value, value_shape: Shape, steps: Any) -> Value:
    return sum_to(replay(dy, steps), value_shape)


@op(
    "y = value, in the shape and dtype of x",
    symbol="=",
    method=False,
    torch="ours:overwrite",
    samples=(Sample(((2, 3), (3,))), Sample(((2, 3), ()))),
)
def overwrite(x: Value, value: Value) -> Value:
    """Forget `x` for another value that broadcasts to its shape."""
    y = np.empty_like(x)
    try:
        np.copyto(y, value, casting="unsafe")
    except ValueError:
        raise ValueError(
            f"a value of shape {np.shape(value)} does not broadcast to the {x.shape} that is "
            "written to"
        ) from None
    return y


@overwrite.gradient("x", "dx = 0")
def overwrite_dx(dy: Value) -> Value:
    return dy * 0.0


@overwrite.gradient("value", "dvalue = Σ dy over the axes along which value was repeated")
def overwrite_dvalue(dy: Value, value_shape: Shape) -> Value:
    return sum_to(dy, value_shape)


def _as_value(value: Any, like: Tensor) -> Any:
    return value if isinstance(value, Tensor) else np.asarray(value, like.dtype)


def _setitem(self: Tensor, index: Any, value: Any) -> None:
    """Write into a part of the tensor; the gradient follows."""
    index = plain_index(index)
    if is_basic(index):
        copy_(self[index], value)
        return
    basic, advanced = two_steps(index if isinstance(index, tuple) else (index,), self.ndim)
    part = getitem(self, basic) if any(i != slice(None) for i in basic) else self
    at = advanced[0] if len(advanced) == 1 else advanced
    apply_(put_at, part, (_as_value(value, self),), {"index": at})


def copy_(self: Tensor, value: Any) -> Tensor:
    """Replace all elements by those of another tensor, which broadcasts."""
    return apply_(overwrite, self, (_as_value(value, self),), {})


def zero_(self: Tensor) -> Tensor:
    """Replace all elements by 0."""
    return copy_(self, 0)


def fill_(self: Tensor, value: Any) -> Tensor:
    """Replace all elements by one value."""
    return copy_(self, value)


def uniform_(
    self: Tensor, low: float = 0.0, high: float = 1.0, *, generator: Generator | None = None
) -> Tensor:
    """Replace all elements by uniform random numbers from [low, high)."""
    return copy_(self, draws_from(generator).uniform(low, high, self.shape))


def normal_(
    self: Tensor, mean: float = 0.0, std: float = 1.0, *, generator: Generator | None = None
) -> Tensor:
    """Replace all elements by normal random numbers."""
    return copy_(self, draws_from(generator).normal(mean, std, self.shape))


def bernoulli_(self: Tensor, p: float = 0.5, *, generator: Generator | None = None) -> Tensor:
    """Replace all elements by 1 with probability `p`, else by 0."""
    return copy_(self, draws_from(generator).random(self.shape) < p)


def _in_place(operation: Any) -> Any:
    """Make the in-place method of a function that is composed of operations."""

    def method(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return apply_(operation, self, args, kwargs)

    method.__name__ = f"{operation.__name__}_"
    method.__doc__ = f"In-place version of :meth:`{operation.__name__}`; returns the tensor itself."
    return method


def _view_in_place(name: str, operation: Any) -> Any:
    """Make the in-place method of a function that gives a view."""

    def method(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return view_(f"{name}_", operation, self, args, kwargs)

    method.__name__ = f"{name}_"
    method.__doc__ = f"In-place version of :meth:`{name}`; returns the tensor itself."
    return method


def _augmented(operation: Any) -> Any:
    def method(self: Tensor, other: Any) -> Tensor:
        return apply_(operation, self, (other,), {})

    return method


setattr(Tensor, "__setitem__", _setitem)  # noqa: B010
_COMPOSED: tuple[Any, ...] = (
    addmm, baddbmm, cumprod, cumsum, index_add, index_copy, index_fill, index_put, masked_scatter,
    scatter, scatter_add, scatter_reduce, tril, triu,
)  # fmt: skip
for _method in (copy_, zero_, fill_, uniform_, normal_, bernoulli_, *map(_in_place, _COMPOSED)):
    setattr(Tensor, _method.__name__, _method)
_VIEWS: dict[str, Any] = {
    "squeeze": squeeze, "swapaxes": transpose, "swapdims": transpose, "t": t,
    "transpose": transpose, "unsqueeze": unsqueeze,
}  # fmt: skip
for _name, _operation in _VIEWS.items():
    setattr(Tensor, f"{_name}_", _view_in_place(_name, _operation))
_AUGMENTED: dict[str, Any] = {
    "add": add, "sub": sub, "mul": mul, "truediv": div, "floordiv": floor_divide,
    "mod": remainder, "pow": pow, "and": bitwise_and, "or": bitwise_or, "xor": bitwise_xor,
}  # fmt: skip
for _name, _operation in _AUGMENTED.items():
    setattr(Tensor, f"__i{_name}__", _augmented(_operation))
