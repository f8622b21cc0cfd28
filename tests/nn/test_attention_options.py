"""What multi-head attention can do besides: gates, contributions, groups, caches, other keys."""

import copy
import math
from typing import Any

import numpy as np
import pytest

import tinygrad_mha as tm
from tinygrad_mha import nn
from tinygrad_mha.nn import masks

OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "no bias": {"bias": False},
    "widths": {"kdim": 5, "vdim": 7, "qk_head_dim": 6, "v_head_dim": 3, "out_dim": 9},
    "grouped": {"num_kv_heads": 2},
    "multi-query": {"num_kv_heads": 1},
    "extra keys": {"add_bias_kv": True, "add_zero_attn": True},
    "grouped, extra keys": {"num_kv_heads": 2, "add_bias_kv": True, "add_zero_attn": True},
    "rotary": {"rotary": nn.RotaryPositions(2)},
    "scale": {"scale": 0.9},
    "additive": {"attention": "additive"},
    "gaussian": {"attention": "gaussian"},
}
N, L, S, H = 2, 3, 5, 4


def draw(*shape: int) -> tm.Tensor:
    return tm.randn(*shape, dtype="float64", requires_grad=True)


def make(name: str) -> nn.MultiHeadAttention:
    mha = nn.MultiHeadAttention(8, H, **OPTIONS[name]).double()
    for p in mha.parameters():
        p.data = tm.generator().standard_normal(p.shape)
    return mha


def inputs(mha: nn.MultiHeadAttention) -> tuple[tm.Tensor, tm.Tensor, tm.Tensor]:
    return draw(N, L, mha.d_q), draw(N, S, mha.d_k), draw(N, S, mha.d_v)


def mask_of(kind: str) -> dict[str, Any]:
    rng = np.random.default_rng(2)
    seen = {
        "none": None,
        "causal": None,
        "(L, S)": rng.random((L, S)) < 0.5,
        "(N, L, S)": rng.random((N, L, S)) < 0.5,
        "(N, h, L, S)": rng.random((N, H, L, S)) < 0.5,
        "padding": masks.padding([0, 3], S).data,
        "float": np.where(rng.random((N, L, S)) < 0.5, rng.standard_normal((N, L, S)), -np.inf),
    }[kind]
    return {"mask": None if seen is None else tm.Tensor(seen), "is_causal": kind == "causal"}


MASKS = ["none", "causal", "(L, S)", "(N, L, S)", "(N, h, L, S)", "padding", "float"]


@pytest.mark.parametrize("kind", MASKS)
@pytest.mark.parametrize("name", OPTIONS)
def test_one_head_after_the_other_is_the_same(name: str, kind: str) -> None:
    """The formula as one reads it, and all heads in one product: output, weights, gradients."""
    mha = make(name)
    gates = draw(N, H)
    found = []
    xs = inputs(mha)
    for method in ("fused", "formula"):
        mha.method = method
        mha.zero_grad()
        for t in (*xs, gates):
            t.grad = None
        out, weights = mha(*xs, need_weights=True, head_mask=gates, **mask_of(kind))
        assert weights.shape == (N, H, L, S + (2 if "extra" in name else 0))
        ((out * out).sum() + (weights * weights).sum()).backward()
        grads = [t.grad.data for t in (*xs, gates, *mha.parameters())]
        found.append([out.data, weights.data, *grads])
    for a, b in zip(*found, strict=True):
        assert np.isfinite(a).all()
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("method", ["fused", "formula"])
@pytest.mark.parametrize("name", OPTIONS)
def test_contributions_add_up(name: str, method: str) -> None:
    mha = make(name)
    mha.method = method
    xs = inputs(mha)
    parts = mha.contributions(*xs, is_causal=True)
    assert parts.shape == (N, H, L, mha.p_o)
    total = parts.sum(1) if mha.b_o is None else parts.sum(1) + mha.b_o
    np.testing.assert_allclose(total.data, mha(*xs, is_causal=True).data, rtol=1e-10, atol=1e-12)
    one = mha.contributions(*(x[0] for x in xs), is_causal=True)
    np.testing.assert_allclose(one.data, parts.data[0], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", OPTIONS)
def test_gradients(name: str) -> None:
    mha, gates = make(name), draw(H)
    mask = mask_of("(N, L, S)")["mask"]
    assert tm.autograd.gradcheck(
        lambda q, k, v, g: mha(q, k, v, mask=mask, head_mask=g), (*inputs(mha), gates)
    )
    loss = (mha(*inputs(mha), mask=mask) ** 2).sum()
    loss.backward()
    for parameter_name, p in mha.named_parameters():
        assert p.grad is not None, parameter_name
        assert np.isfinite(p.grad.data).all()


@pytest.mark.parametrize("name", ["grouped, extra keys", "rotary", "gaussian"])
def test_gradients_of_gradients(name: str) -> None:
    mha, gates = make(name), draw(H)
    x = draw(1, 2, 8)
    assert tm.autograd.gradgradcheck(lambda x, g: mha(x, is_causal=True, head_mask=g), (x, gates))


def test_learned_extra_keys_have_gradients() -> None:
    mha = make("extra keys")
    xs = inputs(mha)
    (mha(*xs) ** 2).sum().backward()
    for p in (mha.bias_k, mha.bias_v):
        along = tm.generator().standard_normal(p.shape)
        start, ends = p.data, []
        for step in (1e-6, -1e-6):
            p.data = start + step * along
            ends.append((mha(*xs).data ** 2).sum())
        p.data = start
        np.testing.assert_allclose(
            (p.grad.data * along).sum(), (ends[0] - ends[1]) / 2e-6, rtol=1e-5, atol=1e-6
        )


def test_a_gate_takes_a_head_away() -> None:
    mha = make("plain")
    xs = inputs(mha)
    parts = mha.contributions(*xs)
    out = mha(*xs, head_mask=[1, 0, 1, 1])
    np.testing.assert_allclose(
        (out + parts[:, 1]).data, mha(*xs).data, rtol=1e-10, atol=1e-12, err_msg="head 1 is missing"
    )
    by_item = mha(*xs, head_mask=np.array([[True, True, True, True], [False] * 4]))
    np.testing.assert_array_equal(by_item.data[0], mha(*xs).data[0])
    np.testing.assert_allclose(by_item.data[1], np.broadcast_to(mha.b_o.data, (L, 8)))


def test_a_gates_gradient_is_its_heads_share_of_the_loss() -> None:
    """∂loss/∂gᵢ = Σ ∂loss/∂out · contribution i."""
    mha, gates = make("plain"), tm.ones(H, dtype="float64", requires_grad=True)
    xs = inputs(mha)
    seed = tm.randn(N, L, 8, dtype="float64")
    mha(*xs, head_mask=gates).backward(seed)
    parts = mha.contributions(*xs).data
    np.testing.assert_allclose(
        gates.grad.data, (parts * seed.data[:, None]).sum((0, 2, 3)), rtol=1e-10
    )


def test_shared_keys_are_those_of_equal_matrices() -> None:
    grouped, plain = make("grouped"), make("plain")
    for name, p in grouped.named_parameters():
        repeat = 2 if name[-1] in "kv" else 1
        getattr(plain, name).data = np.repeat(p.data, repeat, 0)
    xs = inputs(plain)
    np.testing.assert_allclose(grouped(*xs).data, plain(*xs).data, rtol=1e-10, atol=1e-12)


def test_scale_multiplies_the_scores() -> None:
    mha, plain = make("scale"), make("plain")
    plain.load_state_dict(mha.state_dict())
    plain.W_q.data = plain.W_q.data * 0.9 * np.sqrt(2)
    plain.b_q.data = plain.b_q.data * 0.9 * np.sqrt(2)
    xs = inputs(mha)
    np.testing.assert_allclose(mha(*xs).data, plain(*xs).data, rtol=1e-10, atol=1e-12)


# -- the cache ------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [[1] * 6, [3, 3], [4, 1, 1], [6]], ids=str)
@pytest.mark.parametrize("method", ["fused", "formula"])
@pytest.mark.parametrize("name", [n for n in OPTIONS if n != "widths"])
def test_a_cache_gives_what_the_whole_sequence_gives(
    name: str, method: str, steps: list[int]
) -> None:
    mha, x = make(name), draw(N, 6, 8)
    mha.method = method
    whole, weights = mha(x, is_causal=True, need_weights=True)
    cache, at = nn.KeyValueCache(), 0
    for count in steps:
        assert len(cache) == at
        out, alpha = mha(x[:, at : at + count], is_causal=True, cache=cache, need_weights=True)
        np.testing.assert_allclose(out.data, whole.data[:, at : at + count], atol=1e-10)
        seen = at + count
        np.testing.assert_allclose(
            alpha.data[..., :seen], weights.data[:, :, at:seen, :seen], atol=1e-12
        )
        at = seen
    assert len(cache) == 6


def test_a_cache_and_a_mask_over_everything_seen() -> None:
    mha, x = make("plain"), draw(N, 5, 8)
    seen = masks.padding([2, 5], 5)
    whole = mha(x, mask=seen, is_causal=True)
    cache = nn.KeyValueCache()
    mha(x[:, :3], mask=seen[..., :3], is_causal=True, cache=cache)
    rest = mha(x[:, 3:], mask=seen, is_causal=True, cache=cache)
    np.testing.assert_allclose(rest.data, whole.data[:, 3:], atol=1e-10)
    with pytest.raises(ValueError, match=r"expected \(1, 6\)"):
        mha(x[:, :1], mask=tm.ones(1, 3).astype("bool"), cache=cache)


def test_a_caches_items_are_chosen_and_forgotten() -> None:
    mha, x = make("plain"), draw(2, 3, 8)
    cache = nn.KeyValueCache()
    mha(x, cache=cache)
    cache.select([1, 1, 0])
    out = mha(x[[1, 1, 0], :1], cache=cache)
    np.testing.assert_array_equal(out.data[0], out.data[1])
    with pytest.raises(ValueError, match="one layer"):
        mha(x, cache=cache)
    assert "length=4" in repr(cache)
    cache.clear()
    assert len(cache) == 0
    assert cache.keys is None


@pytest.mark.parametrize("method", ["fused", "formula"])
@pytest.mark.parametrize("name", OPTIONS)
def test_a_fixed_cache_stands_for_a_memory(name: str, method: str) -> None:
    mha = make(name)
    mha.method = method
    q, k, v = inputs(mha)
    mask = mask_of("padding")["mask"]
    cache = nn.KeyValueCache(fixed=True)
    for query in (q, q * 2):
        expected = mha(query, k, v, mask=mask, is_causal=True)
        found = mha(query, k, v, mask=mask, is_causal=True, cache=cache)
        np.testing.assert_allclose(found.data, expected.data, atol=1e-12)
        assert len(cache) == S
    np.testing.assert_array_equal(
        mha(q, k * 0, v * 0, mask=mask, cache=cache).data, mha(q, k, v, mask=mask).data
    )
    with pytest.raises(ValueError, match="holds 5 keys"):
        mha(q, k[:, :2], v[:, :2], cache=cache)


def test_an_empty_cache_has_nothing_to_give() -> None:
    with pytest.raises(RuntimeError, match="nothing is remembered"):
        nn.KeyValueCache().all()


def test_a_cache_has_room_for_more() -> None:
    """One more token costs no copy of all before it; what was returned earlier stays as it was."""
    cache, tokens, places, earlier = nn.KeyValueCache(), [], set(), []
    for i in range(40):
        new = draw(2, 1 + (i == 7), 6)
        tokens.append(new.data)
        with tm.no_grad():
            keys, values = cache.append(new.detach(), (new * 2).detach())
        places.add(keys.data.__array_interface__["data"][0])
        earlier.append((keys, keys.data.copy()))
        np.testing.assert_array_equal(keys.data, np.concatenate(tokens, 1))
        np.testing.assert_array_equal(values.data, 2 * np.concatenate(tokens, 1))
    assert len(places) < 8
    assert all(np.array_equal(keys.data, before) for keys, before in earlier)
    other = copy.copy(cache)
    rest = [
        c.append(draw(2, 1, 6).detach(), draw(2, 1, 6).detach())[0].data for c in (cache, other)
    ]
    assert not np.array_equal(*rest), "two ways to go on do not write over each other"
    np.testing.assert_array_equal(cache.keys.data, rest[0])
    cache.select([1])
    one = cache.append(draw(1, 1, 6).detach(), draw(1, 1, 6).detach())[0]
    np.testing.assert_array_equal(one.data[:, :-2], np.concatenate(tokens, 1)[1:])
    assert len(cache) == 43


def test_gradients_flow_through_a_cache() -> None:
    mha = make("plain")

    def two_calls(x: tm.Tensor) -> tm.Tensor:
        cache = nn.KeyValueCache()
        mha(x[:, :2], is_causal=True, cache=cache)
        return mha(x[:, 2:], is_causal=True, cache=cache)

    assert tm.autograd.gradcheck(two_calls, (draw(1, 4, 8),))


# -- lanes: the visualizer finds the heads under every option -------------------------------


@pytest.mark.parametrize("name", OPTIONS)
def test_lanes_add_up(name: str) -> None:
    mha = make(name)
    out = mha(*inputs(mha), mask=mask_of("(N, h, L, S)")["mask"], head_mask=draw(H))
    (attention,) = tm.viz.trace((out * out).sum(), model=mha).heads
    assert len(attention.lanes) == H
    assert attention.proof.gradient is not None
    assert attention.proof.holds, attention.proof


# -- rows that may see nothing ---------------------------------------------------------------


@pytest.mark.parametrize("method", ["fused", "formula"])
@pytest.mark.parametrize("floating", [False, True])
@pytest.mark.parametrize("name", [n for n in OPTIONS if "extra" not in n])
def test_blind_rows_are_zero(name: str, floating: bool, method: str) -> None:
    mha = make(name)
    mha.method = method
    seen = np.ones((N, L, S), bool)
    seen[0], seen[1, 1] = False, False
    mask = tm.Tensor(np.where(seen, 0.0, -np.inf) if floating else seen)
    xs, gates = inputs(mha), draw(H)
    out, weights = mha(*xs, mask=mask, need_weights=True, head_mask=gates)
    parts = mha.contributions(*xs, mask=mask)
    nothing = 0.0 if mha.b_o is None else mha.b_o.data
    for blind in ((0,), (1, slice(None), 1)):
        assert not weights.data[blind].any()
        assert not parts.data[blind].any()
    np.testing.assert_array_equal(out.data[0], np.broadcast_to(nothing, out.shape[1:]))
    (out * out).sum().backward()
    for t in (*xs, gates, *mha.parameters()):
        assert np.isfinite(t.grad.data).all()
    assert not xs[0].grad.data[0].any()
    assert not xs[0].grad.data[1, 1].any()


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("kind", ["none", "bool", "float", "per head"])
def test_without_weights_in_memory(kind: str, causal: bool) -> None:
    """Long sequences, pooled in one operation: the same output and gradients."""
    length, rng = 70, np.random.default_rng(0)
    seen = rng.random((N, length, length)) < 0.5
    seen[0, 3], seen[1] = False, False
    given = {
        "none": None,
        "bool": seen,
        "float": np.where(seen, 0.3, -np.inf),
        "per head": rng.random((N, H, length, length)) < 0.5,
    }[kind]
    mask = None if given is None else tm.Tensor(given)
    mha, x = make("plain"), draw(N, length, 8)
    found = []
    for need_weights in (True, False):
        mha.zero_grad()
        x.grad = None
        out = mha(x, mask=mask, is_causal=causal, need_weights=need_weights)
        if need_weights:
            out, weights = out
        (out * out).sum().backward()
        found.append([out.data, x.grad.data, *(p.grad.data for p in mha.parameters())])
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)
    assert np.isfinite(found[1][1]).all()
    graph = tm.viz.trace(out.sum(), model=mha)
    assert "self_attention" in {vertex.name for vertex in graph.fused.vertices}
    (heads,) = graph.heads
    assert heads.proof.holds
    for i, lane in enumerate(heads.lanes):  # averaged over squares of 2 × 2
        whole = weights.data[0, i].reshape(35, 2, 35, 2).mean((1, 3))
        np.testing.assert_allclose(lane.weights, whole, atol=1e-5)


def test_dropped_weights_are_dropped_in_the_picture_too() -> None:
    mha = tm.nn.MultiHeadAttention(8, 2, dropout=0.5)
    out = mha(draw(2, 6, 8).float(), is_causal=True)
    graph = tm.viz.trace((out * out).sum(), model=mha)
    assert graph.heads[0].proof.holds
    assert "dropout" in graph.heads[0].stages
    np.testing.assert_allclose(
        graph.data.vertices[graph.heads[0].output].value.norm, np.linalg.norm(out.data), rtol=1e-5
    )


# -- errors ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"num_kv_heads": 3}, "num_kv_heads=3 does not divide num_heads=4"),
        ({"num_kv_heads": 0}, "num_kv_heads is 0"),
        ({"method": "slow"}, "'fused', 'formula'"),
        ({"scale": 2.0, "attention": "additive"}, "scale=2.0 belongs to attention='dot'"),
        ({"rotary": nn.RotaryPositions(2), "add_bias_kv": True}, "no position"),
        ({"attention": "gaussian", "qk_head_dim": (2, 3)}, "equal widths"),
    ],
)
def test_wrong_options(options: dict[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        nn.MultiHeadAttention(8, 4, **options)


@pytest.mark.parametrize("shape", [(3,), (4, 4), (1, 4, 1), ()])
def test_wrong_gates(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"head_mask has shape .* expected \(4,\)"):
        make("plain")(draw(2, 3, 8), head_mask=np.ones(shape))


# -- the Gaussian pooling --------------------------------------------------------------------


def test_gaussian_is_kernel_regression() -> None:
    rng = np.random.default_rng(0)
    q, k, v = rng.standard_normal((4, 2)), rng.standard_normal((6, 2)), rng.standard_normal((6, 3))
    kernel = np.exp(-((q[:, None] - k) ** 2).sum(-1) / (2 * 0.7**2))
    expected = kernel / kernel.sum(1, keepdims=True) @ v
    tensors = [tm.Tensor(x) for x in (q, k, v)]
    np.testing.assert_allclose(nn.GaussianAttention(width=0.7)(*tensors).data, expected, rtol=1e-10)
    np.testing.assert_allclose(
        nn.GaussianAttention(width=0.7).scores(*tensors[:2]).data, np.log(kernel), rtol=1e-10
    )


def test_gaussian_far_from_zero() -> None:
    """In float32 the squares of years would cancel to nothing; their distances do not."""
    years = np.arange(1990, 2020, dtype=np.float32)[:, None]
    near, far = (
        nn.GaussianAttention(width=0.5)(*(tm.Tensor(x) for x in (q, q, np.sin(years))))
        for q in (years - 2000, years)
    )
    np.testing.assert_allclose(far.data, near.data, atol=1e-5)
    assert nn.GaussianAttention()(tm.zeros(3, 2), tm.zeros(0, 2), tm.zeros(0, 1)).shape == (3, 1)


def test_gaussian_learns_its_width() -> None:
    pooling = nn.GaussianAttention(width=2.0, learn_width=True).double()
    assert [name for name, _ in pooling.named_parameters()] == ["w"]
    q, k, v = draw(3, 2), draw(4, 2), draw(4, 1)

    def run(q: tm.Tensor, k: tm.Tensor, v: tm.Tensor, w: tm.Tensor) -> tm.Tensor:
        vars(pooling)["w"] = w  # past the check that a parameter stays one
        return pooling(q, k, v)

    w = tm.tensor(0.5, dtype="float64", requires_grad=True)
    assert tm.autograd.gradcheck(run, (q, k, v, w))
    assert tm.autograd.gradgradcheck(run, (q, k, v, w))
    assert not list(nn.GaussianAttention().parameters())
    assert "width=2, learned" in repr(nn.GaussianAttention(width=2.0, learn_width=True))


def test_gaussian_refuses() -> None:
    with pytest.raises(ValueError, match="width is 0"):
        nn.GaussianAttention(width=0)
    with pytest.raises(ValueError, match="equal widths"):
        nn.GaussianAttention()(draw(1, 2), draw(1, 3), draw(1, 1))


def test_a_cache_has_one_dtype() -> None:
    cache = tm.nn.KeyValueCache()
    cache.append(tm.zeros(1, 2, 4), tm.zeros(1, 2, 4))
    with pytest.raises(TypeError, match="keys are float64, those remembered float32"):
        cache.append(tm.zeros(1, 1, 4, dtype="float64"), tm.zeros(1, 1, 4, dtype="float64"))


# -- first values ---------------------------------------------------------------------------


@pytest.mark.parametrize("widths", [{}, {"kdim": 24, "vdim": 40}], ids=str)
@pytest.mark.parametrize("init", ["heads", "torch"])
def test_first_values(init: str, widths: dict[str, int]) -> None:
    """Uniform up to the bound of Xavier's rule: by each head's fan, or by PyTorch's stacks."""
    tm.manual_seed(0)
    mha = nn.MultiHeadAttention(64, 4, init=init, add_bias_kv=True, **widths)
    for c, d in zip("qkv", (64, widths.get("kdim", 64), widths.get("vdim", 64)), strict=True):
        stacked = 64 if widths else 3 * 64
        bound = math.sqrt(6 / (d + (16 if init == "heads" else stacked)))
        values = getattr(mha, f"W_{c}").data
        assert 0.99 * bound < np.abs(values).max() <= bound
        assert values.std() == pytest.approx(bound / math.sqrt(3), rel=0.05)
    bound = math.sqrt(6 / 128) if init == "heads" else 1 / 8
    assert 0.99 * bound < np.abs(mha.W_o.data).max() <= bound
    assert not any(getattr(mha, f"b_{c}").data.any() for c in "qkvo")
    assert mha.bias_k.data.std() == pytest.approx(1 / 8, rel=0.3)


def test_an_unknown_scheme_is_refused() -> None:
    with pytest.raises(ValueError, match="init is 'zeros', expected one of"):
        nn.MultiHeadAttention(8, 2, init="zeros")


def test_the_bias_of_keys_changes_nothing_under_dot_products() -> None:
    mha, x = nn.MultiHeadAttention(8, 2).double(), tm.randn(2, 3, 8, dtype="float64")
    before = mha(x)
    assert mha.b_k is not None
    mha.b_k.data += 3.0
    after = mha(x)
    np.testing.assert_allclose(after.data, before.data, rtol=1e-10, atol=1e-12)
    after.sum().backward()
    np.testing.assert_allclose(mha.b_k.grad.data, 0, atol=1e-12)
