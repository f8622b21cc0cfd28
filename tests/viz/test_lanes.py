"""A lane is proof, not decoration: the heads, each computed alone, are the whole."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_mha as tm
from tinygrad_mha.nn import functional as F
from tinygrad_mha.viz import lanes as lanes_module
from tinygrad_mha.viz.theme import THEMES


class Gaussian(tm.nn.AttentionPooling):
    """A pooling that the package does not know."""

    def scores(self, query: tm.Tensor, key: tm.Tensor) -> tm.Tensor:
        apart = query.unsqueeze(-2) - key.unsqueeze(-3)
        return (apart * apart).sum(-1) * -0.5


class Own(tm.nn.Module):
    """Attention of a user's own: nothing in it is known to the visualizer but split and merge."""

    def __init__(self, d: int, h: int, combine: bool = True) -> None:
        super().__init__()
        self.q, self.k, self.v, self.o = (tm.nn.Linear(d, d) for _ in range(4))
        self.gates = tm.nn.Parameter(np.linspace(0.5, 1.5, h, dtype=np.float32).reshape(h, 1, 1))
        self.h, self.combine = h, combine

    def forward(self, x: tm.Tensor) -> tm.Tensor:
        q, k, v = (F.split_heads(part(x), self.h) for part in (self.q, self.k, self.v))
        merged = F.merge_heads(F.scaled_dot_product_attention(q, k, v) * self.gates)
        return self.o(merged) if self.combine else merged


def check(graph: tm.viz.Graph, heads: int) -> None:
    assert graph.heads
    for attention in graph.heads:
        assert len(attention.lanes) == heads
        assert attention.proof.gradient is not None
        assert attention.proof.holds, attention.proof


def weighted(out: tm.Tensor) -> tm.Tensor:
    """A loss in which no two elements count the same."""
    numbers = np.random.default_rng(3).standard_normal(out.shape).astype(out.dtype)
    return (out * tm.Tensor(numbers)).sum()


@given(
    heads=st.integers(1, 5),
    width=st.integers(1, 4),
    values=st.integers(1, 4),
    length=st.integers(1, 5),
    keys=st.integers(1, 5),
    batch=st.integers(1, 3),
    pooling=st.sampled_from(["dot", "additive", "gaussian", "own"]),
    share=st.integers(1, 2),
    append=st.sampled_from(["nothing", "bias", "zero", "both"]),
    mask=st.sampled_from(["none", "causal", "bool", "float", "padding", "per head"]),
    bias=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_lanes_add_up(
    heads: int, width: int, values: int, length: int, keys: int, batch: int,
    pooling: str, share: int, append: str, mask: str, bias: bool, seed: int,
) -> None:  # fmt: skip
    tm.manual_seed(seed)
    rng = np.random.default_rng(seed)
    shared = heads // min(
        p for p in range(1, heads + 1) if heads % p == 0 and p >= min(share, heads)
    )
    mha = tm.nn.MultiHeadAttention(
        5, heads, kdim=3, vdim=4, qk_head_dim=width, v_head_dim=values, out_dim=6, bias=bias,
        attention=Gaussian() if pooling == "own" else pooling, num_kv_heads=shared,
        add_bias_kv=append in ("bias", "both"), add_zero_attn=append in ("zero", "both"),
    )  # fmt: skip
    masks: dict[str, Any] = {
        "bool": rng.random((length, keys)) < 0.6,
        "float": np.where(rng.random((length, keys)) < 0.3, -np.inf, 0.5).astype(np.float32),
        "padding": tm.nn.masks.padding(rng.integers(0, keys + 1, batch), keys),
        "per head": rng.random((1, heads, length, keys)) < 0.6,
    }
    given_mask = masks.get(mask)
    out = mha(
        tm.randn(batch, length, 5, requires_grad=True),
        tm.randn(batch, keys, 3, requires_grad=True),
        tm.randn(batch, keys, 4, requires_grad=True),
        mask=None if given_mask is None else tm.Tensor(given_mask),
        is_causal=mask == "causal",
    )
    graph = tm.viz.trace(weighted(out), model=mha)
    check(graph, heads)
    found = graph.heads[0]
    assert found.projections == ["W_q", "W_k", "W_v"]
    of_kv = [i * shared // heads for i in range(heads)]
    assert [lane.blocks for lane in found.lanes] == [[i, j, j] for i, j in enumerate(of_kv)]


@pytest.mark.parametrize("combine", [True, False])
@pytest.mark.parametrize("heads", [1, 2, 4])
def test_lanes_of_a_users_own_module(heads: int, combine: bool) -> None:
    own = Own(8, heads, combine)
    graph = tm.viz.trace(weighted(own(tm.randn(2, 3, 8, requires_grad=True))), model=own)
    check(graph, heads)
    assert graph.heads[0].projections == ["q", "k", "v"]
    assert graph.heads[0].combined == ("o.weight" if combine else "")


@pytest.mark.parametrize("attention", ["dot", "additive"])
def test_lanes_of_a_stack(attention: str) -> None:
    gpt = tm.nn.GPT(7, 6, embed_dim=8, num_heads=2, num_layers=3, attention=attention)
    tokens = tm.tensor([[1, 2, 3, 4], [4, 3, 2, 1]])
    graph = tm.viz.trace(weighted(gpt(tokens)), model=gpt)
    assert len(graph.heads) == 3
    check(graph, 2)


@given(
    heads=st.integers(1, 3),
    layers=st.integers(1, 3),
    half=st.integers(1, 2),
    attention=st.sampled_from(["dot", "additive", "gaussian"]),
    positions=st.sampled_from(["learned", "sinusoidal", "rotary"]),
    share=st.booleans(),
    dropout=st.sampled_from([0.0, 0.3]),
    seed=st.integers(0, 1000),
)
def test_lanes_of_random_language_models(
    heads: int, layers: int, half: int, attention: str, positions: str, share: bool,
    dropout: float, seed: int,
) -> None:  # fmt: skip
    tm.manual_seed(seed)
    gpt = tm.nn.GPT(
        7, 6, embed_dim=2 * half * heads, num_heads=heads, num_layers=layers, dropout=dropout,
        attention=attention, positions=positions, num_kv_heads=1 if share else None,
    )  # fmt: skip
    graph = tm.viz.trace(weighted(gpt(tm.tensor([[1, 2, 3, 4], [4, 3, 2, 1]]))), model=gpt)
    assert len(graph.heads) == layers
    check(graph, heads)
    for found in graph.heads:
        assert found.projections == ["W_q", "W_k", "W_v"]


@given(heads=st.integers(1, 3), layers=st.integers(1, 2), seed=st.integers(0, 1000))
def test_lanes_of_random_translators(heads: int, layers: int, seed: int) -> None:
    tm.manual_seed(seed)
    model = tm.nn.EncoderDecoder(5, 7, embed_dim=4 * heads, num_heads=heads, num_layers=layers)
    out = model(tm.tensor([[1, 2, 3], [3, 4, 0]]), tm.tensor([[1, 2], [5, 6]]), [3, 2])
    graph = tm.viz.trace(weighted(out), model=model)
    assert len(graph.heads) == 3 * layers, "the encoder's, the decoder's own, and across"
    check(graph, heads)


class Packed(tm.nn.Module):
    """Queries, keys and values cut out of one product."""

    def __init__(self, d: int, h: int) -> None:
        super().__init__()
        self.qkv, self.out, self.h = tm.nn.Linear(d, 3 * d), tm.nn.Linear(d, d), h

    def forward(self, x: tm.Tensor) -> tm.Tensor:
        q, k, v = (F.split_heads(part, self.h) for part in self.qkv(x).chunk(3, dim=-1))
        return self.out(F.merge_heads(F.scaled_dot_product_attention(q, k, v)))


def test_blocks_of_a_packed_projection_are_found() -> None:
    model = Packed(8, 2)
    graph = tm.viz.trace(weighted(model(tm.randn(2, 3, 8))), model=model)
    check(graph, 2)
    assert graph.heads[0].projections == ["qkv", "qkv", "qkv"]
    assert [lane.blocks for lane in graph.heads[0].lanes] == [[0, 2, 4], [1, 3, 5]]


def test_what_changes_numbers_on_the_way_is_no_projection() -> None:
    class Doubled(Own):
        def forward(self, x: tm.Tensor) -> tm.Tensor:
            q, k, v = (F.split_heads(part(x) * 2.0, self.h) for part in (self.q, self.k, self.v))
            return self.o(F.merge_heads(F.scaled_dot_product_attention(q, k, v)))

    model = Doubled(8, 2)
    graph = tm.viz.trace(weighted(model(tm.randn(1, 3, 8))), model=model)
    check(graph, 2)
    assert graph.heads[0].projections == ["input 1", "input 2", "input 3"]


def test_gradients_of_a_lane_are_slices_of_the_real_ones() -> None:
    mha = tm.nn.MultiHeadAttention(8, 2)
    graph = tm.viz.trace(weighted(mha(tm.randn(1, 3, 8))), model=mha)
    attention = graph.heads[0]
    stages = [v for v in graph.data.vertices if v.heads and v.name != "split_heads"]
    assert attention.weighted is not None
    assert attention.stages == [v.symbol for v in stages]
    assert attention.stages[attention.weighted] == "softmax"
    for k, vertex in enumerate(stages):
        norms = [lane.staged[k] or 0.0 for lane in attention.lanes]
        assert vertex.gradient is not None
        assert np.hypot(*norms) == pytest.approx(vertex.gradient.norm, rel=1e-5)
    silent = tm.viz.trace(mha(tm.randn(1, 3, 8)), model=mha).heads[0].lanes[0]
    assert {silent.gradient, *silent.staged, *silent.projected} == {None}


def test_in_float64_the_lanes_agree_to_its_last_digits() -> None:
    mha = tm.nn.MultiHeadAttention(8, 2).double()
    x = tm.randn(1, 4, 8, dtype=np.float64, requires_grad=True)
    proof = tm.viz.trace(weighted(mha(x)), model=mha).heads[0].proof
    assert proof.output < 1e-13
    assert proof.gradient is not None
    assert proof.gradient < 1e-13


def test_a_lane_is_what_the_formula_says() -> None:
    # h_i and its share of the output, written out in NumPy from the module's own matrices
    mha = tm.nn.MultiHeadAttention(8, 2, bias=False).double()
    x = np.random.default_rng(0).standard_normal((3, 8))
    graph = tm.viz.trace(mha(tm.Tensor(x[None])).sum(), model=mha)
    for i, lane in enumerate(graph.heads[0].lanes):
        q, k, v = (x @ w.data[i].T for w in (mha.W_q, mha.W_k, mha.W_v))
        scores = q @ k.T / np.sqrt(4)
        weights = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
        share = weights @ v @ mha.W_o.data[:, 4 * i : 4 * i + 4].T
        np.testing.assert_allclose(lane.weights, weights, atol=1e-5)
        assert lane.contribution == pytest.approx(np.linalg.norm(share))
        assert lane.peak == pytest.approx(weights.max(-1).mean())
        assert lane.to_self == pytest.approx(np.trace(weights) / 3)
        assert lane.to_previous == pytest.approx((weights[1, 0] + weights[2, 1]) / 2)
        assert lane.entropy == pytest.approx(-(weights * np.log2(weights)).sum(-1).mean())


def test_a_false_lane_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    mha = tm.nn.MultiHeadAttention(8, 2)
    loss = weighted(mha(tm.randn(1, 3, 8, requires_grad=True)))
    right = lanes_module.alone

    def wrong(region: Any, head: int, axes: Any, replayed: Any) -> Any:
        return right(region, 0, axes, replayed)

    monkeypatch.setattr(lanes_module, "alone", wrong)
    graph = tm.viz.trace(loss, model=mha)
    assert not graph.heads[0].proof.holds
    assert "DO NOT ADD UP" in graph.to_dot()
    assert "DO NOT ADD UP" in graph.table()


def test_masked_cells_are_known_and_rows_add_up() -> None:
    mha = tm.nn.MultiHeadAttention(8, 2)
    graph = tm.viz.trace(mha(tm.randn(1, 4, 8), is_causal=True).sum(), model=mha)
    for lane in graph.heads[0].lanes:
        assert np.array_equal(lane.visible, np.tri(4, dtype=bool))
        np.testing.assert_allclose(np.sum(lane.weights, -1), 1, atol=1e-4)


def test_long_sequences_are_pooled_and_say_so() -> None:
    mha = tm.nn.MultiHeadAttention(4, 2)
    attention = tm.viz.trace(mha(tm.randn(1, 130, 4)).sum(), model=mha).heads[0]
    assert attention.pooled == 3
    assert np.shape(attention.lanes[0].weights) == (44, 44)
    assert attention.lanes[0].rows[1] == "3…"


@pytest.mark.parametrize("kind", ["dot", "additive"])
def test_the_heads_parts_of_a_gradient_make_the_whole(kind: str) -> None:
    mha = tm.nn.MultiHeadAttention(6, 3, attention=kind)
    data = tm.viz.trace((mha(tm.randn(2, 4, 6)) ** 2).sum(), model=mha).data
    inside = set(data.attentions[0].vertices) - {data.attentions[0].output}
    parted = [edge for edge in data.edges if edge.head_gradients is not None]
    for edge in parted:
        assert len(edge.head_gradients) == 3
        assert np.hypot.reduce(edge.head_gradients) == pytest.approx(edge.gradient, rel=1e-5)
    between = [e for e in data.edges if e.source in inside and e.target in inside]
    assert len(between) >= 8
    assert {(e.source, e.target) for e in between if e.gradient} <= {
        (e.source, e.target) for e in parted
    }


def cached(past: int, new: int, **options: Any) -> tuple[Any, np.ndarray]:
    """The trace of the last positions after some remembered ones, and the weights themselves."""
    mha = tm.nn.MultiHeadAttention(8, 2, **options)
    x, cache = tm.randn(1, past + new, 8), tm.nn.KeyValueCache()
    if past:
        mha(x[:, :past], cache=cache, is_causal=True)
    out, weights = mha(x[:, past:], cache=cache, is_causal=True, need_weights=True)
    return tm.viz.trace(out.sum(), model=mha, tokens=list("abcdefgh")[: past + new]), weights.data[
        0
    ]


@pytest.mark.parametrize("options", [{}, {"add_bias_kv": True}, {"add_zero_attn": True}])
@pytest.mark.parametrize(("past", "new"), [(0, 4), (5, 1), (3, 2)])
def test_queries_stand_behind_what_a_cache_remembers(
    past: int, new: int, options: dict[str, Any]
) -> None:
    graph, weights = cached(past, new, **options)
    i = np.arange(new)
    for lane, head in zip(graph.heads[0].lanes, weights, strict=True):
        assert lane.rows == list("abcdefgh")[past : past + new]
        before = i[i + past > 0]
        assert lane.to_self == pytest.approx(head[i, past + i].mean(), abs=1e-6)
        assert lane.to_previous == pytest.approx(head[before, past + before - 1].mean(), abs=1e-6)
        assert lane.to_first == pytest.approx(head[:, 0].mean(), abs=1e-6)


@pytest.mark.parametrize("options", [{}, {"add_bias_kv": True}, {"num_kv_heads": 1}])
@pytest.mark.parametrize("kept", [False, True])
def test_what_a_cache_remembers_was_projected_by_the_same_matrix(
    options: dict[str, Any], kept: bool
) -> None:
    mha = tm.nn.MultiHeadAttention(8, 2, **options)
    x, cache = tm.randn(1, 5, 8, requires_grad=True), tm.nn.KeyValueCache()
    with tm.autograd.set_grad_enabled(kept):  # a cache may keep its graph
        mha(x[:, :3], cache=cache, is_causal=True)
    graph = tm.viz.trace(weighted(mha(x[:, 3:], cache=cache, is_causal=True)), model=mha)
    check(graph, 2)
    assert graph.heads[0].projections == ["W_q", "W_k", "W_v"]
    assert len(set(graph.heads[0].sources)) == 1
    assert all(lane.sourced[0] for lane in graph.heads[0].lanes)


@pytest.mark.parametrize("kv_heads", [1, 2])
@pytest.mark.parametrize("form", ["self", "across", "cache"])
@pytest.mark.parametrize(
    ("options", "count"),
    [({}, 0), ({"add_bias_kv": True}, 1), ({"add_zero_attn": True}, 1),
     ({"add_bias_kv": True, "add_zero_attn": True}, 2)],
)  # fmt: skip
def test_keys_of_no_token_are_labelled_apart(
    options: dict[str, Any], count: int, form: str, kv_heads: int
) -> None:
    mha = tm.nn.MultiHeadAttention(8, 2, num_kv_heads=kv_heads, **options)
    x, cache = tm.randn(1, 4, 8), tm.nn.KeyValueCache()
    if form == "cache":
        with tm.no_grad():
            mha(x[:, :2], cache=cache, is_causal=True)
        out = mha(x[:, 2:], cache=cache, is_causal=True)
    else:
        out = mha(x if form == "self" else tm.randn(1, 3, 8), x)
    (attention,) = tm.viz.trace(out.sum(), model=mha, tokens=list("abcd")).heads
    for lane in attention.lanes:
        assert lane.columns == [*"abcd", "+1", "+2"][: 4 + count]
        if form == "self":
            assert lane.rows == list("abcd")


@pytest.mark.parametrize(("length", "keys"), [(3, 5), (5, 3), (4, 4)])
def test_a_query_of_cross_attention_has_no_place_among_the_keys(length: int, keys: int) -> None:
    mha = tm.nn.MultiHeadAttention(8, 2)
    memory = tm.randn(1, keys, 8)
    out = mha(tm.randn(1, length, 8), memory, memory)
    graph = tm.viz.trace(out.sum(), model=mha, tokens=list("abcdefgh")[:keys])
    for lane in graph.heads[0].lanes:
        assert (lane.to_self, lane.to_previous) == (None, None)
        assert lane.to_first is not None
        assert lane.columns == list("abcdefgh")[:keys]
        if length != keys:
            assert lane.rows == [str(i) for i in range(length)]
    line = graph.table().splitlines()[-1].split()
    assert line[4:6] == ["–", "–"]
    assert "self" not in graph.to_dot()
    again = tm.viz.Graph.from_json(graph.to_json())
    assert again.heads[0].lanes[0].to_self is None
    names = {name for head in graph.diff(again).heads for name, *_ in head.measures()}
    assert "first" in names
    assert not names & {"self", "previous"}


def test_a_single_query_has_none_before_it() -> None:
    graph, _ = cached(0, 1)
    assert graph.heads[0].lanes[0].to_previous is None


def test_heads_without_a_softmax_have_no_measures_and_no_zeros() -> None:
    linear = Own(6, 2)
    linear.forward = lambda x: linear.o(  # type: ignore[method-assign]
        F.merge_heads(F.split_heads(linear.q(x), 2) * F.split_heads(linear.v(x), 2))
    )
    graph = tm.viz.trace(linear(tm.randn(1, 3, 6)).sum(), model=linear)
    for lane in graph.heads[0].lanes:
        found = {
            getattr(lane, n) for n in ("entropy", "peak", "to_self", "to_previous", "to_first")
        }
        assert found == {None}
    assert graph.table().splitlines()[-1].split()[2:7] == ["–"] * 5
    assert "entropy" not in graph.to_dot()


def test_what_is_not_finite_is_neither_a_weight_of_zero_nor_a_false_lane() -> None:
    mha = tm.nn.MultiHeadAttention(8, 2)
    x = tm.randn(1, 4, 8, requires_grad=True)
    graph = tm.viz.trace(mha(x * np.nan).sum(), model=mha)
    proof = graph.heads[0].proof
    assert (proof.holds, proof.checkable) == (False, False)
    for text in (graph.table(), graph.to_dot()):
        assert "cannot be checked: not finite" in text
        assert "DO NOT ADD UP" not in text
    alarm = THEMES["light"].alarm
    assert graph.to_dot().count(f'BGCOLOR="{alarm}"') == 2 * 4 * 4 + 1  # cells, and the legend's
    assert ">not finite" in graph.to_dot()
    sound = tm.viz.trace(mha(x).sum(), model=mha)
    assert "not finite" not in sound.to_dot() + sound.table()
    assert f'BGCOLOR="{alarm}"' not in sound.to_dot()


def test_one_row_that_is_not_finite_leaves_the_others_their_colours() -> None:
    mha = tm.nn.MultiHeadAttention(8, 2)
    x = np.random.default_rng(0).standard_normal((1, 30, 8)).astype(np.float32)
    mask = np.ones((30, 30), bool)
    scale = np.ones((1, 30, 1), np.float32)
    scale[0, 7] = np.nan
    out = mha(tm.Tensor(x * scale), tm.Tensor(x), tm.Tensor(x), mask=tm.Tensor(mask))
    graph = tm.viz.trace(out.sum(), model=mha)
    weights = np.array(graph.heads[0].lanes[0].weights, float)
    assert np.isnan(weights[7]).all()
    assert np.isfinite(np.delete(weights, 7, 0)).all()
    for picture in (graph.to_svg(), graph.to_svg(head=0)):
        found = re.findall(r'<(?:path|polygon) fill="([^"]*)"', picture)
        assert found.count(THEMES["light"].alarm) > 1, "the legend's, and a map's"
        assert len(set(found)) > 12, "the others' weights"
    changed = graph.diff(graph).to_svg()
    assert THEMES["light"].alarm in changed


@pytest.mark.parametrize("batch", [0, 2])
def test_the_map_is_of_one_item_and_says_so(batch: int) -> None:
    mha = tm.nn.MultiHeadAttention(8, 2)
    out, weights = mha(tm.randn(3, 4, 8), need_weights=True)
    graph = tm.viz.trace(out.sum(), model=mha, batch=batch)
    attention = graph.heads[0]
    assert (attention.item, attention.items) == (batch, 3)
    np.testing.assert_allclose(attention.lanes[1].weights, weights.data[batch, 1], atol=1e-5)
    assert attention.lanes[1].peak == pytest.approx(weights.data[:, 1].max(-1).mean())
    assert f"maps: item {batch} of 3; numbers: mean of 3" in graph.to_dot()
    one = tm.viz.trace(mha(tm.randn(1, 4, 8)).sum(), model=mha)
    assert "mean of" not in one.to_dot()


@pytest.mark.parametrize("batch", [-1, 3, 7])
def test_there_is_no_such_item(batch: int) -> None:
    mha = tm.nn.MultiHeadAttention(8, 2)
    with pytest.raises(ValueError, match=rf"trace: batch is {batch}; there are 3 items"):
        tm.viz.trace(mha(tm.randn(3, 4, 8)).sum(), model=mha, batch=batch)


@pytest.mark.parametrize("masked", [False, True])
def test_a_users_own_mask_of_minus_infinity_is_known(masked: bool) -> None:
    own = Own(8, 2)
    allowed = np.tri(4, dtype=bool)
    added = tm.Tensor(np.where(allowed, 0, -np.inf).astype(np.float32))
    later = np.ones((4, 4), bool)
    later[3, 1] = False

    def forward(x: tm.Tensor) -> tm.Tensor:
        q, k, v = (F.split_heads(part(x), 2) for part in (own.q, own.k, own.v))
        scores = q @ k.swapaxes(-1, -2) + added
        soft = F.masked_softmax(scores, tm.Tensor(later)) if masked else F.softmax(scores, -1)
        return own.o(F.merge_heads(soft @ v))

    own.forward = forward  # type: ignore[method-assign]
    graph = tm.viz.trace(own(tm.randn(2, 4, 8)).sum(), model=own, batch=1)
    for lane in graph.heads[0].lanes:
        assert np.array_equal(lane.visible, allowed & later if masked else allowed)
    assert ">masked" in graph.to_dot()


def test_a_projections_gradients_are_known_for_each_head() -> None:
    own = Own(8, 4)
    loss = weighted(own(tm.randn(2, 3, 8)))
    data = tm.viz.trace(loss, model=own).data
    loss.backward()
    names = {v.id: v.name for v in data.vertices}
    found = {names[e.source]: e.head_gradients for e in data.edges if e.slot in ("weight", "bias")}
    assert found.pop("o.bias") is None, "which every head shares"
    assert len(found) == 7
    for name, parts in found.items():
        whole = dict(own.named_parameters())[name].grad.data
        blocks = np.split(whole, 4, axis=1 if name == "o.weight" else 0)
        assert parts == pytest.approx(
            [np.linalg.norm(block) for block in blocks], rel=1e-5, abs=1e-6
        )
