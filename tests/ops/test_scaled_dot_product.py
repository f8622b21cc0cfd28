"""scaled_dot_product_attention against PyTorch's, on both of its paths."""

from types import ModuleType
from typing import Any

import numpy as np
import pytest

import tinygrad_mha as tm
from tests.support import require
from tinygrad_mha.nn import functional as F

RNG = np.random.default_rng(17)


@pytest.fixture
def torch() -> ModuleType:
    return require.module("torch")


def masks(length: int, keys: int) -> dict[str, dict[str, Any]]:
    some = RNG.random((length, keys)) > 0.4
    return {
        "none": {},
        "causal": {"is_causal": True},
        "bool": {"attn_mask": some},
        "blind rows": {"attn_mask": some & (np.arange(length) != 1)[:, None]},
        "all blind": {"attn_mask": np.zeros((length, keys), bool)},
        "bias": {"attn_mask": RNG.standard_normal((length, keys))},
        "bias with −∞": {"attn_mask": np.where(some, 0.5, -np.inf)},
        "row": {"attn_mask": some[:1]},
        "scale": {"scale": 0.3},
    }


SHAPES: list[tuple[tuple[int, ...], ...]] = [
    ((2, 3, 4, 8), (2, 3, 5, 8), (2, 3, 5, 6)),
    ((4, 8), (5, 8), (5, 6)),
    ((2, 6, 4, 8), (2, 3, 5, 8), (2, 2, 5, 6)),
    ((1, 4, 70, 8), (1, 2, 70, 8), (1, 2, 70, 8)),
    ((2, 3, 4, 8), (2, 3, 0, 8), (2, 3, 0, 6)),
]


@pytest.mark.parametrize("kind", list(masks(1, 1)))
@pytest.mark.parametrize("shapes", SHAPES, ids=str)
def test_equals_torchs(shapes: Any, kind: str, torch: ModuleType) -> None:
    options = masks(shapes[0][-2], shapes[1][-2])[kind]
    if len(shapes[0]) == 4 and shapes[0][1] != shapes[1][1]:
        options["enable_gqa"] = True
    arrays = [RNG.standard_normal(s) for s in shapes]
    ours = [tm.tensor(x, requires_grad=True) for x in arrays]
    theirs = [torch.tensor(x, requires_grad=True) for x in arrays]

    def lifted(make: Any) -> dict[str, Any]:
        return {k: make(v) if isinstance(v, np.ndarray) else v for k, v in options.items()}

    out = F.scaled_dot_product_attention(*ours, **lifted(tm.tensor))
    expected = torch.nn.functional.scaled_dot_product_attention(*theirs, **lifted(torch.tensor))
    np.testing.assert_allclose(out.data, expected.detach().numpy(), rtol=1e-9, atol=1e-12)
    out.sum().backward()
    expected.sum().backward()
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a.grad.data, b.grad.numpy(), rtol=1e-8, atol=1e-11)


def test_rows_that_may_see_nothing_are_0_and_so_is_their_gradient() -> None:
    q, k, v = (tm.randn(2, 4, 8, requires_grad=True) for _ in range(3))
    out = F.scaled_dot_product_attention(q, k, v, tm.zeros(4, 4, dtype="bool"))
    out.sum().backward()
    assert not out.data.any()
    assert not any(x.grad.data.any() for x in (q, k, v))


def test_heads_that_cannot_be_shared_are_refused() -> None:
    q, k = tm.zeros(1, 5, 4, 8), tm.zeros(1, 3, 4, 8)
    with pytest.raises(ValueError, match=r"multiple of those of key.*\(1, 5, 4, 8\)"):
        F.scaled_dot_product_attention(q, k, k, enable_gqa=True)


@pytest.mark.parametrize("dropout", [-0.1, 2.0, float("nan")])
@pytest.mark.parametrize("name", ["attention", "additive_attention", "self_attention"])
def test_dropout_is_a_probability_in_each_operation(name: str, dropout: float) -> None:
    x, w = tm.ones(1, 2, 3), tm.ones(1, 3, 3)
    given = {"attention": (x, x, x), "additive_attention": (x, x, w[0, 0], x)}.get(
        name, (x, w, w, w)
    )
    with pytest.raises(ValueError, match=r"dropout is .*, expected a probability from 0 to 1"):
        getattr(F, name)(*given, dropout=dropout)
