"""The value: an array, its gradient, and the node that made it."""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from .hooks import Handle, Hook, register
from .memory import owner, version
from .modes import enable_grad
from .node import Node

if TYPE_CHECKING:
    from collections.abc import Callable

_ARRAY = np.ndarray
_FLOATING = "f"
_FLOAT32 = np.dtype(np.float32)
#: What a tensor is made of, in the order of bytes of this machine.
_NUMBERS = frozenset(np.dtype(code) for code in "?bhilqBHILQefdg")

#: numpy ufunc -> operation, filled as operations register themselves.
UFUNCS: dict[np.ufunc, Callable[..., Any]] = {}


class Tensor:
    """An n-dimensional array that remembers how it was made.

    Parameters
    ----------
    data : array_like
        The values: booleans, integers or floats. A NumPy array is kept as it is, without a
        copy, unless its bytes are in the order of another machine.
    requires_grad : bool, default False
        Whether :meth:`backward` is to fill :attr:`grad`. Floating dtypes only.

    Attributes
    ----------
    data : numpy.ndarray
        The values.
    grad : Tensor or None
        The accumulated gradient, of the shape and dtype of `data`.
    grad_fn : Node or None
        The operation that made this tensor; None for a leaf.

    Raises
    ------
    RuntimeError
        `requires_grad` is asked of integers or booleans.
    TypeError
        `data` is of something else: complex numbers, texts, objects, records.
    ValueError
        `data` is nested lists of different lengths.

    Notes
    -----
    The kernels know float32 and float64. float16 and longdouble run on NumPy, more slowly.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> x = tm.tensor([1.0, 2.0, 3.0], requires_grad=True)
    >>> (x * x).sum().backward()
    >>> x.grad
    tensor([2., 4., 6.])
    """

    __slots__ = (
        "__weakref__", "_epoch", "_grad", "_grad_fn", "_requires_grad", "_view", "data", "hooks",
        "retains_grad",
    )  # fmt: skip

    def __init__(
        self, data: npt.ArrayLike, requires_grad: bool = False, grad_fn: Node | None = None
    ) -> None:
        if type(data) is not _ARRAY:
            data = as_array(data)
        elif data.dtype is not _FLOAT32 and grad_fn is None and data.dtype not in _NUMBERS:
            data = _as_numbers(data, data)
        if requires_grad and grad_fn is None and data.dtype.kind != _FLOATING:
            raise RuntimeError(
                f"requires_grad: only floating tensors carry a gradient, this one is {data.dtype}; "
                "convert it first, for example with .float()"
            )
        self.data: np.ndarray = data
        self._requires_grad = requires_grad
        self._grad_fn = grad_fn
        self._epoch = 0  # how often its history was rewritten by a write in place
        self.retains_grad = False
        self._view: View | None  # what it is a view of
        self._grad: Tensor | None
        self.hooks: dict[int, Any] | None
        self._view = self._grad = self.hooks = None

    #: Of :mod:`.backward`, which puts it here: it builds on this file, and an import inside
    #: the method would be felt.
    _backward: ClassVar[Callable[..., None]]

    if TYPE_CHECKING:
        # Operations attach themselves as methods when they register: tensor.exp(), tensor.sum(0), …
        def __getattr__(self, name: str) -> Any: ...
        def __getitem__(self, index: Any) -> Tensor: ...
        def __neg__(self) -> Tensor: ...
        def __add__(self, other: Any) -> Tensor: ...
        def __radd__(self, other: Any) -> Tensor: ...
        def __sub__(self, other: Any) -> Tensor: ...
        def __rsub__(self, other: Any) -> Tensor: ...
        def __mul__(self, other: Any) -> Tensor: ...
        def __rmul__(self, other: Any) -> Tensor: ...
        def __truediv__(self, other: Any) -> Tensor: ...
        def __rtruediv__(self, other: Any) -> Tensor: ...
        def __pow__(self, other: Any) -> Tensor: ...
        def __rpow__(self, other: Any) -> Tensor: ...
        def __matmul__(self, other: Any) -> Tensor: ...
        def __rmatmul__(self, other: Any) -> Tensor: ...
        def __lt__(self, other: Any) -> Tensor: ...
        def __le__(self, other: Any) -> Tensor: ...
        def __gt__(self, other: Any) -> Tensor: ...
        def __ge__(self, other: Any) -> Tensor: ...

    # -- its history --------------------------------------------------------------

    @property
    def grad_fn(self) -> Node | None:
        """The operation that made this tensor, or the last that wrote into it; None for a leaf."""
        if self._view is not None:
            self.refresh()
        return self._grad_fn

    @property
    def requires_grad(self) -> bool:
        """Whether a gradient flows here; can be assigned to on leaves."""
        if self._view is not None:
            self.refresh()
        return self._requires_grad

    @requires_grad.setter
    def requires_grad(self, wish: bool) -> None:
        self.requires_grad_(wish)

    def refresh(self) -> None:
        """Where something was written into the tensor that this is a view of, view it anew."""
        view = self._view
        if view is None or view.epoch == (base := view.origin())._epoch:
            return
        with enable_grad():
            again = replay(base, view.steps)
        view.epoch = base._epoch
        self._grad_fn, self._requires_grad = again._grad_fn, again._requires_grad

    @property
    def _version(self) -> int:
        """How often the memory under this tensor, its views and copies by detach was written to."""
        return version(self.data)

    # -- what it is ---------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the dimensions."""
        return self.data.shape

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return self.data.ndim

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the elements, a NumPy dtype."""
        return self.data.dtype

    @property
    def is_leaf(self) -> bool:
        """Whether no recorded operation made it."""
        return self.grad_fn is None

    def size(self, dim: int | None = None) -> tuple[int, ...] | int:
        """Shape, or the size of one dimension."""
        return self.data.shape if dim is None else self.data.shape[dim]

    def dim(self) -> int:
        """Return the number of dimensions."""
        return self.data.ndim

    def numel(self) -> int:
        """Return the number of elements."""
        return self.data.size

    def is_floating_point(self) -> bool:
        """Whether the elements are floating-point numbers."""
        return self.data.dtype.kind == _FLOATING

    def __len__(self) -> int:
        if self.data.ndim == 0:
            raise TypeError("len() of a 0-d tensor")
        return len(self.data)

    def __iter__(self) -> Iterator[Tensor]:
        if self.data.ndim == 0:
            raise TypeError("iteration over a 0-d tensor")
        return (self[i] for i in range(self.data.shape[0]))

    def __repr__(self) -> str:
        if self.data.size == 0:
            body = f"[], shape={self.shape}"
        else:
            body = np.array2string(self.data, separator=", ", prefix="tensor(")
        notes = "" if self.data.dtype in _PLAIN else f", dtype={self.data.dtype}"
        if self.grad_fn is not None:
            notes += f", grad_fn=<{self.grad_fn.op.name}>"
        elif self.requires_grad:
            notes += ", requires_grad=True"
        return f"tensor({body}{notes})"

    # -- out of the graph ---------------------------------------------------------

    def item(self) -> Any:
        """Return the one element as a Python number.

        Raises
        ------
        ValueError
            There is not exactly one element.
        """
        if self.data.size != 1:
            raise ValueError(f"item: needs exactly one element, the shape is {self.shape}")
        return self.data.item()

    def tolist(self) -> Any:
        """Return the elements as nested Python lists."""
        return self.data.tolist()

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.data.item())

    def __bool__(self) -> bool:
        if self.data.size != 1:
            raise ValueError(
                f"the truth of a tensor with {self.data.size} elements is ambiguous; "
                "say .any() or .all()"
            )
        return bool(self.data.item())

    def __index__(self) -> int:
        if self.data.dtype.kind not in "iu" or self.data.size != 1:
            raise TypeError("only an integer tensor with one element can be an index")
        return int(self.data.item())

    def numpy(self) -> np.ndarray:
        """Return the array itself, sharing memory.

        Raises
        ------
        RuntimeError
            The tensor requires a gradient; NumPy would lose it silently.
        """
        if self.requires_grad:
            raise RuntimeError(
                "numpy: this tensor requires a gradient, which NumPy cannot follow; "
                "say .detach().numpy()"
            )
        return self.data

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.numpy(), dtype=dtype, copy=copy)

    def __dlpack__(self, **options: Any) -> Any:
        """Share the memory with another framework; see :func:`tm.from_dlpack`."""
        if self.requires_grad:
            raise BufferError(
                "__dlpack__: this tensor requires a gradient, which another framework cannot "
                "follow; pass .detach()"
            )
        if any(stride < 0 for stride in self.data.strides):  # PyTorch would end the process
            raise BufferError(
                f"__dlpack__: this tensor of shape {self.shape} goes backwards through its memory, "
                "which most frameworks cannot follow; pass .contiguous(), a copy"
            )
        return self.data.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        """Say where the memory is: in the CPU's."""
        return self.data.__dlpack_device__()

    def detach(self) -> Tensor:
        """Return the same values, sharing memory, cut off from the graph."""
        return Tensor(self.data)

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Switch the wish for a gradient, in place; leaves only.

        Raises
        ------
        RuntimeError
            The tensor is not a leaf, or not floating.
        """
        if self.grad_fn is not None and not requires_grad:
            raise RuntimeError("requires_grad_: only a leaf can be switched; use .detach()")
        if requires_grad and self.data.dtype.kind != _FLOATING:
            raise RuntimeError(f"requires_grad_: a {self.data.dtype} tensor carries no gradient")
        self._requires_grad = bool(requires_grad)
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        if self.grad_fn is not None:
            raise RuntimeError(
                "deepcopy: only leaves can be copied with their graph; use .detach().clone()"
            )
        copy = type(self).__new__(type(self))
        Tensor.__init__(copy, self.data.copy(), self.requires_grad)
        if self._grad is not None:
            copy._grad = Tensor(self._grad.data.copy())
        return copy

    # -- gradients ----------------------------------------------------------------

    @property
    def grad(self) -> Tensor | None:
        """The accumulated gradient, or None; of a tensor in mid-graph only if asked to keep it."""
        if self._grad is None and self.grad_fn is not None and not self.retains_grad:
            warnings.warn(
                ".grad of a tensor that an operation made is not kept; call .retain_grad() on it "
                "before backward",
                UserWarning,
                stacklevel=2,
            )
        return self._grad

    @grad.setter
    def grad(self, gradient: Any) -> None:
        if gradient is not None:
            if not isinstance(gradient, Tensor):
                kind = type(gradient).__name__
                raise TypeError(
                    f"grad: expected a Tensor or None, got a {kind}; tm.tensor makes a Tensor of it"
                )
            if gradient.shape != self.shape or gradient.dtype != self.dtype:
                raise RuntimeError(
                    f"grad: got {gradient.dtype} {gradient.shape}, the tensor is {self.dtype} "
                    f"{self.shape}; a gradient has shape and dtype of what it belongs to: "
                    ".reshape() or .to() it"
                )
        self._grad = gradient

    def retain_grad(self) -> None:
        """Keep the gradient of this tensor in ``.grad``, as leaves do without being asked.

        Raises
        ------
        RuntimeError
            It requires no gradient.

        Examples
        --------
        >>> import tinygrad_mha as tm
        >>> x = tm.tensor(3.0, requires_grad=True)
        >>> y = x * x
        >>> y.retain_grad()
        >>> (2 * y).backward()
        >>> y.grad
        tensor(2.)
        """
        if not self.requires_grad:
            raise RuntimeError("retain_grad: this tensor requires no gradient")
        if self.grad_fn is None or self.retains_grad:
            return
        self.retains_grad = True
        mine = weakref.ref(self)  # the graph must not hold the tensor

        def keep(gradient: Tensor) -> None:
            tensor = mine()
            if tensor is not None:
                before = tensor._grad
                tensor._grad = gradient.clone() if before is None else before + gradient

        register(self.grad_fn, keep)

    def register_hook(self, hook: Hook) -> Handle:
        """Have a function called with the gradient of this tensor, whenever one is computed.

        Parameters
        ----------
        hook : callable
            Takes the gradient; returns None, or what is to take its place.

        Returns
        -------
        Handle
            Its ``remove()`` takes the hook away.

        Raises
        ------
        RuntimeError
            The tensor requires no gradient.

        Examples
        --------
        >>> import tinygrad_mha as tm
        >>> x = tm.tensor(3.0, requires_grad=True)
        >>> handle = x.register_hook(lambda gradient: gradient * 10)
        >>> (x * x).backward()
        >>> x.grad
        tensor(60.)
        """
        if not self.requires_grad:
            raise RuntimeError("register_hook: this tensor requires no gradient")
        return register(self.grad_fn or self, hook)

    def backward(
        self,
        gradient: Tensor | None = None,
        *,
        retain_graph: bool | None = None,
        create_graph: bool = False,
    ) -> None:
        """Add the gradient of this tensor to ``.grad`` of every leaf it depends on.

        Parameters
        ----------
        gradient : Tensor, optional
            What flows in from outside, of this tensor's shape. A tensor with one
            element needs none: it is 1.
        retain_graph : bool, optional
            Keep the saved values, so that backward can run again. Default: `create_graph`.
        create_graph : bool, default False
            Record the backward pass too, so that gradients have gradients.

        Raises
        ------
        RuntimeError
            No graph; or the graph's saved values are freed; or `gradient` is missing
            or of another shape.

        Examples
        --------
        >>> import tinygrad_mha as tm
        >>> w = tm.tensor(3.0, requires_grad=True)
        >>> (w**2).backward()
        >>> w.grad
        tensor(6.)
        """
        self._backward(self, gradient, retain_graph=retain_graph, create_graph=create_graph)


class View:
    """How a tensor that shares another's memory is made of it.

    Attributes
    ----------
    base : Tensor
        The tensor at the beginning, no view itself.
    steps : tuple of (Op, tuple)
        The operations that lead from it to the view, each with its parameters.
    epoch : int
        Of the base, when the view's history was written.
    """

    __slots__ = ("base", "epoch", "steps")

    def __init__(self, base: Tensor, steps: tuple[tuple[Any, tuple[Any, ...]], ...]) -> None:
        self.base, self.steps, self.epoch = base, steps, base._epoch

    def origin(self) -> Tensor:
        """Return the tensor at the beginning.

        One that was squeezed or transposed in place has become a view of what it was before,
        and that is what the steps begin with.
        """
        while self.base._view is not None:
            self.base = self.base._view.base
        return self.base

    @classmethod
    def of(
        cls, source: Tensor, operation: Any, params: tuple[Any, ...], out: np.ndarray
    ) -> View | None:
        """Describe the result of one operation, or return None where it has memory of its own."""
        if owner(out) is not owner(source.data):
            return None
        before = source._view
        step = ((operation, params),)
        return cls(source, step) if before is None else cls(before.base, before.steps + step)


def replay(x: Any, steps: tuple[tuple[Any, tuple[Any, ...]], ...]) -> Any:
    """Apply the steps of a :class:`View` to a tensor, or an array, of its base's shape."""
    for operation, params in steps:
        x = operation(x, *params)
    return x


def weak(value: Any) -> Any:
    """Make a NumPy scalar a plain number: ``x * np.sqrt(2)`` must not turn `x` into float64."""
    return value.item() if isinstance(value, np.generic) else value


_PLAIN = (np.dtype("float32"), np.dtype("int64"), np.dtype("bool"))


def as_array(data: npt.ArrayLike) -> np.ndarray:
    """Convert as PyTorch does: Python floats become float32, NumPy values keep their dtype."""
    if isinstance(data, Tensor):
        return data.data
    try:
        array = np.asarray(data)
    except ValueError:
        raise ValueError(
            "data: nested lists of different lengths; pad them to one length, or make a tensor of "
            "each"
        ) from None
    array = _as_numbers(array, data)
    if array.dtype == np.float64 and not isinstance(data, np.ndarray | np.generic):
        array = array.astype(np.float32)
    return array


_REMEDIES = {
    "c": "take data.real and data.imag",
    "V": "take one of its fields, as in data['name']",
    "O": "convert it, data.astype(np.float32)",
}


def _as_numbers(array: np.ndarray, data: object) -> np.ndarray:
    """Check that `array`, made of `data`, is of numbers, and bring it to this machine's order."""
    if array.dtype.kind not in "biuf":
        kind = array.dtype.kind if isinstance(data, np.ndarray) else ""
        remedy = _REMEDIES.get(kind, "numbers and booleans only, in nested lists of equal length")
        raise TypeError(
            f"data: cannot make a tensor of {type(data).__name__} with dtype {array.dtype}; "
            f"{remedy}"
        )
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def tensor(data: Any, *, dtype: npt.DTypeLike | None = None, requires_grad: bool = False) -> Tensor:
    """Make a tensor that owns a copy of `data`.

    Parameters
    ----------
    data : array_like
        Numbers, nested lists, an array or a tensor. Python floats become float32;
        what has a dtype keeps it.
    dtype : dtype, optional
        Convert to this one.
    requires_grad : bool, default False
        Whether backward is to fill ``.grad``.

    Returns
    -------
    Tensor

    Raises
    ------
    TypeError
        `data` is not made of numbers or booleans.
    ValueError
        Nested lists of different lengths.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.tensor([[1.0, 2.0], [3.0, 4.0]]).shape
    (2, 2)
    """
    if isinstance(data, list | tuple) and any(isinstance(x, Tensor) for x in data):
        data = np.stack([np.asarray(x) for x in data])
    array = as_array(data)
    try:
        np.dtype(dtype)
    except TypeError:
        raise TypeError(
            f"dtype: {dtype!r} is no dtype of numbers or booleans; try tm.float32"
        ) from None
    if dtype is not None and not isinstance(data, Tensor):
        array = np.asarray(data)  # straight to `dtype`, not by way of float32
    if dtype is None:
        dtype = array.dtype.newbyteorder("=")
    return Tensor(np.array(array, dtype=dtype, order="C"), requires_grad)
