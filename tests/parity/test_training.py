"""Layers and optimizers against torch's, over whole training steps."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import tinygrad_mha as tm
from tests.parity.reference import to_torch

OPTIMIZERS: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9}),
    ("Adam", {"lr": 0.05}),
    ("Adam", {"lr": 0.05, "betas": (0.5, 0.8), "eps": 1e-3}),
    ("AdamW", {"lr": 0.05}),
    ("AdamW", {"lr": 0.05, "weight_decay": 0.3, "betas": (0.8, 0.99)}),
    ("AdamW", {"lr": 0.05, "weight_decay": 0.0}),
]


@pytest.mark.parametrize(("name", "options"), OPTIMIZERS, ids=str)
@pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["f64", "f32"])
def test_optimizer_walks_as_torchs(
    name: str, options: dict[str, Any], dtype: Any, torch: ModuleType, rng: np.random.Generator
) -> None:
    shapes = [(3, 4), (4,), ()]
    ours = [tm.Tensor(np.asarray(rng.standard_normal(s), dtype), True) for s in shapes]
    theirs = [to_torch(p) for p in ours]
    mine = getattr(tm.optim, name)(ours, **options)
    reference = getattr(torch.optim, name)(theirs, **options)
    for step in range(10):
        for i, (p, q) in enumerate(zip(ours, theirs, strict=True)):
            # one parameter misses its gradient in one step: its own count of steps must wait
            p.grad = q.grad = None
            if (step, i) != (3, 1):
                gradient = np.asarray(rng.standard_normal(p.shape) * 10.0 ** -(step % 3), dtype)
                p.grad, q.grad = tm.Tensor(gradient), torch.from_numpy(gradient.copy())
        mine.step()
        reference.step()
    rtol = 1e-10 if dtype == np.float64 else 2e-6
    for p, q in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(p.data, q.detach().numpy(), rtol=rtol, atol=rtol)


#: Options of the groups, beside those of the whole.
GROUPS: list[tuple[str, dict[str, Any], list[dict[str, Any]]]] = [
    ("SGD", {"lr": 0.1, "momentum": 0.9}, [{}, {"lr": 0.01, "momentum": 0.0}, {"momentum": 0.5}]),
    ("SGD", {"lr": 0.1, "weight_decay": 0.1}, [{"weight_decay": 0.0}, {}, {"momentum": 0.5}]),
    ("Adam", {"lr": 0.05}, [{"betas": (0.5, 0.8)}, {"weight_decay": 0.2}, {"eps": 1e-3}]),
    ("AdamW", {"lr": 0.05}, [{"weight_decay": 0.0}, {"lr": 0.2}, {"betas": (0.0, 0.9)}]),
]


def _taken_over(torch: ModuleType, state: dict[str, Any]) -> dict[str, Any]:
    """A state of ours with torch's tensors."""
    rows = {
        i: {k: torch.from_numpy(np.array(v.data)) for k, v in row.items()}
        for i, row in state["state"].items()
    }
    return {**state, "state": rows}


@pytest.mark.parametrize(("name", "options", "groups"), GROUPS, ids=str)
def test_groups_walk_as_torchs_and_states_go_both_ways(
    name: str,
    options: dict[str, Any],
    groups: list[dict[str, Any]],
    torch: ModuleType,
    rng: np.random.Generator,
) -> None:
    ours = [tm.Tensor(np.asarray(rng.standard_normal(s)), True) for s in [(3, 4), (4,), (), (2,)]]
    theirs = [to_torch(p) for p in ours]

    def divided(params: list[Any]) -> list[dict[str, Any]]:
        parts = [params[:2], [params[2]], [params[3]]]
        return [{"params": part, **o} for part, o in zip(parts, groups, strict=True)]

    def walk(mine: Any, reference: Any) -> None:
        for step in range(5):
            for i, (p, q) in enumerate(zip(ours, theirs, strict=True)):
                p.grad = q.grad = None
                if (step, i) != (2, 1):
                    gradient = np.asarray(rng.standard_normal(p.shape))
                    p.grad, q.grad = tm.Tensor(gradient), torch.from_numpy(gradient.copy())
            mine.step()
            reference.step()
        for p, q in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(p.data, q.detach().numpy(), rtol=1e-10, atol=1e-12)

    def make() -> tuple[Any, Any]:
        return (
            getattr(tm.optim, name)(divided(ours), **options),
            getattr(torch.optim, name)(divided(theirs), **options),
        )

    mine, reference = make()
    walk(mine, reference)
    crossed, their_crossed = make()
    crossed.load_state_dict(reference.state_dict())
    their_crossed.load_state_dict(_taken_over(torch, mine.state_dict()))
    walk(crossed, their_crossed)
    ours_now, theirs_now = crossed.state_dict(), their_crossed.state_dict()
    for i, row in theirs_now["state"].items():
        for key, value in row.items():
            if value is not None:
                np.testing.assert_allclose(ours_now["state"][i][key].data, value, rtol=1e-10)
    for a, b in zip(ours_now["param_groups"], theirs_now["param_groups"], strict=True):
        assert {k: v for k, v in b.items() if k in a} == a


def test_clip_grad_norm_equals_torchs(torch: ModuleType, rng: np.random.Generator) -> None:
    for bound in (0.1, 100.0):
        ours = [tm.Tensor(rng.standard_normal(s), True) for s in [(3, 4), (5,)]]
        theirs = [to_torch(p) for p in ours]
        for p, q in zip(ours, theirs, strict=True):
            p.grad = tm.Tensor(rng.standard_normal(p.shape))
            q.grad = torch.from_numpy(p.grad.data.copy())
        norm = tm.nn.utils.clip_grad_norm_(ours, bound)
        expected = torch.nn.utils.clip_grad_norm_(theirs, bound)
        assert norm == pytest.approx(expected.item(), rel=1e-12)
        for p, q in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(p.grad.data, q.grad.numpy(), rtol=1e-12)


Pair = tuple[tm.nn.Module, Any, np.ndarray]


def _float(layer: str, *arguments: Any, shape: tuple[int, ...], **options: Any) -> Any:
    def make(torch: ModuleType, rng: np.random.Generator) -> Pair:
        ours = getattr(tm.nn, layer)(*arguments, **options).double()
        theirs = getattr(torch.nn, layer)(*arguments, **options).double()
        return ours, theirs, rng.standard_normal(shape)

    return make


def _embedding(torch: ModuleType, rng: np.random.Generator) -> Pair:
    ours = tm.nn.Embedding(7, 3).double()
    return ours, torch.nn.Embedding(7, 3).double(), rng.integers(0, 7, (4, 5))


LAYERS = {
    "Linear": _float("Linear", 3, 4, shape=(2, 5, 3)),
    "Linear without bias": _float("Linear", 3, 4, bias=False, shape=(5, 3)),
    "Linear of one vector": _float("Linear", 3, 4, shape=(3,)),
    "LayerNorm": _float("LayerNorm", 6, shape=(2, 5, 6)),
    "LayerNorm with another eps": _float("LayerNorm", 6, eps=0.5, shape=(2, 6)),
    "GELU": _float("GELU", shape=(4, 5)),
    "GELU by tanh": _float("GELU", "tanh", shape=(4, 5)),
    "ReLU": _float("ReLU", shape=(4, 5)),
    "Tanh": _float("Tanh", shape=(4, 5)),
    "Embedding": _embedding,
}


@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
def test_layer_equals_torchs(
    make: Callable[..., Pair], torch: ModuleType, rng: np.random.Generator
) -> None:
    ours, theirs, x = make(torch, rng)
    for (name, p), (their_name, q) in zip(
        ours.named_parameters(), theirs.named_parameters(), strict=True
    ):
        assert name == their_name, "a checkpoint's names are torch's"
        p.data[...] = rng.standard_normal(p.shape)
        q.data.copy_(torch.from_numpy(p.data))
    mine = tm.Tensor(x, x.dtype.kind == "f")
    reference = to_torch(mine)
    out, expected = ours(mine), theirs(reference)
    np.testing.assert_allclose(out.data, expected.detach().numpy(), rtol=1e-10, atol=1e-14)
    seed = rng.standard_normal(out.shape)
    out.backward(tm.Tensor(seed))
    expected.backward(torch.from_numpy(seed))
    if mine.requires_grad:
        np.testing.assert_allclose(mine.grad.data, reference.grad.numpy(), rtol=1e-9, atol=1e-12)
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        np.testing.assert_allclose(p.grad.data, q.grad.numpy(), rtol=1e-9, atol=1e-12)


def test_training_a_network_stays_with_torch(torch: ModuleType, rng: np.random.Generator) -> None:
    """Fifty steps of a classifier: losses and weights stay together in float64."""
    ours = tm.nn.Sequential(
        tm.nn.Linear(4, 16), tm.nn.GELU(), tm.nn.LayerNorm(16), tm.nn.Linear(16, 3)
    ).double()
    theirs = torch.nn.Sequential(
        torch.nn.Linear(4, 16), torch.nn.GELU(), torch.nn.LayerNorm(16), torch.nn.Linear(16, 3)
    ).double()
    state = {name: torch.from_numpy(t.data.copy()) for name, t in ours.state_dict().items()}
    theirs.load_state_dict(state)
    mine = tm.optim.AdamW(ours.parameters(), lr=0.02)
    reference = torch.optim.AdamW(theirs.parameters(), lr=0.02)
    x, target = rng.standard_normal((32, 4)), rng.integers(0, 3, 32)
    for _ in range(50):
        mine.zero_grad()
        reference.zero_grad()
        loss = tm.nn.functional.cross_entropy(ours(tm.Tensor(x)), tm.Tensor(target))
        expected = torch.nn.functional.cross_entropy(
            theirs(torch.from_numpy(x)), torch.from_numpy(target)
        )
        loss.backward()
        expected.backward()
        mine.step()
        reference.step()
        assert loss.item() == pytest.approx(expected.item(), rel=1e-8)
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        np.testing.assert_allclose(p.data, q.detach().numpy(), rtol=1e-6, atol=1e-9)
