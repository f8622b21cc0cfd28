"""Layers: what they promise beyond the operations they call."""

import math

import numpy as np
import pytest

import tinygrad_mha as tm
from tinygrad_mha import nn
from tinygrad_mha.nn import functional as F
from tinygrad_mha.nn import masks


def test_dropout_scales_what_it_keeps() -> None:
    out = F.dropout(tm.ones(10_000), 0.25).data
    assert set(np.unique(out)) == {0.0, np.float32(1 / 0.75)}
    assert abs(out.mean() - 1) < 0.05


def test_dropout_is_repeatable_from_the_seed() -> None:
    tm.manual_seed(3)
    a = F.dropout(tm.ones(50), 0.5)
    tm.manual_seed(3)
    assert a.tolist() == F.dropout(tm.ones(50), 0.5).tolist()


@pytest.mark.parametrize("p", [0.0, 1.0])
def test_dropout_of_nothing_and_of_everything(p: float) -> None:
    x = tm.ones(5, requires_grad=True)
    out = F.dropout(x, p)
    assert out.tolist() == [1 - p] * 5
    out.sum().backward()
    assert x.grad.tolist() == [1 - p] * 5


@pytest.mark.parametrize("p", [-0.1, 1.1, math.nan])
def test_dropout_needs_a_probability(p: float) -> None:
    for make in (lambda: nn.Dropout(p), lambda: F.dropout(tm.ones(2), p)):
        with pytest.raises(ValueError, match="probability"):
            make()
    with pytest.raises(ValueError, match="probability"):
        nn.DotProductAttention(dropout=p)


def test_linear_starts_within_its_bound() -> None:
    layer = nn.Linear(100, 50)
    assert np.abs(layer.weight.data).max() <= 0.1
    assert np.abs(layer.weight.data).max() > 0.09
    assert np.abs(layer.bias.data).max() <= 0.1


def test_layer_norm_brings_rows_to_mean_0_and_variance_1() -> None:
    y = nn.LayerNorm(50)(tm.randn(4, 50) * 7 + 3).detach().data
    np.testing.assert_allclose(y.mean(-1), 0, atol=1e-6)
    np.testing.assert_allclose(y.var(-1), 1, atol=1e-4)


def test_causal_masks() -> None:
    np.testing.assert_array_equal(masks.causal(3).data, np.tri(3, dtype=bool))
    np.testing.assert_array_equal(masks.causal(2, 4).data, np.tri(2, 4, dtype=bool))
    assert masks.causal(1, 4, offset=3).data.all(), "the last query sees every key of the cache"


def test_padding_masks() -> None:
    per_item = masks.padding([0, 2], 3)
    assert per_item.shape == (2, 1, 3)
    assert per_item.data.sum(-1).tolist() == [[0], [2]]
    per_query = masks.padding([[1, 2], [3, 0]], 3)
    assert per_query.data.sum(-1).tolist() == [[1, 2], [3, 0]]
    with pytest.raises(ValueError, match="from 0 to keys=3"):
        masks.padding([4], 3)
    with pytest.raises(ValueError, match=r"expected \(N,\) or \(N, L\)"):
        masks.padding(2, 3)


def test_masks_of_the_other_polarity() -> None:
    assert masks.from_ignored(np.array([True, False])).tolist() == [False, True]
    with pytest.raises(TypeError, match="bool"):
        masks.from_ignored(np.array([1, 0]))


def test_gpt_is_causal() -> None:
    gpt = nn.GPT(11, 6, embed_dim=8, num_heads=2, num_layers=2).eval()
    tokens = np.array([[1, 2, 3, 4, 5, 6]])
    other = tokens.copy()
    other[0, 4:] = 9
    with tm.no_grad():
        a, b = gpt(tm.tensor(tokens)).data, gpt(tm.tensor(other)).data
    np.testing.assert_array_equal(a[:, :4], b[:, :4])
    assert not np.array_equal(a[:, 4:], b[:, 4:])


def test_gpt_starts_by_knowing_nothing() -> None:
    gpt = nn.GPT(50, 8, embed_dim=32, num_heads=4, num_layers=1)
    logits = gpt(tm.randint(0, 50, (4, 8)))
    loss = F.cross_entropy(logits.reshape(-1, 50), tm.randint(0, 50, (32,)))
    assert abs(loss.item() - math.log(50)) < 0.1


def test_gpt_refuses_what_it_cannot_read() -> None:
    gpt = nn.GPT(11, 4, embed_dim=8, num_heads=2, num_layers=1)
    with pytest.raises(ValueError, match="context=4"):
        gpt(tm.zeros(1, 5, dtype="int64"))
    with pytest.raises(IndexError, match="11 is out of range"):
        gpt(tm.full((1, 2), 11, dtype="int64"))


def test_generate_continues() -> None:
    gpt = nn.GPT(11, 4, embed_dim=8, num_heads=2, num_layers=1).eval()
    greedy = nn.generate(gpt, [1, 2], 6, temperature=0)
    assert greedy.shape == (8,)
    np.testing.assert_array_equal(greedy, nn.generate(gpt, [1, 2], 6, temperature=0))
    np.testing.assert_array_equal(greedy, nn.generate(gpt, [1, 2], 6, top_k=1))
    tm.manual_seed(5)
    drawn = nn.generate(gpt, [1, 2], 6)
    tm.manual_seed(5)
    np.testing.assert_array_equal(drawn, nn.generate(gpt, [1, 2], 6))


def test_a_small_transformer_learns() -> None:
    """Copy the previous token: the loss must fall far below chance."""
    gpt = nn.GPT(5, 8, embed_dim=16, num_heads=2, num_layers=1)
    optimizer = tm.optim.AdamW(gpt.parameters(), lr=0.02)
    loss = tm.tensor(math.inf)
    for _ in range(150):
        tokens = tm.generator().integers(0, 5, (16, 8))
        logits = gpt(tm.Tensor(tokens))[:, 1:].reshape(-1, 5)
        loss = F.cross_entropy(logits, tm.Tensor(tokens[:, :-1].reshape(-1)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.1 < math.log(5)


def test_clip_grad_norm() -> None:
    a, b = tm.tensor([3.0], requires_grad=True), tm.tensor([4.0], requires_grad=True)
    untouched = tm.tensor([1.0], requires_grad=True)
    ((a * a + b * b) * 0.5).sum().backward()
    assert nn.utils.clip_grad_norm_([a, b, untouched], 10.0) == 5.0
    assert (a.grad.item(), b.grad.item()) == (3.0, 4.0)
    assert nn.utils.clip_grad_norm_([a, b], 1.0) == 5.0
    assert math.hypot(a.grad.item(), b.grad.item()) == pytest.approx(1.0, abs=1e-6)


def test_clip_grad_norm_refuses_infinite_norms_when_told_to() -> None:
    a = tm.tensor([1.0], requires_grad=True)
    (a * math.inf).sum().backward()
    with pytest.raises(RuntimeError, match="norm is inf"):
        nn.utils.clip_grad_norm_([a], 1.0, error_if_nonfinite=True)
    assert a.grad.item() == math.inf


@pytest.mark.parametrize(
    ("layer", "name"),
    [(nn.Linear(2, 2), "x"), (nn.LayerNorm(2), "x"), (nn.Embedding(2, 2), "index")],
    ids=str,
)
@pytest.mark.parametrize("given", [[1, 0], None, 1.0], ids=str)
def test_what_is_no_tensor_is_named(layer: nn.Module, name: str, given: object) -> None:
    kind = type(given).__name__
    with pytest.raises(TypeError, match=rf"{type(layer).__name__}: {name} is a {kind}, expected a"):
        layer(given)
