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


# -- what people pass in the place of something else -----------------------------------------


class Mine(nn.AttentionPooling):
    """A pooling whose `scores` and whole results are what a test says."""

    def __init__(self, found: Any) -> None:
        super().__init__()
        self.found = found

    def scores(self, query: tm.Tensor, key: tm.Tensor) -> Any:
        return self.found(query, key)


class Whole(nn.Module):
    """A pooling of no base class."""

    def __init__(self, found: Any) -> None:
        super().__init__()
        self.found = found

    def forward(self, q: Any, k: Any, v: Any, *, mask: Any, is_causal: bool, need_weights: bool):  # type: ignore[no-untyped-def]
        return self.found(q, k, v)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"embed_dim": 8.0}, "embed_dim is 8.0, expected a whole number"),
        ({"num_heads": "2"}, "num_heads is '2', expected a whole number"),
        ({"num_heads": True}, "num_heads is True, expected a whole number"),
        ({"kdim": 0}, "kdim is 0, expected at least 1"),
        ({"vdim": -1}, "vdim is -1"),
        ({"out_dim": 0}, "out_dim is 0"),
        ({"qk_head_dim": 0}, "qk_head_dim is 0"),
        ({"v_head_dim": -3}, "v_head_dim is -3"),
        ({"qk_head_dim": (3,), "attention": "additive"}, r"qk_head_dim is \(3,\), expected one"),
        ({"qk_head_dim": (3, 0), "attention": "additive"}, r"qk_head_dim\[1\] is 0"),
        ({"dropout": "0.1"}, "dropout is '0.1', expected a probability"),
        ({"scale": "1"}, "scale is '1', expected a number"),
        ({"scale": float("nan")}, "scale is nan, expected a finite number"),
        ({"attention": nn.AdditiveAttention}, "an instance"),
        ({"attention": nn.GaussianAttention(), "dropout": 0.5}, "give it to yours, GaussianAtt"),
        ({"rotary": True}, r"rotary is True, expected RotaryPositions\(4\)"),
        ({"rotary": nn.RotaryPositions(6)}, "rotary turns heads of width 6, but .* are 4 wide"),
    ],
    ids=str,
)
def test_options_that_cannot_be_are_named(options: dict[str, Any], says: str) -> None:
    sizes = {"embed_dim": 8, "num_heads": 2, **options}
    with pytest.raises((TypeError, ValueError), match=says):
        nn.MultiHeadAttention(sizes.pop("embed_dim"), sizes.pop("num_heads"), **sizes)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        ({"is_causal": tm.ones(3, 3).bool()}, r"is_causal is a Tensor, .* goes into mask="),
        ({"is_causal": "yes"}, "is_causal is a str, expected True or False"),
        ({"cache": []}, "cache is a list, expected a KeyValueCache"),
        ({"mask": "causal"}, "mask is 'causal', expected a tensor: bool with True = may attend"),
        ({"mask": tm.tensor([3, 2])}, r"mask has dtype int64 and shape \(2,\).*masks\.padding"),
        ({"head_mask": "all"}, "head_mask is 'all', expected a tensor"),
    ],
    ids=str,
)
@pytest.mark.parametrize("method", ["fused", "formula"])
def test_arguments_that_cannot_be_are_named(call: dict[str, Any], says: str, method: str) -> None:
    with pytest.raises(TypeError, match=f"MultiHeadAttention: {says}"):
        nn.MultiHeadAttention(8, 2, method=method)(tm.randn(2, 3, 8), **call)


@pytest.mark.parametrize("method", ["fused", "formula"])
@pytest.mark.parametrize(
    ("pooling", "says"),
    [
        (Mine(lambda q, k: k @ q.mT), r"Mine\.scores returned .* one row per query"),
        (
            Mine(lambda q, k: (q @ k.mT).sum(-1)),
            r"Mine\.scores returned .*expected \(\.\.\., L, S\)",
        ),
        (
            Whole(lambda q, k, v: q),
            r"returned a Tensor under need_weights=True.*\(output, weights\)",
        ),
        (Whole(lambda q, k, v: (q[..., :1], q)), r"Whole returned a tensor of shape .*, expected"),
    ],
    ids=["transposed", "summed", "no weights", "width"],
)
def test_what_a_pooling_of_ones_own_returns_is_checked(
    pooling: nn.Module, says: str, method: str
) -> None:
    mha = nn.MultiHeadAttention(8, 2, attention=pooling, method=method)
    with pytest.raises((TypeError, ValueError), match=says):
        mha(tm.randn(2, 5, 8), tm.randn(2, 4, 8), need_weights=True)


def test_a_subclass_of_dot_product_attention_scores_as_it_says() -> None:
    class Negative(nn.DotProductAttention):
        def scores(self, query: tm.Tensor, key: tm.Tensor) -> tm.Tensor:
            return -super().scores(query, key)

    q, k = tm.randn(2, 3, 4), tm.randn(2, 5, 4)
    out, weights = Negative()(q, k, k, need_weights=True)
    expected = nn.DotProductAttention()(q, -k, k)
    np.testing.assert_allclose(out.data, expected.data, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose((weights @ k).data, expected.data, rtol=1e-5, atol=1e-6)


_x, _layer = tm.ones(1, 2, 8), {"dim_feedforward": 4}


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: nn.MultiHeadAttention(8, 2, 0.1), "takes its other arguments by name.*float"),
        (lambda: nn.MultiHeadAttention(8, 2)(_x, _x, _x, _x), "by name, and was given Tensor"),
        (lambda: nn.DotProductAttention()(_x, _x, _x, [1]), r"given list .*masks\.padding"),
        (lambda: nn.GaussianAttention()(_x, _x, _x, [1]), r"given list .*masks\.padding"),
        (
            lambda: nn.DotProductAttention()(_x, _x, _x, attn_mask=None),
            r"DotProductAttention has no argument 'attn_mask'; say mask=",
        ),
        (
            lambda: nn.GaussianAttention()(_x, _x, _x, valid_lens=[1]),
            r"GaussianAttention has no argument 'valid_lens'; say mask=tm\.nn\.masks\.padding",
        ),
        (
            lambda: nn.TransformerEncoderLayer(8, 2, batch_first=True),
            "TransformerEncoderLayer has no argument 'batch_first'; leave it out",
        ),
        (
            lambda: nn.TransformerEncoderLayer(8, 2, **_layer)(_x, src_key_padding_mask=None),
            r"'src_key_padding_mask'; say mask=tm\.nn\.masks\.from_key_padding_mask",
        ),
        (
            lambda: nn.TransformerDecoderLayer(8, 2, **_layer)(
                _x, _x, memory_key_padding_mask=None
            ),
            r"'memory_key_padding_mask'; say memory_mask=tm\.nn\.masks\.from_key_padding_mask",
        ),
    ],
)
def test_those_who_know_other_names_are_told_ours(call: Any, says: str) -> None:
    with pytest.raises(TypeError, match=says):
        call()


@pytest.mark.parametrize("layer", [nn.TransformerEncoderLayer, nn.TransformerBlock])
def test_a_layer_leaves_the_dropout_of_weights_to_a_pooling_of_ones_own(layer: Any) -> None:
    made = layer(8, 2, dropout=0.5, attention=nn.GaussianAttention(0.25))
    part = made.self_attn if layer is nn.TransformerEncoderLayer else made.attention
    assert part.pooling.dropout == 0.25


def test_a_cache_takes_all_heads_side_by_side() -> None:
    with pytest.raises(ValueError, match=r"keys have shape \(2, 2, 3, 4\), expected \(N, T, width"):
        nn.KeyValueCache().append(tm.zeros(2, 2, 3, 4), tm.zeros(2, 2, 3, 4))
