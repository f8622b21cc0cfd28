"""Masks as people bring them: of another float dtype, several at once, the other way round."""

from typing import Any

import numpy as np
import pytest

import tinygrad_mha as tm
from tinygrad_mha import nn
from tinygrad_mha.nn import masks


@pytest.mark.parametrize("attention", ["dot", "additive", "gaussian"])
@pytest.mark.parametrize("method", ["fused", "formula"])
@pytest.mark.parametrize("need_weights", [False, True])
@pytest.mark.parametrize("learned", [False, True])
def test_a_floating_mask_of_another_dtype_is_converted(
    attention: str, method: str, need_weights: bool, learned: bool
) -> None:
    """``np.where(seen, 0, -np.inf)`` is float64; results and gradients stay float32."""
    mha = nn.MultiHeadAttention(8, 2, attention=attention, method=method)
    x = tm.randn(2, 3, 8, requires_grad=True)
    numbers = np.where(np.tri(3, dtype=bool), 0.5, -np.inf)

    def gradients(mask: tm.Tensor) -> list[tm.Tensor]:
        found = mha(x, mask=mask, need_weights=need_weights)
        values = list(found) if need_weights else [found]
        (first,) = tm.autograd.grad(
            sum((v * v).sum() for v in values), [x], create_graph=True, allow_unused=True
        )
        assert first is not None
        wanted = [x, mask] if mask.requires_grad else [x]
        return [*values, first, *tm.autograd.grad((first * first).sum(), wanted)]  # type: ignore[list-item]

    double = gradients(tm.Tensor(numbers, learned))
    single = gradients(tm.Tensor(numbers.astype(np.float32), learned))
    for a, b in zip(double, single, strict=True):
        np.testing.assert_allclose(a.data, b.data, rtol=2e-5, atol=1e-5)
    assert {t.dtype for t in double[: len(double) - learned]} == {np.dtype(np.float32)}
    if learned:
        assert double[-1].dtype == np.float64


def test_three_axes_beside_four_stand_for_all_heads() -> None:
    """N = h: by NumPy's rules alone, the items of one would be read as the heads of the other."""
    rng = np.random.default_rng(1)
    ignored, padded = rng.random((2 * 2, 3, 3)) < 0.4, np.array([[False] * 3, [False, True, True]])
    a, b = masks.from_attn_mask(ignored, num_heads=2), masks.from_key_padding_mask(padded)
    expected = ~ignored.reshape(2, 2, 3, 3) & ~padded[:, None, None]
    for pair in ((a, b), (b, a)):
        np.testing.assert_array_equal(masks.both(*pair).data, expected)  # type: ignore[union-attr]
    added = tm.randn(2, 1, 3, requires_grad=True)
    mixed = masks.both(a, added)
    assert mixed is not None
    np.testing.assert_array_equal(np.isneginf(mixed.data), ignored.reshape(2, 2, 3, 3))


@pytest.mark.parametrize(
    ("a", "b", "says"),
    [
        (np.ones((2, 3), bool), np.ones((3, 2), bool), r"a has shape \(2, 3\) and b \(3, 2\)"),
        (
            np.ones((4, 2, 3, 3), bool),
            np.ones((3, 1, 3), bool),
            r"a has shape \(4, 2, 3, 3\) and b",
        ),
        (np.ones((2, 2), bool), np.ones((2, 2), int), r"b has dtype int64 .* mask\.bool\(\)"),
        (np.ones((2, 2)), [3, 4], r"b has dtype int64 and shape \(2,\).*masks\.padding"),
        ("causal", np.ones((2, 2), bool), "a is 'causal', expected a tensor"),
    ],
    ids=["sizes", "items", "integers", "lengths", "text"],
)
def test_both_says_what_does_not_fit(a: Any, b: Any, says: str) -> None:
    with pytest.raises((ValueError, TypeError), match=says):
        masks.both(a, b)


def test_both_reads_arrays() -> None:
    found = masks.both(np.tri(2, dtype=bool), [[True, True], [True, False]])
    assert found is not None
    np.testing.assert_array_equal(found.data, [[True, False], [True, False]])


@pytest.mark.parametrize("shape", [(3, 3), (2, 3, 3), (1, 2, 3, 3)])
def test_pytorchs_causal_mask_is_recognised(shape: tuple[int, ...]) -> None:
    mha, x = nn.MultiHeadAttention(8, 2), tm.randn(2, 3, 8)
    theirs = np.broadcast_to(np.triu(np.ones((3, 3), bool), 1), shape)
    with pytest.warns(UserWarning, match=r"True = ignore.*is_causal=True") as caught:
        mha(x, mask=theirs)
    assert [w.filename for w in caught] == [__file__]


@pytest.mark.parametrize(
    "mask",
    [
        np.tri(3, dtype=bool),
        np.triu(np.ones((3, 3), bool)),
        np.array([[False, True, True], [True, False, True], [True, True, False]]),
        np.array([[False, True, True]] * 3),
        np.zeros((3, 3), bool),
    ],
    ids=["causal", "from itself on", "others", "all but the first", "nothing"],
)
def test_other_masks_are_not_mistaken_for_it(mask: np.ndarray) -> None:
    nn.MultiHeadAttention(8, 2)(tm.randn(2, 3, 8), mask=mask)  # warnings are errors


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: masks.causal(-1), "causal: length is -1, expected at least 0"),
        (lambda: masks.causal(2.0), "causal: length is 2.0, expected a whole number"),
        (lambda: masks.causal(2, "3"), "causal: keys is '3', expected a whole number"),
        (lambda: masks.padding([1], 3.0), "padding: keys is 3.0, expected a whole number"),
        (lambda: masks.padding([1], [3]), r"padding: keys is \[3\], expected a whole number"),
    ],
)
def test_masks_are_made_of_sizes(make: Any, says: str) -> None:
    with pytest.raises((TypeError, ValueError), match=says):
        make()
