"""Memory for time: run a part of the forward again in backward, instead of keeping its values."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np

from . import ops
from .engine import Function, Node, Tensor, enable_grad, is_grad_enabled
from .engine.backward import grad_above
from .engine.memory import clock, written_since


def checkpoint(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call a function, and keep nothing of what happens in it until backward needs it.

    In backward the function runs a second time, with the same random numbers, and the
    gradient walks back through that (Chen et al. 2016, "Training deep nets with sublinear
    memory cost"). Tensors that the function finds by itself, such as parameters of a
    module, get their gradients like its arguments. Gradients of gradients work.

    Parameters
    ----------
    function : callable
        Returns a tensor or a tuple of tensors; the second run must do what the first did.
    *args, **kwargs
        What it takes.

    Returns
    -------
    Tensor or tuple of Tensor
        What it returns.

    Raises
    ------
    TypeError
        The function returned something else.
    RuntimeError
        In backward: what the function reads has been changed in place since.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> x = tm.tensor([0.0, 1.0], requires_grad=True)
    >>> y = tm.autograd.checkpoint(lambda x: x.exp().tanh(), x)
    >>> y.sum().backward()
    >>> y.grad_fn.name
    'Checkpoint'
    """
    if not is_grad_enabled():
        return function(*args, **kwargs)
    run = _Run(function, args, kwargs)
    sources = run.first()
    if not sources:
        return run.take()
    run.remember(sources)
    return Checkpoint.apply(run, *sources)


class _Run:
    """A call that can be made again just as it was."""

    def __init__(self, function: Callable[..., Any], args: Any, kwargs: Any) -> None:
        self.function, self.args, self.kwargs = function, args, kwargs
        self.random = copy.deepcopy(ops.generator().bit_generator.state)
        self.out: Any = None
        self.began = -1
        self.values: tuple[np.ndarray, ...] = ()

    def first(self) -> list[Tensor]:
        """Run it, and return what outside of it wants a gradient."""
        start = next(clock)
        self.out = self.function(*self.args, **self.kwargs)
        outs = self.out if isinstance(self.out, tuple) else (self.out,)
        for out in outs:
            if not isinstance(out, Tensor):
                raise TypeError(
                    f"checkpoint: the function returned a {type(out).__name__}, expected a tensor "
                    "or a tuple of tensors"
                )
        return _outside(outs, start)

    def remember(self, sources: list[Tensor]) -> None:
        """Note the values that the second run will read again: arguments, and leaves it found."""
        leaves = [t for t in sources if t.is_leaf]
        self.values = tuple(t.data for t in [*_tensors((self.args, self.kwargs)), *leaves])
        self.began = next(clock)

    def take(self) -> Any:
        """Return what the first run returned, and forget it."""
        out, self.out = self.out, None
        return out

    def again(self) -> tuple[Any, int]:
        """Run it once more, on the record; what it returns, and when it began."""
        changed = written_since(self.began, self.values)
        if changed is not None:
            raise RuntimeError(
                f"checkpoint: a value of shape {changed.shape} that the function reads, an "
                "argument or a parameter, has been changed in place since the first run, so the "
                "second would compute something else; pass a .clone(), or change it after backward"
            )
        bits = ops.generator().bit_generator
        now, bits.state = copy.deepcopy(bits.state), self.random
        try:
            with enable_grad():
                start = next(clock)
                return self.function(*self.args, **self.kwargs), start
        finally:
            bits.state = now


def _tensors(value: Any) -> list[Tensor]:
    """All tensors in nested tuples, lists and dicts."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        value = tuple(value.values())
    return [t for v in value for t in _tensors(v)] if isinstance(value, tuple | list) else []


def _outside(outs: tuple[Tensor, ...], start: int) -> list[Tensor]:
    """Leaves, and tensors made before `start`, into which gradients of `outs` would flow."""
    found: dict[Node | Tensor, Tensor] = {}
    seen: set[Node] = set()
    stack: list[Node | Tensor] = [o.grad_fn or o for o in outs if o.requires_grad]
    while stack:
        source = stack.pop()
        if isinstance(source, Tensor):
            found.setdefault(source, source)
        elif source.sequence < start:
            # its values are not needed, only its place in the graph
            nothing = np.broadcast_to(np.zeros((), source.dtype), source.shape)
            found.setdefault(source, Tensor(nothing, True, source))
        elif source not in seen:
            seen.add(source)
            stack.extend(reversed(source.parents()))
    return list(found.values())


class Checkpoint(Function):
    """y = f(x), computed again in backward."""

    @staticmethod
    def again(run: _Run, *sources: Tensor) -> tuple[tuple[Tensor, ...], int]:
        """Run it on the record: what happens inside is seen in pictures."""
        out, start = run.again()
        return out if isinstance(out, tuple) else (out,), start

    @staticmethod
    def forward(ctx: Any, run: _Run, *sources: Tensor) -> Any:
        """Return what the run gave, without its graph."""
        ctx.run = run
        ctx.sources = sources
        out = run.take()
        if out is None:  # somebody calls this node's operation again, as the visualizer does
            out = run.function(*run.args, **run.kwargs)
        return tuple(o.detach() for o in out) if isinstance(out, tuple) else out.detach()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        """Run again, and walk back as far as the run reaches."""
        differentiable = is_grad_enabled()
        out, start = ctx.run.again()
        outs = out if isinstance(out, tuple) else (out,)
        pairs = [(o, g) for o, g in zip(outs, grads, strict=True) if o.requires_grad]
        found = grad_above(
            [o for o, _ in pairs], list(ctx.sources), [g for _, g in pairs], start, differentiable
        )
        return None, *found
