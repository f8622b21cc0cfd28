"""Derivatives of functions: ``tm.func.grad(f)`` is again a function, which can be differentiated.

Everything here is made of two things, the engine's walk backward and its walk forward
(:mod:`tinygrad_mha.engine.forward`), and of the fact that with ``create_graph`` either can
be differentiated too.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import ops
from .engine import Tensor, enable_grad, push_forward
from .engine import grad as _engine_grad

Function = Callable[..., Any]


class _Depth(threading.local):
    """How many transformations are at work around this one, in this thread."""

    value: int = 0


_depth = _Depth()


class _Inside:
    """While a transformed function runs, transformations inside it must stay differentiable."""

    def __enter__(self) -> bool:
        _depth.value += 1
        return _depth.value > 1

    def __exit__(self, *error: object) -> None:
        _depth.value -= 1


def _lift(value: Any) -> Tensor:
    """A tensor to differentiate with respect to, still tied to what surrounds it."""
    if not isinstance(value, Tensor):
        raise TypeError(
            f"func: an argument to differentiate is a {type(value).__name__}, expected a Tensor; "
            "tm.tensor makes one"
        )
    if not value.is_floating_point():
        raise TypeError(
            f"func: an argument to differentiate is {value.dtype}, expected floats; say .float(), "
            "or leave it out of argnums"
        )
    with enable_grad():
        lifted: Tensor = ops.clone(value) if value.requires_grad else Tensor(value.data, True)
        return lifted


def _run(f: Function, args: Sequence[Any], kwargs: dict[str, Any], where: Sequence[int]) -> Any:
    """Call `f` with the arguments at `where` lifted; returns them and the output."""
    lifted = [_lift(a) if i in where else a for i, a in enumerate(args)]
    with enable_grad():
        out = f(*lifted, **kwargs)
    if not isinstance(out, Tensor):
        raise TypeError(
            f"func: the function returned a {type(out).__name__}, expected one Tensor; tm.stack or "
            "tm.cat join several"
        )
    return [lifted[i] for i in where], out


def _vjp(out: Tensor, inputs: list[Tensor], seed: Tensor, keep: bool) -> list[Tensor]:
    """Jᵀ · seed for each input; zeros where `out` does not depend on it."""
    if not out.requires_grad:
        return [Tensor(np.zeros_like(x.data)) for x in inputs]
    found = _engine_grad(out, inputs, seed, retain_graph=True, create_graph=keep, allow_unused=True)
    return [
        Tensor(np.zeros_like(x.data)) if g is None else g
        for g, x in zip(found, inputs, strict=True)
    ]


def _positions(argnums: int | Sequence[int], count: int) -> list[int]:
    given = [argnums] if isinstance(argnums, int) else list(argnums)
    for i in given:
        if not -count <= i < count:
            raise IndexError(f"func: argnums names argument {i}, but there are {count}")
    return [i % count for i in given]


def _must_be_scalar(out: Tensor, what: str) -> None:
    if out.data.size != 1:
        raise ValueError(
            f"{what}: the function returned shape {out.shape}, expected one number; "
            "jacrev takes functions of any shape"
        )


def _must_pair(what: str, primals: Sequence[Tensor], tangents: Sequence[Tensor]) -> None:
    """Check that there is one tangent for each primal, of its shape."""
    for name, given in (("primals", primals), ("tangents", tangents)):
        if isinstance(given, Tensor) or not all(isinstance(x, Tensor) for x in given):
            raise TypeError(f"{what}: {name} must be a list or tuple of tensors; write [x] for one")
    shapes, directions = [p.shape for p in primals], [t.shape for t in tangents]
    if shapes != directions:
        raise ValueError(
            f"{what}: primals have shapes {shapes}, tangents {directions}; give one tangent per "
            "primal, of its shape: tm.zeros_like(primal) where it does not move"
        )


def value_and_grad(f: Function, argnums: int | Sequence[int] = 0) -> Function:
    """Make a function that returns what `f` does, and its gradient.

    Parameters
    ----------
    f : callable
        Returns a tensor with one element.
    argnums : int or sequence of int, default 0
        With respect to which positional arguments.

    Returns
    -------
    callable
        Takes what `f` takes; returns (value, gradient), the gradient a tuple if `argnums`
        is a sequence.

    Raises
    ------
    ValueError
        When called: `f` returned more than one number.
    TypeError
        When called: an argument is not a floating tensor.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.func.value_and_grad(lambda x: (x * x).sum())(tm.tensor([1.0, 2.0]))
    (tensor(5.), tensor([2., 4.]))
    """

    def transformed(*args: Any, **kwargs: Any) -> tuple[Tensor, Any]:
        with _Inside() as nested:
            where = _positions(argnums, len(args))
            keep = nested or any(
                args[i].requires_grad for i in where if isinstance(args[i], Tensor)
            )
            inputs, out = _run(f, args, kwargs, where)
            _must_be_scalar(out, "func.grad")
            seed = Tensor(np.ones(out.shape, out.dtype))
            found = _vjp(out, inputs, seed, keep)
            value = out if keep else out.detach()
            return value, found[0] if isinstance(argnums, int) else tuple(found)

    return transformed


def grad(f: Function, argnums: int | Sequence[int] = 0) -> Function:
    """Make the gradient of a function that returns one number.

    Parameters
    ----------
    f : callable
        Returns a tensor with one element.
    argnums : int or sequence of int, default 0
        With respect to which positional arguments.

    Returns
    -------
    callable
        Takes what `f` takes; returns a tensor of the argument's shape.

    Examples
    --------
    The third derivative of x⁴ at 2:

    >>> import tinygrad_mha as tm
    >>> tm.func.grad(tm.func.grad(tm.func.grad(lambda x: x**4)))(tm.tensor(2.0))
    tensor(48.)
    """
    both = value_and_grad(f, argnums)
    return lambda *args, **kwargs: both(*args, **kwargs)[1]


def vjp(f: Function, *primals: Tensor) -> tuple[Tensor, Function]:
    """Run `f` and return its value and the function u ↦ Jᵀ u.

    Parameters
    ----------
    f : callable
        Returns a tensor.
    *primals : Tensor
        Where.

    Returns
    -------
    out : Tensor
        f(primals).
    pullback : callable
        Takes a tensor of the shape of `out`, returns a tuple with one tensor per primal.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> out, pullback = tm.func.vjp(lambda x: x * x, tm.tensor([1.0, 3.0]))
    >>> pullback(tm.tensor([1.0, 10.0]))
    (tensor([ 2., 60.]),)
    """
    with _Inside() as nested:
        keep = nested or any(p.requires_grad for p in primals)
        inputs, out = _run(f, primals, {}, range(len(primals)))

    def pullback(u: Tensor) -> tuple[Tensor, ...]:
        if u.shape != out.shape:
            raise ValueError(
                f"func.vjp: u has shape {u.shape}, the output has shape {out.shape}; u is a "
                "direction in the space of the output and needs its shape"
            )
        return tuple(_vjp(out, inputs, u, keep or u.requires_grad))

    return (out if keep else out.detach()), pullback


def jvp(
    f: Function, primals: Sequence[Tensor], tangents: Sequence[Tensor]
) -> tuple[Tensor, Tensor]:
    """Run `f` and return its value and J v: how it changes in the direction v.

    This is forward mode: the tangents go through the operations in the order in which they ran.

    Parameters
    ----------
    f : callable
        Returns a tensor.
    primals : sequence of Tensor
        Where.
    tangents : sequence of Tensor
        v, of the same shapes.

    Returns
    -------
    out, tangent : Tensor
        f(primals) and J v, of one shape.

    Raises
    ------
    ValueError
        `tangents` do not have the shapes of `primals`.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.func.jvp(lambda x: x * x, [tm.tensor([1.0, 3.0])], [tm.tensor([1.0, 10.0])])
    (tensor([1., 9.]), tensor([ 2., 60.]))
    """
    _must_pair("func.jvp", primals, tangents)
    with _Inside() as nested:
        keep = nested or any(x.requires_grad for x in (*primals, *tangents))
        inputs, out = _run(f, primals, {}, range(len(primals)))
        tangent = push_forward(out, inputs, tangents, create_graph=keep)
        return (out if keep else out.detach()), tangent


def jacrev(f: Function, argnums: int = 0) -> Function:
    """Make the Jacobian, row by row: one backward pass per output element.

    Parameters
    ----------
    f : callable
        Returns a tensor.
    argnums : int, default 0
        With respect to which argument.

    Returns
    -------
    callable
        Returns a tensor of the output's shape followed by the argument's.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.func.jacrev(lambda x: x * x)(tm.tensor([1.0, 3.0]))
    tensor([[2., 0.],
            [0., 6.]])
    """

    def transformed(*args: Any, **kwargs: Any) -> Any:
        with _Inside() as nested:
            where = _positions(argnums, len(args))
            keep = nested or args[where[0]].requires_grad
            (x,), out = _run(f, args, kwargs, where)
            rows = []
            for i in range(out.data.size):
                seed = np.zeros(out.data.size, out.dtype)
                seed[i] = 1
                rows.append(_vjp(out, [x], Tensor(seed.reshape(out.shape)), keep)[0])
            return _stacked(rows, out.shape, x.shape, x.dtype)

    return transformed


def jacfwd(f: Function, argnums: int = 0) -> Function:
    """Make the Jacobian, column by column: one :func:`jvp` per element of the argument.

    Parameters
    ----------
    f : callable
        Returns a tensor.
    argnums : int, default 0
        With respect to which argument.

    Returns
    -------
    callable
        Returns a tensor of the output's shape followed by the argument's.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.func.jacfwd(lambda x: x * x)(tm.tensor([1.0, 3.0]))
    tensor([[2., 0.],
            [0., 6.]])
    """

    def transformed(*args: Any, **kwargs: Any) -> Any:
        (where,) = _positions(argnums, len(args))
        x = args[where]

        def of_one(value: Tensor) -> Any:
            return f(*args[:where], value, *args[where + 1 :], **kwargs)

        columns, shape = [], of_one(x).shape
        for i in range(x.data.size):
            tangent = np.zeros(x.data.size, x.dtype)
            tangent[i] = 1
            columns.append(jvp(of_one, [x], [Tensor(tangent.reshape(x.shape))])[1])
        last_first = _stacked(columns, x.shape, shape, x.dtype)
        # (argument..., output...) -> (output..., argument...)
        n = len(x.shape)
        return ops.permute(last_first, (*range(n, n + len(shape)), *range(n)))

    return transformed


def _stacked(parts: list[Tensor], lead: tuple[int, ...], shape: tuple[int, ...], dtype: Any) -> Any:
    """Join tensors of one shape along new leading axes."""
    if not parts:
        return Tensor(np.zeros((*lead, *shape), dtype))
    with enable_grad():
        joined = ops.cat([ops.reshape(p, (1, *shape)) for p in parts], dim=0)
        return ops.reshape(joined, (*lead, *shape))  # (elements, ...) -> (lead..., ...)


def hessian(f: Function, argnums: int = 0) -> Function:
    """Make the matrix of second derivatives of a function that returns one number.

    Parameters
    ----------
    f : callable
        Returns a tensor with one element.
    argnums : int, default 0
        With respect to which argument.

    Returns
    -------
    callable
        Returns a tensor with the argument's shape twice.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.func.hessian(lambda x: (x**3).sum())(tm.tensor([1.0, 2.0]))
    tensor([[ 6.,  0.],
            [ 0., 12.]])
    """
    return jacrev(grad(f, argnums), argnums)


def hvp(f: Function, primals: Sequence[Tensor], tangents: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Return the Hessian times a vector, without the Hessian (Pearlmutter 1994).

    Parameters
    ----------
    f : callable
        Returns a tensor with one element.
    primals : sequence of Tensor
        Where.
    tangents : sequence of Tensor
        The vector, of the same shapes.

    Returns
    -------
    tuple of Tensor
        Of the shapes of `primals`.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.func.hvp(lambda x: (x**3).sum(), [tm.tensor([1.0, 2.0])], [tm.tensor([1.0, 1.0])])
    (tensor([ 6., 12.]),)
    """
    _must_pair("func.hvp", primals, tangents)
    every = list(range(len(primals)))

    def along(*args: Tensor) -> Any:
        gradients = grad(f, every)(*args)
        return sum(
            (ops.sum(g * t) for g, t in zip(gradients, tangents, strict=True)),
            start=Tensor(np.zeros((), primals[0].dtype)),
        )

    found: tuple[Tensor, ...] = grad(along, every)(*primals)
    return found
