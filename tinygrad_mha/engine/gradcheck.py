"""How gradients are held to account: against central differences, in float64."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .backward import grad
from .tensor import Tensor


def gradcheck(
    fn: Callable[..., Tensor],
    inputs: Sequence[Any],
    *,
    eps: float = 1e-6,
    atol: float = 1e-6,
    rtol: float = 1e-4,
) -> bool:
    """Compare the gradient of `fn` with central differences, element by element.

    (f(x + ε) − f(x − ε)) / 2ε has an error of O(ε²) in the function and of
    O(machine epsilon / ε) in the arithmetic, hence float64 and ε = 1e-6.

    Parameters
    ----------
    fn : callable
        Takes `inputs`, returns one tensor. Must be deterministic.
    inputs : sequence
        Tensors that require a gradient are checked and must be float64; anything
        else is passed through.
    eps : float
        The step.
    atol, rtol : float
        |analytic − numeric| may be up to atol + rtol · |numeric|.

    Returns
    -------
    bool
        True.

    Raises
    ------
    AssertionError
        They differ; the message names the input, the elements and both values.
    TypeError
        An input to be checked is not float64.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> x = tm.tensor([0.3, 0.5], dtype="float64", requires_grad=True)
    >>> tm.autograd.gradcheck(lambda x: (x * x).sum(), [x])
    True
    """
    out = fn(*inputs)
    checked = [i for i, x in enumerate(inputs) if isinstance(x, Tensor) and x.requires_grad]
    if not checked:
        raise ValueError("gradcheck: none of the inputs requires a gradient")
    for i in checked:
        if inputs[i].dtype != np.float64:
            raise TypeError(
                f"gradcheck: inputs[{i}] is {inputs[i].dtype}; differences need float64"
            )
    # one weight per output element: a single backward then checks a random mix of all outputs,
    # and the loop below one column per input element
    weights = np.random.default_rng(0).uniform(0.5, 1.5, out.shape)
    analytic = grad(out, [inputs[i] for i in checked], Tensor(weights), allow_unused=True)
    for i, gradient in zip(checked, analytic, strict=True):
        numeric = _central_difference(fn, inputs, i, weights, eps)
        got = np.zeros_like(numeric) if gradient is None else gradient.data
        wrong = ~np.isclose(got, numeric, atol=atol, rtol=rtol, equal_nan=True)
        if wrong.any():
            where = tuple(int(k) for k in np.argwhere(wrong)[0])
            raise AssertionError(
                f"gradcheck: inputs[{i}] of shape {inputs[i].shape}: {int(wrong.sum())} of "
                f"{wrong.size} elements differ, first at {where}: analytic {got[where]:.8g}, "
                f"numeric {numeric[where]:.8g}"
            )
    return True


def gradgradcheck(
    fn: Callable[..., Tensor],
    inputs: Sequence[Any],
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
) -> bool:
    """Check the gradient of the gradient: :func:`gradcheck` of the backward pass.

    The backward pass is a function of the inputs and of the incoming gradient;
    both are checked.

    Parameters
    ----------
    fn, inputs, eps, atol, rtol
        As in :func:`gradcheck`.

    Returns
    -------
    bool
        True.

    Raises
    ------
    AssertionError
        They differ.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> x = tm.tensor([0.3, 0.5], dtype="float64", requires_grad=True)
    >>> tm.autograd.gradgradcheck(lambda x: (x * x * x).sum(), [x])
    True
    """
    out = fn(*inputs)
    rng = np.random.default_rng(1)
    seed = Tensor(rng.uniform(0.5, 1.5, out.shape), True)
    checked = [i for i, x in enumerate(inputs) if isinstance(x, Tensor) and x.requires_grad]

    def first_order(*args: Any) -> Tensor:
        *values, dy = args
        y = fn(*values)
        gradients = grad(y, [values[i] for i in checked], dy, create_graph=True, allow_unused=True)
        mixed = [
            (g * Tensor(np.random.default_rng(2 + k).uniform(0.5, 1.5, g.shape))).sum()
            for k, g in enumerate(gradients)
            if g is not None
        ]
        total: Tensor = mixed[0]
        for term in mixed[1:]:
            total = total + term
        return total

    return gradcheck(first_order, [*inputs, seed], eps=eps, atol=atol, rtol=rtol)


def _central_difference(
    fn: Callable[..., Tensor], inputs: Sequence[Any], i: int, weights: np.ndarray, eps: float
) -> np.ndarray:
    """Differentiate Σ weights · fn by inputs[i], one element at a time."""
    base: np.ndarray = inputs[i].data
    numeric = np.zeros_like(base)
    for where in np.ndindex(base.shape):
        ends = []
        for sign in (1.0, -1.0):
            moved = base.copy()
            moved[where] += sign * eps
            values = [Tensor(moved, True) if j == i else x for j, x in enumerate(inputs)]
            ends.append(float((fn(*values).data * weights).sum()))
        numeric[where] = (ends[0] - ends[1]) / (2 * eps)
    return numeric
