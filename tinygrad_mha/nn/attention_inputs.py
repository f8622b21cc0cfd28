"""What goes into multi-head attention, checked and brought to one form."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .. import ops
from ..engine import Tensor
from . import masks
from .cache import KeyValueCache
from .checks import expect_array, expect_size

if TYPE_CHECKING:
    from .attention import MultiHeadAttention


class Call(NamedTuple):
    """What a call of the module says besides queries, keys and values, brought to one form."""

    mask: Tensor | None  # four dimensions, of which some may be 1; appended keys included
    is_causal: bool
    need_weights: bool
    gates: Tensor | None  # (1, h, 1, 1) or (N, h, 1, 1)
    cache: KeyValueCache | None
    past: int  # how many keys come before the first query's own


def check_sizes(
    mha: MultiHeadAttention, embed_dim: int, qk_head_dim: Any, v_head_dim: int | None, **more: Any
) -> None:
    """Raise what the module says of sizes that do not fit; those of `more` may be None."""
    h, g = mha.num_heads, mha.num_kv_heads
    sizes = {"embed_dim": embed_dim, "num_heads": h, "num_kv_heads": g}
    given = {"v_head_dim": v_head_dim, **more}
    if isinstance(qk_head_dim, tuple):
        if len(qk_head_dim) != 2:
            raise ValueError(
                f"MultiHeadAttention: qk_head_dim is {qk_head_dim}, expected one width, or two, "
                "those of queries and of keys"
            )
        given |= {"qk_head_dim[0]": qk_head_dim[0], "qk_head_dim[1]": qk_head_dim[1]}
    else:
        given["qk_head_dim"] = qk_head_dim
    sizes |= {name: size for name, size in given.items() if size is not None}
    for name, size in sizes.items():
        expect_size(size, f"MultiHeadAttention: {name}")
    if embed_dim % h and (qk_head_dim is None or v_head_dim is None):
        raise ValueError(
            f"MultiHeadAttention: embed_dim={embed_dim} does not split into "
            f"num_heads={h}; say qk_head_dim and v_head_dim, which are free"
        )
    if h % g:
        raise ValueError(
            f"MultiHeadAttention: num_kv_heads={g} does not divide num_heads={h}; each key and "
            "value head serves the same number of heads"
        )


def check_rotary(rotary: Any, p_q: int, p_k: int) -> None:
    """Raise what the module says of rotations that do not fit its heads."""
    if rotary is None:
        return
    if not callable(rotary):
        raise TypeError(
            f"MultiHeadAttention: rotary is {rotary!r:.60}, expected RotaryPositions({p_q})"
        )
    width = getattr(rotary, "head_dim", p_q)
    if not width == p_q == p_k:
        raise ValueError(
            f"MultiHeadAttention: rotary turns heads of width {width}, but a head's queries are "
            f"{p_q} wide and its keys {p_k} (qk_head_dim); they must be equal"
        )


def check_inputs(mha: MultiHeadAttention, query: Tensor, key: Tensor, value: Tensor) -> None:
    """Raise what the module says of inputs that do not fit it, or each other."""
    if query is key is value and isinstance(query, Tensor) and query.ndim == 3:
        widths = mha.d_q == mha.d_k == mha.d_v == query.shape[-1]
        if widths and query.dtype is mha.W_q.dtype:
            return  # self-attention, as most often
    named = (("query", query, mha.d_q), ("key", key, mha.d_k), ("value", value, mha.d_v))
    for name, x, width in named:
        expect_array(x, f"MultiHeadAttention: {name}")
        if x.ndim not in (2, 3) or x.shape[-1] != width:
            raise ValueError(
                f"MultiHeadAttention: {name} has shape {x.shape}, expected (N, length, {width})"
                f" or (length, {width})"
            )
        if x.ndim != query.ndim:
            raise ValueError(
                f"MultiHeadAttention: {name} has shape {x.shape}, expected as many dimensions "
                f"as the query has, {query.shape}"
            )
        if x.dtype != mha.W_q.dtype:
            tensor = isinstance(x, Tensor)
            cast = _cast_to(mha.W_q.dtype) if tensor else f"astype({mha.W_q.dtype.name!r})"
            raise TypeError(
                f"MultiHeadAttention: {name} has dtype {x.dtype} and shape {x.shape}, but the "
                f"parameters are {mha.W_q.dtype}; say {name}.{cast}"
                + (", or mha.double()" if x.dtype == np.float64 else "")
            )
    if key.shape[:-1] != value.shape[:-1]:
        raise ValueError(
            f"MultiHeadAttention: key has shape {key.shape} and value {value.shape}; there "
            "must be one value per key, in every batch item"
        )
    if query.shape[:-2] != key.shape[:-2]:
        raise ValueError(
            f"MultiHeadAttention: query has shape {query.shape} and key {key.shape}; the batch "
            "sizes (axis 0) differ"
        )


def brought_mask(
    mha: MultiHeadAttention,
    mask: Tensor | None,
    is_causal: bool,
    query: Tensor,
    key: Tensor,
    past: int,
) -> tuple[Tensor | None, bool]:
    """Bring masks to (N, h, L, S) or what broadcasts to it, appended keys included."""
    n, length, keys = query.shape[0], query.shape[1], past + key.shape[1]
    extra = (mha.bias_k is not None) + mha.add_zero_attn
    shape = (n, mha.num_heads, length, keys)
    if mask is not None:
        mask = masks.four_dimensional(mask, shape)
    if is_causal and (past or extra):
        past_too = masks.four_dimensional(masks.causal(length, keys, past), shape)
        mask = masks.both(mask, past_too)
        is_causal = False
    if mask is not None and extra:
        mask = masks.with_visible_keys(mask, keys, extra)
    return mask, is_causal


def check_call(is_causal: Any, cache: Any) -> None:
    """Raise what the module says of what is passed in the place of something else."""
    if not isinstance(is_causal, bool | np.bool_):
        raise TypeError(
            f"MultiHeadAttention: is_causal is a {type(is_causal).__name__}, expected True or "
            "False; a mask of your own goes into mask="
        )
    if cache is not None and not isinstance(cache, KeyValueCache):
        raise TypeError(
            f"MultiHeadAttention: cache is a {type(cache).__name__}, expected a KeyValueCache: "
            "one per layer"
        )


def pooled_by(pooling: Any, need_weights: bool, *inputs: Tensor, **how: Any) -> tuple[Any, Any]:
    """Call a pooling, and check that a user's own returns what it has to: output and weights."""
    found = pooling(*inputs, need_weights=need_weights, **how)
    if need_weights and not (isinstance(found, tuple) and len(found) == 2):
        raise TypeError(
            f"MultiHeadAttention: {type(pooling).__name__} returned a {type(found).__name__} under "
            "need_weights=True, expected a tuple, (output, weights)"
        )
    out, weights = found if need_weights else (found, None)
    query, _, value = inputs
    expected = (*query.shape[:-1], value.shape[-1])
    if out.shape != expected:
        raise ValueError(
            f"MultiHeadAttention: {type(pooling).__name__} returned a tensor of shape {out.shape}, "
            f"expected {expected}: for each query a sum of the values {value.shape}"
        )
    return out, weights


def brought_gates(mha: MultiHeadAttention, head_mask: Any, n: int) -> Tensor | None:
    """Gates (h,) or (N, h) as (1, h, 1, 1) or (N, h, 1, 1)."""
    if head_mask is None:
        return None
    try:
        gates = head_mask if isinstance(head_mask, Tensor) else Tensor(np.asarray(head_mask))
    except TypeError:
        raise TypeError(
            f"MultiHeadAttention: head_mask is {head_mask!r:.60}, expected a tensor of numbers"
        ) from None
    h, dtype = mha.num_heads, mha.W_o.dtype
    if gates.shape not in ((h,), (n, h)):
        raise ValueError(
            f"MultiHeadAttention: head_mask has shape {gates.shape}, expected ({h},), one gate "
            f"per head, or {(n, h)}, one per batch item and head"
        )
    if gates.dtype != dtype:
        gates = ops.astype(gates, dtype)
    gated: Tensor = ops.reshape(gates, (-1, h, 1, 1))
    return gated


def appended(mha: MultiHeadAttention, x: Tensor, bias: Tensor | None) -> Tensor:
    """Append to keys or values (N, S, p), of one head or of all side by side."""
    n, _, p = x.shape
    rows = [x]
    if bias is not None:
        rows.append(ops.expand(ops.reshape(bias, (1, 1, p)), (n, 1, p)))
    if mha.add_zero_attn:
        rows.append(Tensor(np.zeros((n, 1, p), x.dtype)))
    return ops.cat(rows, dim=1) if len(rows) > 1 else x


def _cast_to(dtype: np.dtype[Any]) -> str:
    return "double()" if dtype == np.float64 else "float()"
