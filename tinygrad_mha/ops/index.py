"""Operations that read elements by their position, and write them back."""

from __future__ import annotations

import builtins
from typing import Any

import numpy as np

from ..engine import Sample, Tensor, op
from ..engine.op import Value, plain
from .axes import Shape
from .shape import from_left, sum_to, view_op


def _index_axis(
    axis: int, which: int, shapes: list[Shape], out: Shape, params: dict[str, Any]
) -> int | None:
    """Follow an axis through slices, new axes and integers; index arrays end the walk."""
    index = params["index"]
    items = list(index) if isinstance(index, tuple) else [index]
    if any(not isinstance(i, slice | int | np.integer | type(None) | type(...)) for i in items):
        return None
    taken = len([i for i in items if i is not None and i is not ...])
    if ... in items:
        at = items.index(...)
        items[at : at + 1] = [slice(None)] * (len(shapes[0]) - taken)
    items += [slice(None)] * (len(shapes[0]) - len([i for i in items if i is not None]))
    here = there = 0
    for item in items:
        if item is None:
            there += 1
            continue
        if here == axis:
            return there if item == slice(None) else None
        here += 1
        there += isinstance(item, slice)
    return None


@view_op(
    "y = x[index]",
    derivation=(
        "y is made of copies of elements of x. What was read gets the gradient of its copy; "
        "what was not read, 0; and what was read several times, the sum, because all of its "
        "copies change with it."
    ),
    symbol="[ ]",
    axis=_index_axis,
    method=False,
    torch="ours:getitem",
    samples=(
        Sample(((3, 4),), {"index": 1}),
        Sample(((3, 4),), {"index": (slice(None), slice(1, 3))}),
        Sample(((3, 4),), {"index": (..., None, -1)}),
        Sample(((3, 4),), {"index": (2, 0)}),
        Sample(((),), {"index": ()}),
        Sample(((4,),), {"index": slice(None, None, 2)}),
        Sample(((0, 2),), {"index": (slice(None), 0)}),
    ),
)
def getitem(x: Value, index: Any) -> Value:
    """Index with integers, slices, ``None`` and ``...``: a view, which shares memory with `x`.

    A slice may have a negative step, as in NumPy; PyTorch refuses those.
    """
    y = x[index]
    if type(y) is np.ndarray:
        return y
    return x[(*index, ...) if isinstance(index, tuple) else (index, ...)]  # 0-d, and a view


@getitem.gradient("x", "dx = 0, then dx[index] += dy")
def getitem_dx(dy: Value, x_shape: Shape, index: Any) -> Value:
    return scatter_add_at(dy, x_shape, index)


@op(
    "y = x[index]",
    symbol="[ ]",
    method=False,
    torch="ours:getitem",
    samples=(
        Sample(((4, 2),), {"index": np.array([[0, 3], [3, 3]])}),
        Sample(((2, 3),), {"index": np.array([[True, False, True], [False, True, False]])}),
        Sample(((2, 3, 4),), {"index": (np.array([0, 1]), slice(None), np.array([[2], [2]]))}),
        Sample(((3,),), {"index": np.zeros((0, 2), np.int64)}),
        Sample(((),), {"index": np.array(True)}),
    ),
)
def advanced_index(x: Value, index: Any) -> Value:
    """Index with arrays of integers or booleans, and slices between them: a copy.

    A position that is named twice is read twice, and its gradients add up.
    """
    return np.asarray(x[index])


@advanced_index.gradient("x", "dx = 0, then dx[index] += dy")
def advanced_index_dx(dy: Value, x_shape: Shape, index: Any) -> Value:
    return scatter_add_at(dy, x_shape, index)


@op(
    "y = 0 of a shape, then y[index] += x",
    symbol="[ ]+=",
    method=False,
    torch="ours:scatter_add_at",
    samples=(
        Sample(((2, 2),), {"shape": (4, 2), "index": np.array([0, 3])}),
        Sample(((3, 2),), {"shape": (4, 2), "index": np.array([1, 1, 3])}),
    ),
)
def scatter_add_at(x: Value, shape: Shape, index: Any) -> Value:
    """Add the elements of `x` at positions of a tensor of zeros: the gradient of indexing.

    Parameters
    ----------
    x : Tensor
        Of the shape that ``zeros(shape)[index]`` has.
    shape : tuple of int
        Of the result.
    index
        What :func:`getitem` takes.
    """
    y = np.zeros(shape, x.dtype)
    if _names_each_once(index):
        y[index] = x
    else:
        np.add.at(y, index, x)
    return y


@scatter_add_at.gradient("x", "dx = dy[index]")
def scatter_add_at_dx(dy: Value, index: Any) -> Value:
    return getitem(dy, index) if is_basic(index) else advanced_index(dy, index)


@op(
    "y = x, then y[index] += source",
    symbol="[ ]+=",
    method=False,
    torch="ours:add_at",
    samples=(
        Sample(((4, 2), (2, 2)), {"index": np.array([0, 3])}),
        Sample(((4, 2), (3, 2)), {"index": np.array([1, 1, 3])}),
        Sample(((4,), ()), {"index": np.array([True, False, True, True])}),
    ),
)
def add_at(x: Value, source: Value, index: Any) -> Value:
    """Add `source` at positions of a copy of `x`; what a position is given more than once adds up.

    Parameters
    ----------
    x : Tensor
        Any shape.
    source : Tensor
        Broadcasts to the shape of ``x[index]``.
    index
        Arrays of integers or booleans, and slices between them.
    """
    y = np.array(x, order="C")
    if isinstance(source, int | float):
        source = y.dtype.type(source)
    if _names_each_once(index):
        y[index] += source
    else:
        np.add.at(y, index, source)
    return y


@add_at.gradient("x", "dx = dy")
def add_at_dx(dy: Value) -> Value:
    return dy


@add_at.gradient("source", "dsource = dy[index]")
def add_at_dsource(dy: Value, source_shape: Shape, index: Any) -> Value:
    return sum_to(advanced_index(dy, index), source_shape)


@op(
    "y = x, then y[index] = source",
    symbol="[ ]=",
    method=False,
    torch="ours:put_at",
    samples=(
        Sample(((4, 2), (2, 2)), {"index": np.array([0, 3])}),
        Sample(((4, 2), (2,)), {"index": np.array([1, 3])}),
        Sample(((4,), ()), {"index": np.array([True, False, True, True])}),
    ),
)
def put_at(x: Value, source: Value, index: Any) -> Value:
    """Put `source` at positions of a copy of `x`.

    Parameters
    ----------
    x : Tensor
        Any shape.
    source : Tensor or float
        Broadcasts to the shape of ``x[index]``.
    index
        Arrays of integers or booleans, and slices between them. Of what a position is given
        more than once the last stays.
    """
    y = np.array(x, order="C")
    y[index] = source
    return y


@put_at.gradient("x", "dx = dy, with 0 at the positions")
def put_at_dx(dy: Value, index: Any) -> Value:
    return put_at(dy, 0.0, index)


@put_at.gradient("source", "dsource = dy[index]")
def put_at_dsource(dy: Value, source_shape: Shape, index: Any) -> Value:
    return sum_to(advanced_index(dy, index), source_shape)


def _names_each_once(index: Any) -> bool:
    items = index if isinstance(index, tuple) else (index,)
    return not any(isinstance(i, list) or (hasattr(i, "dtype") and i.dtype != bool) for i in items)


def is_basic(index: Any) -> bool:
    """Whether an index asks for a view: integers, slices, None and ... only."""
    if isinstance(index, tuple):
        return all(is_basic(i) for i in index)
    if isinstance(index, bool):
        return False
    return index is None or index is ... or isinstance(index, int | np.integer | slice)


def _plain_item(item: Any) -> Any:
    """One item of an index as NumPy expects it; a 0-d integer is a number."""
    if is_basic(item):
        return item
    if isinstance(item, Tensor) and item.requires_grad:
        raise TypeError("index: a tensor that requires a gradient cannot be an index")
    if isinstance(item, list | tuple | range):
        item = [plain(i) for i in item]
    array = np.asarray(plain(item))
    if array.size == 0 and isinstance(item, list):
        array = array.astype(np.int64)
    if array.dtype.kind not in "biu":
        raise IndexError(
            f"index: integers, booleans, slices, None and ... are understood, not "
            f"{type(item).__name__} of dtype {array.dtype}"
        )
    return int(array) if array.ndim == 0 and array.dtype.kind in "iu" else array


def plain_index(index: Any) -> Any:
    """Tensors and lists inside an index become the arrays that NumPy expects."""
    if isinstance(index, tuple):
        return tuple(_plain_item(i) for i in index)
    return _plain_item(index)


def two_steps(index: tuple[Any, ...], ndim: int) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Part an index into a basic one, and an advanced one for its result, as PyTorch does.

    NumPy counts integers beside arrays as arrays, and then moves axes; here ``x[0, :, [1, 2]]``
    is ``x[0][:, [1, 2]]``.
    """
    taken = builtins.sum(
        i.ndim if isinstance(i, np.ndarray) and i.dtype == bool else i is not None and i is not ...
        for i in index
    )
    if taken > ndim:
        raise IndexError(f"getitem: {taken} indices for a tensor with {ndim} dimensions")
    basic: list[Any] = []
    advanced: list[Any] = []
    for item in index:
        if isinstance(item, np.ndarray) and item.dtype == bool and item.ndim == 0:
            basic.append(None)  # a yes or no of its own axis
            advanced.append(item.reshape(1))
        elif isinstance(item, np.ndarray):
            axes = item.ndim if item.dtype == bool else 1
            basic += [slice(None)] * axes
            advanced.append(item)
        elif item is ...:
            basic += [slice(None)] * (ndim - taken)
            advanced += [slice(None)] * (ndim - taken)
        else:
            basic.append(item)
            if not isinstance(item, int | np.integer):
                advanced.append(slice(None))
    return tuple(basic), tuple(advanced)


def take_index(x: Any, index: Any) -> Any:
    """``x[index]`` with any index; see the tutorial of PyTorch or NumPy, which agree here."""
    index = plain_index(index)
    if is_basic(index):
        return getitem(x, index)
    basic, advanced = two_steps(index if isinstance(index, tuple) else (index,), x.ndim)
    if any(i != slice(None) for i in basic):
        x = getitem(x, basic)
    return advanced_index(x, advanced[0] if len(advanced) == 1 else advanced)


setattr(Tensor, "__getitem__", take_index)  # noqa: B010  (an assignment would not type-check)


def narrow(x: Any, dim: int, start: Any, length: int) -> Any:
    """View `length` elements of an axis, from `start` on.

    Parameters
    ----------
    x : Tensor
        At least one axis.
    dim : int
        Which axis.
    start : int or 0-d integer Tensor
        The first; a negative one counts from the end.
    length : int
        How many.

    Raises
    ------
    IndexError
        `dim` or `start` is out of range.
    ValueError
        There are not as many elements.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.narrow(tm.arange(5), 0, 1, 3)
    tensor([1, 2, 3])
    """
    if not x.ndim:
        raise ValueError("narrow: a 0-d tensor has no axis to narrow")
    if isinstance(start, Tensor) and (start.ndim or start.dtype.kind not in "iu"):
        raise TypeError(f"narrow: start is {start.dtype} {start.shape}, expected one integer")
    dim, start = from_left(dim, x.ndim), int(start)
    n = x.shape[dim]
    if not -n <= start <= n:
        raise IndexError(f"narrow: start {start} is out of range for dim {dim} of size {n}")
    start += n if start < 0 else 0
    if length < 0 or start + length > n:
        raise ValueError(
            f"narrow: start {start} and length {length} do not fit in dim {dim} of size {n}"
        )
    return getitem(x, (*[slice(None)] * dim, slice(start, start + length)))


def select(x: Any, dim: int, index: int) -> Any:
    """View one slice along an axis, which is gone then.

    Parameters
    ----------
    x : Tensor
        At least one axis.
    dim, index : int
        Which axis, and where on it.

    Raises
    ------
    IndexError
        `dim` or `index` is out of range.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.select(tm.tensor([[1, 2], [3, 4]]), 1, 0)
    tensor([1, 3])
    """
    if not x.ndim:
        raise IndexError("select: a 0-d tensor has no axis to select from")
    dim = from_left(dim, x.ndim)
    return getitem(x, (*[slice(None)] * dim, int(index)))


def index_select(x: Any, dim: int, index: Any) -> Any:
    """Read slices along an axis, in the order in which they are named.

    Parameters
    ----------
    x : Tensor
        Any shape.
    dim : int
        Which axis.
    index : integer Tensor
        ``(n,)``: the slices' positions, from 0 on.

    Raises
    ------
    IndexError
        A position is out of range.
    TypeError
        The index is not of integers.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.index_select(tm.tensor([[1, 2], [3, 4]]), 1, tm.tensor([1, 1, 0]))
    tensor([[2, 2, 1],
            [4, 4, 3]])
    """
    return advanced_index(*slices_along(x, dim, index, "index_select"))


def slices_along(x: Any, dim: int, index: Any, name: str) -> tuple[Any, Any]:
    """Return `x`, with at least one axis, and the index that names slices along one of them."""
    dim = from_left(dim, x.ndim)
    positions = integers(index, x.shape[dim] if x.ndim else 1, name)
    if positions.ndim > 1:
        raise ValueError(f"{name}: index is one-dimensional, got the shape {positions.shape}")
    if not x.ndim:
        return x, (...,)
    return x, (*[slice(None)] * dim, np.atleast_1d(positions))


def integers(index: Any, n: int, name: str, *, negative: bool = False) -> np.ndarray:
    """Return an index as an array of integers, all in range of `n` elements."""
    positions = np.asarray(plain(index))
    if positions.dtype.kind not in "iu":
        if positions.size:
            raise TypeError(f"{name}: index has dtype {positions.dtype}, expected integers")
        positions = positions.astype(np.int64)
    if positions.size:
        low, high = int(positions.min()), int(positions.max())
        if low < (-n if negative else 0) or high >= n:
            worst = high if high >= n else low
            raise IndexError(f"{name}: index {worst} is out of range for {n} elements")
    return positions


for _function in (narrow, select, index_select):
    setattr(Tensor, _function.__name__, _function)
