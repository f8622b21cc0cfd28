"""Every registered operation with every one of its samples, as test cases."""

import inspect
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import tinygrad_mha as tm
from tinygrad_mha.engine import REGISTRY, Op, Sample


@dataclass(frozen=True)
class Case:
    """One operation on one sample; the same random numbers each time it is asked."""

    op: Op
    sample: Sample
    index: int

    @property
    def name(self) -> str:
        return f"{self.op.name}-{self.index}"

    @property
    def params(self) -> dict[str, Any]:
        """The other arguments by name, defaults included."""
        signature = inspect.signature(self.op.forward).parameters
        given = {name: signature[name].default for name in self.op.param_names}
        return {**given, **self.sample.params}

    def input_name(self, position: int) -> str:
        return self.op.input_names[0 if self.op.variadic else position]

    @property
    def floating(self) -> list[int]:
        """Positions of the inputs that are filled with random numbers."""
        return [i for i, x in enumerate(self.sample.inputs) if isinstance(x, tuple)]

    @property
    def differentiable(self) -> list[int]:
        return [i for i in self.floating if self.input_name(i) in self.op.rules]

    def arrays(self, dtype: Any = np.float64, seed: int = 0) -> list[Any]:
        numbers = np.random.default_rng([seed, zlib.crc32(self.name.encode())])
        return self.sample.arrays(numbers, dtype)

    def lift(self, arrays: list[Any]) -> list[Any]:
        """Tensors of arrays; those that have a rule require a gradient."""
        return [
            tm.Tensor(x, i in self.differentiable) if isinstance(x, np.ndarray) else x
            for i, x in enumerate(arrays)
        ]

    def tensors(self, dtype: Any = np.float64, seed: int = 0) -> list[Any]:
        return self.lift(self.arrays(dtype, seed))

    def run(self, *values: Any) -> Any:
        return self.op(*values, **self.sample.params)

    def seed_for(self, out: tm.Tensor, seed: int = 1) -> tm.Tensor:
        """A random gradient to flow into an output."""
        numbers = np.random.default_rng([seed, zlib.crc32(self.name.encode())])
        return tm.Tensor(numbers.uniform(0.5, 1.5, out.shape).astype(out.dtype))

    def gradients(self, tensors: list[Any], create_graph: bool = False) -> list[Any]:
        """Gradients of the differentiable inputs, for a fixed incoming one."""
        out = self.run(*tensors)
        wanted = [tensors[i] for i in self.differentiable]
        return list(tm.autograd.grad(out, wanted, self.seed_for(out), create_graph=create_graph))


#: Every registered operation with each of its samples.
CASES = [Case(op, sample, i) for op in REGISTRY.values() for i, sample in enumerate(op.samples)]

each_case = pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
each_differentiable = pytest.mark.parametrize(
    "case", [c for c in CASES if c.differentiable], ids=lambda c: c.name
)
each_op = pytest.mark.parametrize("op", REGISTRY.values(), ids=lambda o: o.name)


def assert_close(got: Any, expected: Any, dtype: Any = np.float64, what: str = "") -> None:
    """Equal but for rounding in `dtype`; nan equals nan, and infinities must agree."""
    rtol, atol = {"float64": (1e-10, 1e-12), "float32": (1e-5, 2e-6)}[np.dtype(dtype).name]
    np.testing.assert_allclose(
        np.asarray(got), np.asarray(expected), rtol=rtol, atol=atol, err_msg=what
    )
