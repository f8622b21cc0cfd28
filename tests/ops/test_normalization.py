"""Softmax in another dtype, and the normalising layers' functions, against PyTorch's."""

from types import ModuleType
from typing import Any

import numpy as np
import pytest

import tinygrad_mha as tm
from tests.support import require
from tinygrad_mha.nn import functional as F

RNG = np.random.default_rng(11)


@pytest.fixture
def torch() -> ModuleType:
    return require.module("torch")


def normal(*shape: int) -> np.ndarray:
    return np.asarray(RNG.standard_normal(shape))


def same(torch: ModuleType, name: str, arrays: list[np.ndarray], *rest: Any, **params: Any) -> None:
    ours = [tm.tensor(x, requires_grad=True) for x in arrays]
    theirs = [torch.tensor(x, requires_grad=True) for x in arrays]
    out = getattr(F, name)(ours[0], *rest, *ours[1:], **params)
    expected = getattr(torch.nn.functional, name)(theirs[0], *rest, *theirs[1:], **params)
    assert out.shape == tuple(expected.shape)
    np.testing.assert_allclose(out.data, expected.detach().numpy(), rtol=1e-9, atol=1e-11)
    seed = normal(*out.shape)
    out.backward(tm.tensor(seed))
    expected.backward(torch.tensor(seed))
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a.grad.data, b.grad.numpy(), rtol=1e-7, atol=1e-9)


CASES: list[tuple[str, list[np.ndarray], tuple[Any, ...], dict[str, Any]]] = [
    ("softmin", [normal(2, 3)], (0,), {}),
    ("layer_norm", [normal(2, 3, 4), normal(4), normal(4)], ([4],), {}),
    ("layer_norm", [normal(2, 3, 4), normal(3, 4), normal(3, 4)], ([3, 4],), {}),
    ("layer_norm", [normal(3, 4)], ([3, 4],), {"eps": 0.1}),
    ("layer_norm", [normal(0, 4), normal(4), normal(4)], ([4],), {}),
    ("rms_norm", [normal(2, 3, 4), normal(3, 4)], ([3, 4],), {}),
    ("rms_norm", [normal(2, 4)], ([4],), {"eps": 0.1}),
    ("group_norm", [normal(2, 6, 3), normal(6), normal(6)], (3,), {}),
    ("group_norm", [normal(2, 6)], (2,), {"eps": 0.1}),
    ("instance_norm", [normal(2, 3, 4, 2)], (), {}),
    ("batch_norm", [normal(4, 3, 2)], (None, None), {"training": True}),
    ("normalize", [normal(2, 3)], (), {}),
    ("normalize", [normal(2, 3)], (1.0, 0), {}),
    ("normalize", [normal(2, 3)], (3.0, -1), {}),
    ("normalize", [normal(2, 3)], (float("inf"),), {}),
    ("normalize", [np.zeros((2, 3))], (), {}),
]


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c[0]} {c[2]}")
def test_normalization_equals_torchs(case: Any, torch: ModuleType) -> None:
    name, arrays, rest, params = case
    same(torch, name, arrays, *rest, **params)


@pytest.mark.parametrize("name", ["softmax", "log_softmax", "softmin"])
def test_softmax_in_another_dtype(name: str, torch: ModuleType) -> None:
    x = tm.tensor(normal(2, 3).astype(np.float32), requires_grad=True)
    y = getattr(F, name)(x, -1, dtype="float64")
    assert y.dtype == np.float64
    y.backward(tm.tensor(normal(2, 3)))
    assert x.grad.dtype == np.float32
    integers = np.array([1, 2, 3])
    theirs = getattr(torch, name, getattr(torch.nn.functional, name))
    np.testing.assert_allclose(
        getattr(F, name)(tm.tensor(integers), 0, "float64").data,
        theirs(torch.tensor(integers), 0, dtype=torch.float64).numpy(),
    )
    with pytest.raises(TypeError, match="int64"):
        getattr(F, name)(tm.tensor(integers), 0)


@pytest.mark.parametrize("training", [True, False])
def test_batch_norm_keeps_running_values(training: bool, torch: ModuleType) -> None:
    x, mean, var, w, b = normal(4, 3, 2), normal(3), np.ones(3), normal(3), normal(3)
    ours = [tm.tensor(v) for v in (x, mean, var, w, b)]
    theirs = [torch.tensor(v) for v in (x, mean, var, w, b)]
    out = F.batch_norm(*ours, training=training, momentum=0.3)
    expected = torch.nn.functional.batch_norm(*theirs, training=training, momentum=0.3)
    np.testing.assert_allclose(out.data, expected.numpy())
    for mine, their in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(mine.data, their.numpy())


@pytest.mark.parametrize(
    ("name", "shapes", "rest", "part"),
    [
        ("layer_norm", [(2, 3)], ((4,),), r"normalized_shape is \(4,\), but input.*\(2, 3\)"),
        ("layer_norm", [(2, 3)], ((),), "one or more"),
        ("layer_norm", [(2, 3), (2,)], ((3,),), r"weight has shape \(2,\)"),
        ("rms_norm", [(2, 3), (2,)], ((3,),), r"weight has shape \(2,\)"),
        ("group_norm", [(2, 3)], (2,), "3 channels, which do not divide into num_groups=2"),
        ("group_norm", [(3,)], (3,), "at least two axes"),
        ("group_norm", [(2, 4), (3,)], (2,), r"weight has shape \(3,\)"),
        ("instance_norm", [(2, 3, 1)], (), "more than one place"),
        ("batch_norm", [(1, 3)], (None, None, None, None, True), "more than one value"),
        ("batch_norm", [(2, 3)], (None, None), "running_mean and running_var are needed"),
    ],
)
def test_what_does_not_fit_is_refused(
    name: str, shapes: Any, rest: Any, part: str, torch: ModuleType
) -> None:
    with pytest.raises(ValueError, match=f"{name}: .*{part}"):
        getattr(F, name)(tm.zeros(*shapes[0]), *rest, *(tm.zeros(*s) for s in shapes[1:]))
    with pytest.raises((RuntimeError, ValueError)):
        getattr(torch.nn.functional, name)(
            torch.zeros(shapes[0]), *rest, *(torch.zeros(s) for s in shapes[1:])
        )


def test_normalising_integers_is_refused() -> None:
    for call in (
        lambda x: F.layer_norm(x, (2,)),
        lambda x: F.rms_norm(x, 2),
        lambda x: F.group_norm(x, 1),
        F.normalize,
    ):
        with pytest.raises(TypeError, match="int64, expected floats"):
            call(tm.tensor([[1, 2]]))


def test_layer_norm_modules_of_several_axes_and_without_bias() -> None:
    layer = tm.nn.LayerNorm((3, 4), bias=False)
    assert layer.weight.shape == (3, 4)
    assert layer.bias is None
    assert layer(tm.randn(2, 3, 4)).shape == (2, 3, 4)
    assert not list(tm.nn.LayerNorm(4, elementwise_affine=False).parameters())
