"""Blocks, positions, caches in whole models, and sampling."""

import math
from typing import Any

import numpy as np
import pytest

import tinygrad_mha as tm
from tinygrad_mha import nn
from tinygrad_mha.nn import functional as F

POSITIONS = ["learned", "sinusoidal", "rotary"]


_tokens = tm.zeros(2, 3, dtype="int64")


def small(**options: Any) -> nn.GPT:
    gpt = nn.GPT(11, 8, embed_dim=8, num_heads=2, num_layers=2, **options).double().eval()
    for p in gpt.parameters():  # far from the small first values, so that tokens matter
        p.data = tm.generator().standard_normal(p.shape)
    return gpt


# -- positions --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "positions", [nn.LearnedPositions(9, 6), nn.SinusoidalPositions(6), nn.RotaryPositions(6)]
)
def test_an_offset_is_the_rest_of_the_sequence(positions: nn.Module) -> None:
    x = tm.randn(2, 9, 6)
    np.testing.assert_array_equal(positions(x).data[:, 4:], positions(x[:, 4:], 4).data)
    assert tm.autograd.gradcheck(positions.double(), (tm.randn(1, 3, 6, dtype="float64",
                                                             requires_grad=True),))  # fmt: skip


def test_sinusoids_are_the_papers() -> None:
    for d in (6, 5):
        found = nn.SinusoidalPositions(d)(tm.zeros(7, d, dtype="float64")).data
        for t in range(7):
            for i in range(d):
                angle = t / 10_000 ** (2 * (i // 2) / d)
                expected = math.cos(angle) if i % 2 else math.sin(angle)
                assert found[t, i] == pytest.approx(expected, abs=1e-12)


def test_rotations_see_distances_only() -> None:
    rotary = nn.RotaryPositions(6)
    q, k = (tm.randn(1, 6, dtype="float64") for _ in range(2))
    products = [
        float((rotary(q, at + 3).data * rotary(k, at).data).sum()) for at in (0, 1, 5, 1000)
    ]
    np.testing.assert_allclose(products, products[0], rtol=1e-10)
    np.testing.assert_allclose(
        np.linalg.norm(rotary(q, 7).data), np.linalg.norm(q.data), rtol=1e-12
    )
    other = float((rotary(q, 4).data * rotary(k, 0).data).sum())
    assert abs(other - products[0]) > 1e-3


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: nn.RotaryPositions(5), "even"),
        (lambda: nn.SinusoidalPositions(0), "at least 1"),
        (lambda: nn.LearnedPositions(4, 6)(tm.zeros(1, 3, 6), offset=2), "context=4"),
        (lambda: nn.RotaryPositions(4)(tm.zeros(1, 3, 6)), r"expected \(\.\.\., T, 4\)"),
        (lambda: small(positions="absolute"), "'learned', 'sinusoidal' or 'rotary'"),
        (lambda: nn.RotaryPositions(4, 0.0), "base is 0.0, expected a positive number"),
        (lambda: nn.SinusoidalPositions(4, math.inf), "base is inf"),
    ],
)
def test_wrong_positions(make: Any, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        make()


@pytest.mark.parametrize(
    "positions", [nn.LearnedPositions(9, 6), nn.SinusoidalPositions(6), nn.RotaryPositions(6)]
)
def test_positions_take_rows_of_their_width_only(positions: nn.Module) -> None:
    """A width of 1 would be broadcast; integers would lose the waves; −1 counts from behind."""
    name = type(positions).__name__
    for shape in ((2, 3, 1), (2, 3, 7), (6,)):
        with pytest.raises(ValueError, match=rf"{name}: x has shape .*, expected \(\.\.\., T, 6\)"):
            positions(tm.zeros(*shape))
    with pytest.raises(TypeError, match=rf"{name}: x is int64, expected floating"):
        positions(tm.zeros(2, 3, 6, dtype="int64"))
    with pytest.raises(TypeError, match=f"{name}: x is a list"):
        positions([[0.0] * 6])
    with pytest.raises(ValueError, match=f"{name}: offset is -1, expected at least 0"):
        positions(tm.zeros(2, 3, 6), -1)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: nn.GPT(0, 8, embed_dim=8, num_heads=2, num_layers=1), "vocab_size is 0"),
        (lambda: nn.GPT(5, 0, embed_dim=8, num_heads=2, num_layers=1), "context is 0"),
        (lambda: nn.GPT(5, 8, embed_dim=8, num_heads=2, num_layers=-1), "num_layers is -1"),
        (lambda: translator(dim_feedforward=0), "dim_feedforward is 0, expected at least 1"),
        (lambda: small()([[1, 2]]), "GPT: tokens is a list, expected a Tensor"),
        (lambda: small()(_tokens, cache=[None, None]), "one KeyValueCache for each of the 2"),
        (lambda: small()(_tokens, cache=small().make_cache()[:1]), "cache has 1 layers"),
        (lambda: nn.generate(small(), [1], -1), "count is -1, expected at least 0"),
        (lambda: nn.generate(small(), [1], 2.5), "count is 2.5, expected a whole number"),
        (lambda: nn.generate(small(), [[1, 2]], 1), r"tokens has shape \(1, 2\) .* one sequence"),
        (lambda: nn.generate(small(), [0.5], 1), "dtype float64, expected whole numbers"),
        (lambda: nn.generate(small(), 3, 1), r"tokens has shape \(\)"),
        (lambda: nn.generate(small(), [1], 1, temperature="1"), "temperature is '1'"),
        (lambda: nn.generate(small(), [1], 1, top_k=2.0), "top_k is 2.0, expected a whole"),
        (lambda: nn.sample([math.nan, 1.0], temperature=0), "logits hold nan"),
        (lambda: nn.sample([-math.inf, -math.inf]), "nothing but −inf"),
        (lambda: translator()(_tokens, _tokens[:1]), r"target has shape \(1, 3\).*N = 2"),
        (lambda: translator()(_tokens, _tokens[0]), r"target has shape \(3,\), expected \(N, T\)"),
        (lambda: translator().generate([], begin=0, count=2), "source is empty"),
        (lambda: translator().generate([[1]], begin=0, count=2), r"source has shape \(1, 1\)"),
        (lambda: translator().generate([1], begin=0, count=-1), "count is -1"),
        (
            lambda: translator().decode(_tokens, tm.zeros(2, 3, 8), cache=[nn.KeyValueCache()]),
            "one tuple for each",
        ),
    ],
)
def test_what_models_cannot_do_is_named(make: Any, says: str) -> None:
    with pytest.raises((TypeError, ValueError), match=says):
        make()


# -- GPT with a cache -------------------------------------------------------------------------


@pytest.mark.parametrize("options", [*({"positions": p} for p in POSITIONS),
                                     {"num_kv_heads": 1}, {"attention": "additive"},
                                     {"attention": "gaussian"}], ids=str)  # fmt: skip
def test_a_cache_changes_nothing(options: dict[str, Any]) -> None:
    gpt = small(**options)
    tokens = tm.randint(0, 11, (2, 8))
    whole = gpt(tokens).data
    cache = gpt.make_cache()
    parts = [gpt(tokens[:, a:b], cache=cache).data for a, b in ((0, 3), (3, 4), (4, 8))]
    np.testing.assert_allclose(np.concatenate(parts, 1), whole, rtol=1e-9, atol=1e-9)
    with pytest.raises(ValueError, match="less the 8 in the cache"):
        gpt(tokens[:, :1], cache=cache)
    with pytest.raises(ValueError, match="cache has 1 layers, expected 2"):
        gpt(tokens, cache=gpt.make_cache()[:1])
    # beyond the context, too, where the window slides
    chosen = {"temperature": 0.7, "top_k": 5, "seed": 3}
    np.testing.assert_array_equal(
        nn.generate(gpt, [1, 2], 12, **chosen),
        nn.generate(gpt, [1, 2], 12, use_cache=False, **chosen),
    )


@pytest.mark.parametrize("positions", POSITIONS)
def test_order_matters(positions: str) -> None:
    gpt = small(positions=positions)
    a, b = gpt(tm.tensor([[1, 2, 3]])).data, gpt(tm.tensor([[2, 1, 3]])).data
    assert np.abs(a[0, -1] - b[0, -1]).max() > 1e-6


def test_the_names_of_a_checkpoint() -> None:
    names = dict(small().named_parameters())
    assert {"tokens.weight", "positions.weight", "blocks.0.attention.W_q", "head.weight"} <= set(
        names
    )


def test_gates_and_weights_of_every_layer() -> None:
    gpt = small()
    tokens = tm.randint(0, 11, (2, 5))
    logits, weights = gpt(tokens, need_weights=True)
    assert [w.shape for w in weights] == [(2, 2, 5, 5)] * 2
    np.testing.assert_allclose(logits.data, gpt(tokens).data, rtol=1e-12, atol=1e-12)
    gated = gpt(tokens, head_mask=np.ones((2, 2)))
    np.testing.assert_allclose(gated.data, logits.data, rtol=1e-12, atol=1e-12)

    def loss(gates: tm.Tensor) -> tm.Tensor:
        return F.cross_entropy(
            gpt(tokens, head_mask=gates).reshape(-1, 11), tm.zeros(10, dtype="int64")
        )

    by_gate = nn.analysis.gate_importance(loss, (2, 2), dtype=np.float64)
    step = np.zeros((2, 2))
    for i in np.ndindex(2, 2):
        step[...] = 1
        ends = []
        for change in (1e-5, -1e-5):
            step[i] = 1 + change
            ends.append(loss(tm.Tensor(step)).item())
        assert by_gate[i] == pytest.approx(-(ends[0] - ends[1]) / 2e-5, rel=1e-5, abs=1e-9)
    assert nn.analysis.ablation_importance(loss, (2, 2)).shape == (2, 2)
    with pytest.raises(ValueError, match=r"expected \(2, 2\): one gate per layer"):
        gpt(tokens, head_mask=np.ones(2))


def test_rotation_is_multiplication_by_complex_numbers() -> None:
    x = tm.generator().standard_normal((5, 6))
    angles = np.arange(5)[:, None] * 10_000.0 ** (-np.arange(3) / 3)
    turned = (x[:, :3] + 1j * x[:, 3:]) * np.exp(1j * angles)
    found = nn.RotaryPositions(6)(tm.Tensor(x)).data
    np.testing.assert_allclose(found, np.concatenate([turned.real, turned.imag], 1), atol=1e-12)


def test_post_norm_block_ends_normalised() -> None:
    block = nn.TransformerBlock(16, 2, norm_first=False)
    y = block(tm.randn(2, 3, 16)).data
    np.testing.assert_allclose(y.mean(-1), 0, atol=1e-5)
    np.testing.assert_allclose(y.var(-1), 1, atol=1e-2)


# -- sampling ---------------------------------------------------------------------------------

LOGITS = np.log([0.5, 0.3, 0.15, 0.05])


def drawn(**options: Any) -> np.ndarray:
    """How often each token is drawn."""
    rng = np.random.default_rng(0)
    return np.bincount([nn.sample(LOGITS, rng=rng, **options) for _ in range(2000)], minlength=4)


def test_sampling_follows_the_probabilities() -> None:
    np.testing.assert_allclose(drawn() / 2000, np.exp(LOGITS), atol=0.04)
    hot = np.exp(LOGITS / 2)
    np.testing.assert_allclose(drawn(temperature=2.0) / 2000, hot / hot.sum(), atol=0.04)


@pytest.mark.parametrize(
    ("options", "possible"),
    [
        ({"temperature": 0}, {0}),
        ({"top_k": 1}, {0}),
        ({"top_k": 2}, {0, 1}),
        ({"top_k": 99}, {0, 1, 2, 3}),
        ({"top_p": 0.49}, {0}),
        ({"top_p": 0.51}, {0, 1}),
        ({"top_p": 0.81}, {0, 1, 2}),
        ({"top_p": 1.0}, {0, 1, 2, 3}),
        ({"top_k": 3, "top_p": 0.9}, {0, 1, 2}),  # 0.5 + 0.3 of 0.95 is less than 0.9
        ({"top_k": 3, "top_p": 0.8}, {0, 1}),
    ],
)
def test_what_can_be_drawn(options: dict[str, Any], possible: set[int]) -> None:
    assert set(np.flatnonzero(drawn(**options))) == possible


def test_equal_logits_do_not_enlarge_top_k() -> None:
    assert {nn.sample(tm.zeros(5), top_k=2) for _ in range(50)} == {0, 1}


def test_a_seed_repeats_a_sample() -> None:
    gpt = small()
    a = nn.generate(gpt, [1], 6, seed=5, temperature=3.0)
    tm.rand(3)
    np.testing.assert_array_equal(a, nn.generate(gpt, [1], 6, seed=5, temperature=3.0))
    others = [nn.generate(gpt, [1], 6, seed=s, temperature=3.0).tolist() for s in range(6)]
    assert len(set(map(tuple, others))) > 1


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"temperature": -1}, "temperature is -1"),
        ({"temperature": math.nan}, "temperature is nan"),
        ({"top_k": 0}, "top_k is 0"),
        ({"top_p": 0.0}, "top_p is 0.0"),
        ({"top_p": 1.5}, "top_p is 1.5"),
    ],
)
def test_wrong_sampling(options: dict[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        nn.sample(LOGITS, **options)
    with pytest.raises(ValueError, match=match):
        nn.generate(small(), [1], 0, **options)


def test_extreme_logits_and_temperatures_are_drawn_from() -> None:
    assert {nn.sample([0.0, 1.0, 0.5], temperature=1e-320) for _ in range(9)} == {1}
    assert {nn.sample([0.0, math.inf, 0.5]) for _ in range(9)} == {1}
    assert {nn.sample([-math.inf, 2.0, -math.inf], temperature=1e308) for _ in range(9)} == {1}


def test_nothing_is_dropped_while_generating() -> None:
    gpt = small(dropout=0.5)
    expected = nn.generate(gpt, [1, 2], 6, seed=3)
    gpt.train()
    gpt.blocks[1].eval()
    modes = [module.training for module in gpt.modules()]
    np.testing.assert_array_equal(nn.generate(gpt, [1, 2], 6, seed=3), expected)
    assert [module.training for module in gpt.modules()] == modes
    with pytest.raises(IndexError):
        nn.generate(gpt, [99], 1)
    assert [module.training for module in gpt.modules()] == modes
    model = translator(dropout=0.5)
    assert len({tuple(model.generate([1, 2], begin=0, count=5).tolist()) for _ in range(5)}) == 1
    assert model.training


def test_nothing_to_begin_with() -> None:
    with pytest.raises(ValueError, match="tokens is empty"):
        nn.generate(small(), [], 3)
    with pytest.raises(ValueError, match=r"expected \(V,\)"):
        nn.sample(np.zeros((1, 3)))


# -- encoder and decoder ----------------------------------------------------------------------


def translator(**options: Any) -> nn.EncoderDecoder:
    return nn.EncoderDecoder(7, 9, embed_dim=8, num_heads=2, num_layers=2, **options)


@pytest.mark.parametrize("norm_first", [True, False])
def test_padding_is_not_read(norm_first: bool) -> None:
    model = translator(norm_first=norm_first).double()
    source, target = tm.randint(0, 7, (1, 5)), tm.randint(0, 9, (1, 4))
    other = source.data.copy()
    other[0, 3:] = (other[0, 3:] + 1) % 7
    a = model(source, target, source_lengths=[3]).data
    np.testing.assert_allclose(a, model(tm.Tensor(other), target, [3]).data, rtol=1e-12)
    np.testing.assert_allclose(a, model(source[:, :3], target).data, rtol=1e-9)
    assert np.abs(a - model(source, target).data).max() > 1e-6


def test_the_decoder_is_causal_and_its_cache_changes_nothing() -> None:
    model = translator().double()
    source, target = tm.randint(0, 7, (2, 5)), tm.randint(0, 9, (2, 4))
    whole = model(source, target).data
    np.testing.assert_allclose(model(source, target[:, :2]).data, whole[:, :2], rtol=1e-9)
    memory, cache = model.encode(source), model.make_cache()
    parts = [model.decode(target[:, t : t + 1], memory, cache=cache).data for t in range(4)]
    np.testing.assert_allclose(np.concatenate(parts, 1), whole, rtol=1e-9)


def test_generation_is_greedy_and_stops() -> None:
    model = translator().double()
    source = [1, 2, 3]
    written = model.generate(source, begin=0, count=5)
    for t in range(1, len(written)):
        logits = model(tm.tensor([source]), tm.tensor([written[:t].tolist()])).data[0, -1]
        assert logits.argmax() == written[t]
    stopped = model.generate(source, begin=0, count=5, end=int(written[1]))
    assert stopped.tolist() == written[:2].tolist()
    with pytest.raises(ValueError, match="source_lengths has shape"):
        model(tm.zeros(2, 3, dtype="int64"), tm.zeros(2, 3, dtype="int64"), [1])
    with pytest.raises(ValueError, match=r"expected \(N, S\)"):
        model(tm.zeros(3, dtype="int64"), tm.zeros(3, dtype="int64"))


def test_it_learns_to_reverse() -> None:
    model = translator(dim_feedforward=16)
    optimizer = tm.optim.AdamW(model.parameters(), lr=0.01)
    loss = tm.tensor(math.inf)
    for _ in range(200):
        source = tm.generator().integers(1, 7, (16, 3))
        target = np.concatenate([np.zeros((16, 1), int), source[:, ::-1]], 1)
        logits = model(tm.Tensor(source), tm.Tensor(target[:, :-1]))
        loss = F.cross_entropy(logits.reshape(-1, 9), tm.Tensor(target[:, 1:].reshape(-1)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.3 < math.log(6)


def test_unknown_activation() -> None:
    with pytest.raises(ValueError, match="'gelu', 'relu'"):
        nn.TransformerEncoderLayer(8, 2, activation="tanh")


def test_weights_of_layers_that_read_and_write() -> None:
    model = nn.EncoderDecoder(11, 13, embed_dim=8, num_heads=2, num_layers=2).double()
    source, target = tm.randint(0, 11, (3, 5)), tm.randint(0, 13, (3, 4))
    lengths = [5, 2, 3]
    logits, weights = model(source, target, lengths, need_weights=True)
    np.testing.assert_allclose(
        logits.data, model(source, target, lengths).data, rtol=1e-11, atol=1e-12
    )
    shapes = {"encoder": (3, 2, 5, 5), "decoder": (3, 2, 4, 4), "memory": (3, 2, 4, 5)}
    assert {name: [w.shape for w in ws] for name, ws in weights.items()} == {
        name: [shape] * 2 for name, shape in shapes.items()
    }
    for name, ws in weights.items():
        for w in ws:
            np.testing.assert_allclose(w.data.sum(-1), 1)
            if name != "decoder":
                assert not w.data[1, :, :, 2:].any(), "padding is not attended to"


def test_an_activation_of_ones_own() -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 16, 0.0, F.silu, bias=False)
    assert not [name for name, _ in layer.named_parameters() if "b" in name.split(".")[-1]]
    assert layer(tm.randn(2, 3, 8)).shape == (2, 3, 8)
    with pytest.raises(ValueError, match="expected a function or one of"):
        nn.TransformerEncoderLayer(8, 2, activation="sine")
