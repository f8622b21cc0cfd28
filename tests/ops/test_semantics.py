"""What an operation means at the edges: shapes, dtypes, indexing, numbers."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_mha as tm


def leaf(values: Any, dtype: str = "float32") -> tm.Tensor:
    return tm.tensor(values, dtype=dtype, requires_grad=True)


# -- dtypes --------------------------------------------------------------------------------


def test_python_floats_become_float32_and_numpy_keeps_its_dtype() -> None:
    assert tm.tensor([1.0]).dtype == np.float32
    assert tm.tensor(np.ones(1)).dtype == np.float64
    assert tm.tensor([1]).dtype == np.int64
    assert tm.tensor(True).dtype == np.bool_
    assert tm.tensor([tm.tensor(1.0), tm.tensor(2.0)]).tolist() == [1.0, 2.0]


@pytest.mark.parametrize("data", ["text", None, [1j], [None], {"a": 1}])
def test_only_numbers_make_tensors(data: Any) -> None:
    with pytest.raises(TypeError, match="numbers"):
        tm.tensor(data)


@pytest.mark.parametrize("make", [tm.Tensor, tm.tensor, tm.from_numpy, tm.as_tensor])
@pytest.mark.parametrize(
    ("array", "remedy"),
    [
        (np.ones(2, np.complex64), "real"),
        (np.zeros(2, [("a", "f4"), ("b", "f4")]), "field"),
        (np.array([1.0, None], object), "astype"),
        (np.array(["a"]), "numbers"),
        (np.array(["2020-01-01"], "M8[D]"), "numbers"),
    ],
    ids=lambda x: str(getattr(x, "dtype", x)),
)
def test_arrays_of_anything_else_are_refused(make: Any, array: np.ndarray, remedy: str) -> None:
    with pytest.raises(TypeError, match=remedy if make in (tm.Tensor, tm.tensor) else "numbers"):
        make(array)


@pytest.mark.parametrize("make", [tm.Tensor, tm.tensor, tm.as_tensor])
@pytest.mark.parametrize("code", ["f2", "f4", "f8", "i2", "i8", "u4"])
def test_the_byte_order_of_another_machine_is_converted(make: Any, code: str) -> None:
    x = make(np.arange(6).reshape(2, 3).astype(f">{code}"))
    assert x.dtype == np.dtype(code)
    assert x.dtype.isnative
    assert (x @ x.T).tolist() == [[5, 14], [14, 50]]
    assert tm.softmax(x, -1, dtype="float32").shape == (2, 3)


@pytest.mark.parametrize("dtype", [np.float16, np.longdouble])
def test_other_floats_run_on_numpy(dtype: Any) -> None:
    x = tm.Tensor(np.linspace(-1, 1, 24).reshape(2, 3, 4).astype(dtype), True)
    y = tm.nn.functional.layer_norm(x @ x.mT, 3)
    y = tm.nn.functional.scaled_dot_product_attention(y, y, y, is_causal=True).gelu()
    y.sum().backward()
    same = tm.Tensor(x.data.astype(np.float64), True)
    z = tm.nn.functional.layer_norm(same @ same.mT, 3)
    z = tm.nn.functional.scaled_dot_product_attention(z, z, z, is_causal=True).gelu()
    z.sum().backward()
    assert y.dtype == x.grad.dtype == dtype
    tolerance = 0.02 if dtype is np.float16 else 1e-12
    np.testing.assert_allclose(y.data.astype(float), z.data, atol=tolerance)
    np.testing.assert_allclose(x.grad.data.astype(float), same.grad.data, atol=3 * tolerance)


@pytest.mark.parametrize("name", ["leaky_relu", "hardswish", "hardsigmoid", "gelu", "elu", "silu"])
@pytest.mark.parametrize("dtype", ["bool", "uint8", "int64"])
def test_activations_of_integers_are_float32(name: str, dtype: str) -> None:
    x = tm.tensor(np.array([1, 0], dtype))
    function = getattr(tm.nn.functional, name)
    assert function(x).dtype == np.float32
    assert function(x).tolist() == function(x.float()).tolist()


def test_bounds_that_a_dtype_cannot_hold_bound_nothing() -> None:
    x = tm.tensor(np.array([0, 1, 200], np.uint8))
    assert x.clamp(-1, 300).tolist() == [0, 1, 200]
    assert x.clamp(-5, 2).tolist() == x.clone().clamp_(-5, 2).tolist() == [0, 1, 2]
    assert tm.nn.functional.hardtanh(x).tolist() == [0, 1, 1]
    assert tm.nn.functional.hardtanh(x, -0.5, 1.5).dtype == np.uint8
    with pytest.raises(OverflowError, match=r"add: .* 300 out of bounds for uint8; convert"):
        x + 300


def test_booleans_round_to_themselves_and_have_no_powers() -> None:
    x = tm.tensor([True, False])
    assert x.round().dtype == np.bool_
    assert (x**2).tolist() == [1, 0]
    for power in (lambda: x**x, lambda: x**True, lambda: True**x):
        with pytest.raises(TypeError, match="booleans have no powers"):
            power()


def test_the_median_of_no_integers_is_refused() -> None:
    assert np.isnan(tm.zeros(0).median().item())
    with pytest.raises(IndexError, match=r"median: no elements in shape \(0, 2\), of int64"):
        tm.zeros(0, 2, dtype="int64").median()


def test_ragged_lists_are_refused() -> None:
    with pytest.raises(ValueError, match="lists of different lengths"):
        tm.tensor([[1.0], [1.0, 2.0]])


def test_tensor_copies_and_from_numpy_shares() -> None:
    array = np.ones(2, np.float32)
    assert not np.shares_memory(tm.tensor(array).data, array)
    assert tm.from_numpy(array).data is array
    with pytest.raises(TypeError, match="expected an array"):
        tm.from_numpy([1.0])


@pytest.mark.parametrize("number", [2, 2.0, True, np.float64(2), np.float32(2), np.int64(2)])
def test_numbers_do_not_promote(number: Any) -> None:
    """NumPy's own scalars included: x * np.sqrt(2) must not turn a model into float64."""
    x = tm.ones(2)
    for result in (x + number, number + x, x * number, x / number, number / x, x**number):
        assert type(result) is tm.Tensor
        assert result.dtype == np.float32


def test_arrays_and_tensors_promote() -> None:
    x, y = leaf([1.0]), leaf([2.0], "float64")
    z = x + y
    assert z.dtype == np.float64
    z.backward()
    assert x.grad.dtype == np.float32
    assert y.grad.dtype == np.float64
    assert (tm.tensor([1]) + tm.tensor([0.5])).dtype == np.float32  # where NumPy would widen


def test_integers_divide_to_floats() -> None:
    assert (tm.tensor([1]) / tm.tensor([2])).tolist() == [0.5]


def test_nothing_divided_by_zero_is_nothing() -> None:
    nothing, zero = tm.zeros(0, 3, dtype="int64"), tm.tensor(0)
    for quotient in (nothing // zero, nothing % zero, tm.div(nothing, zero, rounding_mode="trunc")):
        assert quotient.shape == (0, 3)
    with pytest.raises(RuntimeError, match="division by zero"):
        tm.tensor([1]) // zero


def test_comparisons_are_boolean_and_carry_no_gradient() -> None:
    x = leaf([1.0, 2.0])
    for result in (x < 2, x <= 1, x > 1, x >= 2, x == 1, x != 1):
        assert result.dtype == np.bool_
        assert not result.requires_grad


def test_conversions_return_the_gradient_in_the_inputs_dtype() -> None:
    x = leaf([1.0, 2.0])
    y = x.double() * 2
    assert y.dtype == np.float64
    y.sum().backward()
    assert x.grad.dtype == np.float32
    assert x.float() is x
    assert x.long().dtype == np.int64


# -- shapes --------------------------------------------------------------------------------


def test_reductions_and_products_of_nothing() -> None:
    assert tm.zeros(0).sum().item() == 0.0
    assert np.isnan(tm.zeros(0).mean().item())
    assert (tm.zeros(2, 0) @ tm.zeros(0, 3)).tolist() == [[0.0] * 3] * 2
    for largest in (tm.Tensor.amax, tm.Tensor.argmax):
        with pytest.raises(IndexError, match="no elements"):
            largest(tm.zeros(0))
        assert largest(tm.zeros(0, 3), dim=1).shape == (0,)


def test_gradients_of_nothing() -> None:
    x = tm.zeros(0, 3, requires_grad=True)
    (x * 2 + 1).sum().backward()
    assert x.grad.shape == (0, 3)


@pytest.mark.parametrize("dim", [0, -1, None])
def test_scalars_have_a_dimension_to_reduce(dim: int | None) -> None:
    for reduce in (tm.Tensor.sum, tm.Tensor.mean, tm.Tensor.amax):
        x = leaf(3.0)
        y = reduce(x, dim=dim)
        assert y.shape == ()
        y.backward()
        assert x.grad.item() == 1.0


def test_scalars_have_a_dimension_to_normalise() -> None:
    assert tm.tensor(3.0).softmax(0).item() == 1.0
    assert tm.tensor(3.0).log_softmax(-1).item() == 0.0
    assert tm.tensor(3.0).argmax(0).item() == 0


def test_mean_divides_by_the_count_not_by_the_axis() -> None:
    x = leaf(np.ones((2, 3, 4)))
    x.mean((1,)).sum().backward()
    np.testing.assert_allclose(x.grad.data, 1 / 3, rtol=1e-6)


def test_batched_matmul_is_a_product_per_batch() -> None:
    a, b = tm.randn(3, 2, 4), tm.randn(3, 4, 5)
    expected = np.einsum("bij,bjk->bik", a.data, b.data)
    np.testing.assert_allclose((a @ b).data, expected, rtol=1e-5, atol=1e-6)


def test_matmul_of_different_dtypes_is_refused() -> None:
    with pytest.raises(TypeError, match=r"(?s)matmul: .*float32 \(2, 2\).*float64 \(2, 2\)"):
        tm.ones(2, 2) @ tm.ones(2, 2, dtype="float64")


def test_shapes_as_arguments_or_as_a_tuple() -> None:
    x = tm.zeros(2, 6)
    assert x.reshape(3, 4).shape == x.reshape((3, 4)).shape == x.reshape([3, -1]).shape == (3, 4)
    assert x.permute(1, 0).shape == x.permute((1, 0)).shape == x.T.shape == x.mT.shape == (6, 2)
    assert tm.ones(2, 1).expand(2, 3).shape == tm.ones(2, 1).expand((-1, 3)).shape == (2, 3)
    assert x.flatten().shape == (12,)
    assert tm.zeros(2, 3, 4).flatten(1).shape == (2, 12)
    assert x.unsqueeze(-1).shape == (2, 6, 1)
    assert x.unsqueeze(0).squeeze(0).shape == x.squeeze(0).shape == (2, 6)


def test_squeeze_and_unsqueeze_out_of_range() -> None:
    x = tm.zeros(2, 1)
    for wrong in (lambda: x.unsqueeze(3), lambda: x.unsqueeze(-4), lambda: x.squeeze(2)):
        with pytest.raises(IndexError):
            wrong()


def test_view_never_copies() -> None:
    x = tm.arange(6).reshape(2, 3)
    assert np.shares_memory(x.view(3, 2).data, x.data)
    assert tm.zeros(0, 3).view(3, 0).shape == (3, 0)
    with pytest.raises(RuntimeError, match="reshape"):
        x.T.view(6)
    assert x.T.reshape(6).tolist() == [0, 3, 1, 4, 2, 5]


def test_length_iteration_and_truth() -> None:
    x = tm.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert len(x) == 2
    assert [row.tolist() for row in x] == [[1.0, 2.0], [3.0, 4.0]]
    with pytest.raises(TypeError, match="0-d"):
        len(tm.tensor(1.0))
    with pytest.raises(TypeError, match="0-d"):
        iter(tm.tensor(1.0))
    with pytest.raises(ValueError, match="ambiguous"):
        bool(x)
    assert tm.tensor([1.0])
    assert [10, 20][tm.tensor(1)] == 20
    with pytest.raises(TypeError, match="index"):
        [10, 20][tm.tensor(1.0)]
    with pytest.raises(ValueError, match="exactly one"):
        x.item()


# -- indexing --------------------------------------------------------------------------------

INDICES: list[Any] = [
    0,
    -1,
    slice(None, None, -1),
    slice(3, 0, -2),
    (slice(None), 1),
    (..., 0),
    None,
    [0, 2, 2],
    ([0, 1], [1, 1]),
    (slice(1, 3), [2, 0]),
    np.array([True, False, True, False]),
    (np.array([True, False, True, False]), 0),
    (0, 1),
]


@pytest.mark.parametrize("index", INDICES, ids=str)
def test_indexing_reads_as_numpy_and_its_gradient_lands_where_it_was_read(index: Any) -> None:
    values = np.arange(12.0).reshape(4, 3)
    x = leaf(values, "float64")
    y = x[index]
    np.testing.assert_array_equal(y.data, values[index])
    weight = np.arange(1.0, 1 + y.numel()).reshape(y.shape)
    (y * tm.Tensor(weight)).sum().backward()
    expected = np.zeros_like(values)
    np.add.at(expected, index, weight)
    np.testing.assert_array_equal(x.grad.data, expected)


def test_tensors_index_tensors() -> None:
    x = leaf([1.0, 2.0, 3.0])
    index = tm.tensor([2, 2])
    x[index].sum().backward()
    assert x.grad.tolist() == [0.0, 0.0, 2.0]
    assert x[x > 1.5].tolist() == [2.0, 3.0]
    assert x[tm.tensor(1)].item() == 2.0
    with pytest.raises((TypeError, IndexError)):
        x[leaf([1.0])]


def test_an_index_changed_later_does_not_change_the_gradient() -> None:
    x, index = leaf([1.0, 2.0, 3.0]), [0]
    y = x[index]
    index[0] = 2
    y.sum().backward()
    assert x.grad.tolist() == [1.0, 0.0, 0.0]


def test_repeated_rows_of_a_table_add_up() -> None:
    table = leaf(np.zeros((4, 2)))
    index = tm.tensor([[1, 1], [1, 3]])
    tm.embedding(table, index).sum().backward()
    assert table.grad.tolist() == [[0, 0], [3, 3], [0, 0], [1, 1]]


def test_cat_of_one_and_of_many() -> None:
    parts = [leaf(np.full((i, 2), float(i))) for i in range(4)]
    joined = tm.cat(parts)
    assert joined.shape == (6, 2)
    (joined * tm.arange(6).float().unsqueeze(1)).sum().backward()
    assert [p.grad.data[:, 0].tolist() for p in parts] == [[], [0], [1, 2], [3, 4, 5]]
    assert tm.cat([parts[1]]).tolist() == parts[1].tolist()
    assert tm.cat([tm.ones(2), parts[3][0]], -1).shape == (4,)
    with pytest.raises((TypeError, ValueError), match="concatenate"):
        tm.cat([])


# -- numbers ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "at", "slope"),
    [
        (lambda x: x.sqrt(), 0.0, np.inf),
        (lambda x: x.relu(), 0.0, 0.0),
        (lambda x: x**0, 0.0, 0.0),
        (lambda x: x**1, 0.0, 1.0),
        (lambda x: x**2, 0.0, 0.0),
        (lambda x: x**2.0, -3.0, -6.0),
        (lambda x: x**3, -2.0, 12.0),
        (lambda x: x**-1, 2.0, -0.25),
        (lambda x: 2**x, 1.0, 2 * np.log(2)),
        (lambda x: 0.0**x, 2.0, 0.0),
        (lambda x: 1 / x, 2.0, -0.25),
        (lambda x: 1 - x, 2.0, -1.0),
        (lambda x: x**x, 1.0, 1.0),
    ],
)
def test_slopes_at_special_points(
    function: Callable[[tm.Tensor], tm.Tensor], at: float, slope: float
) -> None:
    x = leaf(at)
    with np.errstate(divide="ignore"):
        function(x).backward()
    np.testing.assert_allclose(x.grad.item(), slope, rtol=1e-6)


def test_power_of_a_tensor_exponent_zero_has_gradient_zero() -> None:
    x, n = leaf([0.0, 2.0]), tm.tensor([0.0, 0.0])
    y = x**n
    assert y.tolist() == [1.0, 1.0]
    y.sum().backward()
    assert x.grad.tolist() == [0.0, 0.0]


def test_ties_of_the_largest_share_its_gradient() -> None:
    x = leaf([[1.0, 3.0, 3.0], [2.0, 2.0, 2.0]])
    x.amax(-1).sum().backward()
    np.testing.assert_allclose(x.grad.data, [[0, 0.5, 0.5], [1 / 3] * 3], rtol=1e-6)
    y = leaf([1.0, 1.0])
    y.amax().backward()
    assert y.grad.tolist() == [0.5, 0.5]


def test_where_does_not_guard_a_gradient_that_is_infinite() -> None:
    """0 · ∞ is nan there as everywhere; guarding the argument is the way."""
    x = leaf([0.0, 4.0])
    with np.errstate(divide="ignore", invalid="ignore"):
        tm.where(x.data > 0, x.sqrt(), 0.0).sum().backward()
    assert np.isnan(x.grad.data[0])
    x.grad = None
    tm.where(x.data > 0, tm.where(x.data > 0, x, 1.0).sqrt(), 0.0).sum().backward()
    assert x.grad.tolist() == [0.0, 0.25]


def test_masked_positions_get_no_gradient() -> None:
    x = leaf([1.0, 2.0])
    y = x.masked_fill(tm.tensor([True, False]), -np.inf)
    assert y.tolist() == [-np.inf, 2.0]
    y.softmax(-1).sum().backward()
    assert x.grad.data[0] == 0.0
    assert np.isfinite(x.grad.data).all()


def test_softmax_of_large_numbers() -> None:
    for shift in (1e4, -1e4):
        assert tm.tensor([shift, shift]).softmax(-1).tolist() == [0.5, 0.5]
    assert np.isfinite(tm.tensor([1e4, -1e4]).log_softmax(-1).data).all()


def test_cross_entropy_of_certainty_and_of_its_opposite() -> None:
    x = leaf([[100.0, 0.0], [100.0, 0.0]])
    losses = tm.cross_entropy(x, tm.tensor([0, 1]), reduction="none")
    np.testing.assert_allclose(losses.data, [0.0, 100.0], atol=1e-5)
    losses.sum().backward()
    np.testing.assert_allclose(x.grad.data, [[0, 0], [1, -1]], atol=1e-6)


def test_cross_entropy_of_nothing_is_nan() -> None:
    x = tm.zeros(0, 3, requires_grad=True)
    assert np.isnan(tm.cross_entropy(x, tm.zeros(0, dtype="int64")).item())
    assert tm.cross_entropy(x, tm.zeros(0, dtype="int64"), reduction="sum").item() == 0.0


# -- how an operation is called -----------------------------------------------------------------


def test_arguments_by_position_and_by_name() -> None:
    x = tm.randn(2, 3)
    assert x.sum(1).tolist() == x.sum(dim=1).tolist() == tm.sum(x, 1).tolist()
    assert x.sum(1, True).shape == x.sum(dim=1, keepdim=True).shape == (2, 1)
    assert tm.linear(x=x, weight=tm.ones(4, 3), bias=None).shape == (2, 4)


@pytest.mark.parametrize(
    "call",
    [
        lambda x: x.sum(axis=1),
        lambda x: x.sum(1, True, 3),
        lambda x: x.exp(2),
        tm.matmul,
        lambda x: tm.transpose(x, 0),
    ],
)
def test_wrong_arguments_show_the_signature(call: Callable[[tm.Tensor], Any]) -> None:
    with pytest.raises(TypeError, match=r"^(sum|exp|matmul|transpose): "):
        call(tm.ones(2, 2))


def test_arrays_in_array_out() -> None:
    """The way gradient rules run: no tensors, no graph."""
    assert type(tm.exp(np.zeros(2))) is np.ndarray


def test_operators_refuse_what_they_do_not_know() -> None:
    for other in ("text", None, [1.0], object()):
        with pytest.raises(TypeError):
            tm.ones(2) + other


@pytest.mark.parametrize("name", ["x", "input"])
def test_what_is_overwritten_can_be_named(name: str) -> None:
    x = tm.tensor([-1.0, 2.0])
    named: Any = {name: x}
    assert tm.nn.functional.relu(**named, inplace=True) is x
    assert x.tolist() == [0.0, 2.0]


@pytest.mark.parametrize("dtype", ["int32", "uint8", "int64", "float32", "float64"])
@pytest.mark.parametrize("dim", [0, 1, (0, 1), -1, None])
def test_sums_are_of_the_dtype_asked_for(dim: Any, dtype: str) -> None:
    x = tm.tensor(np.ones((3, 2, 2), dtype))
    assert tm.sum(x, dim=dim, dtype=dtype).dtype == dtype


def test_targets_that_have_changed_since_write_nothing() -> None:
    logits, target = tm.zeros(3, 4, requires_grad=True), np.arange(3)
    loss = tm.nn.functional.cross_entropy(logits, tm.from_numpy(target))
    target[2] = -1
    with pytest.raises(IndexError, match="target -1 is out of range for 4 classes"):
        loss.backward()
    assert logits.grad is None
