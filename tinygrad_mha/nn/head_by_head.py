"""Multi-head attention as its formula reads: one head after the other, and the sum of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .. import ops
from ..engine import Tensor
from .attention_inputs import Call, appended, pooled_by
from .module import Parameter

if TYPE_CHECKING:
    from .attention import MultiHeadAttention


def pool_each(
    mha: MultiHeadAttention, query: Tensor, key: Tensor, value: Tensor, call: Call
) -> tuple[Any, Any]:
    """One head after the other: hᵢ = f(Wᵢ^(q) q, Wᵢ^(k) k, Wᵢ^(v) v).

    Each stands between a split and a merge of its own, one head wide, so it is drawn as a lane.
    """
    groups, cache = range(mha.num_kv_heads), call.cache
    # (N, S, p) for each head of keys and values
    if cache is None or not cache.known:
        keys = [ops.linear(key, mha.W_k[j], _part(mha.b_k, j)) for j in groups]
        values = [ops.linear(value, mha.W_v[j], _part(mha.b_v, j)) for j in groups]
        if cache is not None:
            cache.append(ops.cat(keys, dim=-1), ops.cat(values, dim=-1))
    if cache is not None:
        all_keys, all_values = cache.all()
        keys = [all_keys[..., j * mha.p_k : (j + 1) * mha.p_k] for j in groups]
        values = [all_values[..., j * mha.p_v : (j + 1) * mha.p_v] for j in groups]
    keys = [appended(mha, keys[j], _part(mha.bias_k, j)) for j in groups]
    values = [appended(mha, values[j], _part(mha.bias_v, j)) for j in groups]
    pooled, weights = [], []
    for i in range(mha.num_heads):
        j = i * mha.num_kv_heads // mha.num_heads
        projected = ops.linear(query, mha.W_q[i], _part(mha.b_q, i)), keys[j], values[j]
        q, k, v = (ops.split_heads(one, 1) for one in projected)  # (N, T, p) -> (N, 1, T, p)
        if mha.rotary is not None:
            q, k = mha.rotary(q, call.past), mha.rotary(k)
        h_i, alpha = pooled_by(
            mha.pooling,
            call.need_weights,
            q,
            k,
            v,
            mask=_of_head(call.mask, i),
            is_causal=call.is_causal,
        )
        if call.need_weights:
            weights.append(alpha)  # (N, 1, L, S)
        gated = h_i if call.gates is None else h_i * _of_head(call.gates, i)
        pooled.append(ops.merge_heads(gated))  # (N, 1, L, p_v) -> (N, L, p_v)
    return pooled, ops.cat(weights, dim=1) if call.need_weights else None


def sum_of_heads(mha: MultiHeadAttention, pooled: list[Tensor]) -> Tensor:
    """Σᵢ W_o[:, i-th block] hᵢ + b_o."""
    out: Tensor | None = None
    for i, h_i in enumerate(pooled):
        part = ops.linear(h_i, mha.W_o[:, i * mha.p_v : (i + 1) * mha.p_v], None)
        out = part if out is None else out + part
    assert out is not None
    return out if mha.b_o is None else out + mha.b_o


def _part(bias: Parameter | None, i: int) -> Any:
    return None if bias is None else bias[i]


def _of_head(values: Tensor | None, i: int) -> Any:
    """Head i's part of a mask or of gates: (N, h or 1, L, S) -> (N, 1, L, S)."""
    return None if values is None else values[:, i : i + 1] if values.shape[1] > 1 else values
