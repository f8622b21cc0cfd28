"""Attention in one pass, forward and backward, by products and by addition."""

from __future__ import annotations

import numpy as np

from . import additive, blockwise, reference
from .backend import state
from .dispatch import backend_for
from .layout import batch_of
from .shapes import check_fit

Array = np.ndarray


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
        and q.dtype is k.dtype is v.dtype and q.dtype.kind == "f"
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
    _check_limits((*batch, q.shape[-2], k.shape[-2]), mask, bias, q.dtype)
    if not q.dtype == k.dtype == v.dtype:
        raise TypeError(f"q is {q.dtype}, k is {k.dtype} and v is {v.dtype}; they must be the same")
    if q.dtype.kind != "f":
        raise TypeError(
            f"q, k and v are {q.dtype}; attention needs floating numbers, for example those of "
            ".float()"
        )


def _check_limits(
    scores: tuple[int, ...], mask: Array | None, bias: Array | None, number: np.dtype
) -> None:
    """Raise where what limits attention does not broadcast to the scores, or is of another kind."""
    for name, given, dtype in (("mask", mask, np.dtype(bool)), ("bias", bias, number)):
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
        The dtypes differ or are not floating, or the mask is not of bool.

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
    out, lse = backend_for(q).attention(q, k, v, mask, bias, causal, scale, dropout, seed)
    return out, lse


def attention_weights(
    q: Array,
    k: Array,
    *,
    mask: Array | None = None,
    bias: Array | None = None,
    causal: bool = False,
    scale: float,
) -> Array:
    """softmax(q kᵀ · scale + bias): what :func:`attention` does not keep.

    Parameters
    ----------
    q, k : ndarray
        ``(..., L, p)`` and ``(..., S, p)``; the axes before broadcast.
    mask, bias, causal, scale
        As there.

    Returns
    -------
    ndarray
        ``(..., L, S)``; a row that may see no key is 0.

    Raises
    ------
    ValueError
        The shapes do not fit.
    TypeError
        The dtypes differ or are not floating, or the mask is not of bool.

    Examples
    --------
    >>> import numpy as np
    >>> from tinygrad_mha import kernels
    >>> x = np.ones((2, 3))
    >>> kernels.attention_weights(x, x, causal=True, scale=0.5)
    array([[1. , 0. ],
           [0.5, 0.5]])
    """
    _check_attention(q, k, k, mask, bias)
    found: Array = backend_for(q).attention_weights(q, k, mask, bias, causal, scale)
    return found


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
    written `into` three arrays, if such are given: of these shapes, no two items in the same
    place; where they have two batch axes and consecutive rows, without a copy.

    Raises
    ------
    ValueError
        The shapes do not fit.
    TypeError
        The dtypes differ.
    """
    _check_attention(q, k, v, mask, bias)
    shape = (*q.shape[:-1], v.shape[-1])
    if dout.shape != shape:  # an input was broadcast, or it is wrong
        shape = (*batch_of(q, k, v), *shape[-2:])
    if not dout.shape == out.shape == shape or lse.shape != shape[:-1]:
        raise ValueError(
            f"dout has shape {dout.shape}, out {out.shape} and lse {lse.shape}; expected twice "
            f"{shape}, and {shape[:-1]}"
        )
    if not dout.dtype is out.dtype is lse.dtype is q.dtype:
        check_fit(q.dtype, shape, dout=dout, out=out)
        check_fit(q.dtype, shape[:-1], lse=lse)
    if into is not None:
        if not into[0].dtype == into[1].dtype == into[2].dtype == q.dtype:
            raise TypeError(
                f"into is {[x.dtype.name for x in into]}, expected three times {q.dtype}"
            )
        wanted = [(*shape[:-2], *x.shape[-2:]) for x in (q, k, v)]
        if [x.shape for x in into] != wanted:
            raise ValueError(f"into has shapes {[x.shape for x in into]}, expected {wanted}")
    found: tuple[Array, Array, Array] = backend_for(q).attention_backward(
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


def additive_attention(
    q: Array,
    k: Array,
    w: Array,
    v: Array,
    *,
    mask: Array | None = None,
    bias: Array | None = None,
    causal: bool = False,
    dropout: float = 0.0,
    seed: int = 0,
) -> tuple[Array, Array]:
    """softmax(Σ w · tanh(q + k) + bias) v; neither tanh nor the weights are ever in memory.

    Parameters
    ----------
    q, k : ndarray
        ``(..., L, a)`` and ``(..., S, a)``; the axes before broadcast.
    w : ndarray
        ``(a,)``.
    v : ndarray
        ``(..., S, p_v)``.
    mask, bias, causal, dropout, seed
        As :func:`attention`'s.

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
        The dtypes differ or are not floating, or the mask is not of bool.

    Examples
    --------
    >>> import numpy as np
    >>> from tinygrad_mha import kernels
    >>> x = np.ones((3, 2))
    >>> out, lse = kernels.additive_attention(x, x, np.ones(2), x, causal=True)
    >>> out.tolist()
    [[1.0, 1.0], [1.0, 1.0], [1.0, 1.0]]
    """
    _check_additive(q, k, w, v, mask, bias)
    run = (reference if state.name == "numpy" else blockwise).additive_attention
    return run(q, k, w, v, (mask, bias, causal), dropout, seed)


def additive_attention_backward(
    dout: Array,
    q: Array,
    k: Array,
    w: Array,
    v: Array,
    out: Array,
    lse: Array,
    *,
    mask: Array | None = None,
    bias: Array | None = None,
    causal: bool = False,
    dropout: float = 0.0,
    seed: int = 0,
    scores_too: bool = False,
) -> tuple[Array, Array, Array, Array, Array | None]:
    """Gradients of q, k, w and v, and that of the scores ``(..., L, S)`` if they are wanted too.

    They have the batch axes of `dout`, w ``(a,)`` apart: an input that was broadcast takes their
    sum.

    Raises
    ------
    ValueError
        The shapes do not fit.
    TypeError
        The dtypes differ.
    """
    _check_additive(q, k, w, v, mask, bias)
    shape = (*batch_of(q, k, v), q.shape[-2], v.shape[-1])
    check_fit(q.dtype, shape, dout=dout, out=out)
    check_fit(q.dtype, shape[:-1], lse=lse)
    run = (reference if state.name == "numpy" else blockwise).additive_attention_backward
    return run(dout, q, k, w, v, out, lse, (mask, bias, causal), dropout, seed, scores_too)


def _check_additive(
    q: Array, k: Array, w: Array, v: Array, mask: Array | None, bias: Array | None
) -> None:
    """Raise what :func:`additive_attention` says it raises."""
    _check_attention(q, k, v, None, None)
    if w.shape != q.shape[-1:]:
        raise ValueError(f"w has shape {w.shape}, expected {q.shape[-1:]}: q has shape {q.shape}")
    if w.dtype != q.dtype:
        raise TypeError(f"w is {w.dtype} and q is {q.dtype}; they must be the same")
    if mask is not None or bias is not None:
        _check_limits((*batch_of(q, k, v), q.shape[-2], k.shape[-2]), mask, bias, q.dtype)
