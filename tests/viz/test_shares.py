"""What each head sends back to what it reads: dqᵢ · Wᵢ^(q) + dkᵢ · Wᵢ^(k) + dvᵢ · Wᵢ^(v)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_mha as tm
from tinygrad_mha.nn import functional as F
from tinygrad_mha.viz import shares as shares_module
from tinygrad_mha.viz.data import Edge, Trace

from .test_lanes import Gaussian, Own, Packed, check, weighted


def parts_of(data: Trace, name: str) -> list[Edge]:
    """Edges out of the vertex of a name."""
    return [e for e in data.edges if data.vertices[e.source].name == name]


def of_one_head(mha: tm.nn.Module, head: int, inputs: list[tm.Tensor], **how: Any) -> list[Any]:
    """Gradients of the inputs, of a loss that only one head's share of the output goes into."""
    gates = np.zeros(mha.W_q.shape[0], mha.W_q.dtype)
    gates[head] = 1
    return list(tm.autograd.grad(weighted(mha(*inputs, head_mask=gates, **how)), inputs))


@pytest.mark.parametrize("pooling", ["dot", "additive", "gaussian", "own"])
@given(
    heads=st.sampled_from([1, 2, 4]),
    kv=st.sampled_from([1, 2, 4]),
    append=st.sampled_from(["nothing", "bias", "zero", "both"]),
    causal=st.booleans(),
    batch=st.integers(1, 2),
    seed=st.integers(0, 1000),
)
def test_a_heads_share_is_the_gradient_when_it_is_heard_alone(
    pooling: str, heads: int, kv: int, append: str, causal: bool, batch: int, seed: int
) -> None:
    tm.manual_seed(seed)
    mha = tm.nn.MultiHeadAttention(
        8, heads, num_kv_heads=min(heads, kv), add_bias_kv=append in ("bias", "both"),
        add_zero_attn=append in ("zero", "both"),
        attention=Gaussian() if pooling == "own" else pooling,
    ).double()  # fmt: skip
    x = tm.randn(batch, 3, 8, dtype=np.float64, requires_grad=True)
    graph = tm.viz.trace(weighted(mha(x, is_causal=causal)), model=mha)
    check(graph, heads)
    (attention,) = graph.heads
    assert attention.proof.gradient is not None
    assert attention.proof.gradient < 1e-10
    for lane in attention.lanes:
        (alone,) = of_one_head(mha, lane.head, [x], is_causal=causal)
        assert lane.sourced == [pytest.approx(np.linalg.norm(alone.data), rel=1e-8, abs=1e-12)]


@given(
    heads=st.sampled_from([1, 2, 4]), kv=st.sampled_from([1, 2, 4]), seed=st.integers(0, 1000)
)  # fmt: skip
def test_across_each_source_has_its_own_shares(heads: int, kv: int, seed: int) -> None:
    tm.manual_seed(seed)
    mha = tm.nn.MultiHeadAttention(8, heads, num_kv_heads=min(heads, kv)).double()
    queries, memory = (
        tm.randn(2, n, 8, dtype=np.float64, requires_grad=True) for n in (3, 5)
    )  # fmt: skip
    graph = tm.viz.trace(weighted(mha(queries, memory, memory)), model=mha)
    check(graph, heads)
    for lane in graph.heads[0].lanes:
        gates = np.eye(heads)[lane.head]
        loss = weighted(mha(queries, memory, memory, head_mask=gates))
        found = [g.data for g in tm.autograd.grad(loss, [queries, memory])]
        assert lane.sourced == pytest.approx([np.linalg.norm(g) for g in found], abs=1e-12)


@pytest.mark.parametrize("options", [{}, {"num_kv_heads": 2}, {"add_bias_kv": True}])
def test_every_arrow_of_the_heads_is_known_for_each(options: dict[str, Any]) -> None:
    mha = tm.nn.MultiHeadAttention(8, 4, **options)
    x = tm.randn(1, 3, 8, requires_grad=True)
    data = tm.viz.trace(weighted(mha(x)), model=mha).data
    (attention,) = data.attentions
    inner = set(attention.vertices)
    for edge in data.edges:
        if edge.target in inner and edge.gradient is not None and edge.slot != "bias":
            assert edge.head_gradients is not None, data.vertices[edge.source].name
            assert len(edge.head_gradients) == 4
    for name in ("W_q", "W_k", "W_v", "W_o", "b_q", "b_k", "b_v"):
        (edge,) = parts_of(data, name)
        assert edge.head_gradients is not None, name


@pytest.mark.parametrize("kind", ["own", "packed"])
def test_what_a_users_own_module_reads(kind: str) -> None:
    model = (Own if kind == "own" else Packed)(8, 2).double()
    x = tm.randn(2, 3, 8, dtype=np.float64, requires_grad=True)
    graph = tm.viz.trace(weighted(model(x)), model=model)
    check(graph, 2)
    # by hand, in NumPy: the gradient at each projection, its columns of one head, times its rows
    layers = [model.qkv] if kind == "packed" else [model.q, model.k, model.v]
    found = [np.zeros(x.shape) for _ in range(2)]
    taken: dict[str, Any] = {}

    def keep(name: str) -> Any:
        def hook(module: Any, inputs: Any, out: tm.Tensor) -> None:
            out.retain_grad()
            taken[name] = out

        return hook

    for i, layer in enumerate(layers):
        layer.register_forward_hook(keep(str(i)))
    weighted(model(x)).backward()
    for i, layer in enumerate(layers):
        d, w = taken[str(i)].grad.data, layer.weight.data
        for start in range(0, w.shape[0], 8):  # each of q, k, v
            for head in range(2):
                rows = slice(start + 4 * head, start + 4 * head + 4)
                found[head] += d[..., rows] @ w[rows]
    for lane, share in zip(graph.heads[0].lanes, found, strict=True):
        assert lane.sourced == [pytest.approx(np.linalg.norm(share))]
    np.testing.assert_allclose(sum(found), x.grad.data)


def test_what_wants_no_gradient_has_no_shares() -> None:
    mha = tm.nn.MultiHeadAttention(8, 2)
    graph = tm.viz.trace(weighted(mha(tm.randn(1, 3, 8))), model=mha)
    assert [lane.sourced for lane in graph.heads[0].lanes] == [[None], [None]]
    silent = tm.viz.trace(mha(tm.randn(1, 3, 8, requires_grad=True)), model=mha)
    assert [lane.sourced for lane in silent.heads[0].lanes] == [[None], [None]]


def test_heads_of_no_projection_send_back_their_own_columns() -> None:
    x = tm.randn(1, 3, 6, dtype=np.float64, requires_grad=True)
    heads = F.split_heads(x, 2)
    out = F.merge_heads(F.softmax(heads @ heads.swapaxes(-1, -2), -1) @ heads)
    loss = weighted(out)
    graph = tm.viz.trace(loss)
    check(graph, 2)
    (whole,) = tm.autograd.grad(loss, [x])
    for lane, columns in zip(graph.heads[0].lanes, np.split(whole.data, 2, -1), strict=True):
        assert lane.sourced == [pytest.approx(np.linalg.norm(columns))]


def test_a_projection_that_two_attentions_read_is_of_neithers_heads_alone() -> None:
    class Twice(Own):
        def forward(self, x: tm.Tensor) -> tm.Tensor:
            q, k, v = (F.split_heads(part(x), self.h) for part in (self.q, self.k, self.v))
            one = F.merge_heads(F.scaled_dot_product_attention(q, k, v))
            other = F.merge_heads(F.scaled_dot_product_attention(k, q, v))
            return self.o(one) + other

    model = Twice(8, 2)
    x = tm.randn(1, 3, 8, requires_grad=True)
    graph = tm.viz.trace(weighted(model(x)), model=model)
    assert len(graph.heads) == 2
    check(graph, 2)


def test_a_loss_on_the_weights_flows_into_the_lanes_too() -> None:
    mha = tm.nn.MultiHeadAttention(8, 2).double()
    x = tm.randn(1, 3, 8, dtype=np.float64, requires_grad=True)
    out, weights = mha(x, need_weights=True)
    graph = tm.viz.trace(weighted(out) + weighted(weights), model=mha)
    check(graph, 2)
    both = tm.viz.trace([out, weights], model=mha, gradient=[tm.ones_like(out), weights.detach()])
    check(both, 2)


def test_false_shares_are_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    mha = tm.nn.MultiHeadAttention(8, 2)
    loss = weighted(mha(tm.randn(1, 3, 8, requires_grad=True)))
    assert tm.viz.trace(loss, model=mha).heads[0].proof.holds
    right = shares_module._beside

    def wrong(head: int, slices: Any) -> Any:
        part = right(head, slices)
        return part._replace(gradient=part.gradient * (1.5 if head else 1.0))

    monkeypatch.setattr(shares_module, "_beside", wrong)
    assert not tm.viz.trace(loss, model=mha).heads[0].proof.holds
