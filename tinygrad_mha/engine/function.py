"""Operations of the user's own, outside the registry: a forward and a backward in a class."""

from __future__ import annotations

import inspect
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

from .modes import is_grad_enabled, no_grad, thread
from .node import Node
from .op import REGISTRY, Rule
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
        self._passive: tuple[Tensor, ...] = ()
        self._outputs: tuple[Tensor, ...] = ()
        self._whole: np.ndarray | None = None
        self._node: weakref.ref[Node] | None = None

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Keep tensors: inputs, or outputs."""
        self._saved = tensors

    def mark_non_differentiable(self, *outputs: Tensor) -> None:
        """Name outputs through which no gradient flows; those of integers need no naming."""
        self._passive = outputs

    def _flows(self, output: Tensor) -> bool:
        return output.is_floating_point() and not any(output is p for p in self._passive)

    @property
    def saved_tensors(self) -> tuple[Any, ...]:
        """What was kept. An output comes back tied to this very operation's node."""
        node = None if self._node is None else self._node()

        def tied(kept: Any) -> Any:
            if node is None or self._whole is None or kept is None:
                return kept
            mine = [i for i, o in enumerate(self._outputs) if o is kept]
            return self._part(Tensor(self._whole, True, node), mine[0]) if mine else kept

        return tuple(tied(kept) for kept in self._saved)

    def _part(self, whole: Any, i: int) -> Any:
        """Cut output i out of all outputs, which the node carries as one row of numbers."""
        flowing = [o for o in self._outputs if self._flows(o)]
        if len(flowing) == 1:
            return whole
        start = sum(o.numel() for o in self._outputs[:i] if self._flows(o))
        out = self._outputs[i]
        row = REGISTRY["getitem"](whole, slice(start, start + out.numel()))
        return REGISTRY["reshape"](row, out.shape)


class Function:
    """Base class of an operation with a gradient of one's own.

    A subclass has two static methods, ``forward(ctx, *args)`` and ``backward(ctx, *grads)``,
    and is called by its :meth:`apply`. The forward runs without recording and returns a
    tensor or several; the backward takes one gradient per output and returns one per argument
    of the forward, None for those that have none. If backward is written with tensor
    operations, gradients of gradients come by themselves.

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

    #: A static method that takes what :meth:`forward` does and returns the outputs, recorded, and
    #: the number of the engine's clock when it began. A picture shows what is in there instead.
    again: Callable[..., tuple[tuple[Tensor, ...], int]] | None = None

    @staticmethod
    def forward(ctx: Context, *args: Any) -> Any:
        """Compute; every subclass has its own."""
        raise NotImplementedError("a Function needs a static method forward(ctx, *args)")

    @staticmethod
    def backward(ctx: Context, *grads: Tensor) -> Any:
        """Gradients of the forward's arguments; every subclass has its own."""
        raise NotImplementedError("a Function needs a static method backward(ctx, *grads)")

    @classmethod
    def apply(cls, *args: Any) -> Any:
        """Run the forward, and record it where an argument wants a gradient."""
        given, context, whole = cls._record(args)
        if whole is None:
            return given
        outs = tuple(
            _own(context._part(whole, i)) if context._flows(out) else out.detach()
            for i, out in enumerate(context._outputs)
        )
        return outs if isinstance(given, tuple) else outs[0]

    @classmethod
    def _record(cls, args: tuple[Any, ...]) -> tuple[Any, Context, Tensor | None]:
        """Run the forward; its result, and the tensor that carries all outputs in the graph."""
        context = Context(args)
        with no_grad():
            given = cls.forward(context, *args)
        outputs = given if isinstance(given, tuple) else (given,)
        for out in outputs:
            if not isinstance(out, Tensor):
                raise TypeError(
                    f"{cls.__name__}.forward returned a {type(out).__name__}, expected a Tensor, "
                    "or a tuple of them"
                )
        context._outputs = outputs
        wanted = [i for i, wants in enumerate(context.needs_input_grad) if wants]
        flowing = [out.data for out in outputs if context._flows(out)]
        if not (wanted and flowing and is_grad_enabled()):
            return given, context, None
        one = len(flowing) == 1
        whole = flowing[0] if one else np.concatenate([a.reshape(-1) for a in flowing])
        sources = [
            ((a.grad_fn or a) if a.requires_grad else a.data) if isinstance(a, Tensor) else a
            for a in args
        ]
        node = Node(FunctionOp(cls), sources, wanted, (), (context,), whole, thread.modes)
        context._whole, context._node = whole, weakref.ref(node)
        return given, context, Tensor(whole, True, node)


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
    steps = None

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
        args = tuple(Tensor(a) if isinstance(a, np.ndarray) else a for a in args)
        given, _, whole = self.function._record(args)
        return given if whole is None else whole

    def needed(self, wanted: list[int], saved: tuple[Any, ...]) -> tuple[Any, ...]:
        """What the forward kept, as arrays."""
        (context,) = saved
        return tuple(kept.data for kept in context._saved if isinstance(kept, Tensor))

    def gradients(
        self, dy: Any, wanted: list[int], saved: tuple[Any, ...], fused: bool
    ) -> list[Any]:
        """Ask the class for its gradients; `fused` says that arrays are wanted, not tensors."""
        (context,) = saved
        if fused:
            with no_grad():
                found = self.function.backward(context, *_parts(context, Tensor(dy)))
        else:
            found = self.function.backward(context, *_parts(context, dy))
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
            # a view: the class may give out one array twice, or an array that it keeps
            gradients.append(gradient.data.view() if fused else gradient)
        return gradients


def _own(part: Tensor) -> Tensor:
    """Give an output memory of its own: writing into it must not touch the others."""
    if part._view is not None:
        part.data, part._view = part.data.copy(), None
    return part


def _parts(context: Context, dy: Tensor) -> list[Tensor]:
    """One gradient per output; zeros where none flows."""
    return [
        context._part(dy, i) if context._flows(out) else Tensor(np.zeros(out.shape, dy.dtype))
        for i, out in enumerate(context._outputs)
    ]
