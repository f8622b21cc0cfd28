"""Elementwise operations at the edges, operators, creation and random numbers, beside PyTorch's."""

from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import tinygrad_mha as tm
import tinygrad_mha.nn.functional as F
from tests.support import require
from tinygrad_mha.engine import REGISTRY

INF, NAN = np.inf, np.nan
VALUES = [-INF, -1e30, -30.0, -3.0, -1.0, -0.5, -0.0, 0.0, 0.5, 1.0, 3.0, 30.0, 1e30, INF, NAN]


@pytest.fixture
def torch() -> ModuleType:
    return require.module("torch")


@pytest.fixture(autouse=True)
def _no_warnings() -> Iterator[None]:
    """NumPy would warn of overflow and of 0/0; whether it does is not the question here."""
    with np.errstate(all="ignore"):
        yield


def both(torch: ModuleType, *arrays: Any) -> tuple[list[tm.Tensor], list[Any]]:
    return (
        [tm.tensor(a, dtype="float64", requires_grad=True) for a in arrays],
        [torch.tensor(a, dtype=torch.float64, requires_grad=True) for a in arrays],
    )


def agree(torch: ModuleType, ours: Any, theirs: Any, *arrays: Any) -> None:
    """The same values and the same gradients, nan and infinities included."""
    mine, reference = both(torch, *arrays)
    y, expected = ours(*mine), theirs(*reference)
    np.testing.assert_allclose(y.data, expected.detach().numpy(), rtol=1e-12)
    if not expected.requires_grad:
        return
    y.backward(tm.ones(y.shape, dtype=y.dtype))
    expected.backward(torch.ones_like(expected))
    for a, b in zip(mine, reference, strict=True):
        np.testing.assert_allclose(a.grad.data, b.grad.numpy(force=True), rtol=1e-10, atol=1e-300)


FUNCTIONS = [
    "abs", "neg", "sign", "exp", "exp2", "expm1", "log",
    "log2", "log10", "log1p", "sqrt", "rsqrt", "square", "reciprocal",
    "sin", "cos", "tan", "asin", "acos", "atan", "sinh",
    "cosh", "tanh", "asinh", "acosh", "atanh", "erf", "erfc",
    "sigmoid", "logit", "floor", "ceil", "round", "trunc", "frac",
    "nan_to_num", "isnan", "isinf", "isfinite", "logical_not", "relu", "celu",
    "selu",
]  # fmt: skip
ACTIVATIONS = [
    "relu6", "leaky_relu", "elu", "silu", "softplus", "mish", "hardtanh",
    "hardswish", "logsigmoid", "tanhshrink",
]  # fmt: skip
PAIRS = [
    "add", "sub", "mul", "div", "pow", "maximum", "minimum",
    "fmax", "fmin", "fmod", "remainder", "atan2", "hypot", "logaddexp",
    "eq", "ne", "lt", "le", "gt", "ge", "isclose",
    "logical_and", "logical_or", "logical_xor",
]  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_of_extreme_values(name: str, torch: ModuleType) -> None:
    agree(torch, getattr(tm, name), getattr(torch, name), VALUES)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_of_extreme_values(name: str, torch: ModuleType) -> None:
    agree(torch, getattr(F, name), getattr(torch.nn.functional, name), VALUES)


@pytest.mark.parametrize("name", PAIRS)
def test_pairs_of_extreme_values(name: str, torch: ModuleType) -> None:
    a, b = np.meshgrid(VALUES, VALUES)
    agree(torch, getattr(tm, name), getattr(torch, name), a, b)


@pytest.mark.parametrize("exponent", [2, 3, 0.5, -0.5, -1, 0, 1, 2.5, -2])
def test_powers_by_plain_numbers(exponent: float, torch: ModuleType) -> None:
    agree(torch, lambda x: x**exponent, lambda x: x**exponent, VALUES)


@pytest.mark.parametrize(
    ("low", "high"), [(-1.0, 1.0), (1.0, -1.0), (NAN, 1.0), (-1.0, None), (None, 0.5)]
)
def test_clamp_and_its_bounds(low: float | None, high: float | None, torch: ModuleType) -> None:
    agree(torch, lambda x: x.clamp(low, high), lambda x: x.clamp(low, high), VALUES)
    bounds = [np.full(len(VALUES), b) for b in (low, high) if b is not None]

    def clamped(x: Any, *given: Any) -> Any:
        rest = list(given)
        return x.clamp(*(None if b is None else rest.pop(0) for b in (low, high)))

    agree(torch, clamped, clamped, VALUES, *bounds)


INTEGERS: list[tuple[str, Callable[[Any, Any], Any]]] = [
    ("/", lambda m, x: x / 2),
    ("//", lambda m, x: x // 2),
    ("%", lambda m, x: x % 2),
    ("reflected //", lambda m, x: 7 // x),
    ("trunc", lambda m, x: m.div(x, 2, rounding_mode="trunc")),
    ("fmod", lambda m, x: m.fmod(x, 2)),
    ("&", lambda m, x: x & 3),
    ("|", lambda m, x: 8 | x),
    ("^", lambda m, x: x ^ 5),
    ("~", lambda m, x: ~x),
    ("~bool", lambda m, x: ~(x > 0)),
    ("&bool", lambda m, x: (x > 0) & (x < 5)),
    ("**", lambda m, x: x**2),
    ("** float", lambda m, x: x.abs() ** 0.5),
    ("2 **", lambda m, x: 2**x),
    ("** -n", lambda m, x: x ** (-x)),
    ("abs", lambda m, x: abs(x)),
    ("exp", lambda m, x: m.exp(x)),
    ("floor", lambda m, x: m.floor(x)),
    ("relu", lambda m, x: m.relu(x)),
    ("clamp", lambda m, x: x.clamp(0, 3)),
    ("clamp float", lambda m, x: x.clamp(0.5, 3)),
    ("sign of bools", lambda m, x: m.sign(x > 0)),
    ("square of bools", lambda m, x: m.square(x > 0)),
    ("alpha", lambda m, x: m.add(x, x, alpha=3)),
    ("where", lambda m, x: m.where(x > 0, 1, 2.0)),
    ("where of ints", lambda m, x: m.where(x > 0, x, 2)),
    ("x.where", lambda m, x: x.where(x > 0, 0)),
    ("masked_fill", lambda m, x: x.masked_fill(x > 0, 2.5)),
]


@pytest.mark.parametrize("case", INTEGERS, ids=lambda c: c[0])
def test_integers_and_booleans(case: Any, torch: ModuleType) -> None:
    values = [-7, -1, 1, 2, 5]
    ours, theirs = case[1](tm, tm.tensor(values)), case[1](torch, torch.tensor(values))
    assert str(theirs.dtype) == f"torch.{ours.dtype}"
    np.testing.assert_allclose(ours.data, theirs.numpy(), rtol=1e-6)


def test_where_of_one_argument_finds_positions() -> None:
    rows, columns = tm.where(tm.tensor([[0, 1], [2, 0]]))
    assert (rows.tolist(), columns.tolist()) == ([0, 1], [1, 0])
    with pytest.raises(TypeError, match="where"):
        tm.where(tm.tensor(True), tm.tensor(1.0))


def test_a_filled_value_may_carry_a_gradient() -> None:
    x = tm.ones(3, requires_grad=True)
    value = tm.tensor(5.0, requires_grad=True)
    y = x.masked_fill(tm.tensor([True, False, True]), value)
    (y * tm.tensor([1.0, 2.0, 3.0])).sum().backward()
    assert x.grad.tolist() == [0.0, 2.0, 0.0]
    assert value.grad.item() == 4.0


def test_prelu_weights_lie_along_the_channels(torch: ModuleType) -> None:
    x = np.random.default_rng(0).standard_normal((2, 3, 2, 2))
    agree(torch, F.prelu, torch.nn.functional.prelu, x, [0.1, 0.2, 0.3])
    agree(torch, F.prelu, torch.nn.functional.prelu, x, [0.1])


@pytest.mark.parametrize("dim", [0, 1, -1])
def test_glu(dim: int, torch: ModuleType) -> None:
    x = np.random.default_rng(0).standard_normal((2, 4))
    agree(torch, lambda x: F.glu(x, dim), lambda x: torch.nn.functional.glu(x, dim), x)


def test_addition_twice_backward_needs_no_saved_values() -> None:
    x = tm.ones(2, requires_grad=True)
    y = tm.add(x, x, alpha=2).sum()
    y.backward()
    y.backward()
    assert x.grad.tolist() == [6.0, 6.0]


def test_equality_of_tensors() -> None:
    x = tm.tensor([1.0, NAN])
    assert not tm.equal(x, x)
    assert tm.allclose(x, x, equal_nan=True)
    assert not tm.allclose(x, x)
    assert tm.equal(tm.tensor([1]), tm.tensor([1.0]))
    assert tm.isclose(tm.tensor([INF]), tm.tensor([INF])).tolist() == [True]


def test_in_place_bounds_and_operators() -> None:
    x = tm.tensor([-2.0, 0.5, 2.0])
    assert x.clamp_min_(-1).clip_(max=1.0) is x
    assert x.tolist() == [-1.0, 0.5, 1.0]
    mask = tm.tensor([True, True])
    alias = mask
    mask &= tm.tensor([True, False])
    assert alias.tolist() == [True, False]


REFUSED: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: tm.tensor([1]) // 0, RuntimeError, "zero"),
    (lambda: tm.tensor([1]) % 0, RuntimeError, "zero"),
    (lambda: tm.fmod(tm.tensor([1]), 0), RuntimeError, "zero"),
    (lambda: tm.tensor([2]) ** -1, ValueError, "negative integer powers"),
    (lambda: tm.div(tm.ones(1), 2, rounding_mode="up"), ValueError, "rounding_mode"),
    (lambda: tm.add(tm.tensor([1]), tm.tensor([1]), alpha=0.5), TypeError, "alpha"),
    (lambda: -tm.tensor([True]), TypeError, "neg"),
    (lambda: tm.tensor([True]) - tm.tensor([True]), TypeError, "sub"),
    (lambda: tm.ones(1) & tm.ones(1), TypeError, "bitwise_and"),
    (lambda: tm.ones(1).clamp(), ValueError, "neither"),
    (lambda: tm.ones(1).masked_fill(tm.ones(1), 0.0), TypeError, "mask"),
    (lambda: tm.ones(1).masked_fill(tm.ones(1) > 0, tm.ones(1)), ValueError, "0-d"),
    (lambda: tm.arange(1).masked_fill(tm.tensor([True]), INF), TypeError, "does not fit"),
    (lambda: tm.where(tm.ones(1), 1, 2), TypeError, "condition"),
    (lambda: tm.isclose(tm.ones(1), tm.arange(1)), TypeError, "int64"),
    (lambda: tm.isclose(tm.ones(1), tm.ones(1), rtol=-1.0), ValueError, "rtol"),
    (lambda: F.glu(tm.ones(3)), ValueError, "odd"),
    (lambda: F.glu(tm.ones(2), 1), IndexError, "dim"),
    (lambda: F.glu(tm.tensor(1.0)), ValueError, "0-d"),
    (lambda: F.prelu(tm.ones(2, 3), tm.ones(2)), ValueError, "channel"),
    (lambda: F.celu(tm.ones(1), alpha=0), ValueError, "alpha"),
    (lambda: F.hardtanh(tm.ones(1), 1, -1), ValueError, "min_val"),
    (lambda: tm.zeros(-1), ValueError, "negative"),
    (lambda: tm.zeros(2.5), TypeError, "integers"),
    (lambda: tm.zeros(2, dtype="complex64"), TypeError, "dtype"),
    (lambda: tm.ones(1).to("cuda"), ValueError, "cpu"),
    (lambda: tm.ones(1).to(str), TypeError, "dtype"),
    (lambda: tm.arange(0, 3, 0), ValueError, "step"),
    (lambda: tm.arange(3, 0), ValueError, "away"),
    (lambda: tm.arange(INF), ValueError, "finite"),
    (lambda: tm.linspace(0, 1, -1), ValueError, "negative"),
    (lambda: tm.meshgrid(tm.ones(2, 2)), ValueError, "dimension"),
    (lambda: tm.meshgrid(tm.ones(2), indexing="yx"), ValueError, "indexing"),
    (lambda: tm.rand(2, dtype=tm.int64), TypeError, "floating"),
    (lambda: tm.randint(3, 3, (2,)), ValueError, "below"),
    (lambda: tm.randint(3), TypeError, "size"),
    (lambda: tm.bernoulli(tm.tensor([2.0])), ValueError, "0 to 1"),
    (lambda: tm.bernoulli(tm.tensor([1])), TypeError, "floating"),
    (lambda: tm.normal(0.0, -1.0, (2,)), ValueError, "std"),
    (lambda: tm.normal(0.0, 1.0), TypeError, "size"),
    (lambda: tm.normal(tm.ones(2), tm.ones(3)), ValueError, "broadcast"),
    (lambda: tm.multinomial(tm.ones(3), 4), ValueError, "replacement"),
    (lambda: tm.multinomial(tm.tensor([-1.0, 2.0]), 1), ValueError, "negative"),
    (lambda: tm.multinomial(tm.zeros(2), 1), ValueError, "all 0"),
    (lambda: tm.multinomial(tm.ones(2, 2, 2), 1), ValueError, "shape"),
    (lambda: tm.multinomial(tm.tensor([1, 2]), 1), TypeError, "floating"),
    (lambda: tm.manual_seed(2**64), ValueError, "64 bits"),
]


@pytest.mark.parametrize("case", REFUSED, ids=lambda c: c[2])
def test_what_is_refused(case: Any) -> None:
    with pytest.raises(case[1], match=case[2]):
        case[0]()


# -- creation ------------------------------------------------------------------------------

CREATED: list[Callable[[Any], Any]] = [
    lambda m: m.zeros(2, 3),
    lambda m: m.zeros((2, 3), dtype=m.int32),
    lambda m: m.ones([2]),
    lambda m: m.ones(()),
    lambda m: m.full((2,), 7),
    lambda m: m.full((2,), 0.1, dtype=m.float64),
    lambda m: m.full((2, 1), True),
    lambda m: m.zeros_like(m.arange(3)),
    lambda m: m.ones_like(m.arange(3), dtype=m.float64),
    lambda m: m.full_like(m.ones(2), 3),
    lambda m: m.arange(5),
    lambda m: m.arange(1, 4, 2),
    lambda m: m.arange(3.0),
    lambda m: m.arange(0, 1, 0.3),
    lambda m: m.arange(3, -3, -2),
    lambda m: m.arange(0.0, -8.5, -4.0, dtype=m.int64),
    lambda m: m.linspace(0, 1, 5),
    lambda m: m.linspace(4.3, -3, 50, dtype=m.int64),
    lambda m: m.linspace(1, 2, 0),
    lambda m: m.logspace(0, 3, 4),
    lambda m: m.logspace(0, 1.2, 3, base=2.0, dtype=m.float64),
    lambda m: m.eye(2, 3),
    lambda m: m.meshgrid(m.arange(2), m.arange(3), indexing="xy")[1],
    lambda m: m.as_tensor([1, 2], dtype=m.float64),
    lambda m: m.ones(2).to(m.int64),
    lambda m: m.ones(2).to("cpu", m.float64),
    lambda m: m.ones(2).type_as(m.arange(1)),
    lambda m: m.ones(2).int(),
    lambda m: m.tensor([0, 2], dtype=m.uint8).bool(),
]


@pytest.mark.parametrize("make", CREATED, ids=range(len(CREATED)))
def test_creation(make: Callable[[Any], Any], torch: ModuleType) -> None:
    ours, theirs = make(tm), make(torch)
    assert str(theirs.dtype) == f"torch.{ours.dtype}"
    assert ours.shape == tuple(theirs.shape)
    np.testing.assert_allclose(ours.data, theirs.numpy(), rtol=1e-6)


def test_meshgrid_has_a_gradient() -> None:
    x, y = tm.ones(2, requires_grad=True), tm.ones(3, requires_grad=True)
    a, b = tm.meshgrid(x, y)
    (a * b).sum().backward()
    assert (x.grad.tolist(), y.grad.tolist()) == ([3.0] * 2, [2.0] * 3)


def test_converting_copies_only_what_it_must() -> None:
    x = tm.ones(2)
    assert x.to(tm.float32) is x
    assert x.to(tm.float32, copy=True) is not x
    assert tm.as_tensor(x) is x
    array = np.ones(2, np.float32)
    assert tm.as_tensor(array).data is array


# -- random numbers -----------------------------------------------------------------------

DRAWN: list[Callable[..., tm.Tensor]] = [
    lambda **g: tm.rand(2, 3, **g),
    lambda **g: tm.randn((2, 3), **g),
    lambda **g: tm.randint(10, (4,), **g),
    lambda **g: tm.randperm(9, **g),
    lambda **g: tm.bernoulli(tm.full((9,), 0.5), **g),
    lambda **g: tm.normal(tm.zeros(3), 2.0, **g),
    lambda **g: tm.multinomial(tm.ones(2, 5), 3, **g),
    lambda **g: tm.multinomial(tm.ones(5), 9, replacement=True, **g),
]


@pytest.mark.parametrize("draw", DRAWN, ids=range(len(DRAWN)))
def test_a_generator_repeats_its_numbers_and_leaves_the_default_alone(
    draw: Callable[..., tm.Tensor],
) -> None:
    source = tm.Generator().manual_seed(7)
    tm.manual_seed(1)
    first = draw(generator=source)
    undisturbed = tm.rand(3)
    assert tm.equal(draw(generator=source.manual_seed(7)), first)
    assert source.initial_seed() == 7
    default = tm.manual_seed(1)
    assert tm.equal(tm.rand(3, generator=default), undisturbed)
    tm.manual_seed(7)
    assert tm.equal(draw(), first)


def test_distributions() -> None:
    assert sorted(tm.randperm(50).tolist()) == list(range(50))
    uniform = tm.rand(10_000)
    assert 0 <= uniform.data.min() <= uniform.data.max() < 1
    dice = tm.randint(1, 7, (10_000,))
    assert set(dice.tolist()) == set(range(1, 7))
    drawn = tm.normal(5.0, 2.0, (10_000,)).data
    assert abs(drawn.mean() - 5) < 0.1
    assert abs(drawn.std() - 2) < 0.1
    assert abs(tm.bernoulli(tm.ones(10_000), 0.3).data.mean() - 0.3) < 0.03
    assert tm.rand_like(tm.ones(2, dtype=tm.float64)).dtype == tm.float64
    assert tm.randn_like(tm.ones(2)).shape == (2,)


@pytest.mark.parametrize("replacement", [False, True])
def test_positions_come_in_proportion_to_their_weights(replacement: bool) -> None:
    weights = tm.tensor([[0.0, 1.0, 3.0]]).expand(4_000, 3)
    first = tm.multinomial(weights, 2, replacement=replacement).data[:, 0]
    assert np.bincount(first, minlength=3)[0] == 0
    assert abs((first == 2).mean() - 0.75) < 0.03
    once = tm.multinomial(tm.ones(9), 9).tolist()
    assert sorted(once) == list(range(9))


def test_every_differentiable_function_is_tried_on_extreme_values() -> None:
    tried = {*FUNCTIONS, *ACTIVATIONS, *PAIRS, "hardtanh"}
    ours = {
        name
        for name, op in REGISTRY.items()
        if op.__module__.endswith((".functions", ".arithmetic")) and op.differentiable
    }
    assert ours - tried == {"lerp", "floor_divide"}
