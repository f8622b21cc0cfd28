"""Arrays in, arrays out, fast.

Each function checks its arguments and hands them to one of two backends: kernels
written on a SIMD vector type and compiled by numba when first called
(:mod:`.compiled`, on :mod:`.matrix`, :mod:`.rows`, :mod:`.elements`,
:mod:`.fused_attention`), or their twins in
plain NumPy (:mod:`.reference`), which say in a line or two what is computed.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Collection, Iterator, Sequence
from types import ModuleType
from typing import Any

import numpy as np
from numpy import empty

from . import additive, reference
from .backend import BACKENDS, backend, fall_back, state, use_backend
from .shapes import check_product
from .threads import get_num_threads, set_num_threads

Array = np.ndarray

_compiled: ModuleType | None = None


def _load() -> ModuleType:
    """Import the compiled kernels, and numba with them; the twins where that cannot be."""
    global _compiled
    try:
        from . import compiled
    except RecursionError:  # called from deep inside: no reason to do without for good
        raise
    except Exception as error:  # numba fails in many ways: no wheel, no LLVM, a broken install
        fall_back(error)
        return reference
    _compiled = compiled
    return compiled


def _backend(x: Array) -> Any:
    """Choose who computes: kernels are for float32 and float64."""
    if state.name == "numpy" or x.dtype.char not in "fd":
        return reference
    return _compiled or _load()


@contextlib.contextmanager
def on_compile(listener: Callable[[str, str, float], object]) -> Iterator[None]:
    """Call `listener` whenever a kernel is compiled, which happens once per machine.

    Parameters
    ----------
    listener : callable
        Called with the kernel's name, "start" or "done", and the seconds it took.

    Examples
    --------
    >>> from tinygrad_mha import kernels
    >>> with kernels.on_compile(lambda kernel, state, seconds: None):
    ...     pass
    """
    if state.name == "numpy" or (_compiled or _load()) is reference:
        yield
        return
    from . import jit

    with jit.on_compile(listener):
        yield


def matmul(a: Array, b: Array, *, bias: Array | None = None) -> Array:
    """Matrix product over the last two axes; axes before them broadcast.

    Parameters
    ----------
    a : ndarray
        ``(..., n, k)`` or ``(k,)``; any strides.
    b : ndarray
        ``(..., k, m)`` or ``(k,)``; any strides.
    bias : ndarray, optional
        ``(m,)``, added to every row.

    Returns
    -------
    ndarray
        ``(..., n, m)``, without the axis that a 1-d operand does not have.

    Raises
    ------
    ValueError
        The shapes do not fit.
    TypeError
        The dtypes differ.

    Examples
    --------
    >>> import numpy as np
    >>> from tinygrad_mha import kernels
    >>> kernels.matmul(np.ones((2, 3)), np.ones((3, 1)))
    array([[3.],
           [3.]])
    """
    dtype = a.dtype
    quick = state.quick.get(dtype)
    if quick is not None and b.dtype is dtype:
        # the shortest way: one matrix is looked at by the kernel itself, which declines if need be
        run, none, alone, stacks = quick
        product: Array
        if a.ndim == 2 == b.ndim:
            m = b.shape[1]
            if bias is None or (bias.dtype is dtype and bias.shape == (m,)):
                product = empty((len(a), m), dtype)
                if run(a, b, product, none if bias is None else bias, False, alone):
                    return product
        elif bias is None and a.ndim > 1 and b.ndim > 1:
            product = stacks(a, b)
            return product
    if dtype != b.dtype:
        raise TypeError(f"a is {dtype} and b is {b.dtype}; convert one, for example with .float()")
    if a.ndim < 2 or b.ndim < 2:
        return _with_vectors(a, b, bias)
    check_product(a.shape, b.shape)
    if bias is not None and bias.shape != b.shape[-1:]:
        raise ValueError(f"bias has shape {bias.shape}, expected {b.shape[-1:]}")
    product = _backend(a).matmul(a, b, bias)
    return product


def linear(x: Array, weight: Array, bias: Array | None = None) -> Array:
    """x · Wᵀ + b: the affine map of the last axis.

    Parameters
    ----------
    x : ndarray
        ``(..., in)``; any strides.
    weight : ndarray
        ``(out, in)``.
    bias : ndarray, optional
        ``(out,)``.

    Returns
    -------
    ndarray
        ``(..., out)``.

    Raises
    ------
    ValueError
        The shapes do not fit.
    TypeError
        The dtypes differ.

    Examples
    --------
    >>> import numpy as np
    >>> from tinygrad_mha import kernels
    >>> kernels.linear(np.ones((2, 3)), np.ones((1, 3)), np.ones(1))
    array([[4.],
           [4.]])
    """
    dtype = x.dtype
    quick = state.quick.get(dtype)
    if quick is not None and weight.dtype is dtype and x.ndim == 2 == weight.ndim:
        run, none, alone, _ = quick
        m = len(weight)
        if bias is None or (bias.dtype is dtype and bias.shape == (m,)):
            y: Array = empty((len(x), m), dtype)
            if run(x, weight, y, none if bias is None else bias, True, alone):
                return y
    if weight.ndim != 2 or x.ndim < 1 or x.shape[-1] != weight.shape[1]:
        raise ValueError(
            f"the last axis of x, in shape {x.shape}, must match the last of weight, in shape "
            f"{weight.shape}, which is (out_features, in_features)"
        )
    if dtype != weight.dtype:
        raise TypeError(
            f"x is {dtype} and weight is {weight.dtype}; convert one, for example with .float()"
        )
    # one product for all leading axes: (..., in) -> (rows, in)
    y = matmul(_flat(x), weight.T, bias=bias)
    return y if x.ndim == 2 else y.reshape(*x.shape[:-1], len(weight))


def linear_gradients(
    dy: Array, x: Array, weight: Array, wanted: Collection[int] = (0, 1, 2)
) -> tuple[Array | None, Array | None, Array | None]:
    """Gradients of x, weight and bias, from what :func:`linear` took.

    Parameters
    ----------
    dy : ndarray
        ``(..., out)``, gradient of the output.
    x, weight : ndarray
        As they went in.
    wanted : collection of int, default (0, 1, 2)
        Which of the three: the others are None.

    Returns
    -------
    dx, dweight, dbias : ndarray or None
        ``dy · W``, and over all leading axes ``dyᵀ · x`` and ``Σ dy``.

    Examples
    --------
    >>> import numpy as np
    >>> from tinygrad_mha import kernels
    >>> kernels.linear_gradients(np.ones((4, 1)), np.ones((4, 2)), np.ones((1, 2)), [1, 2])
    (None, array([[4., 4.]]), array([4.]))
    """
    if x.ndim == 2:
        found: tuple[Array | None, Array | None, Array | None]
        found = _backend(x).linear_gradients(dy, x, weight, wanted)
        return found
    dx, dw, db = linear_gradients(_flat(dy), _flat(x), weight, wanted)
    return dx if dx is None else dx.reshape(x.shape), dw, db


def _flat(x: Array) -> Array:
    # (..., n) -> (rows, n); the count is spelt out because −1 is ambiguous where n is 0
    return x if x.ndim == 2 else x.reshape(math.prod(x.shape[:-1]), x.shape[-1])


def _with_vectors(a: Array, b: Array, bias: Array | None) -> Array:
    """Multiply where an operand is a vector: a row on the left, a column on the right."""
    if a.ndim == 0 or b.ndim == 0:
        raise ValueError(
            f"shapes {a.shape} and {b.shape}: a matrix product needs at least 1 dimension on both "
            "sides; to scale, use *"
        )
    product = matmul(a[None, :] if a.ndim == 1 else a, b[:, None] if b.ndim == 1 else b, bias=bias)
    if b.ndim == 1:
        product = product[..., 0]
    if a.ndim == 1:
        product = product[..., 0] if b.ndim == 1 else product[..., 0, :]
    return product


def column_sums(x: Array) -> Array:
    """Sums over the rows of a matrix, in blocks of rows, so that rounding errors do not run on.

    Parameters
    ----------
    x : ndarray
        ``(n, m)``.

    Returns
    -------
    ndarray
        ``(m,)``.
    """
    y: Array = _backend(x).column_sums(x)
    return y


def softmax(x: Array, axis: int = -1, mask: Array | None = None) -> Array:
    """exp(x) / Σ exp(x) along an axis.

    Parameters
    ----------
    x : ndarray
        Any shape.
    axis : int, default -1
        The axis.
    mask : bool ndarray, optional
        Broadcasts to `x`; only numbers where it is True take part. Where none does, the
        result is 0; without a mask, a row of −∞ gives nan.

    Returns
    -------
    ndarray
        Of the shape of `x`.

    Examples
    --------
    >>> import numpy as np
    >>> from tinygrad_mha import kernels
    >>> kernels.softmax(np.zeros((1, 2)))
    array([[0.5, 0.5]])
    """
    if not -max(x.ndim, 1) <= axis < max(x.ndim, 1):
        raise IndexError(f"axis {axis} is out of range for shape {x.shape}")
    if x.ndim == 0:
        return softmax(x[None], 0, mask).reshape(())
    y: Array = _backend(x).softmax(x, axis, mask)
    return y


def softmax_backward(dy: Array, y: Array, axis: int = -1) -> Array:
    """y · (dy − Σ dy · y) along an axis: the gradient of :func:`softmax`."""
    if y.ndim == 0:
        return np.zeros_like(y)
    dx: Array = _backend(y).softmax_backward(dy, y, axis)
    return dx


def logsumexp(x: Array, axis: int = -1) -> Array:
    """ln Σ exp(x) along an axis."""
    if x.ndim == 0:
        return x.copy()
    y: Array = _backend(x).logsumexp(x, axis)
    return y


def log_softmax(x: Array, axis: int = -1) -> Array:
    """x − ln Σ exp(x) along an axis."""
    if not -max(x.ndim, 1) <= axis < max(x.ndim, 1):
        raise IndexError(f"axis {axis} is out of range for shape {x.shape}")
    if x.ndim == 0:
        return np.asarray(x - x)
    y: Array = _backend(x).log_softmax(x, axis)
    return y


def log_softmax_backward(dy: Array, y: Array, axis: int = -1) -> Array:
    """dy − exp(y) · Σ dy along an axis: the gradient of :func:`log_softmax`."""
    if y.ndim == 0:
        return np.zeros_like(y)
    dx: Array = _backend(y).log_softmax_backward(dy, y, axis)
    return dx


def cross_entropy(x: Array, target: Array, ignored: int = -100) -> tuple[Array, Array, int]:
    """−ln softmax(x)[target] of each row, and what the gradient needs.

    Parameters
    ----------
    x : ndarray
        ``(R, C)``.
    target : ndarray of int64
        ``(R,)``, from 0 to C − 1; or `ignored`, for rows whose loss is 0.
    ignored : int, default -100
        Names the rows that do not count.

    Returns
    -------
    losses, lse : ndarray
        Both ``(R,)``; `lse` is ln Σ exp(x), nan where that is ∞.
    counted : int
        How many rows are not ignored.

    Raises
    ------
    IndexError
        A target is out of range.
    """
    losses, lse, counted = _backend(x).cross_entropy(x, target, ignored)
    if counted < 0:
        raise IndexError(f"target {target[-1 - counted]} is out of range for {x.shape[1]} classes")
    return losses, lse, counted


def cross_entropy_backward(
    d: Array, x: Array, lse: Array, target: Array, ignored: int = -100
) -> Array:
    """d · (softmax(x) − one-hot(target)): the gradient of :func:`cross_entropy`.

    Parameters
    ----------
    d : ndarray
        ``(R,)``, gradient of each row's loss.
    x, lse, target, ignored
        As they went in and came out.

    Returns
    -------
    ndarray
        ``(R, C)``.
    """
    dx: Array = _backend(x).cross_entropy_backward(d, x, lse, target, ignored)
    return dx


def layer_norm(
    x: Array, weight: Array | None, bias: Array | None, eps: float
) -> tuple[Array, Array, Array]:
    """(x − μ) / √(σ² + ε) · weight + bias over the last axis.

    Parameters
    ----------
    x : ndarray
        ``(..., d)``.
    weight, bias : ndarray or None
        ``(d,)``.
    eps : float
        ε.

    Returns
    -------
    y : ndarray
        ``(..., d)``.
    mu, rstd : ndarray
        μ and 1/√(σ² + ε), ``(..., 1)``.
    """
    y, mu, rstd = _backend(x).layer_norm(x, weight, bias, eps)
    return y, mu, rstd


def layer_norm_backward(
    dy: Array, x: Array, weight: Array | None, mu: Array, rstd: Array
) -> tuple[Array, Array, Array]:
    """Gradients of x, weight and bias, from what :func:`layer_norm` took and gave."""
    dx, dweight, dbias = _backend(x).layer_norm_backward(dy, x, weight, mu, rstd)
    return dx, dweight, dbias


def _check_attention(q: Array, k: Array, v: Array, mask: Array | None, bias: Array | None) -> None:
    """Raise what :func:`attention` says it raises."""
    if min(q.ndim, k.ndim, v.ndim) < 2:
        raise ValueError(
            f"q has shape {q.shape}, k {k.shape} and v {v.shape}; attention needs (..., L, p), "
            "(..., S, p) and (..., S, p_v)"
        )
    (*of_q, _, p_q), (*of_k, keys, p_k), (*of_v, values, _) = q.shape, k.shape, v.shape
    if (
        of_q == of_k == of_v and p_q == p_k and keys == values and mask is bias is None
        and q.dtype is k.dtype is v.dtype
    ):  # fmt: skip
        return  # the usual case: for small matrices, each further check would be felt
    shapes = f"q has shape {q.shape}, k {k.shape} and v {v.shape}"
    if q.shape[-1] != k.shape[-1]:
        raise ValueError(f"{shapes}: queries and keys must be equally wide (the last axis)")
    if k.shape[-2] != v.shape[-2]:
        raise ValueError(f"{shapes}: there must be as many values as keys (axis −2)")
    try:
        batch = np.broadcast_shapes(q.shape[:-2], k.shape[:-2], v.shape[:-2])
    except ValueError:
        raise ValueError(f"{shapes}: their axes before the last two do not broadcast") from None
    scores = (*batch, q.shape[-2], k.shape[-2])
    for name, given, dtype in (("mask", mask, np.dtype(bool)), ("bias", bias, q.dtype)):
        if given is None:
            continue
        if given.dtype != dtype:
            raise TypeError(f"{name} is {given.dtype}, expected {dtype}")
        if given.ndim > len(scores) or any(
            n not in (1, m) for n, m in zip(given.shape[::-1], scores[::-1], strict=False)
        ):
            raise ValueError(
                f"{name} has shape {given.shape}, which does not broadcast to {scores}"
            )
    if not q.dtype == k.dtype == v.dtype:
        raise TypeError(f"q is {q.dtype}, k is {k.dtype} and v is {v.dtype}; they must be the same")


def attention(
    q: Array,
    k: Array,
    v: Array,
    *,
    mask: Array | None = None,
    bias: Array | None = None,
    causal: bool = False,
    scale: float,
    dropout: float = 0.0,
    seed: int = 0,
) -> tuple[Array, Array]:
    """softmax(q kᵀ · scale + bias) v, without the weights ever being in memory.

    Parameters
    ----------
    q, k, v : ndarray
        ``(..., L, p)``, ``(..., S, p)`` and ``(..., S, p_v)``; the axes before broadcast.
    mask : bool ndarray, optional
        True = may attend; broadcasts to ``(..., L, S)``.
    bias : ndarray, optional
        Added to the scores, −∞ forbids; broadcasts to ``(..., L, S)``.
    causal : bool, default False
        Query i sees keys 0 … i.
    scale : float
        Usually 1/√p.
    dropout : float, default 0
        Probability with which a weight is dropped; see :func:`kept`.
    seed : int, default 0
        Of :func:`kept`.

    Returns
    -------
    out : ndarray
        ``(..., L, p_v)``; exactly 0 for a query that may see no key.
    lse : ndarray
        ``(..., L)``, ln Σ exp of each row of scores, which the gradient needs.

    Raises
    ------
    ValueError
        The shapes do not fit.
    TypeError
        The dtypes differ, or the mask is not of bool.

    Examples
    --------
    >>> import numpy as np
    >>> from tinygrad_mha import kernels
    >>> x = np.ones((3, 2))
    >>> out, lse = kernels.attention(x, x, x, causal=True, scale=0.5)
    >>> out
    array([[1., 1.],
           [1., 1.],
           [1., 1.]])
    """
    _check_attention(q, k, v, mask, bias)
    out, lse = _backend(q).attention(q, k, v, mask, bias, causal, scale, dropout, seed)
    return out, lse


def attention_backward(
    dout: Array,
    q: Array,
    k: Array,
    v: Array,
    out: Array,
    lse: Array,
    *,
    mask: Array | None = None,
    bias: Array | None = None,
    causal: bool = False,
    scale: float,
    dropout: float = 0.0,
    seed: int = 0,
    into: tuple[Array, Array, Array] | None = None,
) -> tuple[Array, Array, Array]:
    """Gradients of q, k and v, from what :func:`attention` took and gave.

    They have the batch axes of `dout`: an input that was broadcast takes their sum. They are
    written `into` three arrays, if such are given: of these shapes, with consecutive rows, no
    two items in the same place.

    Raises
    ------
    ValueError
        The shapes do not fit.
    TypeError
        The dtypes differ.
    """
    _check_attention(q, k, v, mask, bias)
    if dout.shape != out.shape or lse.shape != out.shape[:-1]:
        raise ValueError(
            f"dout has shape {dout.shape}, out {out.shape} and lse {lse.shape}; dout must be like "
            "out, and lse like out without its last axis"
        )
    found: tuple[Array, Array, Array] = _backend(q).attention_backward(
        dout, q, k, v, out, lse, mask, bias, causal, scale, dropout, seed, into
    )  # fmt: skip
    return found


def kept(shape: tuple[int, ...], dropout: float, seed: int) -> Array:
    """Which attention weights dropout keeps: each has its own number, drawn by its place.

    Nothing is stored: forward, backward and whoever draws the graph find the same weights
    dropped, in whatever order and by however many threads they are computed.

    Parameters
    ----------
    shape : tuple of int
        ``(..., L, S)``.
    dropout : float
        Probability with which a weight is dropped.
    seed : int
        Up to 64 bits; with the place of a weight, all that decides.

    Returns
    -------
    bool ndarray
        True where a weight is kept.

    Examples
    --------
    >>> from tinygrad_mha import kernels
    >>> kernels.kept((2, 1000, 1000), 0.25, seed=1).mean().round(2)
    np.float64(0.75)
    """
    return reference.kept(shape, dropout, seed)


def additive_scores(q: Array, k: Array, w: Array) -> Array:
    """Σ w · tanh(q + k) of every query with every key.

    Parameters
    ----------
    q, k : ndarray
        ``(..., L, a)`` and ``(..., S, a)``; the axes before broadcast.
    w : ndarray
        ``(a,)``.

    Returns
    -------
    ndarray
        ``(..., L, S)``; no array of shape ``(..., L, S, a)`` is made on the way.
    """
    run = reference.additive_scores if state.name == "numpy" else additive.scores
    return run(q, k, w)


def additive_scores_backward(dy: Array, q: Array, k: Array, w: Array) -> tuple[Array, Array, Array]:
    """Gradients of q and k, with the batch axes of `dy`, and of w; as little is in memory."""
    run = reference.additive_scores_backward if state.name == "numpy" else additive.scores_backward
    return run(dy, q, k, w)


def gelu(x: Array, approximate: bool = False) -> Array:
    """x · Φ(x), or with `approximate` its tanh formula, elementwise."""
    y: Array = _backend(x).gelu(x, approximate)
    return y


def gelu_backward(dy: Array, x: Array, approximate: bool = False) -> Array:
    """dy · gelu′(x), elementwise."""
    dx: Array = _backend(x).gelu_backward(dy, x, approximate)
    return dx


def sigmoid(x: Array) -> Array:
    """1 / (1 + e⁻ˣ), elementwise."""
    y: Array = _backend(x).sigmoid(x)
    return y


def silu(x: Array) -> Array:
    """x · σ(x), elementwise."""
    y: Array = _backend(x).silu(x)
    return y


def silu_backward(dy: Array, x: Array) -> Array:
    """dy · silu′(x), elementwise."""
    dx: Array = _backend(x).silu_backward(dy, x)
    return dx


def erf(x: Array) -> Array:
    """Error function, elementwise."""
    y: Array = _backend(x).erf(x)
    return y


def embedding_backward(dy: Array, index: Array, rows: int) -> Array:
    """Zeros ``(rows, d)``, with ``dy[...]`` added at the rows that `index` names, in order."""
    dw: Array = _backend(dy).embedding_backward(dy, index, rows)
    return dw


def relu_backward(dy: Array, y: Array) -> Array:
    """Gradient of max(x, 0).

    Parameters
    ----------
    dy, y : ndarray
        Incoming gradient, and the output, of one shape and dtype.

    Returns
    -------
    ndarray
        `dy`, with 0 where y ≤ 0; where y is nan the gradient passes.

    Examples
    --------
    >>> import numpy as np
    >>> from tinygrad_mha import kernels
    >>> kernels.relu_backward(np.array([5.0, np.inf]), np.array([2.0, 0.0]))
    array([5., 0.])
    """
    dx: Array = _backend(y).relu_backward(dy, y)
    return dx


def adamw_step(
    params: Sequence[Array],
    grads: Sequence[Array],
    means: Sequence[Array],
    squares: Sequence[Array],
    *,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    step: int,
) -> None:
    """One step of AdamW for many parameters, in place (Loshchilov and Hutter 2019, algorithm 2).

    Parameters
    ----------
    params, grads, means, squares : sequence of ndarray
        For each parameter four arrays of one length, ``(n,)``, all of one dtype: what is
        learned, its gradient, the running means of the gradient and of its square. Those
        that change are consecutive in memory.
    lr, beta1, beta2, eps, weight_decay : float
        The algorithm's.
    step : int
        Counts from 1; corrects the means for having begun at 0.

    Examples
    --------
    >>> import numpy as np
    >>> from tinygrad_mha import kernels
    >>> p, g, m, v = np.ones(1), np.ones(1), np.zeros(1), np.zeros(1)
    >>> kernels.adamw_step(
    ...     [p], [g], [m], [v], lr=0.5, beta1=0.9, beta2=0.999, eps=0.0, weight_decay=0.0, step=1
    ... )
    >>> p
    array([0.5])
    """
    _backend(params[0]).adamw(
        params, grads, means, squares, 1 - lr * weight_decay, lr / (1 - beta1**step),
        beta1, beta2, math.sqrt(1 - beta2**step), eps,
    )  # fmt: skip


def sgd_step(
    params: Sequence[Array],
    grads: Sequence[Array],
    velocities: Sequence[Array],
    *,
    lr: float,
    momentum: float,
) -> None:
    """One step of gradient descent with momentum for many parameters, in place (Polyak 1964).

    Parameters
    ----------
    params, grads, velocities : sequence of ndarray
        For each parameter three arrays of one length, ``(n,)``, all of one dtype: what is
        learned, its gradient, what is left of the steps before. Those that change are
        consecutive in memory.
    lr, momentum : float
        b ← momentum · b + g, then p ← p − lr · b.

    Examples
    --------
    >>> import numpy as np
    >>> from tinygrad_mha import kernels
    >>> p, g, b = np.ones(1), np.ones(1), np.zeros(1)
    >>> kernels.sgd_step([p], [g], [b], lr=0.5, momentum=0.0)
    >>> p
    array([0.5])
    """
    _backend(params[0]).sgd(params, grads, velocities, lr, momentum)


# NumPy's own are vectorised, and as fast as ours would be
exp, tanh = reference.exp, reference.tanh

__all__ = [
    "BACKENDS",
    "adamw_step",
    "additive_scores",
    "additive_scores_backward",
    "attention",
    "attention_backward",
    "backend",
    "column_sums",
    "cross_entropy",
    "cross_entropy_backward",
    "embedding_backward",
    "erf",
    "exp",
    "gelu",
    "gelu_backward",
    "get_num_threads",
    "kept",
    "layer_norm",
    "layer_norm_backward",
    "linear",
    "linear_gradients",
    "log_softmax",
    "log_softmax_backward",
    "logsumexp",
    "matmul",
    "on_compile",
    "relu_backward",
    "set_num_threads",
    "sgd_step",
    "sigmoid",
    "silu",
    "silu_backward",
    "softmax",
    "softmax_backward",
    "tanh",
    "use_backend",
]
