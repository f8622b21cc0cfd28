"""Masks, all of one polarity: True = may attend."""

from __future__ import annotations

import sys
import warnings
from typing import Any

import numpy as np

from .. import ops
from ..engine import Tensor
from ..engine.op import plain
from .checks import expect_size

Shape = tuple[int, ...]


def causal(length: int, keys: int | None = None, offset: int = 0) -> Tensor:
    """Query i may attend to keys 0 … i + offset.

    Parameters
    ----------
    length : int
        Number of queries, L.
    keys : int, optional
        Number of keys, S; by default L.
    offset : int, default 0
        How many keys come before the first query's own: S − L aligns the last query
        with the last key, as decoding with a cache needs it.

    Returns
    -------
    Tensor
        Boolean ``(L, S)``.

    Raises
    ------
    TypeError
        A size is no whole number.
    ValueError
        It is below 0.

    Examples
    --------
    >>> from tinygrad_mha.nn import masks
    >>> masks.causal(2, 3, offset=1)
    tensor([[ True,  True, False],
            [ True,  True,  True]])
    """
    keys = length if keys is None else keys
    expect_size(length, "causal: length", 0)
    expect_size(keys, "causal: keys", 0)
    return Tensor(np.tri(length, keys, offset, dtype=bool))


def padding(lengths: Any, keys: int) -> Tensor:
    """Only the first `lengths` keys may be attended to.

    Parameters
    ----------
    lengths : array_like of int
        ``(N,)``, one per batch item; or ``(N, L)``, one per query.
    keys : int
        Number of keys, S.

    Returns
    -------
    Tensor
        Boolean ``(N, 1, S)`` or ``(N, L, S)``.

    Raises
    ------
    TypeError
        `lengths` are not integers, or `keys` is none.
    ValueError
        `lengths` has another number of axes, or a length is not within 0 … S.

    Examples
    --------
    >>> from tinygrad_mha.nn import masks
    >>> masks.padding([1, 3], 3)
    tensor([[[ True, False, False]],
    <BLANKLINE>
            [[ True,  True,  True]]])
    """
    expect_size(keys, "padding: keys", 0)
    counts = np.asarray(plain(lengths))
    if counts.size and counts.dtype.kind not in "iu":
        raise TypeError(f"padding: lengths has dtype {counts.dtype}, expected integers")
    if counts.ndim not in (1, 2):
        raise ValueError(f"padding: lengths has shape {counts.shape}, expected (N,) or (N, L)")
    if counts.size and not 0 <= counts.min() <= counts.max() <= keys:
        raise ValueError(f"padding: lengths must be from 0 to keys={keys}, got {counts.tolist()}")
    if counts.ndim == 1:
        counts = counts[:, None]
    return Tensor(np.arange(keys) < counts[..., None])


def from_ignored(mask: Any) -> Tensor:
    """Convert a mask of the other polarity, True = ignore, as torch's module takes it.

    Parameters
    ----------
    mask : Tensor or array_like of bool
        True where attention is forbidden. For PyTorch's ``attn_mask`` and
        ``key_padding_mask`` see :func:`from_attn_mask` and :func:`from_key_padding_mask`,
        which also know their shapes.

    Returns
    -------
    Tensor
        Boolean, of the same shape, True = may attend.

    Raises
    ------
    TypeError
        The mask is not boolean.

    Examples
    --------
    >>> from tinygrad_mha.nn import masks
    >>> masks.from_ignored([False, True])
    tensor([ True, False])
    """
    values = np.asarray(plain(mask))
    if values.dtype != np.bool_:
        raise TypeError(f"from_ignored: mask has dtype {values.dtype}, expected bool")
    return Tensor(~values)


def from_key_padding_mask(mask: Any) -> Tensor:
    """Convert the ``key_padding_mask`` of torch's module.

    Parameters
    ----------
    mask : Tensor or array_like
        ``(N, S)``, or ``(S,)`` without a batch; boolean with True = ignore this key, or
        floating, added to the scores of this key.

    Returns
    -------
    Tensor
        ``(N, 1, S)`` or ``(1, S)``; boolean with True = may attend, or floating.

    Raises
    ------
    TypeError
        The mask is of integers.
    ValueError
        It has another number of axes.

    Examples
    --------
    >>> from tinygrad_mha.nn import masks
    >>> masks.from_key_padding_mask([[False, False, True]])
    tensor([[[ True,  True, False]]])
    """
    values = _of_torch(mask, "from_key_padding_mask")
    if values.ndim not in (1, 2):
        raise ValueError(
            f"from_key_padding_mask: mask has shape {values.shape}, expected (N, S) or (S,)"
        )
    return values.unsqueeze(-2)  # (N, S) -> (N, 1, S)


def from_attn_mask(mask: Any, num_heads: int | None = None) -> Tensor:
    """Convert the ``attn_mask`` of torch's module.

    Parameters
    ----------
    mask : Tensor or array_like
        ``(L, S)`` or ``(N·h, L, S)``; boolean with True = ignore, or floating, added to the
        scores.
    num_heads : int, optional
        h; needed with three axes, which in PyTorch count the heads along.

    Returns
    -------
    Tensor
        ``(L, S)`` or ``(N, h, L, S)``; boolean with True = may attend, or floating.

    Raises
    ------
    TypeError
        The mask is of integers.
    ValueError
        It has another shape.

    Examples
    --------
    >>> import numpy as np
    >>> from tinygrad_mha.nn import masks
    >>> masks.from_attn_mask(np.zeros((6, 4, 5), bool), num_heads=3).shape
    (2, 3, 4, 5)
    """
    values = _of_torch(mask, "from_attn_mask")
    if values.ndim == 2:
        return values
    if values.ndim != 3 or num_heads is None or num_heads < 1 or values.shape[0] % num_heads:
        raise ValueError(
            f"from_attn_mask: mask has shape {values.shape}, expected (L, S), or (N·h, L, S) "
            f"together with num_heads, which is {num_heads}"
        )
    _, length, keys = values.shape
    # (N·h, L, S) -> (N, h, L, S)
    split: Tensor = ops.reshape(values, (-1, num_heads, length, keys))
    return split


def both(a: Any, b: Any) -> Tensor | None:
    """Allow what both masks allow, and add what either adds.

    Parameters
    ----------
    a, b : Tensor, array_like or None
        Boolean, True = may attend; or floating, added to the scores: ``(L, S)``, ``(N, L, S)`` or
        ``(N, h, L, S)``, or what broadcasts to it. Three axes beside four stand for all heads.
        None allows everything.

    Returns
    -------
    Tensor or None
        Boolean if both are; floating, with −∞ where a key is forbidden, otherwise.

    Raises
    ------
    TypeError
        A mask is of integers.
    ValueError
        The shapes do not fit together.

    Examples
    --------
    >>> from tinygrad_mha.nn import masks
    >>> masks.both(masks.causal(2), masks.padding([1], 2))
    tensor([[[ True, False],
             [ True, False]]])
    """
    if a is None or b is None:
        return b if a is None else a
    a, b = _of_bools_or_floats(a, "both: a"), _of_bools_or_floats(b, "both: b")
    shapes = a.shape, b.shape
    if {a.ndim, b.ndim} == {3, 4}:  # (N, L, S) beside (N, h, L, S): its N is no h
        a, b = (m.unsqueeze(1) if m.ndim == 3 else m for m in (a, b))
    try:
        np.broadcast_shapes(a.shape, b.shape)
    except ValueError:
        raise ValueError(
            f"both: a has shape {shapes[0]} and b {shapes[1]}, which do not fit together; masks "
            "are (L, S), (N, L, S) or (N, h, L, S), and an axis of 1 stands for all"
        ) from None
    if a.dtype.kind == "f" and b.dtype.kind == "f":
        added: Tensor = a + b
        return added
    if a.dtype.kind == "f":
        a, b = b, a
    if b.dtype.kind == "b":
        return Tensor(a.data & b.data)
    forbidden: Tensor = ops.where(a, b, b.dtype.type(-np.inf))
    return forbidden


def _of_bools_or_floats(mask: Any, name: str) -> Tensor:
    """Bring a mask to a tensor, and refuse what says neither 'may attend' nor 'add'."""
    try:
        given = mask if isinstance(mask, Tensor) else Tensor(np.asarray(mask))
    except TypeError:  # of text, of complex numbers, of lists of several lengths
        raise TypeError(
            f"{name} is {mask!r:.60}, expected a tensor: bool with True = may attend, or floating, "
            "which is added to the scores"
        ) from None
    if given.dtype.kind not in "bf":
        raise TypeError(
            f"{name} has dtype {given.dtype} and shape {given.shape}; {given.dtype} says neither "
            "'may attend' nor 'add': pass a bool mask with True = may attend, for example "
            "mask.bool(), or a float mask, which is added"
            + ("; lengths become a mask by masks.padding(lengths, S)" if given.ndim == 1 else "")
        )
    return given


def _of_torch(mask: Any, function: str) -> Tensor:
    """Turn the polarity of a boolean mask; pass a floating one on, with its gradient."""
    values = mask if isinstance(mask, Tensor) else Tensor(np.asarray(mask))
    if values.dtype.kind not in "bf":
        raise TypeError(
            f"{function}: mask has dtype {values.dtype}; PyTorch's masks are boolean (True = "
            "ignore) or floating (added); convert zeros and ones with mask.bool()"
        )
    return from_ignored(values) if values.dtype.kind == "b" else values


# -- how a module reads the mask that it is given -------------------------------------------


def four_dimensional(mask: Any, shape: Shape) -> Tensor:
    """Bring a mask to four dimensions that broadcast to (N, h, L, S).

    Parameters
    ----------
    mask : Tensor or array_like
        Boolean, True = may attend; or floating. ``(L, S)``, ``(N, L, S)``, or four
        dimensions that broadcast to `shape`.
    shape : tuple of int
        ``(N, h, L, S)``.

    Returns
    -------
    Tensor
        Four dimensions, some of them 1.

    Raises
    ------
    TypeError
        The mask is of integers.
    ValueError
        The mask has another shape.

    Warns
    -----
    UserWarning
        A floating mask holds only zeros and ones: it looks as if it were to choose, but is added.
        A boolean mask is the triangle of the keys after each query: PyTorch's causal mask, in
        which True = ignore.

    Examples
    --------
    >>> from tinygrad_mha.nn import masks
    >>> masks.four_dimensional(masks.causal(3), (2, 4, 3, 3)).shape
    (1, 1, 3, 3)
    """
    mask = _of_bools_or_floats(mask, "MultiHeadAttention: mask")
    n, _, length, keys = shape
    if not _fits(mask.shape, shape):
        raise ValueError(
            f"MultiHeadAttention: mask has shape {mask.shape}; expected {(length, keys)}, "
            f"{(n, length, keys)}, or four dimensions that broadcast to {shape}"
            + _hint(mask.shape, shape)
        )
    if mask.dtype.kind == "f" and not mask.requires_grad and _only_zeros_and_ones(mask.data):
        warnings.warn(
            f"MultiHeadAttention: mask is {mask.dtype} and holds only zeros and ones; a floating "
            "mask is added to the scores. If 1 was to mean 'may attend', say mask.bool()",
            UserWarning,
            stacklevel=_level_of_the_caller(),
        )
    if mask.dtype.kind == "b" and _only_the_future(mask.data):
        warnings.warn(
            f"MultiHeadAttention: mask {mask.shape} lets every query see only the keys after it, "
            "and the last one nothing: it looks like PyTorch's causal mask, in which True = "
            "ignore. Here True = may attend: say is_causal=True, or masks.from_attn_mask(mask)",
            UserWarning,
            stacklevel=_level_of_the_caller(),
        )
    if mask.ndim == 2:
        return mask.unsqueeze(0).unsqueeze(0)  # (L, S) -> (1, 1, L, S)
    return mask.unsqueeze(1) if mask.ndim == 3 else mask  # (N, L, S) -> (N, 1, L, S)


def _fits(given: Shape, shape: Shape) -> bool:
    n, _, length, keys = shape
    targets = {2: (length, keys), 3: (n, length, keys), 4: shape}
    target = targets.get(len(given))
    return target is not None and all(a in (1, b) for a, b in zip(given, target, strict=True))


def _hint(given: Shape, shape: Shape) -> str:
    """What a mask of this wrong shape most likely is."""
    n, h, length, keys = shape
    hints = {
        (n, keys): "; it looks like PyTorch's key_padding_mask (N, S), in which True = ignore: "
        "say masks.from_key_padding_mask(mask), or masks.padding(lengths, S)",
        (n * h, length, keys): "; it looks like PyTorch's attn_mask (N·h, L, S), in which True = "
        f"ignore: say masks.from_attn_mask(mask, num_heads={h})",
        (keys, length): "; it looks transposed: rows are queries, columns are keys",
        (h, length, keys): f"; it looks like one mask per head: say mask[None], {(1, *given)}",
        (n,): "; it looks like lengths: say masks.padding(lengths, S)",
    }
    return hints.get(given, "")


def _only_zeros_and_ones(values: np.ndarray) -> bool:
    """Whether there is a 1, and nothing but ones and zeros."""
    # one look at the maximum settles it for masks that forbid by adding, 0 and -inf
    return bool(values.size and values.max() == 1 and ((values == 0) | (values == 1)).all())


def _only_the_future(seen: np.ndarray) -> bool:
    """Whether a boolean mask is the triangle above the diagonal: causality, the other way round."""
    length, keys = seen.shape[-2:]
    if length != keys or length < 3:  # of two, it may be meant
        return False
    # the first query's view settles it for all other masks
    first = seen[..., 0, :]
    if first[..., 0].any() or not first[..., 1:].all():
        return False
    return bool((seen == ~np.tri(length, dtype=bool)).all())


def _level_of_the_caller() -> int:
    """Stack level, for a warning of the calling function, of the line outside this package."""
    package = __name__.partition(".")[0] + "."
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith(package):
        level, frame = level + 1, frame.f_back
    return level


def with_visible_keys(mask: Tensor, keys: int, extra: int) -> Tensor:
    """Append keys that everyone may see to a mask, as biases and zero attention are.

    Parameters
    ----------
    mask : Tensor
        ``(..., S)`` or ``(..., 1)``.
    keys : int
        S.
    extra : int
        How many to append.

    Returns
    -------
    Tensor
        ``(..., S + extra)``: True, or 0 where numbers are added.

    Examples
    --------
    >>> from tinygrad_mha.nn import masks
    >>> masks.with_visible_keys(masks.causal(2), 2, 1)
    tensor([[ True, False,  True],
            [ True,  True,  True]])
    """
    whole = ops.expand(mask, (*mask.shape[:-1], keys))  # a single column stood for all keys
    column = np.full((*mask.shape[:-1], extra), mask.dtype.kind == "b", mask.dtype)
    return ops.cat([whole, Tensor(column)], dim=-1)
