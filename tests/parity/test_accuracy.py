"""Accuracy: in float32 no operation is further from the float64 truth than torch is."""

from types import ModuleType
from typing import Any

import numpy as np
import pytest

import tinygrad_mha as tm
from tests.parity.reference import reference, to_torch
from tinygrad_mha import kernels
from tinygrad_mha.engine import REGISTRY

#: (operation, input shapes, params, what the random numbers are multiplied with). Sizes at which
#: blocking and the order of sums begin to matter.
WORK: list[tuple[str, list[Any], dict[str, Any], float]] = [
    ("exp", [(10_000,)], {}, 10.0),
    ("tanh", [(10_000,)], {}, 2.0),
    ("sigmoid", [(10_000,)], {}, 5.0),
    ("erf", [(10_000,)], {}, 1.5),
    ("gelu", [(10_000,)], {}, 2.0),
    ("gelu", [(10_000,)], {"approximate": "tanh"}, 2.0),
    ("softmax", [(64, 1000)], {"dim": -1}, 5.0),
    ("softmax", [(200, 64)], {"dim": 0}, 5.0),
    ("log_softmax", [(64, 1000)], {"dim": -1}, 5.0),
    ("layer_norm", [(64, 768), (768,), (768,)], {}, 3.0),
    ("cross_entropy", [(512, 65), np.arange(512) % 65], {}, 3.0),
    ("matmul", [(128, 512), (512, 96)], {}, 1.0),
    ("matmul", [(4, 33, 65), (65, 17)], {}, 1.0),
    ("linear", [(64, 300), (100, 300), (100,)], {}, 1.0),
    ("attention", [(2, 128, 32), (2, 500, 32), (2, 500, 48)], {"scale": 32**-0.5}, 1.0),
    ("attention", [(2, 300, 64)] * 3, {"scale": 0.125, "is_causal": True}, 2.0),
    ("sum", [(64, 5000)], {"dim": -1}, 1.0),
    ("mean", [(16, 5000)], {"dim": -1}, 1.0),
    ("mean", [(5000, 16)], {"dim": 0}, 1.0),
]
#: Work of which NumPy's twins are known to miss the mark; the kernels have to reach it.
KNOWN = {
    "gelu-5": "the gradient of the tanh formula is 2.6e-7 off",
    "mean-18": "NumPy sums a leading axis one row after the other, without pairs",
}
NAMES = [f"{work[0]}-{i}" for i, work in enumerate(WORK)]
#: One unit in the last place: below it, who is nearer is chance.
ROUNDING = 2.0**-23


def error(values: Any, truth: np.ndarray) -> float:
    """Root of the mean squared deviation, in units of the truth's."""
    deviation = np.asarray(values, np.float64) - truth
    return float(np.sqrt((deviation**2).mean() / (truth**2).mean()))


@pytest.mark.parametrize(
    ("name", "inputs", "params", "scale"),
    [
        pytest.param(
            *work,
            id=name,
            # not strict: another processor may be nearer
            marks=pytest.mark.xfail(kernels.backend() == "numpy", reason=KNOWN[name], strict=False)
            if name in KNOWN
            else (),
        )
        for name, work in zip(NAMES, WORK, strict=True)
    ],
)
def test_error_is_not_above_one_and_a_half_of_torchs(
    name: str,
    inputs: list[Any],
    params: dict[str, Any],
    scale: float,
    torch: ModuleType,
    rng: np.random.Generator,
) -> None:
    arrays = [
        (rng.standard_normal(x) * scale).astype(np.float32) if isinstance(x, tuple) else x
        for x in inputs
    ]
    ours = [tm.Tensor(a, a.dtype == np.float32) for a in arrays]
    theirs = [to_torch(t) for t in ours]
    exact = [t.detach().double().requires_grad_() if t.is_floating_point() else t for t in theirs]
    out = REGISTRY[name](*ours, **params)
    expected, truth = reference(REGISTRY[name])(*theirs, **params), None
    truth = reference(REGISTRY[name])(*exact, **params)
    seed = rng.standard_normal(out.shape).astype(np.float32)
    out.backward(tm.Tensor(seed))
    expected.backward(torch.from_numpy(np.asarray(seed)))
    truth.backward(torch.from_numpy(np.asarray(seed)).double())

    def check(mine: np.ndarray, reference: Any, true: Any, what: str) -> None:
        allowed = 1.5 * max(error(reference.detach(), true.detach().numpy()), ROUNDING)
        assert error(mine, true.detach().numpy()) <= allowed, what

    check(out.data, expected, truth, "output")
    for i, (a, b, c) in enumerate(zip(ours, theirs, exact, strict=True)):
        if a.requires_grad:
            check(a.grad.data, b.grad, c.grad, f"gradient of input {i}")
