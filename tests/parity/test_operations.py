"""Every registered operation, forward and backward, against PyTorch."""

import warnings
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import tinygrad_mha as tm
from tests.parity.reference import reference, to_numpy, to_torch
from tests.support.cases import Case, assert_close, each_case
from tinygrad_mha.engine import REGISTRY

DTYPES = pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["f64", "f32"])


@DTYPES
@each_case
def test_operation_equals_torchs(case: Case, dtype: Any, torch: ModuleType) -> None:
    ours = case.tensors(dtype)
    theirs = [to_torch(t) for t in ours]
    out = case.run(*ours)
    expected = reference(case.op)(*theirs, **case.sample.params)
    assert out.shape == tuple(expected.shape)
    assert_close(out.data, to_numpy(expected), dtype)
    if not case.differentiable:
        return
    seed = case.seed_for(out)
    out.backward(seed)
    expected.backward(to_torch(seed))
    for i in case.differentiable:
        assert ours[i].grad.dtype == ours[i].dtype
        assert_close(ours[i].grad.data, to_numpy(theirs[i].grad), dtype, case.input_name(i))


@each_case
def test_gradient_of_gradient_equals_torchs(case: Case, torch: ModuleType) -> None:
    if not case.differentiable or case.name == "embedding-2":  # torch fails on no indices
        return
    ours = case.tensors()
    theirs = [to_torch(t) for t in ours]
    out, expected = case.run(*ours), reference(case.op)(*theirs, **case.sample.params)
    seed = case.seed_for(out)
    seed.requires_grad_()
    their_seed = to_torch(seed)
    mine = [ours[i] for i in case.differentiable]
    reference_inputs = [theirs[i] for i in case.differentiable]
    first = tm.autograd.grad(out, mine, seed, create_graph=True)
    their_first = torch.autograd.grad(expected, reference_inputs, their_seed, create_graph=True)
    total = sum((g * g).sum() for g in first)
    their_total = sum((g * g).sum() for g in their_first)
    second = tm.autograd.grad(total, [*mine, seed], allow_unused=True)
    their_second: Any = [None] * len(second)
    if their_total.requires_grad:  # not that of a step, which is 0 whatever comes in
        their_second = torch.autograd.grad(
            their_total, [*reference_inputs, their_seed], allow_unused=True
        )
    for a, b in zip(second, their_second, strict=True):
        got = 0.0 if a is None else a.data
        assert_close(got, 0.0 if b is None else to_numpy(b))


# -- extreme values ------------------------------------------------------------------------

EXTREMES = [0.0, -0.0, 1.0, -1.0, 30.0, -30.0, 1e-30, -1e-30, 1e30, -1e30, 1e-42]
EXTREMES += [np.inf, -np.inf, np.nan]

UNARY = ["neg", "exp", "log", "sqrt", "tanh", "sigmoid", "relu", "erf", "clone", "gelu"]
BINARY = ["add", "sub", "mul", "div", "pow", "eq", "ne", "lt", "le", "gt", "ge"]
ROWS = [
    [1e30, -1e30, 0.0],
    [-1e30, -1e30, -1e30],
    [-np.inf, 0.0, 1.0],
    [-np.inf, -np.inf, 0.0],
    [-np.inf, -np.inf, -np.inf],
    [np.nan, 0.0, 1.0],
    [88.0, 89.0, 200.0],
    [3.0, 3.0, 1.0],
    [1e-42, 0.0, -0.0],
]
ALONG_AXIS = ["softmax", "log_softmax", "sum", "mean", "amax"]


def compare_extremes(
    name: str, arrays: list[np.ndarray], *, atol: float = 1e-37, **params: Any
) -> None:
    op = REGISTRY[name]
    ours = [tm.tensor(a, requires_grad=True) for a in arrays]
    theirs = [to_torch(t) for t in ours]
    # NumPy would warn of overflow and of 0/0; whether it does is not the question here
    with np.errstate(all="ignore"):
        out = op(*ours, **params)
        expected = reference(op)(*theirs, **params)
        np.testing.assert_allclose(out.data, to_numpy(expected), rtol=2e-6, atol=atol)
        if not op.differentiable:
            return
        out.backward(tm.ones(out.shape))
        expected.backward(to_torch(tm.ones(out.shape)))
    for position, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        np.testing.assert_allclose(
            a.grad.data, to_numpy(b.grad), rtol=5e-6, atol=atol, err_msg=f"input {position}"
        )


@pytest.mark.parametrize("name", UNARY)
def test_extreme_values_of_functions(name: str, torch: ModuleType) -> None:
    # torch's vectorised gelu has nan at ∞, where the limit is ∞
    values = [x for x in EXTREMES if name != "gelu" or np.isfinite(x)]
    compare_extremes(name, [np.array(values, np.float32)])


@pytest.mark.parametrize("name", BINARY)
def test_extreme_values_of_pairs(name: str, torch: ModuleType) -> None:
    column = np.array(EXTREMES, np.float32)
    a, b = (np.ascontiguousarray(x) for x in np.meshgrid(column, column))
    compare_extremes(name, [a, b])


@pytest.mark.parametrize("name", ALONG_AXIS)
def test_extreme_values_along_an_axis(name: str, torch: ModuleType) -> None:
    for row in ROWS:
        compare_extremes(name, [np.array([row], np.float32)], atol=1e-7, dim=-1)


@pytest.mark.parametrize("name", ["sum", "mean"])
@pytest.mark.parametrize("shape", [(0,), (0, 3), (2, 0)])
def test_reductions_of_nothing(name: str, shape: tuple[int, ...], torch: ModuleType) -> None:
    compare_extremes(name, [np.zeros(shape, np.float32)], dim=0)


# -- what is refused -----------------------------------------------------------------------

#: (operation, shapes or arrays, params, our exception). Torch must refuse the same; where its
#: exception is RuntimeError ours may be the more telling ValueError, TypeError or IndexError.
REFUSED: list[tuple[str, list[Any], dict[str, Any], type[Exception]]] = [
    ("add", [(2, 3), (4,)], {}, ValueError),
    ("matmul", [(2, 3), (2, 3)], {}, ValueError),
    ("matmul", [(), (3,)], {}, ValueError),
    ("matmul", [(2, 2, 3), (3, 3, 2)], {}, ValueError),
    ("reshape", [(2, 3)], {"shape": (4, 2)}, ValueError),
    ("reshape", [(2, 3)], {"shape": (-1, -1)}, ValueError),
    ("expand", [(2, 3)], {"shape": (2, 4)}, ValueError),
    ("expand", [(2, 3)], {"shape": (3,)}, ValueError),
    ("sum_to", [(2, 3)], {"shape": (2,)}, ValueError),
    ("transpose", [(2, 3)], {"dim0": 0, "dim1": 2}, IndexError),
    ("permute", [(2, 3)], {"dims": (0, 0)}, ValueError),
    ("permute", [(2, 3)], {"dims": (0,)}, ValueError),
    ("permute", [(2, 3)], {"dims": (0, 2)}, IndexError),
    ("sum", [(2, 3)], {"dim": 2}, IndexError),
    ("sum", [(2, 3)], {"dim": -3}, IndexError),
    ("sum", [()], {"dim": 1}, IndexError),
    ("sum", [(2, 3)], {"dim": (0, 0)}, ValueError),
    ("mean", [(2, 3)], {"dim": 2}, IndexError),
    ("amax", [(2, 3)], {"dim": 2}, IndexError),
    ("amax", [(0, 3)], {"dim": 0}, IndexError),
    ("argmax", [(2, 3)], {"dim": 2}, IndexError),
    ("argmax", [(0, 3)], {"dim": 0}, IndexError),
    ("softmax", [(2, 3)], {"dim": 2}, IndexError),
    ("log_softmax", [(2, 3)], {"dim": -3}, IndexError),
    ("concatenate", [(2, 3), (3, 2)], {"dim": 0}, ValueError),
    ("concatenate", [(2, 3), (2, 3)], {"dim": 2}, IndexError),
    ("concatenate", [(2, 3), (2,)], {"dim": 0}, ValueError),
    ("getitem", [(2, 3)], {"index": 2}, IndexError),
    ("getitem", [(2, 3)], {"index": (0, 0, 0)}, IndexError),
    ("embedding", [(5, 3), np.array([5])], {}, IndexError),
    ("embedding", [(5, 3), np.array([-1])], {}, IndexError),
    ("embedding", [(5, 3), np.array([0.5])], {}, TypeError),
    ("linear", [(2, 3), (4, 5), (4,)], {}, ValueError),
    ("linear", [(2, 3), (4, 3), (5,)], {}, ValueError),
    ("layer_norm", [(2, 3), (2,), None], {"eps": 1e-5}, ValueError),
    ("cross_entropy", [(2, 3), np.array([0, 3])], {}, IndexError),
    ("cross_entropy", [(2, 3), np.array([0, -1])], {}, IndexError),
    ("cross_entropy", [(2, 3), np.array([0, 1, 2])], {}, ValueError),
    ("cross_entropy", [(2, 3), np.array([0, 1])], {"reduction": "median"}, ValueError),
    ("gelu", [(2,)], {"approximate": "fast"}, ValueError),
    ("split_heads", [(2, 5)], {"num_heads": 2}, ValueError),
    ("dot_scores", [(2, 3), (2, 4)], {"scale": 1.0}, ValueError),
    ("additive_scores", [(2, 3), (2, 4), (3,)], {}, ValueError),
    ("where", [np.array([True, False]), (2,), (3,)], {}, ValueError),
]


@pytest.mark.parametrize(
    ("name", "inputs", "params", "error"), REFUSED, ids=lambda x: x if isinstance(x, str) else ""
)
def test_what_torch_refuses_is_refused(
    name: str,
    inputs: list[Any],
    params: dict[str, Any],
    error: type[Exception],
    torch: ModuleType,
) -> None:
    arrays = [np.ones(x, np.float32) if isinstance(x, tuple) else x for x in inputs]
    ours = [tm.Tensor(a) if isinstance(a, np.ndarray) else a for a in arrays]
    with pytest.raises(error) as refused:
        REGISTRY[name](*ours, **params)
    assert str(refused.value).startswith(f"{name}: "), "the message names the operation"
    with pytest.raises((RuntimeError, IndexError, ValueError, TypeError)):
        reference(REGISTRY[name])(*(to_torch(t) for t in ours), **params)


def test_the_message_tells_every_shape_in_the_users_order() -> None:
    with pytest.raises(ValueError, match=r"(?s)a: float32 \(2, 3\).*b: float32 \(2, 4\)"):
        tm.zeros(2, 3) @ tm.zeros(2, 4)


@pytest.mark.parametrize("name", ["var", "std"])
@pytest.mark.parametrize("correction", [0, 1, 2, 3])
@pytest.mark.parametrize("dim", [None, 0, 1, (0, 1)])
def test_variance_without_freedom(name: str, correction: int, dim: Any, torch: ModuleType) -> None:
    x = tm.tensor([[1.0, 3.0], [2.0, 2.0]], dtype="float64", requires_grad=True)
    y = to_torch(x)
    out = getattr(x, name)(dim=dim, correction=correction)
    with np.errstate(all="ignore"), warnings.catch_warnings(action="ignore"):
        expected = getattr(y, name)(dim=dim, correction=correction)
        out.sum().backward()
    expected.sum().backward()
    np.testing.assert_allclose(out.data, to_numpy(expected))
    if name == "var":
        np.testing.assert_allclose(x.grad.data, to_numpy(y.grad))
