"""The layers that everyone expects: Linear, LayerNorm, Embedding, Dropout, activations."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from .. import ops
from ..engine import Tensor
from ..engine.inplace import apply_
from .checks import expect_array
from .module import Module, Parameter


def _uniform(bound: float, *shape: int) -> Parameter:
    return Parameter(ops.generator().uniform(-bound, bound, shape).astype(np.float32))


def _constant(value: float, shape: tuple[int, ...]) -> Parameter:
    return Parameter(np.full(shape, value, np.float32))


class Linear(Module):
    """y = x Wᵀ + b on the last axis.

    Parameters
    ----------
    in_features, out_features : int
        Widths.
    bias : bool, default True
        Whether there is a b.

    Attributes
    ----------
    weight : Parameter
        ``(out_features, in_features)``, at first uniform within ±1/√in_features.
    bias : Parameter or None
        ``(out_features,)``, likewise.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.nn.Linear(3, 4)(tm.zeros(2, 5, 3)).shape
    (2, 5, 4)
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True) -> None:
        super().__init__()
        self.in_features, self.out_features = in_features, out_features
        bound = 1 / math.sqrt(in_features) if in_features else 0.0
        self.weight = _uniform(bound, out_features, in_features)
        self.bias = _uniform(bound, out_features) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(..., in_features)`` to ``(..., out_features)``."""
        expect_array(x, "Linear: x")
        y: Tensor = ops.linear(x, self.weight, self.bias)
        return y

    def extra_repr(self) -> str:
        """Sizes and options, for the printed form."""
        return f"{self.in_features}, {self.out_features}, bias={self.bias is not None}"


class LayerNorm(Module):
    """Bring the last axes to mean 0 and variance 1, then scale and shift (Ba et al. 2016).

    Parameters
    ----------
    normalized_shape : int or sequence of int
        Sizes of the last axes; usually only the width d of the last.
    eps : float, default 1e-5
        Added to the variance.
    elementwise_affine : bool, default True
        Whether there is a weight.
    bias : bool, default True
        Whether there is a bias beside it.

    Attributes
    ----------
    weight, bias : Parameter or None
        Of `normalized_shape`, at first 1 and 0.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.nn.LayerNorm(4)(tm.randn(2, 4)).shape
    (2, 4)
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
    ) -> None:
        super().__init__()
        if isinstance(normalized_shape, int):
            normalized_shape = (normalized_shape,)
        self.normalized_shape = tuple(normalized_shape)
        self.eps, self.elementwise_affine = eps, elementwise_affine
        self.weight = _constant(1, self.normalized_shape) if elementwise_affine else None
        self.bias = _constant(0, self.normalized_shape) if elementwise_affine and bias else None

    def forward(self, x: Tensor) -> Tensor:
        """Normalise ``(..., *normalized_shape)``."""
        expect_array(x, "LayerNorm: x")
        y: Tensor = ops.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)
        return y

    def extra_repr(self) -> str:
        """Sizes and options, for the printed form."""
        return (
            f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"
        )


class Embedding(Module):
    """A table with one learned row per index.

    Parameters
    ----------
    num_embeddings, embedding_dim : int
        Rows and columns.

    Attributes
    ----------
    weight : Parameter
        ``(num_embeddings, embedding_dim)``, at first standard normal.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.nn.Embedding(10, 4)(tm.tensor([[1, 2, 3]])).shape
    (1, 3, 4)
    """

    def __init__(self, num_embeddings: int, embedding_dim: int) -> None:
        super().__init__()
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        self.weight = Parameter(ops.randn(num_embeddings, embedding_dim))

    def forward(self, index: Tensor) -> Tensor:
        """Look up rows: ``(...)`` to ``(..., embedding_dim)``."""
        expect_array(index, "Embedding: index")
        y: Tensor = ops.embedding(self.weight, index)
        return y

    def extra_repr(self) -> str:
        """Sizes and options, for the printed form."""
        return f"{self.num_embeddings}, {self.embedding_dim}"


class Dropout(Module):
    """In training, drop each element with probability p and scale the rest by 1/(1 − p).

    Parameters
    ----------
    p : float, default 0.5
        From 0 to 1.
    inplace : bool, default False
        Write the result over what is given.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.nn.Dropout(0.5).eval()(tm.ones(3))
    tensor([1., 1., 1.])
    """

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        if not 0.0 <= p <= 1.0:
            raise ValueError(f"Dropout: p is {p}, expected a probability from 0 to 1")
        self.p, self.inplace = p, inplace

    def forward(self, x: Tensor) -> Tensor:
        """Drop, in training; pass `x` on as it is, in evaluation."""
        if self.inplace and self.training:
            return apply_(ops.dropout, x, (self.p,), {})
        return ops.dropout(x, self.p, self.training)

    def extra_repr(self) -> str:
        """Sizes and options, for the printed form."""
        return f"p={self.p}" + ", inplace=True" * self.inplace


class ReLU(Module):
    """max(x, 0), elementwise.

    Parameters
    ----------
    inplace : bool, default False
        Write the result over what is given.
    """

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, x: Tensor) -> Tensor:
        """Apply it."""
        y: Tensor = apply_(ops.relu, x, (), {}) if self.inplace else ops.relu(x)
        return y

    def extra_repr(self) -> str:
        """Options, for the printed form."""
        return "inplace=True" * self.inplace


class GELU(Module):
    """Gaussian error linear unit, elementwise.

    Parameters
    ----------
    approximate : {"none", "tanh"}
        Exact, or the tanh formula.
    """

    def __init__(self, approximate: str = "none") -> None:
        super().__init__()
        self.approximate = approximate

    def forward(self, x: Tensor) -> Tensor:
        """Apply it."""
        y: Tensor = ops.gelu(x, self.approximate)
        return y


class Tanh(Module):
    """Hyperbolic tangent, elementwise."""

    def forward(self, x: Tensor) -> Tensor:
        """Apply it."""
        y: Tensor = ops.tanh(x)
        return y
