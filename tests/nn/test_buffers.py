"""Buffers: tensors of a module that are not learnt, as in PyTorch."""

from __future__ import annotations

import copy
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import tinygrad_mha as tm
from tests.support import require
from tinygrad_mha import nn

RNG = np.random.default_rng(7)


@pytest.fixture
def torch() -> ModuleType:
    return require.module("torch")


def counter(lib: Any) -> Any:
    """A module with one buffer that is kept, one that is not, one that is None, and a parameter."""

    class Counter(lib.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = lib.nn.Parameter(lib.ones(2))
            self.register_buffer("total", lib.zeros(2))
            self.register_buffer("scratch", lib.ones(3), persistent=False)
            self.register_buffer("missing", None)

        def forward(self, x: Any) -> Any:
            self.total += x.detach().sum(0)
            return x * self.scale

    return Counter()


def test_names_and_states_are_torchs(torch: ModuleType) -> None:
    for wrap in (counter, lambda lib: lib.nn.Sequential(counter(lib))):
        ours, theirs = wrap(tm), wrap(torch)
        assert [n for n, _ in ours.named_buffers()] == [n for n, _ in theirs.named_buffers()]
        assert len(list(ours.buffers())) == len(list(theirs.buffers()))
        assert list(ours.state_dict()) == list(theirs.state_dict())
        assert [n for n, _ in ours.named_parameters()] == [n for n, _ in theirs.named_parameters()]


def test_a_state_with_buffers_is_loaded_and_saved(tmp_path: Path) -> None:
    one, other = counter(tm), counter(tm)
    one(tm.ones(4, 2))
    tm.save(one.state_dict(), tmp_path / "state.safetensors")
    other.load_state_dict(tm.load(tmp_path / "state.safetensors"))
    np.testing.assert_array_equal(other.total.data, [4.0, 4.0])
    with pytest.raises(KeyError, match=r"missing: total \(2,\)"):
        other.load_state_dict({"scale": tm.ones(2)})
    with pytest.raises(KeyError, match="unexpected: scratch"):
        other.load_state_dict({**one.state_dict(), "scratch": tm.ones(3)})


def test_a_buffer_may_be_replaced_and_is_still_one() -> None:
    module = counter(tm)
    module.missing = tm.ones(1)
    module.total = None
    assert [name for name, _ in module.named_buffers()] == ["scratch", "missing"]
    assert list(module.state_dict()) == ["scale", "missing"]


def test_a_buffer_is_not_lost_by_assignment() -> None:
    module = counter(tm)
    module.total = tm.ones(2)
    assert list(module.state_dict()) == ["scale", "total"]
    with pytest.raises(TypeError, match=r"Counter\.total is a buffer, float given"):
        module.total = 1.0
    module.total = nn.Parameter(tm.ones(2))
    assert "total" in dict(module.named_parameters())
    assert "total" not in dict(module.named_buffers())


def test_a_shared_buffer_is_listed_once() -> None:
    inner = counter(tm)
    assert len(list(nn.ModuleList([inner, inner]).buffers())) == 2


def test_copies_have_their_own() -> None:
    module = counter(tm)
    twin = copy.deepcopy(module)
    twin(tm.ones(1, 2))
    assert module.total.tolist() == [0.0, 0.0]
    assert [name for name, _ in twin.named_buffers()] == ["total", "scratch"]


def test_double_converts_floating_buffers() -> None:
    module = nn.BatchNorm1d(2).double()
    assert {name: str(b.dtype) for name, b in module.named_buffers()} == {
        "running_mean": "float64", "running_var": "float64", "num_batches_tracked": "int64",
    }  # fmt: skip
    back = module.float()
    assert back is module
    assert str(back.running_var.dtype) == str(back.weight.dtype) == "float32"


@pytest.mark.parametrize(
    ("name", "value", "error", "match"),
    [
        ("", None, KeyError, "no name"),
        ("a.b", None, KeyError, "no name"),
        ("scale", None, KeyError, "has an attribute 'scale'"),
        ("forward", None, KeyError, "has an attribute 'forward'"),
        ("values", [1.0], TypeError, "'values' is a list"),
    ],
)
def test_what_is_no_buffer_is_refused(
    name: str, value: Any, error: type[Exception], match: str
) -> None:
    with pytest.raises(error, match=match):
        counter(tm).register_buffer(name, value)


def test_weights_of_losses_are_buffers(torch: ModuleType) -> None:
    weight = np.array([0.5, 1.5], np.float32)
    for name, option in (
        ("CrossEntropyLoss", "weight"), ("NLLLoss", "weight"), ("BCELoss", "weight"),
        ("BCEWithLogitsLoss", "weight"), ("BCEWithLogitsLoss", "pos_weight"),
    ):  # fmt: skip
        ours = getattr(nn, name)(**{option: tm.tensor(weight)})
        theirs = getattr(torch.nn, name)(**{option: torch.tensor(weight)})
        assert list(ours.state_dict()) == list(theirs.state_dict()) == [option]
        assert list(getattr(nn, name)().state_dict()) == []


@pytest.mark.parametrize("shape", [(5, 3), (4, 3, 6)])
@pytest.mark.parametrize(
    "options",
    [{}, {"momentum": None}, {"affine": False, "momentum": 0.3}, {"track_running_stats": False}],
    ids=str,
)
def test_batch_norm_is_torchs(
    shape: tuple[int, ...], options: dict[str, Any], torch: ModuleType
) -> None:
    ours, theirs = nn.BatchNorm1d(3, **options), torch.nn.BatchNorm1d(3, **options)
    for _ in range(3):
        a = RNG.standard_normal(shape).astype(np.float32) * 2 + 1
        x, u = tm.Tensor(a, True), torch.tensor(a, requires_grad=True)
        out, expected = ours(x), theirs(u)
        np.testing.assert_allclose(out.data, expected.detach().numpy(), atol=1e-5)
        (out * out * out).sum().backward()
        (expected * expected * expected).sum().backward()
        np.testing.assert_allclose(x.grad.data, u.grad.numpy(), rtol=1e-3, atol=1e-4)
    state = ours.state_dict()
    assert list(state) == list(theirs.state_dict())
    for name, value in theirs.state_dict().items():
        np.testing.assert_allclose(state[name].data, value.numpy(), rtol=1e-5, atol=1e-6)
    x, u = tm.Tensor(a), torch.tensor(a)
    np.testing.assert_allclose(
        ours.eval()(x).data, theirs.eval()(u).detach().numpy(), rtol=1e-4, atol=1e-5
    )


def test_batch_norm_names_a_wrong_shape() -> None:
    with pytest.raises(ValueError, match=r"BatchNorm1d: x has shape \(2, 3, 4, 5\)"):
        nn.BatchNorm1d(3)(tm.ones(2, 3, 4, 5))
