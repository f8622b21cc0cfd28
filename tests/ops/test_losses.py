"""Losses, forward and backward, against PyTorch's; what they refuse, and what they ignore."""

import warnings
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import tinygrad_mha as tm
from tests.support import require
from tinygrad_mha.nn import functional as F

RNG = np.random.default_rng(7)
REDUCTIONS = ("mean", "sum", "none")


@pytest.fixture
def torch() -> ModuleType:
    return require.module("torch")


def normal(*shape: int) -> np.ndarray:
    return np.asarray(RNG.standard_normal(shape))


def uniform(*shape: int) -> np.ndarray:
    return np.asarray(RNG.uniform(0.05, 0.95, shape))


def signs(*shape: int) -> np.ndarray:
    return np.where(normal(*shape) < 0, -1.0, 1.0)


@np.errstate(all="ignore")
def same(torch: ModuleType, name: str, arrays: list[np.ndarray], **params: Any) -> None:
    def lifted(make: Any) -> tuple[list[Any], dict[str, Any]]:
        inputs = [make(x) for x in arrays]
        inputs[0].requires_grad_()
        return inputs, {k: make(v) if isinstance(v, np.ndarray) else v for k, v in params.items()}

    ours, our_params = lifted(tm.tensor)
    theirs, their_params = lifted(torch.tensor)
    out = getattr(F, name)(*ours, **our_params)
    expected = getattr(torch.nn.functional, name)(*theirs, **their_params)
    assert out.shape == tuple(expected.shape)
    np.testing.assert_allclose(out.data, expected.detach().numpy(), rtol=1e-10, atol=1e-12)
    seed = normal(*out.shape)
    out.backward(tm.tensor(seed))
    expected.backward(torch.tensor(seed))
    np.testing.assert_allclose(ours[0].grad.data, theirs[0].grad.numpy(), rtol=1e-8, atol=1e-12)


WEIGHT = np.array([0.5, 1.0, 2.0, 0.0])

#: (name, arrays, params), each tried with every reduction.
LOSSES: list[tuple[str, list[np.ndarray], dict[str, Any]]] = [
    ("cross_entropy", [normal(4), np.array(2)], {}),
    ("cross_entropy", [normal(3, 4), np.array([0, 3, 1])], {}),
    ("cross_entropy", [normal(3, 4), np.array([0, 3, 1])], {"weight": WEIGHT}),
    ("cross_entropy", [normal(3, 4), np.array([0, -100, 1])], {}),
    ("cross_entropy", [normal(3, 4), np.array([0, 2, 1])], {"ignore_index": 2, "weight": WEIGHT}),
    ("cross_entropy", [normal(3, 4), np.array([2, -100, 1])], {"label_smoothing": 0.1}),
    ("cross_entropy", [normal(3, 4), np.array([-100, -100, -100])], {}),
    ("cross_entropy", [normal(2, 4, 3), np.array([[0, 1, 2], [3, -100, 0]])], {"weight": WEIGHT}),
    ("cross_entropy", [normal(2, 4, 3), np.array([[0, 1, 2], [3, 3, 0]])], {}),
    ("cross_entropy", [normal(2, 4, 1, 2), np.array([[[0, 1]], [[3, 3]]])], {}),
    ("cross_entropy", [normal(3, 4), uniform(3, 4)], {}),
    ("cross_entropy", [normal(4), uniform(4)], {"label_smoothing": 0.2}),
    ("cross_entropy", [normal(2, 4, 3), uniform(2, 4, 3)], {"weight": WEIGHT}),
    ("cross_entropy", [normal(0, 4), np.zeros(0, np.int64)], {}),
    ("cross_entropy", [normal(0, 4), normal(0, 4)], {}),
    ("nll_loss", [normal(4), np.array(2)], {}),
    ("nll_loss", [normal(3, 4), np.array([0, -100, 1])], {"weight": WEIGHT}),
    ("nll_loss", [normal(2, 4, 3), np.array([[0, 1, 2], [3, 3, 0]])], {"ignore_index": 3}),
    ("mse_loss", [normal(2, 3), normal(2, 3)], {}),
    ("mse_loss", [normal(2, 3), normal(2, 3)], {"weight": uniform(2, 3)}),
    ("mse_loss", [normal(0), normal(0)], {}),
    ("l1_loss", [np.array([1.0, 2.0]), np.array([1.0, 4.0])], {}),
    ("smooth_l1_loss", [normal(2, 9), normal(2, 9)], {"beta": 0.5}),
    ("smooth_l1_loss", [normal(2, 9), normal(2, 9)], {"beta": 0.0}),
    ("huber_loss", [normal(2, 9), normal(2, 9)], {"delta": 0.5}),
    ("huber_loss", [normal(2, 3), normal(2, 3)], {"weight": uniform(2, 3)}),
    ("kl_div", [normal(2, 3), np.array([[0.0, 0.4, 0.6], [1.0, 0.0, 0.0]])], {}),
    ("kl_div", [normal(2, 3), normal(2, 3)], {"log_target": True}),
    ("binary_cross_entropy", [uniform(2, 3), uniform(2, 3)], {"weight": uniform(3)}),
    ("binary_cross_entropy", [np.array([0.0, 1.0, 0.0]), np.array([0.0, 0.0, 1.0])], {}),
    ("binary_cross_entropy_with_logits", [normal(2, 3) * 50, uniform(2, 3)], {}),
    (
        "binary_cross_entropy_with_logits",
        [normal(2, 3), uniform(2, 3)],
        {"weight": uniform(2, 1), "pos_weight": uniform(3)},
    ),
    (
        "poisson_nll_loss",
        [normal(2, 3), np.array([[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]])],
        {"full": True},
    ),
    ("poisson_nll_loss", [uniform(2, 3), uniform(2, 3)], {"log_input": False}),
    ("gaussian_nll_loss", [normal(2, 3), normal(2, 3), uniform(2, 1)], {"full": True}),
    ("gaussian_nll_loss", [normal(2, 3), normal(2, 3), np.zeros((2, 3))], {}),
    ("soft_margin_loss", [normal(2, 3), signs(2, 3)], {}),
    ("hinge_embedding_loss", [normal(2, 3), signs(2, 3)], {}),
    ("margin_ranking_loss", [normal(5), normal(5), signs(5)], {"margin": 0.2}),
    ("cosine_embedding_loss", [normal(5, 3), normal(5, 3), signs(5)], {"margin": 0.1}),
]


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("case", LOSSES, ids=lambda c: f"{c[0]} {c[1][0].shape} {[*c[2]]}")
@pytest.mark.filterwarnings("ignore:reduction. 'mean':UserWarning")
def test_loss_equals_torchs(case: Any, reduction: str, torch: ModuleType) -> None:
    name, arrays, params = case
    same(torch, name, arrays, **params, reduction=reduction)


def test_batchmean_divides_by_the_first_axis(torch: ModuleType) -> None:
    same(torch, "kl_div", [normal(2, 3), uniform(2, 3)], reduction="batchmean")


@pytest.mark.parametrize(
    ("x", "y", "dim"), [((2, 3), (2, 3), 1), ((3,), (2, 3), 0), ((2, 3, 4), (3, 1), -2)]
)
def test_cosine_similarity_equals_torchs(x: Any, y: Any, dim: int, torch: ModuleType) -> None:
    same(torch, "cosine_similarity", [normal(*x), normal(*y)], dim=dim)


def test_cosine_similarity_with_nothing_is_0_with_a_finite_gradient(torch: ModuleType) -> None:
    same(torch, "cosine_similarity", [np.zeros((1, 3)), normal(1, 3)])


def test_differences_of_infinity_do_not_turn_into_nan() -> None:
    x = tm.tensor([np.inf, -np.inf], requires_grad=True)
    F.smooth_l1_loss(x, tm.zeros(2), reduction="sum").backward()
    assert x.grad.tolist() == [1.0, -1.0]


def test_an_infinite_logit_makes_its_whole_row_nan(torch: ModuleType) -> None:
    x = np.array([[np.inf, 0.0], [-np.inf, 0.0], [1e30, -1e30]])
    for target in ([0, 0, 0], [1, 1, 1]):
        same(torch, "cross_entropy", [x, np.array(target)], reduction="none")


def test_second_gradients_pass_through_what_is_ignored() -> None:
    x = tm.tensor(normal(3, 4), requires_grad=True)
    target = tm.tensor([0, -100, 2])
    assert tm.autograd.gradgradcheck(lambda x: F.cross_entropy(x, target, label_smoothing=0.1), [x])


def test_a_target_of_probabilities_has_a_gradient() -> None:
    x = tm.tensor(normal(3, 4), requires_grad=True)
    p = tm.tensor(uniform(3, 4), requires_grad=True)
    assert tm.autograd.gradcheck(F.cross_entropy, [x, p])


def test_broadcasting_in_a_loss_is_warned_of() -> None:
    with pytest.warns(UserWarning, match=r"mse_loss: input has shape \(3, 1\) and target.*\(3,\)"):
        F.mse_loss(tm.zeros(3, 1), tm.zeros(3))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        F.mse_loss(tm.zeros(3), tm.zeros(3))


i64 = np.int64


@pytest.mark.parametrize(
    ("name", "inputs", "params", "error", "part"),
    [
        ("cross_entropy", [(3, 4), (2,)], {}, ValueError, r"\(3, 4\) and target \(2,\)"),
        ("cross_entropy", [(3, 4), np.array([0, 4, 1])], {}, IndexError, "target 4"),
        ("cross_entropy", [(3, 4), np.array([0, -1, 1])], {}, IndexError, "target -1"),
        (
            "cross_entropy",
            [(3, 4), np.zeros((3, 1), i64)],
            {},
            ValueError,
            r"expected target \(3,\)",
        ),
        ("cross_entropy", [(3, 4), np.zeros(3, bool)], {}, ValueError, "probabilities"),
        ("cross_entropy", [(3, 4), (3, 4)], {"ignore_index": 1}, ValueError, "ignore_index"),
        ("cross_entropy", [(3, 4), (3, 4)], {"label_smoothing": 2.0}, ValueError, "smoothing is 2"),
        ("cross_entropy", [(3, 4), (3, 4)], {"reduction": "avg"}, ValueError, "'avg'"),
        ("cross_entropy", [(), np.array(0)], {}, ValueError, "0-d"),
        ("nll_loss", [(3, 4), np.array([0, 4, 1])], {}, IndexError, "target 4"),
        ("nll_loss", [(3, 4), (3,)], {}, TypeError, "float32"),
        ("mse_loss", [(3,), (4,)], {}, ValueError, r"\(3,\) and target has shape \(4,\)"),
        ("smooth_l1_loss", [(3,), (3,)], {"beta": -1}, ValueError, "beta"),
        ("huber_loss", [(3,), (3,)], {"delta": 0}, ValueError, "delta"),
        ("binary_cross_entropy", [(3,), (1,)], {}, ValueError, "same shape"),
        ("binary_cross_entropy", [np.array([2.0]), (1,)], {}, RuntimeError, "2.0"),
        ("binary_cross_entropy_with_logits", [(3,), (1,)], {}, ValueError, "same shape"),
        ("kl_div", [(3,), (3,)], {"reduction": "avg"}, ValueError, "batchmean"),
        ("cosine_similarity", [(3,), (3,)], {}, IndexError, "dim 1"),
        ("cosine_similarity", [(2, 3), (2, 4)], {}, ValueError, "broadcast"),
        ("cosine_embedding_loss", [(2, 3), (2, 3), (2, 1)], {}, ValueError, r"\(2, 1\)"),
        ("gaussian_nll_loss", [(1,), (1,), -np.ones(1)], {}, ValueError, "negative"),
    ],
)
@pytest.mark.filterwarnings("ignore:Using a target size")
def test_what_is_refused(
    name: str, inputs: Any, params: Any, error: Any, part: str, torch: ModuleType
) -> None:
    arrays = [np.ones(x, np.float32) if isinstance(x, tuple) else x for x in inputs]
    with pytest.raises(error, match=f"{name}: .*{part}|{part}.*"):
        getattr(F, name)(*map(tm.tensor, arrays), **params)
    with pytest.raises((RuntimeError, ValueError, IndexError)):
        getattr(torch.nn.functional, name)(*map(torch.tensor, arrays), **params)
