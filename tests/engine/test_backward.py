"""The backward pass: where gradients go, what is freed, what is refused."""

import copy
import threading

import numpy as np
import pytest

import tinygrad_mha as tm


def leaf(*values: float, dtype: str = "float32") -> tm.Tensor:
    return tm.tensor(values[0] if len(values) == 1 else values, dtype=dtype, requires_grad=True)


def test_tensor_used_twice_in_one_operation() -> None:
    x = leaf(3.0)
    (x * x).backward()
    assert x.grad.item() == 6.0


def test_tensor_used_by_several_operations() -> None:
    x = leaf(3.0)
    a = x * 2
    (a * a + a * x + x).backward()  # 6x² + x
    assert x.grad.item() == 37.0


def test_gradients_accumulate_over_backward_passes() -> None:
    x = leaf(2.0)
    (x * 3).backward()
    (x * 4).backward()
    assert x.grad.item() == 7.0


def test_second_backward_adds_no_stale_gradients() -> None:
    """Gradients that wait in the graph itself would be counted again: 27, then 45."""
    x = leaf(3.0)
    y = x * x * x
    y.backward(retain_graph=True)
    assert x.grad.item() == 27.0
    x.grad = None
    y.backward()
    assert x.grad.item() == 27.0


def test_second_backward_needs_retain_graph() -> None:
    x = leaf(3.0)
    y = x * x
    y.backward()
    with pytest.raises(RuntimeError, match=r"mul .* retain_graph"):
        y.backward()
    assert x.grad.item() == 6.0, "the refused pass left no trace"


def test_second_backward_is_legal_where_nothing_was_saved() -> None:
    x = leaf(3.0)
    y = x + 1.0
    y.backward()
    y.backward()
    assert x.grad.item() == 2.0


def test_backward_frees_only_what_it_went_through() -> None:
    x = leaf(2.0)
    a = x * x
    b = a * 3.0
    (a * 5.0).backward(retain_graph=True)
    b.backward()
    assert x.grad.item() == 20.0 + 12.0


def test_without_graph_there_is_no_backward() -> None:
    with pytest.raises(RuntimeError, match="no graph"):
        tm.tensor(1.0).backward()
    with tm.no_grad():
        y = leaf(1.0) * 2
    with pytest.raises(RuntimeError, match="no graph"):
        y.backward()


def test_backward_of_a_leaf_is_its_own_gradient() -> None:
    x = leaf(5.0)
    x.backward()
    assert x.grad.item() == 1.0


def test_only_one_element_has_an_implicit_gradient() -> None:
    x = leaf(1.0, 2.0)
    with pytest.raises(RuntimeError, match=r"shape \(2,\)"):
        (x * 2).backward()
    (x * 2)[:1].backward()  # one element, whatever its shape
    assert x.grad.tolist() == [2.0, 0.0]


@pytest.mark.parametrize("shape", [(), (1,), (3,), (2, 1)])
def test_gradient_of_a_wrong_shape_is_refused(shape: tuple[int, ...]) -> None:
    x = leaf(1.0, 2.0)
    with pytest.raises(RuntimeError, match="gradient has shape"):
        (x * 2).backward(tm.ones(shape))
    assert x.grad is None


def test_number_of_gradients_must_match() -> None:
    x = leaf(1.0)
    with pytest.raises(RuntimeError, match="1 tensors but 2 gradients"):
        tm.autograd.backward([x * 2], [tm.ones(()), tm.ones(())])


def test_several_roots_at_once() -> None:
    x = leaf(2.0)
    a = x * x
    tm.autograd.backward([a, a * 3, x * 1], [None, None, tm.tensor(10.0)])
    assert x.grad.item() == 4 + 12 + 10


def test_the_same_root_twice() -> None:
    x = leaf(2.0)
    y = x * x
    tm.autograd.backward([y, y])
    assert x.grad.item() == 8.0


def test_gradient_shares_memory_with_nothing() -> None:
    a, b = leaf(1.0, 2.0), leaf(3.0, 4.0)
    seed = tm.ones(2)
    (a + b).backward(seed)
    arrays = [a.grad.data, b.grad.data, seed.data, a.data, b.data]
    for i, one in enumerate(arrays):
        assert not any(np.shares_memory(one, other) for other in arrays[:i])


def test_gradient_of_a_gradient_shares_no_memory_either() -> None:
    """Clipping works in place: with shared memory it would scale twice."""
    a, b = leaf(3.0, 4.0), leaf(3.0, 4.0)
    (a + b).sum().backward(create_graph=True)
    assert not np.shares_memory(a.grad.data, b.grad.data)


def test_zero_gradients_are_none() -> None:
    layer = tm.nn.Linear(2, 2)
    layer(tm.ones(1, 2)).sum().backward()
    layer.zero_grad()
    assert all(p.grad is None for p in layer.parameters())


def test_integers_carry_no_gradient() -> None:
    for data in ([1, 2], [True]):
        with pytest.raises(RuntimeError, match="floating"):
            tm.tensor(data, requires_grad=True)
        with pytest.raises(RuntimeError, match="carries no gradient"):
            tm.tensor(data).requires_grad_()


def test_detach_cuts() -> None:
    x = leaf(3.0)
    y = x * x
    (y.detach() * x).backward()
    assert x.grad.item() == 9.0
    assert np.shares_memory(y.detach().data, y.data)


def test_constant_inputs_get_no_gradient() -> None:
    x, constant = leaf(3.0), tm.tensor(2.0)
    (x * constant).backward()
    assert constant.grad is None


def test_non_leaf_keeps_no_gradient() -> None:
    x = leaf(3.0)
    y = x * 2
    (y * y).backward()
    with pytest.warns(UserWarning, match="retain_grad"):
        assert y.grad is None


# -- where a tensor leaves the graph -------------------------------------------------------


def test_numpy_refuses_to_lose_a_gradient() -> None:
    x = leaf(1.0, 2.0)
    for leave in (x.numpy, lambda: np.asarray(x), lambda: np.asarray(x * 2)):
        with pytest.raises(RuntimeError, match="detach"):
            leave()
    assert np.shares_memory(np.asarray(x.detach()), x.data)


def test_numpy_functions_of_tensors_stay_in_the_graph() -> None:
    x = leaf(0.5, 1.5)
    np.exp(x).sum().backward()
    np.testing.assert_allclose(x.grad.data, np.exp(x.data), rtol=1e-6)
    assert (np.float32(2) * x).requires_grad
    assert (np.ones(2, np.float32) + x).requires_grad


def test_deep_copy_of_a_leaf_is_another_leaf() -> None:
    x = leaf(1.0, 2.0)
    (x * x).sum().backward()
    twin = copy.deepcopy(x)
    assert twin.requires_grad
    assert twin.grad.tolist() == x.grad.tolist()
    assert not np.shares_memory(twin.data, x.data)
    assert not np.shares_memory(twin.grad.data, x.grad.data)
    assert type(copy.deepcopy(tm.nn.Parameter(x))) is tm.nn.Parameter


def test_deep_copy_keeps_sharing() -> None:
    x = leaf(1.0)
    a, b = copy.deepcopy([x, x])
    assert a is b


def test_deep_copy_of_a_non_leaf_is_refused() -> None:
    with pytest.raises(RuntimeError, match="leaves"):
        copy.deepcopy(leaf(1.0) * 2)


def test_only_leaves_switch_their_gradient_off() -> None:
    x = leaf(1.0)
    y = x * 2
    with pytest.raises(RuntimeError, match="detach"):
        y.requires_grad_(False)
    assert not x.requires_grad_(False).requires_grad


# -- switches ------------------------------------------------------------------------------


def test_no_grad_is_per_thread() -> None:
    x = leaf(1.0)
    inside, elsewhere = threading.Event(), threading.Event()
    seen = []

    def other() -> None:
        inside.wait(10)
        seen.append((x * 2).requires_grad)
        elsewhere.set()

    thread = threading.Thread(target=other)
    thread.start()
    with tm.no_grad():
        inside.set()
        elsewhere.wait(10)
        assert not (x * 2).requires_grad
    thread.join()
    assert seen == [True]


def test_switches_nest_and_survive_errors() -> None:
    def fail() -> None:
        with tm.no_grad():
            with tm.enable_grad():
                assert tm.is_grad_enabled()
            assert not tm.is_grad_enabled()
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert tm.is_grad_enabled()


def test_switch_as_a_decorator_may_recurse() -> None:
    @tm.no_grad()
    def down(n: int) -> bool:
        return down(n - 1) if n else tm.is_grad_enabled()

    assert down(3) is False
    assert tm.is_grad_enabled()


def test_backward_under_no_grad() -> None:
    x = leaf(3.0)
    y = x * x
    with tm.no_grad():
        y.backward()
    assert x.grad.item() == 6.0


def test_create_graph_under_no_grad_still_records() -> None:
    """Every part of the backward pass must: the rules, and the sums at fan-outs."""
    x = leaf(3.0)
    y = x * x * x
    with tm.no_grad():
        (first,) = tm.autograd.grad(y, x, create_graph=True)
    (second,) = tm.autograd.grad(first, x)
    assert (first.item(), second.item()) == (27.0, 18.0)
    assert tm.is_grad_enabled()


# -- autograd.grad -------------------------------------------------------------------------


def test_grad_leaves_leaves_alone() -> None:
    x, y = leaf(3.0), leaf(4.0)
    dx, dy = tm.autograd.grad(x * y, [x, y])
    assert (dx.item(), dy.item()) == (4.0, 3.0)
    assert x.grad is None
    assert y.grad is None


def test_grad_of_an_inner_tensor() -> None:
    x = leaf(3.0)
    a = x * x
    (da,) = tm.autograd.grad(a * a, a)
    assert da.item() == 18.0


def test_grad_of_an_inner_tensor_and_of_what_it_is_made_of() -> None:
    x = leaf(3.0)
    a = x * x
    da, dx = tm.autograd.grad(a * a, [a, x])
    assert (da.item(), dx.item()) == (18.0, 108.0)


def test_grad_of_the_output_itself() -> None:
    x = leaf(3.0)
    y = x * 2
    dy, dx = tm.autograd.grad(y, [y, x])
    assert (dy.item(), dx.item()) == (1.0, 2.0)


def test_grad_of_an_unused_input() -> None:
    x, unused = leaf(3.0), leaf(1.0, 2.0)
    with pytest.raises(RuntimeError, match=r"do not depend on inputs\[1\] of shape \(2,\)"):
        tm.autograd.grad(x * x, [x, unused])
    dx, none = tm.autograd.grad(x * x, [x, unused], allow_unused=True)
    assert dx.item() == 6.0
    assert none is None


def test_grad_of_what_wants_none() -> None:
    x = leaf(3.0)
    with pytest.raises(RuntimeError, match="does not require"):
        tm.autograd.grad(x * 2, tm.tensor(1.0))


def test_grad_goes_only_where_it_is_asked() -> None:
    """The branch beside the path is neither computed nor freed."""
    x, y = leaf(2.0), leaf(3.0)
    beside = y * y
    out = x * x + beside
    tm.autograd.grad(out, x)
    beside.backward()
    assert y.grad.item() == 6.0


def test_grad_twice_needs_retain_graph() -> None:
    x = leaf(2.0)
    y = x * x
    tm.autograd.grad(y, x)
    with pytest.raises(RuntimeError, match="retain_graph"):
        tm.autograd.grad(y, x)


def test_grad_results_may_be_changed() -> None:
    x, y = leaf(1.0, 2.0), leaf(1.0, 2.0)
    dx, dy = tm.autograd.grad((x + y).sum(), [x, y])
    dx.data[...] = 7.0
    assert dy.tolist() == [1.0, 1.0]


def test_third_derivative() -> None:
    x = leaf(2.0)
    g = x**4
    for expected in (32.0, 48.0, 48.0):
        (g,) = tm.autograd.grad(g, x, create_graph=True)
        assert g.item() == expected


def test_backward_through_a_gradient() -> None:
    """A gradient penalty: d/dw of (dy/dx)²."""
    x, w = leaf(2.0), leaf(3.0)
    (dx,) = tm.autograd.grad(w * x * x, x, create_graph=True)  # 2wx
    (dx * dx).backward()  # 4w²x²
    assert w.grad.item() == 8 * 3 * 4
    assert x.grad.item() == 8 * 9 * 2


def test_python_floats_become_float64_without_a_detour() -> None:
    assert tm.tensor(0.1, dtype=np.float64).item() == 0.1
    assert tm.tensor([[0.1]], dtype="float64").tolist() == [[0.1]]


@pytest.mark.parametrize("dtype", ["int32", "float64"])
def test_a_gradient_that_is_passed_in_is_converted(dtype: str) -> None:
    x = tm.tensor([1.0, 2.0], requires_grad=True)
    tm.nn.functional.gelu(x).backward(tm.tensor([1, 1], dtype=dtype))
    expected = tm.tensor([1.0, 2.0], requires_grad=True)
    tm.nn.functional.gelu(expected).backward(tm.ones(2))
    assert x.grad.dtype == np.float32
    assert x.grad.tolist() == expected.grad.tolist()


def test_other_byte_orders_are_converted_or_refused() -> None:
    other = np.ones(2, np.dtype(np.float32).newbyteorder("S"))
    assert tm.tensor(other).exp().tolist() == tm.ones(2).exp().tolist()
    with pytest.raises(TypeError, match="byte order of another machine"):
        tm.from_numpy(other)
