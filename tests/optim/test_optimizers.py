"""Optimizers: what they refuse, what they skip, where they go."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_mha as tm
from tinygrad_mha import optim

KINDS = [optim.SGD, optim.Adam, optim.AdamW]
each_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda k: k.__name__)


def leaf() -> tm.Tensor:
    return tm.tensor([1.0, 2.0], requires_grad=True)


@each_kind
@pytest.mark.parametrize(
    ("params", "error", "match"),
    [
        (list, ValueError, "empty"),
        (leaf, TypeError, "one tensor"),
        (lambda: tm.nn.Linear(2, 2), TypeError, r"params is a Linear; pass its .parameters\(\)"),
        (lambda: [np.ones(2)], TypeError, r"params\[0\] is a ndarray"),
        (lambda: [leaf(), leaf() * 2], ValueError, r"params\[1\] .* not a leaf"),
        (lambda: [leaf().detach()], ValueError, "requires a gradient"),
    ],
)
def test_wrong_parameters(
    kind: type, params: Callable[[], Any], error: type[Exception], match: str
) -> None:
    with pytest.raises(error, match=match):
        kind(params())


@each_kind
@pytest.mark.parametrize("lr", [-1.0, math.nan])
def test_wrong_learning_rate(kind: type, lr: float) -> None:
    with pytest.raises(ValueError, match="lr is"):
        kind([leaf()], lr=lr)


@pytest.mark.parametrize(
    ("kind", "options", "match"),
    [
        (optim.SGD, {"momentum": 1.0}, "momentum is 1.0"),
        (optim.SGD, {"momentum": -0.1}, "momentum is -0.1"),
        (optim.Adam, {"betas": (1.0, 0.9)}, "beta1 is 1.0"),
        (optim.AdamW, {"betas": (0.9, -0.1)}, "beta2 is -0.1"),
        (optim.AdamW, {"eps": -1e-8}, "eps is"),
        (optim.AdamW, {"weight_decay": -0.1}, "weight_decay"),
        (optim.AdamW, {"weight_decay": math.nan}, "weight_decay"),
    ],
)
def test_wrong_options(kind: type, options: dict[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        kind([leaf()], **options)


@each_kind
def test_parameters_without_gradient_are_skipped(kind: type) -> None:
    used, unused = leaf(), leaf()
    optimizer = kind([used, unused], lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        (used * used).sum().backward()
        optimizer.step()
    assert unused.tolist() == [1.0, 2.0]
    assert used.tolist() != [1.0, 2.0]


@each_kind
def test_step_works_in_place_and_leaves_the_gradient_alone(kind: type) -> None:
    w = leaf()
    data = w.data
    (w * w).sum().backward()
    kind([w], lr=0.1).step()
    assert w.data is data
    assert w.grad.tolist() == [2.0, 4.0]


@each_kind
def test_learning_rate_may_change_between_steps(kind: type) -> None:
    w = leaf()
    optimizer = kind([w], lr=0.1)
    (w * w).sum().backward()
    optimizer.lr = 0.0
    optimizer.step()
    assert w.tolist() == [1.0, 2.0]


@each_kind
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_parameters_keep_their_dtype(kind: type, dtype: str) -> None:
    w = tm.tensor([1.0], dtype=dtype, requires_grad=True)
    optimizer = kind([w], lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        (w * w).sum().backward()
        optimizer.step()
    assert w.dtype == dtype


@each_kind
def test_parameters_of_any_shape_and_layout(kind: type) -> None:
    """A transposed view or an empty parameter is updated like any other."""
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    turned = tm.Tensor(values.copy().T, True)
    straight = tm.Tensor(values.T.copy(), True)
    empty, scalar = tm.zeros(0, 3, requires_grad=True), tm.tensor(1.0, requires_grad=True)
    optimizer = kind([turned, straight, empty, scalar], lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        loss = (turned * turned).sum() + (straight * straight).sum() + empty.sum() + scalar
        loss.backward()
        optimizer.step()
    np.testing.assert_allclose(turned.data, straight.data, rtol=1e-6)
    assert scalar.item() < 1.0


def test_momentum_does_not_share_memory_with_the_gradient() -> None:
    w = leaf()
    optimizer = optim.SGD([w], lr=0.1, momentum=0.9)
    w.grad = tm.tensor([1.0, 1.0])
    optimizer.step()
    w.grad.data[...] = 0.0
    optimizer.step()
    np.testing.assert_allclose(w.data, [1 - 0.1 - 0.09, 2 - 0.1 - 0.09], rtol=1e-6)


@each_kind
def test_a_bowl_is_descended(kind: type) -> None:
    w = leaf()
    optimizer = kind([w], lr=0.1)
    for _ in range(200):
        optimizer.zero_grad()
        ((w - 3.0) ** 2).sum().backward()
        optimizer.step()
    np.testing.assert_allclose(w.data, 3.0, atol=0.05)


def test_schedule() -> None:
    optimizer = optim.SGD([leaf()], lr=2.0)
    schedule = optim.lr_scheduler.LambdaLR(
        optimizer, optim.lr_scheduler.warmup_cosine(2, 10, floor=0.1)
    )
    rates = [optimizer.lr]
    for _ in range(12):
        schedule.step()
        rates.append(optimizer.lr)
    assert rates[:3] == [1.0, 2.0, 2.0]
    assert rates[2:] == sorted(rates[2:], reverse=True)
    assert rates[10:] == pytest.approx([0.2] * 3)


def test_momentum_may_be_switched_on_later() -> None:
    w = leaf()
    optimizer = optim.SGD([w], lr=0.5)
    for momentum in (0.0, 0.9, 0.9):
        optimizer.zero_grad()
        w.sum().backward()
        optimizer.momentum = momentum
        optimizer.step()
    assert w.tolist() == pytest.approx([1 - 0.5 * (1 + 1 + 1.9), 2 - 0.5 * (1 + 1 + 1.9)])


@each_kind
@pytest.mark.parametrize("other", [np.ones(8, np.float32), np.ones(2)])
def test_replaced_values_are_found_out(kind: type, other: np.ndarray) -> None:
    w = leaf()
    optimizer = kind([w], lr=0.1)
    w.sum().backward()
    optimizer.step()
    w.data = other
    with pytest.raises(RuntimeError, match=r"params\[0\] is .* needs a new optimizer"):
        optimizer.step()  # with the gradient of before
    if kind is not optim.SGD:
        w.grad = None
        w.sum().backward()
        with pytest.raises(RuntimeError, match="remembers of it is of float32 and has 2 elements"):
            optimizer.step()
