"""Graphs that nobody would think of: random programs, against central differences and torch."""

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_mha as tm
from tests.support import require

# Every operation keeps values bounded and maps shapes that broadcast to (3, 3) to such shapes, so
# that any program of them makes sense. Written with methods that torch has too.
UNARY: dict[str, Callable[[Any], Any]] = {
    "tanh": lambda x: x.tanh(),
    "sigmoid": lambda x: x.sigmoid(),
    "scaled exp": lambda x: (x * 0.1).exp(),
    "neg": lambda x: -x,
    "row mean": lambda x: x.mean(-1, keepdim=True) if x.ndim else x,
    "sum": lambda x: x.sum() * 0.1,
    "transpose": lambda x: x.mT if x.ndim > 1 else x,
    "first row": lambda x: x[:1] if x.ndim else x,
    "twice the last": lambda x: x[[-1, -1, 0]] if x.ndim else x,
    "square": lambda x: (x * x).tanh(),
    "softmax": lambda x: x.softmax(-1) if x.ndim else x,
    "copy": lambda x: x.clone(),
    "expand": lambda x: x.expand(3, 3),
}
BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / (b * b + 1.0),
    "matmul": lambda a, b: (a.expand(3, 3) @ b.expand(3, 3)).tanh(),
}
SHAPES = [(3, 3), (1, 3), (3, 1), (3, 3), ()]

_pick = st.integers(0, 10**6)
programs = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(sorted(UNARY)), _pick),
        st.tuples(st.sampled_from(sorted(BINARY)), _pick, _pick),
    ),
    min_size=1,
    max_size=12,
)


def run(program: list[tuple[Any, ...]], leaves: list[Any]) -> Any:
    """Each line takes earlier values, whichever; the result depends on the last three."""
    values = list(leaves)
    for name, *picks in program:
        function: Callable[..., Any] = UNARY.get(name) or BINARY[name]
        values.append(function(*(values[pick % len(values)] for pick in picks)))
    return sum(value.sum() for value in values[-3:])


def arrays() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [np.asarray(rng.uniform(-1, 1, shape)) for shape in SHAPES]


@given(programs)
@settings(max_examples=100)
def test_random_program_against_central_differences(program: list[tuple[Any, ...]]) -> None:
    leaves = [tm.Tensor(a, True) for a in arrays()]
    if run(program, leaves).requires_grad:
        tm.autograd.gradcheck(lambda *x: run(program, list(x)), leaves)


@given(programs)
@settings(max_examples=25)
def test_second_order_of_a_random_program(program: list[tuple[Any, ...]]) -> None:
    leaves = [tm.Tensor(a, True) for a in arrays()]
    tm.autograd.gradgradcheck(lambda *x: run(program, list(x)), leaves)


@given(programs)
@settings(max_examples=200)
def test_random_program_against_torch(program: list[tuple[Any, ...]]) -> None:
    torch = require.module("torch")
    ours = [tm.Tensor(a, True) for a in arrays()]
    theirs = [torch.tensor(a, requires_grad=True) for a in arrays()]
    mine, reference = run(program, ours), run(program, theirs)
    np.testing.assert_allclose(mine.item(), reference.item(), rtol=1e-12)
    mine.backward()
    reference.backward()
    for a, b in zip(ours, theirs, strict=True):
        assert (a.grad is None) == (b.grad is None)
        if a.grad is not None:
            np.testing.assert_allclose(a.grad.data, b.grad.numpy(), rtol=1e-9, atol=1e-12)
