"""Every number of a lane is what NumPy computes from the module's own weights, head by head."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_mha as tm
from tinygrad_mha.viz.head_measures import measures

from .test_lanes import Gaussian, check, weighted


def by_hand(weights: np.ndarray, offset: int | None) -> dict[str, float | None]:
    """The five measures of ``(N, L, S)``, query by query, as their definitions read."""
    found: dict[str, list[float]] = {
        name: [] for name in ("entropy", "peak", "to_self", "to_previous", "to_first")
    }
    for item in weights:
        for i, row in enumerate(item):
            found["entropy"].append(-sum(w * math.log2(w) for w in row if w > 0))
            found["peak"].append(max(row))
            found["to_first"].append(row[0])
            if offset is not None:
                found["to_self"].append(row[i + offset])
                if i + offset > 0:
                    found["to_previous"].append(row[i + offset - 1])
    return {name: float(np.mean(x)) if x else None for name, x in found.items()}


def known(found: dict[str, float | None]) -> dict[str, float]:
    """Those that are a number; a pair of such dicts with other keys is not equal."""
    return {name: value for name, value in found.items() if value is not None}


@pytest.mark.parametrize("pooling", ["dot", "additive", "gaussian", "own"])
@given(
    heads=st.sampled_from([1, 2, 4]),
    kv=st.sampled_from([1, 2, 4]),
    append=st.sampled_from(["nothing", "bias", "zero", "both"]),
    form=st.sampled_from(["self", "cross", "cache", "fixed cache"]),
    causal=st.booleans(),
    batch=st.integers(1, 2),
    seed=st.integers(0, 10_000),
)
@settings(max_examples=20)
def test_a_lane_in_numbers(
    pooling: str, heads: int, kv: int, append: str, form: str, causal: bool, batch: int, seed: int
) -> None:  # fmt: skip
    tm.manual_seed(seed)
    mha: Any = tm.nn.MultiHeadAttention(
        8, heads, num_kv_heads=min(heads, kv), add_bias_kv=append in ("bias", "both"),
        add_zero_attn=append in ("zero", "both"),
        attention=Gaussian() if pooling == "own" else pooling,
    ).double()  # fmt: skip
    x = tm.randn(batch, 5, 8, dtype=np.float64, requires_grad=True)
    past, inputs, how = 0, [x], {"is_causal": causal}
    if form == "cross":
        inputs = [x, tm.randn(batch, 4, 8, dtype=np.float64, requires_grad=True)]
    elif form == "cache":
        past, how["is_causal"] = 3, True
        cache = how["cache"] = tm.nn.KeyValueCache()
        mha(x[:, :past].detach(), is_causal=True, cache=cache)
        inputs = [x[:, past:].detach()]
    elif form == "fixed cache":
        how = {"cache": tm.nn.KeyValueCache(fixed=True)}
        memory = tm.randn(batch, 4, 8, dtype=np.float64)
        mha(x, memory, **how)
        inputs = [x, memory]
    out, weights = mha(*inputs, need_weights=True, **how)
    graph = tm.viz.trace(weighted(out), model=mha, batch=batch - 1)
    check(graph, heads)
    (attention,) = graph.heads
    offset = {"cache": past, "self": 0}.get(form)
    at_out = np.random.default_rng(3).standard_normal(out.shape)
    p = mha.W_o.shape[1] // heads
    for lane in attention.lanes:
        mine = weights.data[:, lane.head]
        np.testing.assert_allclose(lane.weights, mine[batch - 1], atol=1e-5)
        expected = by_hand(mine, offset)
        found = {name: getattr(lane, name) for name in expected}
        assert known(found) == pytest.approx(known(expected), rel=1e-6, abs=1e-9)
        block = mha.W_o.data[:, lane.head * p : (lane.head + 1) * p]
        assert lane.gradient == pytest.approx(np.linalg.norm(at_out @ block))
    if form in ("self", "cross"):
        parts = mha.contributions(*inputs, is_causal=causal).data
        for lane in attention.lanes:
            assert lane.contribution == pytest.approx(np.linalg.norm(parts[:, lane.head]))


@given(seed=st.integers(0, 10_000), heads=st.sampled_from([1, 2, 4]), kv=st.sampled_from([1, 2, 4]))
@settings(max_examples=20)
def test_the_gradients_of_a_lane_by_the_formula(seed: int, heads: int, kv: int) -> None:
    tm.manual_seed(seed)
    kv = min(heads, kv)
    mha: Any = tm.nn.MultiHeadAttention(8, heads, num_kv_heads=kv).double()
    x = tm.randn(1, 4, 8, dtype=np.float64, requires_grad=True)
    graph = tm.viz.trace(weighted(mha(x)), model=mha)
    at_out = np.random.default_rng(3).standard_normal((1, 4, 8))[0]
    p = 8 // heads
    for lane in graph.heads[0].lanes:
        i, j = lane.head, lane.head * kv // heads
        w_q, w_k, w_v = mha.W_q.data[i], mha.W_k.data[j], mha.W_v.data[j]
        q, k, v = (x.data[0] @ w.T for w in (w_q, w_k, w_v))  # (T, p)
        scores = q @ k.T / math.sqrt(p)
        a = np.exp(scores - scores.max(-1, keepdims=True))
        a /= a.sum(-1, keepdims=True)
        dh = at_out @ mha.W_o.data[:, i * p : (i + 1) * p]
        dv, da = a.T @ dh, dh @ v.T
        ds = a * (da - (da * a).sum(-1, keepdims=True)) / math.sqrt(p)
        dq, dk = ds @ k, ds.T @ q
        assert lane.projected == pytest.approx([np.linalg.norm(d) for d in (dq, dk, dv)])
        assert lane.sourced == [pytest.approx(np.linalg.norm(dq @ w_q + dk @ w_k + dv @ w_v))]
        assert lane.gradient == pytest.approx(np.linalg.norm(dh))


@given(
    length=st.integers(1, 5), keys=st.integers(1, 5), batch=st.integers(1, 3),
    seed=st.integers(0, 99),
)  # fmt: skip
def test_measures_are_their_definitions(length: int, keys: int, batch: int, seed: int) -> None:
    weights = np.random.default_rng(seed).dirichlet(np.full(keys, 0.3), (batch, length))
    offsets = [None, *range(keys - length + 1)]
    for offset in offsets:
        found = measures(weights, offset)
        assert known(found) == pytest.approx(known(by_hand(weights, offset)), abs=1e-9)
