"""What attention says of input that it cannot mean, and of settings that there are not."""

import re
from typing import Any

import numpy as np
import pytest

import tinygrad_mha as tm
from tinygrad_mha import nn
from tinygrad_mha.engine.op import plain


def test_an_unknown_method_is_refused_also_later() -> None:
    mha = nn.MultiHeadAttention(8, 2)
    with pytest.raises(ValueError, match="method is 'flash', expected one of"):
        mha.method = "flash"
    assert mha.method == "fused"
    with pytest.raises(ValueError, match="method is 'flash', expected one of"):
        nn.MultiHeadAttention(8, 2, method="flash")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("key_padding_mask", r"masks\.from_key_padding_mask.*True = may attend"),
        ("attn_mask", r"masks\.from_attn_mask.*True = may attend"),
        ("average_attn_weights", r"weights\.mean\(1\)"),
        ("colour", "'colour'$"),
    ],
)
def test_keywords_of_pytorch_are_taught(name: str, says: str) -> None:
    with pytest.raises(TypeError, match=f"MultiHeadAttention has no argument '{name}'.*") as error:
        nn.MultiHeadAttention(8, 2)(tm.zeros(1, 3, 8), **{name: None})
    assert re.search(says, str(error.value))


def test_the_batch_is_always_first() -> None:
    with pytest.raises(TypeError, match=r"'batch_first'.*the batch is always first"):
        nn.MultiHeadAttention(8, 2, batch_first=True)


def test_a_floating_mask_of_zeros_and_ones_warns_where_it_is_given() -> None:
    block, x = nn.TransformerBlock(8, 2), tm.randn(1, 3, 8)
    with pytest.warns(UserWarning, match=r"added to the scores.*mask\.bool\(\)") as caught:
        block(x, mask=tm.ones(3, 3).tril())
    assert [w.filename for w in caught] == [__file__]


@pytest.mark.parametrize(
    "mask",
    [
        tm.ones(3, 3).bool(),
        tm.zeros(3, 3),
        tm.full((3, 3), 0.5),
        tm.tensor([[1.0, 0.0, 2.0]]),
        tm.tensor([[1.0, 0.0, -np.inf]]),
        tm.ones(3, 3, requires_grad=True),
    ],
    ids=str,
)
def test_other_masks_do_not_warn(mask: tm.Tensor) -> None:
    nn.MultiHeadAttention(8, 2)(tm.randn(1, 3, 8), mask=mask)  # a warning is an error here


@pytest.mark.parametrize("method", ["fused", "formula"])
@pytest.mark.parametrize("dtype", ["float64", "int64"])
def test_another_dtype_is_named_by_module_and_argument(method: str, dtype: str) -> None:
    mha = nn.MultiHeadAttention(8, 2, method=method)
    x, other = tm.zeros(1, 3, 8), tm.zeros(1, 3, 8, dtype=dtype)
    for name, inputs in (("query", (other,)), ("key", (x, other)), ("value", (x, x, other))):
        with pytest.raises(
            TypeError, match=rf"MultiHeadAttention: {name} has dtype {dtype}.*{name}\.float\(\)"
        ):
            mha(*inputs)
    with pytest.raises(TypeError, match=r"parameters are float64; say query\.double\(\)$"):
        mha.double()(x)


def test_a_wrong_width_is_not_blamed_on_dimensions() -> None:
    with pytest.raises(
        ValueError, match=r"\(2, 5, 16\), expected \(N, length, 8\) or \(length, 8\)$"
    ):
        nn.MultiHeadAttention(8, 2)(tm.zeros(2, 5, 16))


@pytest.mark.parametrize("position", [0, 1, 2])
def test_a_list_is_no_tensor(position: int) -> None:
    inputs: list[Any] = [tm.zeros(1, 3, 8)] * 3
    inputs[position] = [1.0, 2.0]
    name = ("query", "key", "value")[position]
    with pytest.raises(TypeError, match=f"MultiHeadAttention: {name} is a list, expected a Tensor"):
        nn.MultiHeadAttention(8, 2)(*inputs)
    with pytest.raises(TypeError, match="MultiHeadAttention: query is a list"):
        nn.MultiHeadAttention(8, 2)([1.0, 2.0])


# -- poolings -------------------------------------------------------------------------------

POOLINGS = {
    "dot": nn.DotProductAttention(),
    "additive": nn.AdditiveAttention(4, 4, 3),
    "gaussian": nn.GaussianAttention(),
}
each_pooling = pytest.mark.parametrize("pooling", POOLINGS.values(), ids=POOLINGS)


@each_pooling
@pytest.mark.parametrize("need_weights", [False, True])
@pytest.mark.parametrize("mask", [None, tm.ones(3, 5).bool(), tm.zeros(3, 5)], ids=["", "b", "f"])
@pytest.mark.parametrize(
    ("shapes", "words"),
    [
        ([(2, 3, 4), (3, 5, 4), (3, 5, 4)], r"batch axes, \(2,\), \(3,\) and \(3,\), do not"),
        ([(2, 3, 4), (2, 5, 4), (3, 5, 4)], r"batch axes, \(2,\), \(2,\) and \(3,\), do not"),
        ([(2, 3, 4), (2, 5, 4), (2, 6, 4)], "as many values as keys"),
        ([(2, 3, 4), (4,), (4,)], r"key \(4,\) and value \(4,\); expected \(\.\.\., L, p\)"),
    ],
)
def test_what_does_not_fit_together_is_shown_in_the_users_order(
    pooling: nn.AttentionPooling, shapes: Any, words: str, mask: Any, need_weights: bool
) -> None:
    q, k, v = (tm.ones(*shape) for shape in shapes)
    with pytest.raises(ValueError, match=r"query has shape \(2, 3, 4\), key .* and value") as error:
        pooling(q, k, v, mask=mask, need_weights=need_weights)
    assert re.search(words, str(error.value))


@each_pooling
def test_a_list_is_named(pooling: nn.AttentionPooling) -> None:
    x = tm.ones(1, 4)
    with pytest.raises(TypeError, match=r"key is a list, expected a tensor; tm\.tensor makes one"):
        pooling(x, [[1.0, 2.0, 3.0, 4.0]], x)


@each_pooling
@pytest.mark.parametrize("need_weights", [False, True])
@pytest.mark.parametrize("dtype", ["bool", "float32"])
def test_arrays_are_taken_as_tensors_are(
    pooling: nn.AttentionPooling, dtype: str, need_weights: bool
) -> None:
    x, mask = np.ones((2, 3, 4), np.float32), np.tri(3, dtype=dtype)
    got = pooling(x, x, x, mask=mask, need_weights=need_weights)
    expected = pooling(*map(tm.tensor, (x, x, x)), mask=tm.tensor(mask), need_weights=need_weights)
    for a, b in zip(*((y if need_weights else [y]) for y in (got, expected)), strict=True):
        np.testing.assert_array_equal(plain(a), plain(b))


@pytest.mark.parametrize("score", [tm.nn.functional.dot_scores, tm.nn.functional.additive_scores])
def test_scores_of_batches_that_do_not_fit(score: Any) -> None:
    last: Any = (1.0,) if score is tm.nn.functional.dot_scores else (tm.ones(4),)
    words = r"query has shape \(2, 3, 4\) and key \(3, 5, 4\); their batch axes"
    with pytest.raises(ValueError, match=words):
        score(tm.ones(2, 3, 4), tm.ones(3, 5, 4), *last)


def test_weights_of_what_has_no_keys() -> None:
    with pytest.raises(ValueError, match=r"scores have shape \(4,\), expected \(\.\.\., queries"):
        tm.nn.functional.attention_weights(tm.ones(4))
