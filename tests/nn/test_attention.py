"""Multi-head attention by its own formula: heads, masks, widths, pooling of every kind."""

from typing import Any

import numpy as np
import pytest

import tinygrad_mha as tm
from tinygrad_mha import nn
from tinygrad_mha.nn import functional as F
from tinygrad_mha.nn import masks

WIDTHS: dict[str, Any] = {
    "kdim": 5,
    "vdim": 7,
    "qk_head_dim": 3,
    "v_head_dim": 4,
    "out_dim": 6,
}


def _inputs(batch: int = 2, dtype: str = "float64") -> tuple[tm.Tensor, tm.Tensor, tm.Tensor]:
    return (
        tm.randn(batch, 4, 8, dtype=dtype, requires_grad=True),
        tm.randn(batch, 6, 5, dtype=dtype, requires_grad=True),
        tm.randn(batch, 6, 7, dtype=dtype, requires_grad=True),
    )


@pytest.mark.parametrize("attention", ["dot", "additive"])
@pytest.mark.parametrize("bias", [True, False])
def test_output_is_the_formula_head_by_head(attention: str, bias: bool) -> None:
    """W_o [h_1; …; h_h] with h_i = f(W_i^q q, W_i^k k, W_i^v v), written as one reads it."""
    mha = nn.MultiHeadAttention(8, 3, attention=attention, bias=bias, **WIDTHS).double()
    for p in mha.parameters():
        p.data[...] = tm.generator().standard_normal(p.shape)
    q, k, v = _inputs()
    heads = []
    for i in range(mha.num_heads):

        def project(x: tm.Tensor, which: str, i: int = i) -> Any:
            b = getattr(mha, f"b_{which}")
            y = x @ getattr(mha, f"W_{which}")[i].mT
            return y if b is None else y + b[i]

        heads.append(mha.pooling(project(q, "q"), project(k, "k"), project(v, "v")))
    expected = tm.cat(heads, dim=-1) @ mha.W_o.mT
    if bias:
        expected = expected + mha.b_o
    np.testing.assert_allclose(mha(q, k, v).data, expected.data, rtol=1e-12)


def test_heads_contributions_add_up() -> None:
    """W_o [h_1; …; h_h] = Σ_i (i-th block of W_o) h_i."""
    mha = nn.MultiHeadAttention(8, 3, bias=False, **WIDTHS).double()
    q, k, v = _inputs()
    out = mha(q, k, v)
    merged = mha.W_o.data
    parts = []
    for i in range(3):
        alone = merged.copy()
        alone[:, : i * 4], alone[:, (i + 1) * 4 :] = 0, 0
        mha.W_o.data = alone
        parts.append(mha(q, k, v).data)
    np.testing.assert_allclose(sum(parts), out.data, rtol=1e-12)


def test_every_width_is_free() -> None:
    mha = nn.MultiHeadAttention(8, 3, **WIDTHS)
    q, k, v = _inputs(dtype="float32")
    out, weights = mha(q, k, v, need_weights=True)
    assert out.shape == (2, 4, 6)
    assert weights.shape == (2, 3, 4, 6)
    assert mha.W_q.shape == (3, 3, 8)
    assert mha.W_k.shape == (3, 3, 5)
    assert mha.W_v.shape == (3, 4, 7)
    assert mha.W_o.shape == (6, 12)
    assert mha.W_q[1].data.flags.c_contiguous


def test_additive_pooling_takes_different_widths_of_queries_and_keys() -> None:
    mha = nn.MultiHeadAttention(8, 2, attention="additive", qk_head_dim=(3, 5))
    assert mha(tm.randn(1, 4, 8)).shape == (1, 4, 8)
    with pytest.raises(ValueError, match="equal widths"):
        nn.MultiHeadAttention(8, 2, qk_head_dim=(3, 5))


@pytest.mark.parametrize("attention", ["dot", "additive"])
def test_gradients_of_every_parameter_and_input(attention: str) -> None:
    mha = nn.MultiHeadAttention(8, 2, attention=attention, **WIDTHS).double()
    mask = masks.padding([3, 6], 6)
    parameters = list(mha.parameters())

    def run(*tensors: tm.Tensor) -> Any:
        q, k, v, *given = tensors
        before = [p.data for p in parameters]
        for p, new in zip(parameters, given, strict=True):
            p.data = new.data
        try:
            return mha(q, k, v, mask=mask)
        finally:
            for p, old in zip(parameters, before, strict=True):
                p.data = old

    inputs = _inputs()
    assert tm.autograd.gradcheck(lambda *x: mha(*x, mask=mask), inputs)
    # the parameters: by differences along one random direction
    loss = run(*inputs, *parameters)
    weight = tm.generator().standard_normal(loss.shape)
    (loss * tm.Tensor(weight)).sum().backward()
    for p in parameters:
        along = tm.generator().standard_normal(p.shape)
        start, ends = p.data.copy(), []
        for step in (1e-6, -1e-6):
            p.data[...] = start + step * along
            ends.append((mha(*inputs, mask=mask).data * weight).sum())
        p.data[...] = start
        np.testing.assert_allclose(
            (p.grad.data * along).sum(), (ends[0] - ends[1]) / 2e-6, rtol=1e-5, atol=1e-7
        )


def test_second_order_through_all_of_it() -> None:
    mha = nn.MultiHeadAttention(4, 2).double()
    x = tm.randn(1, 3, 4, dtype="float64", requires_grad=True)
    assert tm.autograd.gradgradcheck(lambda x: mha(x, is_causal=True), [x])


@pytest.mark.parametrize("attention", ["dot", "additive"])
def test_rows_that_may_see_nothing_are_exactly_zero(attention: str) -> None:
    mha = nn.MultiHeadAttention(8, 2, attention=attention, bias=False)
    x = tm.randn(2, 4, 8, requires_grad=True)
    blind = np.ones((2, 4, 4), bool)
    blind[0] = False  # every query of the first item
    blind[1, 2] = False  # one of the second
    for mask in (tm.Tensor(blind), tm.Tensor(np.where(blind, 0.0, -np.inf).astype(np.float32))):
        x.grad = None
        out, weights = mha(x, x, x, mask=mask, need_weights=True)
        assert not out.data[0].any()
        assert not weights.data[0].any()
        assert not out.data[1, 2].any()
        assert not weights.data[1, :, 2].any()
        np.testing.assert_allclose(weights.data[1, :, [0, 1, 3]].sum(-1), 1, rtol=1e-6)
        out.sum().backward()
        assert not x.grad.data[0].any()
        assert np.isfinite(x.grad.data).all()
        assert all(np.isfinite(p.grad.data).all() for p in mha.parameters())


def test_a_query_that_sees_nothing_gets_no_gradient() -> None:
    q, k, v = (tm.randn(1, 3, 4, requires_grad=True) for _ in range(3))
    mask = tm.tensor([[True, True, False], [False, False, False], [True, False, False]])
    F.scaled_dot_product_attention(q, k, v, attn_mask=mask).sum().backward()
    assert not q.grad.data[0, 1].any()
    assert not k.grad.data[0, 2].any(), "nobody sees key 2"
    assert not v.grad.data[0, 2].any()


def test_blind_rows_in_second_order() -> None:
    x = tm.randn(1, 3, 4, dtype="float64", requires_grad=True)
    mask = tm.tensor([[True, True, False], [False, False, False], [True, False, True]])
    assert tm.autograd.gradgradcheck(
        lambda x: F.scaled_dot_product_attention(x, x, x, attn_mask=mask), [x]
    )


def test_masks_of_two_three_and_four_dimensions_agree() -> None:
    mha = nn.MultiHeadAttention(8, 2)
    x = tm.randn(3, 4, 8)
    seen = tm.tensor(np.tri(4, dtype=bool))
    expected = mha(x, is_causal=True).data
    for shape in [(4, 4), (1, 4, 4), (3, 4, 4), (1, 1, 4, 4), (3, 2, 4, 4), (1, 2, 4, 4)]:
        mask = tm.Tensor(np.broadcast_to(seen.data, shape))
        np.testing.assert_allclose(mha(x, mask=mask).data, expected, rtol=1e-6, atol=1e-7)
        added = tm.Tensor(np.where(mask.data, 0.0, -np.inf).astype(np.float32))
        np.testing.assert_allclose(mha(x, mask=added).data, expected, rtol=1e-6, atol=1e-7)


def test_a_mask_per_head() -> None:
    mha = nn.MultiHeadAttention(8, 2)
    seen = np.ones((1, 2, 4, 4), bool)
    seen[0, 1] = np.eye(4, dtype=bool)
    _, weights = mha(tm.randn(1, 4, 8), mask=tm.Tensor(seen), need_weights=True)
    np.testing.assert_array_equal(weights.data[0, 1], np.eye(4, dtype=np.float32))
    assert (weights.data[0, 0] > 0).all()


def test_three_dimensional_mask_of_ambiguous_size_is_per_item() -> None:
    """With N = h, (2, L, S) could mean either; it means the batch."""
    mha = nn.MultiHeadAttention(8, 2)
    seen = np.ones((2, 4, 4), bool)
    seen[0] = False
    out = mha(tm.randn(2, 4, 8), mask=tm.Tensor(seen)).data
    assert not out[0].any()
    assert out[1].any()


def test_mask_and_causality_together() -> None:
    mha = nn.MultiHeadAttention(8, 2)
    seen = np.ones((4, 4), bool)
    seen[:, 0] = False
    _, w = mha(tm.randn(1, 4, 8), mask=tm.Tensor(seen), is_causal=True, need_weights=True)
    np.testing.assert_array_equal(w.data[0, 0] > 0, np.tri(4, dtype=bool) & seen)


@pytest.mark.parametrize(
    ("mask", "error", "match"),
    [
        (np.ones((4, 4), np.int64), TypeError, "may attend"),
        (np.ones((4, 5), bool), ValueError, r"mask has shape \(4, 5\)"),
        (np.ones((3, 4, 4), bool), ValueError, r"expected \(4, 4\), \(2, 4, 4\)"),
        (np.ones(4, bool), ValueError, r"mask has shape \(4,\)"),
        (np.ones((1, 2, 2, 4, 4), bool), ValueError, "four dimensions"),
    ],
)
def test_wrong_masks(mask: np.ndarray, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        nn.MultiHeadAttention(8, 2)(tm.randn(2, 4, 8), mask=tm.Tensor(mask))


@pytest.mark.parametrize(
    ("shapes", "match"),
    [
        (((2, 4, 9), (2, 6, 8), (2, 6, 8)), r"query has shape \(2, 4, 9\)"),
        (((2, 4, 8), (2, 6, 9), (2, 6, 8)), r"key has shape \(2, 6, 9\)"),
        (((2, 4, 8), (2, 6, 8), (2, 6, 9)), r"value has shape \(2, 6, 9\)"),
        (((2, 4, 8), (2, 6, 8), (2, 5, 8)), "one value per key"),
        (((2, 4, 8), (3, 6, 8), (3, 6, 8)), "batch sizes"),
        (((4, 8), (2, 6, 8), (2, 6, 8)), "as many dimensions"),
        (((8,), (8,), (8,)), r"query has shape \(8,\)"),
    ],
)
def test_wrong_inputs_are_named(shapes: tuple[tuple[int, ...], ...], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        nn.MultiHeadAttention(8, 2)(*(tm.zeros(shape) for shape in shapes))


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ((10, 3), "does not split"),
        ((0, 1), "embed_dim is 0"),
        ((8, 0), "num_heads is 0"),
    ],
)
def test_wrong_sizes(arguments: tuple[int, int], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        nn.MultiHeadAttention(*arguments)


def test_unknown_pooling() -> None:
    with pytest.raises(ValueError, match="'dot', 'additive', 'gaussian' or a module"):
        nn.MultiHeadAttention(8, 2, attention="linear")


def test_unbatched_is_a_batch_of_one() -> None:
    mha = nn.MultiHeadAttention(8, 2)
    x = tm.randn(4, 8)
    one, weights = mha(x, is_causal=True, need_weights=True)
    batch, batched = mha(x.unsqueeze(0), is_causal=True, need_weights=True)
    np.testing.assert_array_equal(one.data, batch.data[0])
    np.testing.assert_array_equal(weights.data, batched.data[0])


def test_key_defaults_to_query_and_value_to_key() -> None:
    mha = nn.MultiHeadAttention(8, 2)
    x, y = tm.randn(1, 4, 8), tm.randn(1, 6, 8)
    np.testing.assert_array_equal(mha(x).data, mha(x, x, x).data)
    np.testing.assert_array_equal(mha(x, y).data, mha(x, y, y).data)


def test_a_pooling_of_ones_own() -> None:
    class Uniform(nn.AttentionPooling):
        def scores(self, query: tm.Tensor, key: tm.Tensor) -> tm.Tensor:
            return tm.zeros(*query.shape[:-1], key.shape[-2])

    mha = nn.MultiHeadAttention(8, 2, attention=Uniform())
    _, weights = mha(tm.randn(1, 4, 8), need_weights=True)
    np.testing.assert_allclose(weights.data, 0.25)


def test_weights_are_those_before_dropout() -> None:
    mha = nn.MultiHeadAttention(8, 2, dropout=0.5)
    x = tm.randn(1, 4, 8)
    _, weights = mha(x, need_weights=True)
    np.testing.assert_allclose(weights.data.sum(-1), 1, rtol=1e-6)
    assert not np.array_equal(mha(x).data, mha(x).data), "in training it drops"
    mha.eval()
    np.testing.assert_array_equal(mha(x).data, mha(x).data)


def test_large_scores_do_not_overflow() -> None:
    q = tm.full((1, 2, 4), 100.0, requires_grad=True)
    out = F.scaled_dot_product_attention(q, q, q)
    np.testing.assert_allclose(out.data, 100.0)
    out.sum().backward()
    assert np.isfinite(q.grad.data).all()


def test_one_key_and_no_keys() -> None:
    q, k = tm.randn(1, 3, 4), tm.randn(1, 1, 4)
    np.testing.assert_allclose(
        F.scaled_dot_product_attention(q, k, k).data, np.broadcast_to(k.data, (1, 3, 4))
    )
    none = tm.zeros(1, 0, 4)
    assert not F.scaled_dot_product_attention(q, none, none).data.any()
    assert F.scaled_dot_product_attention(none, q, q).shape == (1, 0, 4)


def test_key_bias_has_no_gradient_under_dot_products() -> None:
    """It adds the same number to all scores of a query; the softmax does not see it."""
    mha = nn.MultiHeadAttention(8, 2).double()
    mha(tm.randn(1, 4, 8, dtype="float64")).sum().backward()
    np.testing.assert_allclose(mha.b_k.grad.data, 0, atol=1e-12)
