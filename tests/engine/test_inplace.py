"""Writing into tensors: what it does to values, to histories, to views, and what is refused."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_mha as tm
from tests.support import require


def leaf(*shape: int) -> tm.Tensor:
    numbers = np.random.default_rng(0).uniform(0.5, 1.5, shape)
    return tm.Tensor(numbers, True)


# Programs that read the same in both frameworks; `x` is (3, 4), a leaf; `lib` makes zeros.
PROGRAMS: dict[str, Callable[[Any, Any], Any]] = {}


def program(function: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    PROGRAMS[function.__name__] = function
    return function


@program
def arithmetic_in_place(lib: Any, x: Any) -> Any:
    y = x * 2
    y.mul_(3.0)
    y += x
    y -= 1.0
    y *= x
    y /= 2.0
    return y


@program
def the_old_value_is_what_a_product_needs(lib: Any, x: Any) -> Any:
    y = x * 1.0
    y.mul_(x)
    return y.exp_()


@program
def a_view_writes_into_its_base(lib: Any, x: Any) -> Any:
    y = x * 2
    y[1].mul_(3.0)
    y[:, 2].add_(x[:, 0])
    y[0, 1].zero_()
    return y * y


@program
def a_view_of_a_view(lib: Any, x: Any) -> Any:
    y = x * 2
    y[1:].reshape(8)[2:5].mul_(5.0)
    return y


@program
def the_base_changes_what_a_view_shows(lib: Any, x: Any) -> Any:
    y = x * 2
    turned = y.T
    y.mul_(x)
    return turned * turned


@program
def one_view_changes_what_another_shows(lib: Any, x: Any) -> Any:
    y = x * 2
    row, turned, flat = y[1], y.T, y.reshape(12)
    row.mul_(4.0)
    turned[0].add_(x[0, 0])
    return flat * flat


@program
def rows_of_a_buffer_that_wanted_no_gradient(lib: Any, x: Any) -> Any:
    buffer = lib(4, 4)
    first = buffer[0]
    for i in range(3):
        buffer[i] = x[i] * float(i + 1)
    buffer[3, 1:3] = x[0, :2]
    return buffer * buffer + first


@program
def masks_and_index_arrays(lib: Any, x: Any) -> Any:
    y = x * 2
    y[x > 1.0] = 0.5
    y[[0, 2]] = y[[2, 0]]
    return y * x


@program
def forgetting(lib: Any, x: Any) -> Any:
    y = x * 2
    y.zero_()
    y.copy_(x[0])
    z = x * 3
    z.fill_(2.0)
    return y * y + z


@program
def running_sums_and_triangles(lib: Any, x: Any) -> Any:
    y = x * 2
    y.cumsum_(1)
    y.tril_()
    y.clamp_(0.5, 4.0)
    y[:2].masked_fill_(y[:2] > 3.0, 0.25)
    return y * x


@pytest.mark.parametrize("name", PROGRAMS)
def test_programs_end_as_in_torch(name: str) -> None:
    torch = require.module("torch")
    x = leaf(3, 4)
    theirs = torch.from_numpy(x.data.copy()).requires_grad_()
    ours = PROGRAMS[name](lambda *s: tm.zeros(*s, dtype="float64"), x)
    expected = PROGRAMS[name](lambda *s: torch.zeros(*s, dtype=torch.float64), theirs)
    np.testing.assert_allclose(ours.data, expected.detach().numpy(), rtol=1e-12)
    ours.sum().backward()
    expected.sum().backward()
    np.testing.assert_allclose(x.grad.data, theirs.grad.numpy(), rtol=1e-12)


@pytest.mark.parametrize("name", PROGRAMS)
def test_programs_have_gradients_of_gradients(name: str) -> None:
    def run(x: tm.Tensor) -> tm.Tensor:
        return PROGRAMS[name](lambda *s: tm.zeros(*s, dtype="float64"), x * 1.0)

    assert tm.autograd.gradcheck(run, [leaf(3, 4)])
    assert tm.autograd.gradgradcheck(run, [leaf(3, 4)])


def test_squeezing_and_transposing_in_place() -> None:
    x = tm.arange(6.0).reshape(1, 2, 3)
    y = x.clone()
    for call in (
        lambda t: t.squeeze_(0), lambda t: t.t_(), lambda t: t.unsqueeze_(-1),
        lambda t: t.transpose_(0, 2), lambda t: t.swapaxes_(1, 2), lambda t: t.swapdims_(0, 1),
    ):  # fmt: skip
        assert call(y) is y
    np.testing.assert_array_equal(y.data, x.data[0].T[:, None])
    assert x.expand(4, 2, 3)[:, 0].unsqueeze_(0).shape == (1, 4, 3)  # no value is written


def test_views_outlive_their_tensors_squeeze() -> None:
    x = leaf(1, 3)
    y = x * 2
    row, column = y[0], y[:, 1]
    y.squeeze_(0)
    later = y[2:]
    y.mul_(3)
    np.testing.assert_array_equal(row.data, y.data)
    (row.sum() + column.sum() + later.sum()).backward()
    np.testing.assert_array_equal(x.grad.data, [[6.0, 12.0, 12.0]])


def test_a_leaf_is_not_squeezed_while_operations_are_recorded() -> None:
    x = leaf(1, 3)
    with pytest.raises(RuntimeError, match="squeeze_: a leaf of shape"):
        x.squeeze_()
    with tm.no_grad():
        x.squeeze_()
    assert x.shape == (3,)
    assert x.is_leaf
    x.sum().backward()
    assert x.grad.shape == (3,)


def test_every_element_wise_method_has_its_twin_in_place() -> None:
    x = tm.tensor([0.5, 1.5])
    for name in ("exp", "log", "sqrt", "tanh", "sigmoid", "relu", "neg"):
        y = x.clone()
        memory = y.data
        assert getattr(y, f"{name}_")() is y
        assert y.data is memory
        np.testing.assert_array_equal(memory, getattr(x, name)().data)


def test_scattering_in_place() -> None:
    torch = require.module("torch")
    x = leaf(3, 4)
    theirs = torch.from_numpy(x.data.copy()).requires_grad_()
    at = [[0, 1, 2, 0], [2, 0, 0, 1]]
    results = []
    for lib, source in ((tm, x), (torch, theirs)):
        y = source * 2
        y.scatter_add_(0, lib.tensor(at), source[:2] * 3)
        y.scatter_(1, lib.tensor([[1], [0], [3]]), source[:, :1])
        y.index_add_(0, lib.tensor([0, 2]), source[1:])
        y.index_fill_(1, lib.tensor([2]), 0.5)
        (y * y).sum().backward()
        results.append((y, source.grad))
    np.testing.assert_allclose(results[0][0].data, results[1][0].detach().numpy(), rtol=1e-12)
    np.testing.assert_allclose(results[0][1].data, results[1][1].numpy(), rtol=1e-12)


def test_random_numbers_in_place() -> None:
    x = tm.zeros(2000)
    source = tm.Generator().manual_seed(3)
    x.uniform_(-1.0, 3.0, generator=source)
    assert -1 <= x.data.min() < -0.9
    assert 2.9 < x.data.max() < 3
    first = x.data.copy()
    x.uniform_(-1.0, 3.0, generator=source.manual_seed(3))
    np.testing.assert_array_equal(x.data, first)
    x.normal_(5.0, 0.1)
    assert abs(x.data.mean() - 5) < 0.02
    x.bernoulli_(0.25)
    assert set(x.data.tolist()) == {0.0, 1.0}


# -- what is refused --------------------------------------------------------------------------


def test_a_leaf_that_wants_its_gradient_is_not_written_to() -> None:
    x = leaf(3)
    for write in (lambda: x.add_(1.0), x[:2].zero_, lambda: x[0].fill_(1.0)):
        before = x.data.copy()
        with pytest.raises(RuntimeError, match=r"(?s)leaf .*no_grad\(\)"):
            write()
        np.testing.assert_array_equal(x.data, before)
    with tm.no_grad():
        x.mul_(2.0)
        x[0] = 7.0
    assert x.is_leaf
    assert x.data[0] == 7.0


@pytest.mark.parametrize(
    "write",
    [
        lambda y: y.add_(1.0),
        lambda y: y.detach().zero_(),
        lambda y: y[1:].mul_(2.0),
        lambda y: y.reshape(3, 1).copy_(5.0),
        lambda y: y.__setitem__([0], 3.0),
    ],
)
def test_a_saved_value_that_was_changed_is_found(write: Callable[[tm.Tensor], Any]) -> None:
    x = leaf(3)
    y = x.exp()  # its gradient needs y
    write(y)
    with pytest.raises(RuntimeError, match=r"exp needs a value of shape \(3,\).*clone"):
        y.sum().backward()


def test_a_value_that_no_gradient_needs_may_be_changed() -> None:
    x = leaf(3)
    y = x * 1.0
    z = y * 2.0  # saves y, for a gradient of the 2 that nobody wants
    y.zero_()
    z.sum().backward()
    assert x.grad.tolist() == [2.0] * 3


def test_what_a_function_of_ones_own_saved_is_watched_too() -> None:
    class Square(tm.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: tm.Tensor) -> tm.Tensor:
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx: Any, grad: tm.Tensor) -> Any:
            return grad * 2 * ctx.saved_tensors[0]

    x = leaf(3)
    y = x * 1.0
    z = Square.apply(y)
    y.zero_()
    with pytest.raises(RuntimeError, match="Square needs a value"):
        z.sum().backward()


def test_a_value_that_nobody_saved_may_be_changed() -> None:
    x = leaf(3)
    y = x + 1.0
    y.zero_()
    y.sum().backward()
    assert x.grad.tolist() == [0.0] * 3


def test_a_step_of_an_optimizer_counts_as_a_write() -> None:
    w = leaf(3)
    loss = (w * w).sum()
    loss.backward(retain_graph=True)
    for optimizer in (tm.optim.SGD([w], lr=0.1), tm.optim.AdamW([w])):
        optimizer.step()
        with pytest.raises(RuntimeError, match="optimizer"):
            loss.backward(retain_graph=True)
        loss = (w * w).sum()


def test_versions_are_those_of_the_memory() -> None:
    x = tm.zeros(3)
    view, copy = x[1:], x.detach()
    assert x._version == 0
    view.add_(1.0)
    copy.mul_(2.0)
    assert x._version == view._version == copy._version == 2
    assert x.clone()._version == 0


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (lambda: tm.zeros(3).add_(tm.ones(2, 3)), r"add_: the result has shape \(2, 3\)"),
        (lambda: tm.arange(3).add_(0.5), "add_: the result is float32 .* int64 tensor"),
        (lambda: tm.zeros(1).expand(5000).add_(1.0), "one place of memory"),
    ],
)
def test_what_does_not_fit_is_refused(write: Callable[[], Any], words: str) -> None:
    with pytest.raises(RuntimeError, match=words):
        write()


def test_views_made_by_strides_share_the_memory_they_look_into() -> None:
    from tinygrad_mha.engine import memory

    whole = np.zeros(5)
    window = np.lib.stride_tricks.sliding_window_view(whole[1:], 2)
    assert memory.owner(window) is whole


def test_writes_leave_no_cycle_and_no_notes_behind() -> None:
    from tinygrad_mha.engine import memory

    gc.disable()
    try:
        notes = len(memory._written)
        y = leaf(3, 3) * 1.0
        y[1] = 2.0
        y[2].add_(y[0])
        node = weakref.ref(y.grad_fn)
        del y
        assert node() is None
        assert len(memory._written) == notes
    finally:
        gc.enable()


# -- dtypes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", ["add", "mul", "sub", "div", "maximum", "pow"])
def test_results_have_torchs_dtype(operation: str) -> None:
    torch = require.module("torch")
    makers = [
        lambda lib, dtype: lib.ones(2, dtype=dtype),
        lambda lib, dtype: lib.tensor(1, dtype=dtype),
    ]
    names = ["float32", "float64", "int64", "int32", "bool", "uint8"]
    for a in names:
        for b in names:
            if operation in ("sub", "pow") and "bool" in (a, b):
                continue  # refused by both
            for first in makers:
                for second in makers:
                    ours = getattr(tm, operation)(first(tm, a), second(tm, b))
                    theirs = getattr(torch, operation)(
                        first(torch, getattr(torch, a)), second(torch, getattr(torch, b))
                    )
                    assert str(ours.dtype) == str(theirs.dtype).removeprefix("torch."), (a, b)


@pytest.mark.parametrize("number", [2, 2.5, True])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "bool"])
def test_plain_numbers_change_the_kind_at_most(number: Any, dtype: str) -> None:
    torch = require.module("torch")
    ours = tm.ones(2, dtype=dtype) * number
    theirs = torch.ones(2, dtype=getattr(torch, dtype)) * number
    assert str(ours.dtype) == str(theirs.dtype).removeprefix("torch.")


@pytest.mark.parametrize("shape", [(0,), (0, 3), (2, 3, 0)])
def test_writing_into_nothing_is_allowed(shape: tuple[int, ...]) -> None:
    x = tm.zeros(*shape)
    for y in (x, x.unsqueeze(0), tm.zeros(*[n or 1 for n in shape])[:0]):
        y.mul_(2).fill_(1)
        y[...] = 3
    assert x.shape == shape


def test_read_only_memory_is_not_written_to() -> None:
    array = np.ones(3, np.float32)
    array.flags.writeable = False
    x = tm.from_numpy(array)
    for write in (lambda: x.mul_(2), lambda: x.fill_(0), x[1:].zero_):
        with pytest.raises(RuntimeError, match=r"read-only, as its owner.*\.clone\(\) it first"):
            write()
    with pytest.raises(RuntimeError, match="read-only"):
        x[[0, 1]] = 2.0
    assert x.clone().mul_(2).tolist() == [2.0, 2.0, 2.0]


def test_whole_numbers_of_another_dtype_go_in_and_wrap() -> None:
    x = tm.tensor(np.array([1, 200], np.uint8))
    assert x.add_(tm.tensor([1, 100])).tolist() == [2, 44]
    assert x.dtype == np.uint8
    with pytest.raises(RuntimeError, match="the result is float32 and cannot be kept in a uint8"):
        x.mul_(tm.tensor([0.5, 0.5]))


class _Both(tm.autograd.Function):
    """y = 2x, z = 3x."""

    @staticmethod
    def forward(ctx: Any, x: tm.Tensor) -> Any:
        return x * 2, x * 3

    @staticmethod
    def backward(ctx: Any, dy: tm.Tensor, dz: tm.Tensor) -> Any:
        return 2 * dy + 3 * dz


def test_outputs_of_a_function_are_written_to_apart() -> None:
    x = tm.tensor([1.0, 2.0], requires_grad=True)
    y, z = _Both.apply(x)
    z.register_hook(lambda gradient: gradient * 10)
    y.mul_(z)  # which saves z
    y.add_(1)  # and that is not a write into z
    y[0] = 0.0
    (y.sum() + z.sum()).backward()
    # at 0 only z counts, with 3 · 10; at 1 there is y = 2x · 3x too: 6 · 2, and 4 · 3 through z
    assert x.grad.tolist() == [30, 12 + (4 + 1) * 10 * 3]
