"""Masks: one polarity, converters from the other, and errors that say which is meant."""

from typing import Any

import numpy as np
import pytest

import tinygrad_mha as tm
from tinygrad_mha import nn
from tinygrad_mha.nn import masks


def test_key_padding_masks_are_turned() -> None:
    ignored = np.array([[False, True, True], [False, False, True]])
    mask = masks.from_key_padding_mask(ignored)
    assert mask.shape == (2, 1, 3)
    np.testing.assert_array_equal(mask.data[:, 0], ~ignored)
    np.testing.assert_array_equal(mask.data, masks.padding([1, 2], 3).data)
    assert masks.from_key_padding_mask(ignored[0]).shape == (1, 3)
    added = tm.randn(2, 3, requires_grad=True)
    masks.from_key_padding_mask(added).sum().backward()
    np.testing.assert_array_equal(added.grad.data, 1)


def test_attn_masks_are_turned_and_their_heads_found() -> None:
    ignored = np.random.default_rng(0).random((6, 4, 5)) < 0.5
    mask = masks.from_attn_mask(ignored, num_heads=3)
    np.testing.assert_array_equal(mask.data, ~ignored.reshape(2, 3, 4, 5))
    np.testing.assert_array_equal(masks.from_attn_mask(ignored[0]).data, ~ignored[0])
    assert masks.from_attn_mask(tm.zeros(4, 5)).dtype == np.float32


@pytest.mark.parametrize(
    ("convert", "shape"),
    [
        (masks.from_key_padding_mask, (2, 3, 4)),
        (masks.from_attn_mask, (2, 3, 4)),
        (masks.from_attn_mask, (3,)),
        (lambda m: masks.from_attn_mask(m, num_heads=4), (6, 3, 3)),
    ],
)
def test_converters_refuse_other_shapes(convert: Any, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="mask has shape"):
        convert(np.zeros(shape, bool))


def test_converters_refuse_integers() -> None:
    for convert in (masks.from_key_padding_mask, masks.from_attn_mask):
        with pytest.raises(TypeError, match=r"mask.bool\(\)"):
            convert(np.zeros((2, 3), np.int64))
    with pytest.raises(TypeError, match="lengths has dtype float64"):
        masks.padding([1.5], 3)


def test_both_of_two_masks() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.random((3, 4)) < 0.5, rng.random((2, 3, 4)) < 0.5
    f = rng.standard_normal((2, 3, 4))
    assert masks.both(None, None) is None
    assert masks.both(tm.Tensor(a), None).data is a
    np.testing.assert_array_equal(masks.both(tm.Tensor(a), tm.Tensor(b)).data, a & b)
    expected = np.where(a, f, -np.inf)
    for x, y in ((a, f), (f, a)):
        np.testing.assert_array_equal(masks.both(tm.Tensor(x), tm.Tensor(y)).data, expected)
    np.testing.assert_array_equal(masks.both(tm.Tensor(f), tm.Tensor(f)).data, 2 * f)


@pytest.mark.parametrize(
    ("shape", "hint"),
    [
        ((2, 5), r"key_padding_mask \(N, S\), in which True = ignore"),
        ((6, 4, 5), "from_attn_mask"),
        ((5, 4), "transposed"),
        ((3, 4, 5), r"mask\[None\]"),
        ((2,), "lengths"),
    ],
)
def test_a_wrong_shape_is_recognised(shape: tuple[int, ...], hint: str) -> None:
    mha = nn.MultiHeadAttention(6, 3)
    q, k = tm.randn(2, 4, 6), tm.randn(2, 5, 6)
    with pytest.raises(ValueError, match=hint):
        mha(q, k, mask=tm.Tensor(np.ones(shape, bool)))


def test_integers_are_no_mask() -> None:
    with pytest.raises(TypeError, match=r"mask.bool\(\)"):
        nn.MultiHeadAttention(6, 3)(tm.randn(2, 4, 6), mask=tm.Tensor(np.ones((4, 4), np.int64)))


def test_a_column_stands_for_every_key() -> None:
    """(N, L, 1) lets queries see all or nothing; appended keys are seen all the same."""
    mha = nn.MultiHeadAttention(6, 3, add_zero_attn=True)
    seen = np.array([[[True], [False]]])
    _, w = mha(tm.randn(1, 2, 6), mask=tm.Tensor(seen), need_weights=True)
    np.testing.assert_array_equal(w.data[0, :, 1], np.broadcast_to([0.0, 0.0, 1.0], (3, 3)))
