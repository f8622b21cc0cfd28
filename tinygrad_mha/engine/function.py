"""Operations of the user's own, outside the registry: a forward and a backward in a class."""

from __future__ import annotations

import inspect
import weakref
from typing import Any

import numpy as np

from .modes import no_grad, state
from .node import Node
from .op import Rule
from .tensor import Tensor


class Context:
    """What a forward leaves for its backward; any attribute may be set on it.

    Attributes
    ----------
    needs_input_grad : tuple of bool
        Which arguments of the forward want a gradient.
    """

    def __init__(self, args: tuple[Any, ...]) -> None:
        self.needs_input_grad = tuple(isinstance(a, Tensor) and a.requires_grad for a in args)
        self._shapes = [a.shape if isinstance(a, Tensor) else None for a in args]
        self._saved: tuple[Any, ...] = ()
        self._out: Tensor | None = None
        self._node: weakref.ref[Node] | None = None

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Keep tensors: inputs, or the output."""
        self._saved = tensors

    @property
    def saved_tensors(self) -> tuple[Any, ...]:
        """What was kept. The output comes back tied to this very operation's node."""
        node = None if self._node is None else self._node()
        return tuple(
            Tensor(t.data, True, node) if t is not None and t is self._out and node else t
            for t in self._saved
        )


class Function:
    """Base class of an operation with a gradient of one's own.

    A subclass has two static methods, ``forward(ctx, *args)`` and ``backward(ctx, grad)``,
    and is called by its :meth:`apply`. The forward runs without recording and returns one
    tensor; the backward returns one gradient per argument of the forward, None for those
    that have none. If backward is written with tensor operations, gradients of gradients
    come by themselves.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> class Cube(tm.autograd.Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         ctx.save_for_backward(x)
    ...         return x * x * x
    ...     @staticmethod
    ...     def backward(ctx, grad):
    ...         (x,) = ctx.saved_tensors
    ...         return grad * 3 * x * x
    >>> x = tm.tensor(2.0, requires_grad=True)
    >>> Cube.apply(x).backward()
    >>> x.grad
    tensor(12.)
    """

    @staticmethod
    def forward(ctx: Context, *args: Any) -> Tensor:
        """Compute; every subclass has its own."""
        raise NotImplementedError("a Function needs a static method forward(ctx, *args)")

    @staticmethod
    def backward(ctx: Context, grad: Tensor) -> Any:
        """Gradients of the forward's arguments; every subclass has its own."""
        raise NotImplementedError("a Function needs a static method backward(ctx, grad)")

    @classmethod
    def apply(cls, *args: Any) -> Tensor:
        """Run the forward, and record it where an argument wants a gradient."""
        context = Context(args)
        with no_grad():
            out = cls.forward(context, *args)
        if not isinstance(out, Tensor):
            raise TypeError(
                f"{cls.__name__}.forward returned a {type(out).__name__}, expected one Tensor"
            )
        wanted = [i for i, wants in enumerate(context.needs_input_grad) if wants]
        if not wanted or not state.grad_enabled:
            return out
        context._out = out
        sources = [
            ((a.grad_fn or a) if a.requires_grad else a.data) if isinstance(a, Tensor) else a
            for a in args
        ]
        node = Node(FunctionOp(cls), sources, wanted, (), (context,), out.data)
        context._node = weakref.ref(node)
        return Tensor(out.data, True, node)


class FunctionOp:
    """Shows a :class:`Function` to the engine and to the pictures as if it were an ``Op``."""

    variadic = True
    input_names = ("input",)
    param_names: tuple[str, ...] = ()
    saved_names = ("context",)
    saves_values = True
    rules: dict[str, Rule] = {}  # noqa: RUF012  (the same empty one for all)
    plan = (("input", None, None),)
    reduce = None
    axis = None
    extras: tuple[str, ...] = ()
    fused = None

    def __init__(self, function: type[Function]) -> None:
        self.function = function
        self.name = self.symbol = function.__name__
        self.formula = (inspect.getdoc(function) or "").split("\n", 1)[0]

    @property
    def source(self) -> tuple[str, int]:
        """File and line of the class's forward."""
        code = self.function.forward.__code__
        return code.co_filename, code.co_firstlineno

    def __call__(self, *args: Any) -> Tensor:
        """Run it again, as the visualizer does."""
        return self.function.apply(*(Tensor(a) if isinstance(a, np.ndarray) else a for a in args))

    def gradients(
        self, dy: Any, wanted: list[int], saved: tuple[Any, ...], fused: bool
    ) -> list[Any]:
        """Ask the class for its gradients; `fused` says that arrays are wanted, not tensors."""
        (context,) = saved
        if fused:
            with no_grad():
                found = self.function.backward(context, Tensor(dy))
        else:
            found = self.function.backward(context, dy)
        given = found if isinstance(found, tuple) else (found,)
        if len(given) != len(context.needs_input_grad):
            raise RuntimeError(
                f"{self.name}.backward returned {len(given)} gradients, forward took "
                f"{len(context.needs_input_grad)} arguments; return None for those without one"
            )
        gradients = []
        for i in wanted:
            gradient = given[i]
            if gradient is None:
                gradient = Tensor(np.zeros(context._shapes[i], dy.dtype))
            if not isinstance(gradient, Tensor) or gradient.shape != context._shapes[i]:
                raise RuntimeError(
                    f"{self.name}.backward returned {type(gradient).__name__} of shape "
                    f"{getattr(gradient, 'shape', None)} for argument {i}, which has shape "
                    f"{context._shapes[i]}"
                )
            gradients.append(gradient.data if fused else gradient)
        return gradients
