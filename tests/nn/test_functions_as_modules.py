"""Losses, norms and activations as modules: the same as PyTorch's modules of the same name."""

from types import ModuleType
from typing import Any

import numpy as np
import pytest

import tinygrad_mha as tm
from tests.support import require
from tinygrad_mha import nn

RNG = np.random.default_rng(13)
X = RNG.standard_normal((4, 6, 3))
P = RNG.uniform(0.1, 0.9, (4, 6))


@pytest.fixture
def torch() -> ModuleType:
    return require.module("torch")


def signs(*shape: int) -> np.ndarray:
    return np.where(RNG.standard_normal(shape) < 0, -1.0, 1.0)


#: (module, arguments, inputs); activations need their operation.
CASES: list[tuple[str, dict[str, Any], list[np.ndarray]]] = [
    ("CrossEntropyLoss", {"label_smoothing": 0.1}, [X[:, :, 0], np.array([0, 5, 2, -100])]),
    ("CrossEntropyLoss", {"weight": P[0], "reduction": "sum"}, [X[:, :, 0], np.arange(4)]),
    ("NLLLoss", {"ignore_index": 2}, [X[:, :, 0], np.arange(4)]),
    ("MSELoss", {}, [X, X * 2]),
    ("L1Loss", {"reduction": "none"}, [X, X * 2]),
    ("SmoothL1Loss", {"beta": 0.5}, [X, X * 2]),
    ("HuberLoss", {"delta": 0.5}, [X, X * 2]),
    ("KLDivLoss", {"reduction": "batchmean"}, [P, P[::-1].copy()]),
    ("BCELoss", {}, [P, P[::-1].copy()]),
    ("BCEWithLogitsLoss", {"pos_weight": P[0]}, [X[:, :, 0], P]),
    ("SoftMarginLoss", {}, [X, signs(*X.shape)]),
    ("HingeEmbeddingLoss", {"margin": 0.5}, [X, signs(*X.shape)]),
    ("PoissonNLLLoss", {"log_input": False}, [P, P]),
    ("GaussianNLLLoss", {"full": True}, [X[:, :, 0], X[:, :, 1], P]),
    ("MarginRankingLoss", {"margin": 0.5}, [X[0, :, 0], X[0, :, 1], signs(6)]),
    ("CosineEmbeddingLoss", {"margin": 0.5}, [X[0], X[1], signs(6)]),
    ("CosineSimilarity", {"dim": -1}, [X, X[:1]]),
    ("RMSNorm", {"normalized_shape": (6, 3)}, [X]),
    ("GroupNorm", {"num_groups": 2, "num_channels": 6}, [X]),
    ("LayerNorm", {"normalized_shape": (6, 3)}, [X]),
    ("Softmax", {"dim": 1}, [X]),
    ("LogSoftmax", {"dim": 1}, [X]),
    ("Softmin", {"dim": 1}, [X]),
    ("PReLU", {}, [X]),
    ("PReLU", {"num_parameters": 6}, [X]),
    ("Identity", {}, [X]),
    ("Flatten", {}, [X]),
    ("Unflatten", {"dim": 1, "unflattened_size": (2, -1)}, [X]),
    ("GLU", {"dim": 1}, [X]),
    ("LeakyReLU", {"negative_slope": 0.1}, [X]),
    ("ELU", {"alpha": 0.5}, [X]),
    ("CELU", {"alpha": 0.5}, [X]),
    ("Hardtanh", {"min_val": -0.5, "max_val": 0.25}, [X]),
    ("Softplus", {"beta": 2.0, "threshold": 2.0}, [X]),
    ("Softshrink", {"lambd": 0.25}, [X]),
    ("Hardshrink", {"lambd": 0.25}, [X]),
    ("Threshold", {"threshold": 0.25, "value": 3.0}, [X]),
    *[
        (name, {}, [X])
        for name in (
            "ReLU6",
            "SELU",
            "SiLU",
            "Mish",
            "Sigmoid",
            "LogSigmoid",
            "Softsign",
            "Tanhshrink",
            "Hardsigmoid",
            "Hardswish",
        )
    ],
]


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c[0]} {c[1]}")
def test_module_equals_torchs(case: Any, torch: ModuleType) -> None:
    name, options, arrays = case
    made = getattr(nn, name)

    def lifted(make: Any) -> dict[str, Any]:
        return {k: make(v) if isinstance(v, np.ndarray) else v for k, v in options.items()}

    ours = made(**lifted(tm.tensor)).double()
    theirs = getattr(torch.nn, name)(**lifted(torch.tensor)).double()
    mine = [tm.tensor(x) for x in arrays]
    their = [torch.tensor(x) for x in arrays]
    mine[0].requires_grad_()
    their[0].requires_grad_()
    out, expected = ours(*mine), theirs(*their)
    # torch takes the 1/6 of its hard sigmoid in single precision
    rtol = 1e-7 if name == "Hardsigmoid" else 1e-9
    np.testing.assert_allclose(out.data, expected.detach().numpy(), rtol=rtol, atol=1e-12)
    out.sum().backward()
    expected.sum().backward()
    np.testing.assert_allclose(mine[0].grad.data, their[0].grad.numpy(), rtol=1e-7, atol=1e-10)
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        np.testing.assert_allclose(a.grad.data, b.grad.numpy(), rtol=1e-7, atol=1e-10)


def test_options_are_printed() -> None:
    assert repr(nn.LeakyReLU(0.2)) == "LeakyReLU(negative_slope=0.2)"
    assert repr(nn.HuberLoss("sum", 0.5)) == "HuberLoss(delta=0.5, reduction='sum')"
    assert repr(nn.GroupNorm(2, 4)) == "GroupNorm(2, 4, eps=1e-05, affine=True)"


def test_groups_that_do_not_divide_the_channels_are_refused() -> None:
    with pytest.raises(ValueError, match="GroupNorm: num_channels=5"):
        nn.GroupNorm(2, 5)


#: (module, its function, arguments before `inplace`).
OVER_ITSELF: list[tuple[str, str, tuple[float, ...]]] = [
    ("ReLU", "relu", ()), ("ReLU6", "relu6", ()), ("LeakyReLU", "leaky_relu", (0.1,)),
    ("ELU", "elu", (0.5,)), ("CELU", "celu", (0.5,)), ("SELU", "selu", ()), ("SiLU", "silu", ()),
    ("Mish", "mish", ()), ("Hardtanh", "hardtanh", (-0.5, 0.25)),
    ("Hardsigmoid", "hardsigmoid", ()),
    ("Hardswish", "hardswish", ()), ("Threshold", "threshold", (0.25, 3.0)),
]  # fmt: skip


def _through(lib: Any, values: np.ndarray, call: Any) -> tuple[np.ndarray, np.ndarray]:
    """Call what writes over its argument; return that, and the gradient of what it was made of."""
    x = lib.tensor(values).requires_grad_()
    y = x * 1.5
    out = call(y)
    assert out is y
    (out * out).sum().backward()
    return y.detach().numpy(), x.grad.numpy()


@pytest.mark.parametrize(("module", "function", "options"), OVER_ITSELF, ids=str)
def test_inplace_is_torchs(
    module: str, function: str, options: tuple[float, ...], torch: ModuleType
) -> None:
    # PyTorch cannot go back through SiLU, Mish and Hardswish in place: it saves what it overwrites
    expected = getattr(torch.nn, module)(*options)
    u = torch.tensor(X, requires_grad=True)
    out = expected(u * 1.5)
    (out * out).sum().backward()
    for call in (
        getattr(nn, module)(*options, inplace=True),
        lambda y: getattr(nn.functional, function)(y, *options, inplace=True),
        lambda y: getattr(nn.functional, function)(y, *options, True),
        lambda y: getattr(nn.functional, function)(input=y, inplace=True),
    )[: 4 if not options else 3]:
        values, gradient = _through(tm, X, call)
        rtol = 1e-6 if module in ("Hardsigmoid", "Hardswish") else 1e-9
        np.testing.assert_allclose(values, out.detach().numpy(), rtol=rtol, atol=1e-12)
        np.testing.assert_allclose(gradient, u.grad.numpy(), rtol=1e-6, atol=1e-10)
    assert "inplace=True" in repr(getattr(nn, module)(*options, inplace=True))
    assert "inplace" not in repr(getattr(nn, module)(*options))


def test_dropout_in_place() -> None:
    x = tm.ones(1000)
    for call in (
        nn.Dropout(0.5, inplace=True),
        lambda y: nn.functional.dropout(y, 0.5, True, True),
    ):
        y = x.clone()
        assert call(y) is y
        assert set(y.tolist()) == {0.0, 2.0}
    y = x.clone()
    assert nn.Dropout(0.5, inplace=True).eval()(y) is y
    assert y.tolist() == x.tolist()


def test_without_inplace_nothing_is_overwritten() -> None:
    x = tm.tensor([-1.0, 1.0])
    for module, function, options in OVER_ITSELF:
        getattr(nn, module)(*options)(x)
        getattr(nn.functional, function)(x, *options, inplace=False)
        assert x.tolist() == [-1.0, 1.0]
