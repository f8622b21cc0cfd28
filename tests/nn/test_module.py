"""What every module does: find its parameters, save and load them, switch modes."""

import copy

import numpy as np
import pytest

import tinygrad_mha as tm
from tinygrad_mha import nn


def test_assigning_before_init_is_an_error() -> None:
    class Forgetful(nn.Module):
        def __init__(self) -> None:
            self.layer = nn.Linear(2, 2)

    with pytest.raises(AttributeError, match=r"Forgetful\.layer .* super\(\)\.__init__"):
        Forgetful()


def test_parameters_come_in_the_order_of_definition() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1, bias=False))
    names = [name for name, _ in model.named_parameters()]
    assert names == ["0.weight", "0.bias", "2.weight"]
    assert model.num_parameters() == 6 + 3 + 3


def test_plain_tensors_are_no_parameters() -> None:
    module = nn.Module()
    module.table = tm.ones(3)
    module.learned = nn.Parameter(tm.ones(3))
    assert [name for name, _ in module.named_parameters()] == ["learned"]


def test_replaced_attribute_is_forgotten() -> None:
    module = nn.Linear(2, 2)
    module.bias = None
    assert [name for name, _ in module.named_parameters()] == ["weight"]
    assert module(tm.ones(1, 2)).shape == (1, 2)


def test_shared_module_is_listed_once() -> None:
    shared = nn.Linear(2, 2)
    model = nn.Sequential(shared, nn.ReLU(), shared)
    assert [name for name, _ in model.named_modules()] == ["", "0", "1"]
    assert [name for name, _ in model.named_parameters()] == ["0.weight", "0.bias"]
    model(tm.ones(1, 2)).sum().backward()
    assert shared.weight.grad is not None


def test_shared_parameter_is_listed_once() -> None:
    a, b = nn.Linear(2, 2), nn.Linear(2, 2)
    b.weight = a.weight
    model = nn.Sequential(a, b)
    assert [n for n, _ in model.named_parameters()] == ["0.weight", "0.bias", "1.bias"]


def test_module_that_holds_itself_is_walked_once() -> None:
    module = nn.Linear(2, 2)
    module.itself = module
    assert len(list(module.modules())) == 1


def test_train_and_eval_reach_every_module() -> None:
    model = nn.Sequential(nn.Dropout(0.5), nn.Sequential(nn.Dropout(0.5)))
    assert model.eval() is model
    assert not any(m.training for m in model.modules())
    x = tm.ones(100)
    assert model(x) is x
    assert all(m.training for m in model.train().modules())
    assert (model(x).data == 0).any()


def test_state_dict_round_trip() -> None:
    source, target = nn.TransformerBlock(8, 2), nn.TransformerBlock(8, 2)
    x = tm.randn(1, 3, 8)
    assert not np.array_equal(source(x).data, target(x).data)
    target.load_state_dict(source.state_dict())
    np.testing.assert_array_equal(source(x).data, target(x).data)
    for a, b in zip(source.parameters(), target.parameters(), strict=True):
        assert not np.shares_memory(a.data, b.data)


def test_state_dict_shares_memory_and_is_not_in_the_graph() -> None:
    layer = nn.Linear(2, 2)
    state = layer.state_dict()
    assert not state["weight"].requires_grad
    assert np.shares_memory(state["weight"].data, layer.weight.data)


def test_load_state_dict_lists_all_problems_and_changes_nothing() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    before = {name: p.data.copy() for name, p in model.named_parameters()}
    state = {"0.weight": tm.zeros(3, 2), "0.bias": tm.zeros(4), "extra": tm.zeros(1)}
    with pytest.raises(KeyError) as error:
        model.load_state_dict(state)
    message = str(error.value)
    for problem in ("missing: 1.weight", "missing: 1.bias", "unexpected: extra", "mismatched"):
        assert problem in message
    assert "(4,)" in message
    for name, p in model.named_parameters():
        np.testing.assert_array_equal(p.data, before[name])


def test_load_state_dict_that_is_not_strict_still_checks_shapes() -> None:
    layer = nn.Linear(2, 2)
    layer.load_state_dict({"bias": tm.ones(2), "other": tm.ones(9)}, strict=False)
    assert layer.bias.tolist() == [1.0, 1.0]
    with pytest.raises(KeyError, match="mismatched: bias"):
        layer.load_state_dict({"bias": tm.ones(3)}, strict=False)


def test_load_state_dict_takes_what_requires_a_gradient() -> None:
    layer = nn.Linear(2, 2)
    layer.load_state_dict(dict(nn.Linear(2, 2).named_parameters()))
    assert layer.weight.is_leaf
    assert layer.weight.requires_grad


def test_deep_copy_learns_on_its_own() -> None:
    model = nn.TransformerBlock(8, 2)
    twin = copy.deepcopy(model)
    twin(tm.randn(1, 3, 8)).sum().backward()
    assert all(p.grad is None for p in model.parameters())
    assert all(p.grad is not None for p in twin.parameters())


def test_double_converts_parameters() -> None:
    layer = nn.Linear(2, 2).double()
    assert layer(tm.ones(1, 2, dtype="float64")).dtype == np.float64


def test_repr_shows_the_tree() -> None:
    text = repr(nn.Sequential(nn.Linear(2, 3), nn.Sequential(nn.ReLU())))
    assert text.splitlines() == [
        "Sequential(",
        "  (0): Linear(2, 3, bias=True)",
        "  (1): Sequential(",
        "    (0): ReLU()",
        "  )",
        ")",
    ]


def test_module_without_forward_says_so() -> None:
    with pytest.raises(NotImplementedError, match="forward"):
        nn.Module()(1)


def test_call_that_fails_leaves_no_scope_behind() -> None:
    layer = nn.Linear(2, 2)
    with pytest.raises(ValueError, match="last axis"):
        layer(tm.ones(1, 3))
    y = tm.tensor(1.0, requires_grad=True) * 2
    assert y.grad_fn.frame is None


def test_module_list() -> None:
    layers = nn.ModuleList([nn.Linear(2, 2) for _ in range(3)])
    assert len(layers) == 3
    assert layers[-1] is list(layers)[2]
    assert len(list(layers.parameters())) == 6


def test_a_frozen_module_learns_nothing() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    assert model.get_submodule("0").requires_grad_(False) is model.get_submodule("0")
    model(tm.ones(4, 2)).sum().backward()
    assert [p.grad is None for p in model.parameters()] == [True, True, False, False]
    model.requires_grad_()
    assert all(p.requires_grad for p in model.parameters())


def test_modules_by_path() -> None:
    model = nn.Sequential(nn.Sequential(nn.ReLU()), nn.Linear(2, 2))
    assert model.get_submodule("") is model
    assert isinstance(model.get_submodule("0.0"), nn.ReLU)
    with pytest.raises(AttributeError, match=r"'0\.1'.*Sequential has no module '1'.*: 0"):
        model.get_submodule("0.1")


def test_a_module_by_a_computed_name() -> None:
    model = nn.Module()
    for i in range(2):
        model.add_module(f"layer{i}", nn.Linear(2, 2))
    assert [name for name, _ in model.named_children()] == ["layer0", "layer1"]
    for name in ("a.b", "", "forward"):
        with pytest.raises(KeyError, match="is no free name"):
            model.add_module(name, nn.ReLU())
    with pytest.raises(TypeError, match="'x' is a list, expected a Module"):
        model.add_module("x", [])


@pytest.mark.parametrize("value", [tm.zeros(2, 2), np.zeros((2, 2)), 0.0, nn.ReLU()], ids=type)
def test_a_parameter_is_not_lost_by_assignment(value: object) -> None:
    layer = nn.Linear(2, 2)
    with pytest.raises(
        TypeError, match=r"Linear\.weight is a Parameter .*\.weight\.data\[\.\.\.\]"
    ):
        layer.weight = value
    assert list(layer.state_dict()) == ["weight", "bias"]


def test_a_parameter_changes_as_the_error_says() -> None:
    layer = nn.Linear(2, 2)
    layer.weight.data[...] = 3.0
    assert layer.weight.tolist() == [[3.0, 3.0], [3.0, 3.0]]
    layer.weight = nn.Parameter(tm.zeros(2, 2))
    layer.bias = None
    assert list(layer.state_dict()) == ["weight"]


def test_a_state_error_is_read_as_lines_and_caught_as_torchs() -> None:
    with pytest.raises(RuntimeError) as error:
        nn.Linear(2, 2).load_state_dict({"bias": tm.ones(3)})
    assert isinstance(error.value, KeyError)
    assert str(error.value).splitlines() == [
        "load_state_dict of Linear changed nothing:",
        "  missing: weight (2, 2)",
        "  mismatched: bias is (3,), the module's is (2,)",
    ]
