"""Kernels read memory as what they were compiled for: what is not of that kind is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tinygrad_mha import kernels

ADAMW: Any = {"lr": 0.1, "beta1": 0.9, "beta2": 0.9, "eps": 1e-8, "weight_decay": 0.0, "step": 1}
OUT, LSE = (3, 3, 5), (3, 3)

#: For each function the shapes of its arrays, the first of which says what the dtype is.
FRONTS: dict[str, Any] = {
    "matmul": (lambda a, b, bias: kernels.matmul(a, b, bias=bias), [(3, 4), (4, 2), (2,)]),
    "matmul of a vector": (
        lambda a, b, bias: kernels.matmul(a, b, bias=bias),
        [(4,), (4, 2), (2,)],
    ),
    "linear": (kernels.linear, [(3, 4), (2, 4), (2,)]),
    "linear of a stack": (kernels.linear, [(2, 3, 4), (2, 4), (2,)]),
    "linear_gradients": (
        lambda x, dy, weight: kernels.linear_gradients(dy, x, weight),
        [(3, 4), (3, 2), (2, 4)],
    ),
    "layer_norm": (lambda x, w, b: kernels.layer_norm(x, w, b, 1e-5), [(3, 4), (4,), (4,)]),
    "layer_norm_backward": (
        lambda x, dy, *given: kernels.layer_norm_backward(dy, x, *given),
        [(3, 4), (3, 4), (4,), (3, 1), (3, 1)],
    ),
    **{
        name: (lambda x, dy, name=name: getattr(kernels, name)(dy, x), [(3, 4), (3, 4)])
        for name in (
            "gelu_backward", "silu_backward", "relu_backward",
            "softmax_backward", "log_softmax_backward",
        )
    },
    "cross_entropy_backward": (
        lambda x, d, lse: kernels.cross_entropy_backward(d, x, lse, np.arange(3)),
        [(3, 4), (3,), (3,)],
    ),
    "attention": (
        lambda q, k, v, bias: kernels.attention(q, k, v, bias=bias, scale=0.5),
        [(3, 3, 4), (3, 6, 4), (3, 6, 5), (3, 6)],
    ),
    "additive_attention": (
        lambda q, k, w, v, bias: kernels.additive_attention(q, k, w, v, bias=bias),
        [(3, 3, 4), (3, 6, 4), (4,), (3, 6, 5), (3, 6)],
    ),
    "additive_attention_backward": (
        lambda q, k, w, v, dout, out, lse, bias: kernels.additive_attention_backward(
            dout, q, k, w, v, out, lse, bias=bias
        ),
        [(3, 3, 4), (3, 6, 4), (4,), (3, 6, 5), OUT, OUT, LSE, (3, 6)],
    ),
    "attention_weights": (
        lambda q, k, bias: kernels.attention_weights(q, k, bias=bias, scale=0.5),
        [(3, 3, 4), (3, 6, 4), (3, 6)],
    ),
    "attention_backward": (
        lambda q, k, v, dout, out, lse, bias: kernels.attention_backward(
            dout, q, k, v, out, lse, bias=bias, scale=0.5
        ),
        [(3, 3, 4), (3, 6, 4), (3, 6, 5), OUT, OUT, LSE, (3, 6)],
    ),
    "attention_backward into": (
        lambda q, *into: kernels.attention_backward(
            q, q, q, q, q, q[..., 0], scale=0.5, into=into
        ),
        4 * [(2, 3, 4)],
    ),
    "squared_error": (lambda x, target: kernels.squared_error(x, target, 2.0), [(3, 4), (3, 4)]),
    "adamw_step": (
        lambda p, g, m, v: kernels.adamw_step([(p, g, m, v)], **ADAMW), 4 * [(5,)],
    ),
    "sgd_step": (
        lambda p, g, b: kernels.sgd_step([(p, g, b)], lr=0.1, momentum=0.9), 3 * [(5,)],
    ),
}  # fmt: skip
PLACES = [(name, i) for name, (_, shapes) in FRONTS.items() for i in range(1, len(shapes))]


@pytest.mark.parametrize("backend", kernels.BACKENDS)
@pytest.mark.parametrize(("name", "which"), PLACES)
def test_other_dtypes_are_refused(name: str, which: int, backend: str, rng: Any) -> None:
    run, shapes = FRONTS[name]
    for dtype in (np.float32, np.float64):
        with kernels.use_backend(backend):
            run(*(rng.random(s).astype(dtype) for s in shapes))
            for other in {np.int32, np.int64, np.float32, np.float64} - {dtype}:
                given = [rng.random(s).astype(dtype) for s in shapes]
                given[which] = np.ones(shapes[which], other)
                with pytest.raises(TypeError, match=np.dtype(other).name):
                    run(*given)


@pytest.mark.parametrize("backend", kernels.BACKENDS)
@pytest.mark.parametrize(("name", "which"), PLACES)
def test_shorter_arrays_are_refused(name: str, which: int, backend: str, rng: Any) -> None:
    run, shapes = FRONTS[name]
    given = [rng.random(s) for s in shapes]
    given[which] = given[which][:-1]  # what lies behind it would still be readable
    with kernels.use_backend(backend), pytest.raises((ValueError, TypeError)):
        run(*given)


def test_dtypes_that_are_equal_need_not_be_the_same_object() -> None:
    x, again = np.ones((3, 3)), np.ones((3, 3), np.dtype("f8", copy=True))
    np.testing.assert_array_equal(kernels.relu_backward(again, x), x)
    np.testing.assert_array_equal(kernels.linear_gradients(x, again, x)[2], 3)


@pytest.mark.parametrize("backend", kernels.BACKENDS)
def test_integers_that_name_classes_and_rows(backend: str) -> None:
    x = np.zeros((3, 4), np.float32)
    lse = np.log(np.full(3, 4, np.float32))
    with kernels.use_backend(backend):
        for target in (np.arange(3, dtype=np.int32), np.arange(3.0)):
            with pytest.raises(TypeError, match=f"target is {target.dtype}, expected int64"):
                kernels.cross_entropy(x, target)
            with pytest.raises(TypeError, match=f"target is {target.dtype}, expected int64"):
                kernels.cross_entropy_backward(lse, x, lse, target)
        with pytest.raises(ValueError, match=r"target has shape \(2,\), expected \(3,\)"):
            kernels.cross_entropy(x, np.arange(2))
        with pytest.raises(ValueError, match=r"dy has shape \(3, 4\), expected \(5, 4\)"):
            kernels.embedding_backward(x, np.zeros(5, np.int64), 4)
