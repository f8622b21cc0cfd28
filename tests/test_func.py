"""Derivatives of functions, against formulas, differences and torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygrad_mha as tm
from tests.support import require

# torch's own forward mode warns of torch's own compiler
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")

F = tm.func


def points(*shape: int) -> tm.Tensor:
    return tm.Tensor(np.random.default_rng(5).uniform(0.3, 1.2, shape))


def mixed(x: tm.Tensor) -> Any:
    """Something in which every element matters to every other."""
    return (tm.tanh(x @ x.mT) * tm.exp(x.sum())).sum() + (x**3).sum()


def vector(x: tm.Tensor) -> Any:
    return tm.softmax(x * x) * x.sum()


def torch_of(f: Any) -> Any:
    torch = require.module("torch")
    return {
        mixed: lambda x: (torch.tanh(x @ x.mT) * torch.exp(x.sum())).sum() + (x**3).sum(),
        vector: lambda x: torch.softmax(x * x, -1) * x.sum(),
    }[f]


def same(found: Any, expected: Any) -> None:
    np.testing.assert_allclose(found.data, expected.numpy(), rtol=1e-9, atol=1e-10)


def test_grad_and_value() -> None:
    torch = require.module("torch")
    x = points(2, 3)
    t = torch.from_numpy(x.data)
    value, gradient = F.value_and_grad(mixed)(x)
    same(gradient, torch.func.grad(torch_of(mixed))(t))
    assert float(value) == pytest.approx(float(torch_of(mixed)(t)))
    assert not gradient.requires_grad
    assert not value.requires_grad


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_gradients_of_gradients(order: int) -> None:
    f: Any = lambda x: tm.exp(2 * x)  # noqa: E731
    for _ in range(order):
        f = F.grad(f)
    x = tm.tensor(0.3, dtype=np.float64)
    assert float(f(x)) == pytest.approx(2**order * np.exp(0.6), rel=1e-12)


def test_several_arguments() -> None:
    def f(a: tm.Tensor, b: tm.Tensor, scale: float = 1.0) -> Any:
        return (a * a * b).sum() * scale

    a, b = points(3), points(3)
    da, db = F.grad(f, (0, 1))(a, b, scale=2.0)
    np.testing.assert_allclose(da.data, 4 * a.data * b.data)
    np.testing.assert_allclose(db.data, 2 * a.data**2)
    np.testing.assert_allclose(F.grad(f, -1)(a, b).data, a.data**2)


@pytest.mark.parametrize("f", [mixed, vector])
def test_products_with_the_jacobian(f: Any) -> None:
    torch = require.module("torch")
    x, v = points(2, 3), tm.Tensor(np.random.default_rng(6).standard_normal((2, 3)))
    t, w = torch.from_numpy(x.data), torch.from_numpy(v.data)
    out, tangent = F.jvp(f, [x], [v])
    expected_out, expected = torch.func.jvp(torch_of(f), (t,), (w,))
    same(out, expected_out)
    same(tangent, expected)
    u = tm.Tensor(np.random.default_rng(7).standard_normal(out.shape))
    _, pullback = F.vjp(f, x)
    (pulled,) = pullback(u)
    same(pulled, torch.func.vjp(torch_of(f), t)[1](torch.from_numpy(np.asarray(u.data)))[0])
    assert float((u * tangent).sum()) == pytest.approx(float((pulled * v).sum()))


@pytest.mark.parametrize("jacobian", [F.jacrev, F.jacfwd])
def test_jacobians(jacobian: Any) -> None:
    torch = require.module("torch")
    x = points(2, 3)
    same(jacobian(vector)(x), torch.func.jacrev(torch_of(vector))(torch.from_numpy(x.data)))


def test_hessians() -> None:
    torch = require.module("torch")
    x, v = points(2, 3), points(2, 3)
    expected = torch.func.hessian(torch_of(mixed))(torch.from_numpy(x.data))
    same(F.hessian(mixed)(x), expected)
    (found,) = F.hvp(mixed, [x], [v])
    np.testing.assert_allclose(
        found.data, np.einsum("abcd,cd->ab", expected.numpy(), v.data), rtol=1e-9
    )


def test_of_what_does_not_matter_the_derivative_is_zero() -> None:
    x = points(3)
    assert not F.grad(lambda x: tm.ones(1).sum())(x).data.any()
    assert not F.jvp(lambda x: tm.ones(2), [x], [x])[1].data.any()
    assert F.jacrev(lambda x: tm.ones(2))(x).shape == (2, 3)


def test_attention_through_every_transformation() -> None:
    q = points(3, 2)

    def loss(q: tm.Tensor) -> Any:
        return (tm.scaled_dot_product_attention(q, q * 0.5, q + 1.0, is_causal=True) ** 2).sum()

    hessian = F.hessian(loss)(q)
    forward = F.jacfwd(F.grad(loss))(q)
    np.testing.assert_allclose(hessian.data, forward.data, atol=1e-12)
    matrix = hessian.data.reshape(6, 6)
    np.testing.assert_allclose(matrix, matrix.T, atol=1e-12)


def test_nothing_is_left_behind() -> None:
    w = tm.tensor([2.0], requires_grad=True)
    F.grad(lambda x: (w * x).sum())(tm.tensor([3.0]))
    assert w.grad is None
    (second,) = tm.autograd.grad(F.grad(lambda v: (v**3).sum())(w), w)  # tied to its surroundings
    assert second.tolist() == [12.0]


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: F.grad(lambda x: x)(tm.ones(2)), ValueError, r"shape \(2,\), expected one number"),
        (lambda: F.grad(lambda x: x)(1.0), TypeError, "is a float, expected a Tensor"),
        (lambda: F.grad(lambda x: x)(tm.arange(2)), TypeError, "is int64, expected floats"),
        (lambda: F.grad(lambda x: 1.0)(tm.ones(())), TypeError, "returned a float"),
        (lambda: F.grad(lambda x: x, 3)(tm.ones(())), IndexError, "argument 3, but there are 1"),
        (
            lambda: F.jvp(lambda x: x, [tm.ones(2)], [tm.ones(3)]),
            ValueError,
            r"primals have shapes \[\(2,\)\], tangents \[\(3,\)\]; give one",
        ),
        (
            lambda: F.jvp(lambda x: x, tm.ones(2), tm.ones(2)),
            TypeError,
            r"primals must be .* \[x\]",
        ),
        (lambda: F.hvp(lambda x: x.sum(), [tm.ones(2)], []), ValueError, "tangents .*; give one"),
        (lambda: F.vjp(lambda x: x, tm.ones(2))[1](tm.ones(3)), ValueError, "u has shape .* needs"),
    ],
)
def test_what_does_not_fit_is_said(call: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        call()
