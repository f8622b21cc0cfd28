"""Every kernel against its NumPy twin, on the shapes and numbers where kernels go wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_mha import kernels
from tinygrad_mha.kernels import reference

DTYPES = [np.float32, np.float64]
#: Relative to the largest number of the result.
TOLERANCE = {np.float32: 2e-6, np.float64: 1e-13}
WIDTHS = [1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100, 127, 129, 300]


def close(found: Any, expected: Any, dtype: Any) -> None:
    """Compare in the precision of `dtype`; nan and infinities must stand in the same places."""
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.shape == expected.shape
    assert found.dtype == dtype
    finite = np.abs(expected[np.isfinite(expected)])
    scale = max(1.0, float(finite.max())) if finite.size else 1.0
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE[dtype] * scale)


def layouts(shape: tuple[int, ...], rng: np.random.Generator, dtype: Any) -> list[np.ndarray]:
    """The same shape in row order, in column order, with gaps, and read-only."""
    plain = rng.standard_normal(shape).astype(dtype)
    gaps = rng.standard_normal(tuple(2 * n for n in shape)).astype(dtype)
    fixed = rng.standard_normal(shape).astype(dtype)
    fixed.flags.writeable = False
    return [
        plain,
        np.asfortranarray(plain),
        gaps[tuple(slice(None, None, 2) for _ in shape)],
        plain[::-1],
        fixed,
    ]


# -- matrix product -----------------------------------------------------------------------

SIZES = [
    (1, 1, 1), (2, 3, 4), (5, 7, 17), (6, 16, 64), (7, 1, 33), (13, 130, 65), (1, 64, 100),
    (33, 9, 1), (12, 128, 48), (97, 257, 70), (64, 300, 130), (100, 530, 70), (9, 40, 33),
]  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_matmul_of_any_strides(size: tuple[int, int, int], dtype: Any, rng: Any) -> None:
    n, k, m = size
    bias = rng.standard_normal(m).astype(dtype)
    for a in layouts((n, k), rng, dtype):
        for b in layouts((k, m), rng, dtype):
            exact = a.astype(np.float64) @ b.astype(np.float64)
            close(kernels.matmul(a, b), exact, dtype)
            close(kernels.matmul(a, b, bias=bias), exact + bias, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("a", "b"),
    [
        ((3, 4, 5), (3, 5, 6)),
        ((3, 4, 5), (5, 6)),
        ((4, 5), (3, 5, 6)),
        ((2, 1, 4, 5), (3, 5, 6)),
        ((2, 3, 1, 5), (1, 3, 5, 1)),
        ((5,), (5,)),
        ((5,), (2, 5, 3)),
        ((2, 4, 5), (5,)),
        ((2, 0, 5), (5, 3)),
        ((2, 3, 0), (0, 4)),
        ((0, 3, 4), (4, 2)),
    ],
    ids=str,
)
def test_matmul_broadcasts_as_numpy_does(a: Any, b: Any, dtype: Any, rng: Any) -> None:
    x, y = rng.standard_normal(a).astype(dtype), rng.standard_normal(b).astype(dtype)
    close(kernels.matmul(x, y), x.astype(np.float64) @ y.astype(np.float64), dtype)


def test_matmul_of_heads_needs_no_copy(rng: Any) -> None:
    # (N, T, h·p) seen as (N, h, T, p): what split_heads gives
    q = rng.standard_normal((2, 5, 3, 4)).astype(np.float32).swapaxes(1, 2)
    k = rng.standard_normal((2, 7, 3, 4)).astype(np.float32).swapaxes(1, 2)
    scores = kernels.matmul(q, k.swapaxes(-1, -2))
    close(scores, q.astype(float) @ k.astype(float).swapaxes(-1, -2), np.float32)


@given(st.integers(0, 40), st.integers(0, 140), st.integers(0, 140), st.booleans(), st.booleans())
def test_matmul_of_any_shape(n: int, k: int, m: int, turn_a: bool, turn_b: bool) -> None:
    rng = np.random.default_rng([n, k, m])
    a = rng.standard_normal((k, n) if turn_a else (n, k)).astype(np.float32)
    b = rng.standard_normal((m, k) if turn_b else (k, m)).astype(np.float32)
    a, b = a.T if turn_a else a, b.T if turn_b else b
    close(kernels.matmul(a, b), a.astype(float) @ b.astype(float), np.float32)


def test_matmul_does_not_touch_what_is_beside_its_operands(rng: Any) -> None:
    frame = np.full((20, 40), np.nan, np.float32)
    a, b = frame[3:8, 5:14], frame[9:18, 7:24]
    a[...], b[...] = rng.standard_normal(a.shape), rng.standard_normal(b.shape)
    close(kernels.matmul(a, b), a.astype(float) @ b.astype(float), np.float32)
    assert np.isnan(frame).sum() == frame.size - a.size - b.size


@pytest.mark.parametrize(
    ("a", "b", "bias", "error", "words"),
    [
        (np.ones((2, 3)), np.ones((4, 5)), None, ValueError, r"\(2, 3\) and \(4, 5\)"),
        (np.ones((2, 2, 3)), np.ones((3, 3, 1)), None, ValueError, "do not broadcast"),
        (np.ones(()), np.ones((3, 3)), None, ValueError, "at least 1 dimension"),
        (np.ones((2, 3), np.float32), np.ones((3, 2)), None, TypeError, "float32 and b is float64"),
        (np.ones((2, 3)), np.ones((3, 2)), np.ones(3), ValueError, r"bias has shape \(3,\)"),
    ],
)
def test_matmul_says_what_does_not_fit(
    a: Any, b: Any, bias: Any, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        kernels.matmul(a, b, bias=bias)


# -- affine maps ----------------------------------------------------------------------------

#: (rows, in, out): a small layer of every kind, nothing, and what is too large for one call
LAYERS = [
    (32, 2, 16), (32, 16, 1), (7, 5, 3), (1, 70, 33), (300, 17, 2), (65, 8, 300), (3, 600, 2),
    (0, 3, 2), (3, 0, 2), (3, 2, 0), (70, 200, 170), (500, 100, 3),
]  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", LAYERS, ids=str)
def test_linear_and_its_gradients(size: tuple[int, int, int], dtype: Any, rng: Any) -> None:
    rows, ins, outs = size
    bias = rng.standard_normal(outs).astype(dtype)
    for x, weight, dy in zip(
        *(layouts(shape, rng, dtype) for shape in ((rows, ins), (outs, ins), (rows, outs))),
        strict=True,
    ):
        exact = [a.astype(np.float64) for a in (x, weight, dy)]
        plain = exact[0] @ exact[1].T
        close(kernels.linear(x, weight), plain, dtype)
        close(kernels.linear(x, weight, bias), plain + bias, dtype)
        close(kernels.linear(x[None], weight, bias[::-1]), plain[None] + bias[::-1], dtype)
        grown = kernels.linear_gradients(dy, x, weight)
        for mine, twin in zip(
            grown, reference.linear_gradients(exact[2], *exact[:2], (0, 1, 2)), strict=True
        ):
            close(mine, twin, dtype)


@pytest.mark.parametrize("wanted", [(), (0,), (1,), (2,), (0, 2), (1, 2)])
def test_linear_gradients_are_those_asked_for(wanted: tuple[int, ...], rng: Any) -> None:
    dy, x, weight = (rng.standard_normal(s) for s in ((2, 9, 5), (2, 9, 4), (5, 4)))
    every = kernels.linear_gradients(dy, x, weight)
    some = kernels.linear_gradients(dy, x, weight, wanted)
    for i, (one, found) in enumerate(zip(every, some, strict=True)):
        if i in wanted:
            np.testing.assert_array_equal(one, found)
        else:
            assert found is None


@pytest.mark.parametrize(
    ("x", "weight", "bias", "error", "words"),
    [
        (np.ones((2, 3)), np.ones((3, 2)), None, ValueError, r"\(2, 3\), must match .* \(3, 2\)"),
        (np.ones(()), np.ones((3, 2)), None, ValueError, "last axis of x"),
        (np.ones((2, 3)), np.ones((5, 3)), np.ones(3), ValueError, r"bias has shape \(3,\)"),
        (
            np.ones((2, 3), np.float32),
            np.ones((5, 3)),
            None,
            TypeError,
            "x is float32 and weight is float64",
        ),
    ],
)
def test_linear_says_what_does_not_fit(
    x: Any, weight: Any, bias: Any, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        kernels.linear(x, weight, bias)


def test_strides_that_are_not_whole_numbers_of_elements(rng: Any) -> None:
    packed = np.zeros(9, [("flag", "i1"), ("row", "f4", 7)])
    packed["row"] = rng.standard_normal((9, 7))
    x, weight = packed["row"], packed["row"][:4]
    exact = x.astype(float) @ weight.astype(float).T
    close(kernels.matmul(x, weight.T), exact, np.float32)
    close(kernels.linear(x, weight), exact, np.float32)
    dx, _, _ = kernels.linear_gradients(x[:, :4], x, weight)
    close(dx, x[:, :4].astype(float) @ weight.astype(float), np.float32)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rows", [0, 1, 3, 64, 65, 200])
@pytest.mark.parametrize("width", [0, 1, 16, 37])
def test_column_sums(width: int, rows: int, dtype: Any, rng: Any) -> None:
    for x in layouts((rows, width), rng, dtype):
        close(kernels.column_sums(x), x.astype(np.float64).sum(0), dtype)


def test_errors_of_column_sums_do_not_run_on(rng: Any) -> None:
    x = rng.random((100_000, 3)).astype(np.float32)
    if kernels.backend() == "numba":
        error = np.abs(kernels.column_sums(x) / x.astype(float).sum(0) - 1)
        assert error.max() < 1e-6  # one after the other it is 1e-5


# -- rows -----------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["numba", "numpy"])
def test_cross_entropy_at_the_edges(backend: str) -> None:
    inf = np.inf
    x = np.array([[0, inf, 0], [-inf, -inf, 0], [-inf, -inf, -inf], [NAN, 0, 0]], np.float32)
    with kernels.use_backend(backend), np.errstate(invalid="ignore"):
        losses, _, counted = kernels.cross_entropy(x, np.array([0, 2, 1, 7]), 7)
        np.testing.assert_array_equal(losses, np.array([NAN, 0, NAN, 0]))
        assert counted == 3
        for wrong in (-1, 3):
            with pytest.raises(IndexError, match=f"target {wrong} is out of range for 3 classes"):
                kernels.cross_entropy(x, np.array([0, 7, wrong, 1]), 7)


@pytest.mark.parametrize("backend", ["numba", "numpy"])
@pytest.mark.parametrize("wrong", [-1, 4, 10**7])
def test_targets_that_have_changed_since_are_refused(wrong: int, backend: str) -> None:
    x, target = np.zeros((3, 4), np.float32), np.arange(3)
    with kernels.use_backend(backend):
        _, lse, _ = kernels.cross_entropy(x, target)
        target[2] = wrong
        with pytest.raises(IndexError, match=f"target {wrong} is out of range for 4 classes"):
            kernels.cross_entropy_backward(np.ones(3, np.float32), x, lse, target)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("width", WIDTHS)
def test_rows_of_any_width(width: int, dtype: Any, rng: Any) -> None:
    x = (3 * rng.standard_normal((5, width))).astype(dtype)
    dy = rng.standard_normal((5, width)).astype(dtype)
    weight, bias = rng.standard_normal((2, width)).astype(dtype)
    target = rng.integers(0, width, 5)
    mask = rng.random((5, width)) < 0.6
    exact = x.astype(np.float64)
    y = kernels.softmax(x)
    close(y, reference.softmax(exact), dtype)
    close(kernels.softmax(x, mask=mask), reference.softmax(exact, -1, mask), dtype)
    close(kernels.softmax_backward(dy, y), reference.softmax_backward(dy, y.astype(float)), dtype)
    z = kernels.log_softmax(x)
    close(z, reference.log_softmax(exact), dtype)
    slopes = reference.log_softmax_backward(dy.astype(float), z.astype(float))
    close(kernels.log_softmax_backward(dy, z), slopes, dtype)
    close(kernels.logsumexp(x), reference.logsumexp(exact), dtype)
    target[2] = -100
    losses, lse, counted = kernels.cross_entropy(x, target)
    assert counted == 4
    close(losses, reference.cross_entropy(exact, target, -100)[0], dtype)
    d = np.ascontiguousarray(dy[:, 0])
    dx = kernels.cross_entropy_backward(d, x, lse, target)
    close(dx, reference.cross_entropy_backward(d, exact, lse, target, -100)[0], dtype)
    assert not dx[2].any()
    assert losses[2] == 0
    if width > 1:  # of one number the variance is 0, and its inverse all rounding
        got = kernels.layer_norm(x, weight, bias, 1e-5)
        for mine, true in zip(got, reference.layer_norm(exact, weight, bias, 1e-5), strict=True):
            close(mine, true, dtype)
        grown = kernels.layer_norm_backward(dy, x, weight, got[1], got[2])
        mu, rstd = reference.layer_norm(exact, weight, bias, 1e-5)[1:]
        for mine, true in zip(
            grown, reference.layer_norm_backward(dy, exact, weight, mu, rstd), strict=True
        ):
            np.testing.assert_allclose(mine, true, rtol=0, atol=20 * TOLERANCE[dtype] * 10)


@pytest.mark.parametrize("axis", [0, 1, 2, -1, -3])
def test_softmax_over_any_axis(axis: int, rng: Any) -> None:
    x = rng.standard_normal((4, 3, 5))
    close(kernels.softmax(x, axis), reference.softmax(x, axis), np.float64)


@pytest.mark.parametrize("shape", [(6, 5), (1, 5), (6, 1), (1, 1), (5,), (2, 3, 6, 5), (3, 1, 5)])
def test_masks_broadcast(shape: tuple[int, ...], rng: Any) -> None:
    x = rng.standard_normal((2, 3, 6, 5))
    mask = rng.random(shape) < 0.5
    y = kernels.softmax(x, mask=mask)
    close(y, reference.softmax(x, -1, mask), np.float64)
    assert not y[~np.broadcast_to(mask, x.shape)].any()


INF, NAN = np.inf, np.nan


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("place", [0, 15, 16, 36])
@pytest.mark.parametrize("value", [INF, -INF, NAN, 3e38, -3e38, 1e-40])
def test_extreme_numbers_in_any_place_of_a_row(value: float, place: int, dtype: Any) -> None:
    x = np.linspace(-3, 3, 2 * 37).astype(dtype).reshape(2, 37)
    x[0, place] = value
    with np.errstate(all="ignore"):
        for name in ("softmax", "log_softmax", "logsumexp"):
            expected = getattr(reference, name)(x.astype(np.float64))
            found = getattr(kernels, name)(x)
            assert np.array_equal(np.isnan(found), np.isnan(expected)), name
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_a_row_of_nothing() -> None:
    x = np.full((1, 20), -INF, np.float32)
    assert np.isnan(kernels.softmax(x)).all()
    assert kernels.logsumexp(x) == -INF
    nothing = kernels.softmax(np.ones((2, 20), np.float32), mask=np.zeros((2, 20), bool))
    assert not nothing.any()


def test_what_is_masked_is_not_looked_at() -> None:
    x = np.array([[1.0, NAN, 2.0, INF]], np.float32)
    y = kernels.softmax(x, mask=np.array([[True, False, True, False]]))
    np.testing.assert_allclose(y, [[1 / (1 + np.e), 0, np.e / (1 + np.e), 0]], rtol=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("width", [0, 1, 7, 16, 33, 130])
def test_embedding_backward_adds_in_order(width: int, dtype: Any, rng: Any) -> None:
    index = rng.integers(-4, 4, (6, 5))
    dy = rng.standard_normal((6, 5, width)).astype(dtype)
    found = kernels.embedding_backward(dy, index, 4)
    np.testing.assert_array_equal(found, reference.embedding_backward(dy, index, 4))
    turned = kernels.embedding_backward(dy[::-1], index[::-1].astype(np.int32), 4)
    close(turned, found, dtype)
    with pytest.raises(IndexError, match="index 4 is out of bounds"):
        kernels.embedding_backward(dy, index + (index == 3), 4)


# -- attention ------------------------------------------------------------------------------

#: (batch of q, of k, of v), L, S, p, p_v
ATTENTIONS: list[tuple[Any, int, int, int, int]] = [
    (((), (), ()), 1, 1, 1, 1),
    (((2,), (2,), (2,)), 5, 7, 4, 3),
    (((2, 3), (3,), (2, 1)), 96, 384, 16, 16),
    (((), (2,), (1,)), 97, 385, 17, 33),
    (((2,), (2,), (2,)), 110, 801, 32, 64),
    (((1,), (1,), (1,)), 300, 50, 8, 40),
]


def restrictions(batch: Any, length: int, keys: int, rng: Any, dtype: Any) -> list[dict[str, Any]]:
    """Every way to say which keys are seen, some of them by broadcasting; some rows see none."""
    some = rng.random((*batch, length, keys)) < 0.5
    some[..., 0, :] = False
    bias = rng.standard_normal((length, keys)).astype(dtype)
    bias[rng.random(bias.shape) < 0.3] = -np.inf
    bias[-1] = -np.inf
    return [
        {},
        {"causal": True},
        {"mask": some},
        {"mask": some.swapaxes(-1, -2)[..., ::-1, :].swapaxes(-1, -2)},
        {"mask": some[..., :1, :], "causal": True},
        {"mask": some.any(-1, keepdims=True), "bias": bias},
        {"bias": bias[::-1], "causal": True},
        {"bias": bias[:, :1]},
    ]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", ATTENTIONS, ids=str)
def test_attention_and_its_gradients(case: Any, dtype: Any, rng: Any) -> None:
    batches, length, keys, width, deep = case
    batch = np.broadcast_shapes(*batches)
    sizes = zip(batches, ((length, width), (keys, width), (keys, deep)), strict=True)
    q, k, v = (rng.standard_normal((*b, *size)).astype(dtype) for b, size in sizes)
    # heads split off a wider axis: not consecutive
    v = np.repeat(v, 2, -1)[..., ::2]
    dout = rng.standard_normal((*batch, length, deep)).astype(dtype)
    for limits in restrictions(np.broadcast_shapes(*batches[:2]), length, keys, rng, dtype):
        true = [x.astype(np.float64) for x in (q, k, v, dout)]
        exact = {**limits, "scale": 0.3}
        if "bias" in exact:
            exact["bias"] = exact["bias"].astype(np.float64)
        out, lse = kernels.attention(q, k, v, **limits, scale=0.3)
        with kernels.use_backend("numpy"):
            true_out, true_lse = kernels.attention(*true[:3], **exact)
            wanted = kernels.attention_backward(true[3], *true[:3], true_out, true_lse, **exact)
            true_weights = kernels.attention_weights(*true[:2], **exact)
        close(out, true_out, dtype)
        close(lse, true_lse, dtype)
        assert not out[np.isneginf(true_lse)].any()
        weights = kernels.attention_weights(q, k, **limits, scale=0.3)
        close(weights, true_weights, dtype)
        assert np.array_equal(weights == 0, true_weights == 0)
        grown = kernels.attention_backward(dout, q, k, v, out, lse, **limits, scale=0.3)
        again = kernels.attention_backward(dout, q, k, v, out, lse, **limits, scale=0.3)
        for mine, other, twin in zip(grown, again, wanted, strict=True):
            close(mine, twin, dtype)
            assert np.array_equal(mine, other)
        assert not grown[0][np.isneginf(true_lse)].any()


@pytest.mark.parametrize("shape", [(2, 0, 3, 4), (2, 3, 0, 4), (0, 3, 5, 4)])
def test_attention_of_nothing(shape: Any) -> None:
    batch, length, keys, width = shape
    q, k = np.ones((batch, length, width)), np.ones((batch, keys, width))
    out, lse = kernels.attention(q, k, k, scale=1.0)
    assert out.shape == (batch, length, width)
    assert not out.any()
    assert kernels.attention_weights(q, k, scale=1.0).shape == (batch, length, keys)
    grown = kernels.attention_backward(out, q, k, k, out, lse, scale=1.0)
    assert [d.shape for d in grown] == [q.shape, k.shape, k.shape]


@pytest.mark.parametrize("value", [INF, NAN])
def test_attention_passes_on_what_is_not_a_number(value: float) -> None:
    q = np.ones((2, 20, 4), np.float32)
    q[0, 3, 1] = value
    keys = np.ones((2, 30, 4), np.float32)
    out, _ = kernels.attention(q, keys, keys, scale=1.0)
    weights = kernels.attention_weights(q, keys, scale=1.0)
    assert np.isnan(weights[0, 3]).all()
    assert not np.isnan(np.delete(weights[0], 3, 0)).any()
    assert np.isnan(out[0, 3]).all()
    assert np.isfinite(np.delete(out[0], 3, 0)).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_attention_where_strides_are_not_whole_numbers_of_elements(dtype: Any, rng: Any) -> None:
    packed = np.zeros(6, [("row", dtype, 4), ("bias", dtype, 6), ("flag", "u1")])
    packed["row"], packed["bias"] = rng.standard_normal((6, 4)), rng.standard_normal((6, 6))
    x, bias = packed["row"], packed["bias"]
    out, lse = kernels.attention(x, x, x, bias=bias, scale=0.5)
    grown = kernels.attention_backward(x, x, x, x, out, lse, bias=bias, scale=0.5)
    y = x.copy()
    np.testing.assert_array_equal(out, kernels.attention(y, y, y, bias=bias.copy(), scale=0.5)[0])
    for mine, true in zip(
        grown,
        kernels.attention_backward(y, y, y, y, out, lse, bias=bias.copy(), scale=0.5),
        strict=True,
    ):
        np.testing.assert_array_equal(mine, true)


ONES = np.ones((2, 3))


@pytest.mark.parametrize(
    ("inputs", "limits", "error", "words"),
    [
        ((ONES, ONES[:, :2], ONES), {}, ValueError, "equally wide"),
        ((ONES, ONES, ONES[:1]), {}, ValueError, "as many values as keys"),
        ((ONES[0], ONES, ONES), {}, ValueError, "attention needs"),
        ((np.ones((2, 2, 3)), np.ones((3, 2, 3)), ONES), {}, ValueError, "do not broadcast"),
        (
            (ONES, ONES, ONES),
            {"mask": np.ones((3, 2), bool)},
            ValueError,
            r"mask has shape \(3, 2\)",
        ),
        ((ONES, ONES, ONES), {"mask": np.ones((2, 2))}, TypeError, "mask is float64"),
        ((ONES, ONES, ONES), {"bias": np.ones((1, 2, 2))}, ValueError, "bias has shape"),
        ((ONES, ONES.astype(np.float32), ONES), {}, TypeError, "k is float32"),
    ],
)
def test_attention_says_what_does_not_fit(
    inputs: Any, limits: Any, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        kernels.attention(*inputs, **limits, scale=1.0)


# -- elements -------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("approximate", [False, True])
def test_gelu_from_end_to_end(approximate: bool, dtype: Any) -> None:
    x = np.linspace(-30, 30, 2003).astype(dtype)
    exact = x.astype(np.float64)
    close(kernels.gelu(x, approximate), reference.gelu(exact, approximate), dtype)
    slope = kernels.gelu_backward(np.ones_like(x), x, approximate)
    close(slope, reference.gelu_backward(np.ones_like(exact), exact, approximate), dtype)
    assert np.isnan(kernels.gelu(np.array([NAN], dtype), approximate)).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["erf", "sigmoid", "silu"])
def test_functions_from_end_to_end(name: str, dtype: Any) -> None:
    x = np.concatenate([np.linspace(-100, 100, 4001), np.linspace(-1, 1, 4001)]).astype(dtype)
    x = np.append(x, np.array([0, 1e-30, -1e-30, INF, NAN], dtype))
    mine, twin = getattr(kernels, name), getattr(reference, name)
    exact = twin(x.astype(np.float64))
    close(mine(x[:-1]), exact[:-1], dtype)
    assert np.isnan(mine(x[-1:])).all()
    for size in (0, 1, 15, 16, 17, 63, 64, 65, 200):
        close(mine(x[2000 : 2000 + size]), exact[2000 : 2000 + size], dtype)
    grid = x[:4000].reshape(40, 100).T  # not in row order
    close(mine(grid), twin(grid.astype(np.float64)), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["gelu_backward", "silu_backward"])
def test_slopes_times_gradients(name: str, dtype: Any, rng: Any) -> None:
    dy, x = rng.standard_normal((2, 7, 33)).astype(dtype)
    for a, b in ((dy, x), (dy.T, x.T), (dy[::2], x[::2]), (dy[:1, :3], x[:1, :3])):
        exact = getattr(reference, name)(a.astype(np.float64), b.astype(np.float64))
        close(getattr(kernels, name)(a, b), exact, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_exponential_inside_softmax_has_the_digits(dtype: Any) -> None:
    # softmax of (0, x) is 1 / (1 + eˣ): the vectorised exponential, over its whole range
    x = np.linspace(-80, 80, 4001).astype(dtype)
    rows = np.stack([np.zeros_like(x), x], -1)
    with np.errstate(over="ignore"):
        exact = 1 / (1 + np.exp(x.astype(np.float64)))
    found = kernels.softmax(rows)[:, 0]
    relative = np.abs(found - exact) / exact
    assert relative.max() < (5e-7 if dtype == np.float32 else 2e-15)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 300_000])
def test_relu_backward_chooses_as_its_twin(size: int, dtype: Any, rng: Any) -> None:
    dy, y = rng.standard_normal((2, size)).astype(dtype)
    y[::3] = np.resize([0.0, -0.0, NAN, np.inf, np.nextafter(dtype(0), dtype(1))], y[::3].shape)
    dy[::2] = np.resize([NAN, np.inf], dy[::2].shape)
    found = kernels.relu_backward(dy, y)
    with kernels.use_backend("numpy"):
        np.testing.assert_array_equal(found, kernels.relu_backward(dy, y))
    turned = kernels.relu_backward(dy[::-1], y[::-1])
    np.testing.assert_array_equal(turned, found[::-1])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 511, 512, 513, 1100])
def test_squared_error_adds_up_as_its_twin(size: int, dtype: Any, rng: Any) -> None:
    x, target = rng.standard_normal((2, size)).astype(dtype)
    total, slope = kernels.squared_error(x, target, 0.5)
    with kernels.use_backend("numpy"):
        _, expected = kernels.squared_error(x, target, 0.5)
    close(slope, expected, dtype)
    exact = ((x - target).astype(np.float64) ** 2).sum()
    np.testing.assert_allclose(total, exact, rtol=3e-7 if dtype == np.float32 else 1e-15)
    turned = kernels.squared_error(x[::-1], target[::-1], 0.5)
    close(turned[1], slope[::-1], dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 100])
def test_adamw_moves_as_its_twin(size: int, dtype: Any, rng: Any) -> None:
    p, g, m = rng.standard_normal((3, size)).astype(dtype)
    v = rng.random(size).astype(dtype)
    mine, theirs = (p.copy(), m.copy(), v.copy()), (p.copy(), m.copy(), v.copy())
    options: Any = {
        "lr": 0.01, "beta1": 0.9, "beta2": 0.99, "eps": 1e-8, "weight_decay": 0.1, "step": 3,
    }  # fmt: skip
    kernels.adamw_step([(mine[0], g, *mine[1:])], **options)
    with kernels.use_backend("numpy"):
        kernels.adamw_step([(theirs[0], g, *theirs[1:])], **options)
    for a, b in zip(mine, theirs, strict=True):
        close(a, b, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 100])
def test_sgd_moves_as_its_twin(size: int, momentum: float, dtype: Any, rng: Any) -> None:
    p, g, b = rng.standard_normal((3, size)).astype(dtype)
    mine, theirs = (p.copy(), b.copy()), (p.copy(), b.copy())
    kernels.sgd_step([(mine[0], g, mine[1])], lr=0.01, momentum=momentum)
    with kernels.use_backend("numpy"):
        kernels.sgd_step([(theirs[0], g, theirs[1])], lr=0.01, momentum=momentum)
    for mine_, its in zip(mine, theirs, strict=True):
        close(mine_, its, dtype)
