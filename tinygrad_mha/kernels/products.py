"""Matrix products, linear layers, tables: what ends in sums of products."""

from __future__ import annotations

import math
from collections.abc import Collection

import numpy as np

from .backend import state
from .dispatch import backend_for
from .shapes import check_fit, check_product

Array = np.ndarray


def quick_product(a: Array, b: Array) -> Array | None:
    """a · b of two matrices, where a kernel reads them as they are; else None, whatever they are.

    The kernel looks at the shapes itself, and declines if need be: in Python that would take
    longer than a small product does.
    """
    quick = state.quick.get(a.dtype)
    if quick is None:
        return None
    small, large, none, alone, _ = quick
    made = small(a, b, none, alone, True, 0, 0)
    if made is None and a.ndim == 2 == b.ndim:
        made = large(a, b, none)
    return made


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
        small, large, none, alone, stacks = quick
        product: Array | None
        if a.ndim == 2 == b.ndim:
            if bias is None or (bias.shape == (b.shape[1],) and bias.dtype is dtype):
                added = none if bias is None else bias
                product = small(a, b, added, alone, True, 0, 0)
                if product is None:
                    product = large(a, b, np.ascontiguousarray(added))
                if product is not None:
                    return product
        elif bias is None and a.ndim > 1 and b.ndim > 1:
            product = stacks(a, b)
            return product
    if dtype != b.dtype:
        raise TypeError(f"a is {dtype} and b is {b.dtype}; convert one, for example with .float()")
    if a.ndim < 2 or b.ndim < 2:
        return _with_vectors(a, b, bias)
    check_product(a.shape, b.shape)
    check_fit(dtype, b.shape[-1:], bias=bias)
    product = backend_for(a).matmul(a, b, bias)
    return product


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
    if quick is not None and (bias is None or bias.shape == weight.shape[:1]):
        small, _, none, alone, _ = quick
        y = small(x, weight.T, none if bias is None else bias, alone, True, 0, 0)
        if y is not None:
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
    if x.ndim > 2:
        # one product for all leading axes: (..., in) -> (rows, in)
        return linear(_flat(x), weight, bias).reshape(*x.shape[:-1], len(weight))
    y = matmul(_flat(x), weight.T, bias=bias)
    return y if x.ndim == 2 else y.reshape(len(weight))


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
    if not dy.dtype is x.dtype is weight.dtype:
        check_fit(x.dtype, dy.shape, dy=dy)
        check_fit(x.dtype, weight.shape, weight=weight)
    if x.ndim == 2:
        found: tuple[Array | None, Array | None, Array | None]
        found = backend_for(x).linear_gradients(dy, x, weight, wanted)
        return found
    dx, dw, db = linear_gradients(_flat(dy), _flat(x), weight, wanted)
    return dx if dx is None else dx.reshape(x.shape), dw, db


def _flat(x: Array) -> Array:
    # (..., n) -> (rows, n); where n is 0, −1 would be ambiguous
    n = x.shape[-1]
    return x if x.ndim == 2 else x.reshape(-1 if n else math.prod(x.shape[:-1]), n)


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
    y: Array = backend_for(x).column_sums(x)
    return y


def embedding_backward(dy: Array, index: Array, rows: int) -> Array:
    """Zeros ``(rows, d)``, with ``dy[...]`` added at the rows that `index` names, in order."""
    check_fit(dy.dtype, (*index.shape, *dy.shape[-1:]), dy=dy)
    dw: Array = backend_for(dy).embedding_backward(dy, index, rows)
    return dw
