"""Random programs of views and writes in place: values and gradients are PyTorch's."""

from __future__ import annotations

import random
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import tinygrad_mha as tm


def _view(x: Any, draw: random.Random) -> Any:
    kind = draw.randrange(5)
    if kind < 2 and x.ndim:
        dim = draw.randrange(x.ndim)
        first = draw.randrange(x.shape[dim])
        part = first if kind else slice(first, draw.randrange(first, x.shape[dim]) + 1)
        return x[(*[slice(None)] * dim, part)]
    if kind == 2 and x.ndim > 1:
        return x.transpose(draw.randrange(x.ndim), draw.randrange(x.ndim))
    if kind == 3:
        return x.unsqueeze(draw.randrange(x.ndim + 1))
    return x.reshape(-1)


def _write(x: Any, other: Any, draw: random.Random) -> None:
    kind = draw.randrange(9)
    if kind < 5:
        name, arguments = [
            ("mul_", (1.5,)), ("add_", (0.25,)), ("sin_", ()), ("clamp_", (0.3, 1.2)),
            ("sigmoid_", ()),
        ][kind]  # fmt: skip
        getattr(x, name)(*arguments)
    elif kind == 5:
        x.mul_(other.sum() * 0.1)
    elif kind == 6:
        x.copy_(other.sum())
    elif x.ndim:
        x[draw.randrange(x.shape[0])] = other.sum() * 0.2


def _view_in_place(x: Any, draw: random.Random) -> None:
    kind = draw.randrange(4)
    if kind == 0:
        x.unsqueeze_(draw.randrange(-x.ndim - 1, x.ndim + 1))
    elif kind == 1:
        x.squeeze_()
    elif kind == 2 and x.ndim == 2:
        x.t_()
    elif x.ndim:
        getattr(x, draw.choice(["transpose_", "swapaxes_", "swapdims_"]))(0, x.ndim - 1)


def _run(seed: int, leaf: Any, plain: Any) -> Any:
    """Several tensors, views of one another, written into; the leaf's gradient of them all."""
    draw = random.Random(seed)
    pool = [leaf * 1.5, plain]
    for _ in range(draw.randrange(3, 14)):
        x, other = draw.choice(pool), draw.choice(pool)
        kind = draw.randrange(5)
        if kind == 0:
            pool.append(_view(x, draw))
        elif kind == 1:
            pool.append(x.sin() * 2.0 + 1.0 if draw.random() < 0.5 else x * x)
        elif kind == 2:
            _view_in_place(x, draw)
        else:
            _write(x, other, draw)
    loss = sum((x * x).sum() * (0.3 + 0.1 * i) for i, x in enumerate(pool))
    loss.backward()
    return pool


@pytest.mark.parametrize("first", range(0, 600, 50))
def test_writes_and_views_end_as_in_torch(first: int, torch: ModuleType) -> None:
    compared = 0
    for seed in range(first, first + 50):
        rng = np.random.default_rng(seed)
        a, b = rng.uniform(0.5, 1.5, (3, 4)), rng.uniform(0.5, 1.5, (2, 3))
        theirs = torch.from_numpy(a.copy()).requires_grad_()
        try:
            expected = _run(seed, theirs, torch.from_numpy(b.copy()))
        except RuntimeError:
            continue  # a value that a gradient needs was overwritten: ours may know a way
        ours = tm.Tensor(a.copy(), True)
        pool = _run(seed, ours, tm.Tensor(b.copy()))
        for x, y in zip(pool, expected, strict=True):
            np.testing.assert_allclose(x.data, y.detach().numpy(), rtol=1e-9, err_msg=str(seed))
        np.testing.assert_allclose(
            ours.grad.data, theirs.grad.numpy(), rtol=1e-8, atol=1e-10, err_msg=str(seed)
        )
        compared += 1
    assert compared > 20
