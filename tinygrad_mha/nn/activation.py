"""Activation functions as modules."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import ops
from ..engine import Tensor
from ..engine.inplace import apply_
from ..engine.op import plain
from .module import Module, Parameter


class _Activation(Module):
    """Calls an operation by its name, with the options that the module was made with."""

    _operation = ""
    _options: tuple[str, ...] = ()

    def forward(self, x: Tensor) -> Tensor:
        """Apply it, elementwise or along ``dim``."""
        options = {name: getattr(self, name) for name in self._options}
        y: Tensor = getattr(ops, self._operation)(x, **options)
        return y

    def extra_repr(self) -> str:
        """Options, for the printed form."""
        return ", ".join(f"{name}={getattr(self, name)}" for name in self._options)


class _InPlace(_Activation):
    """One that writes its result over what it is given, if told so.

    Parameters
    ----------
    inplace : bool, default False
        Save the memory of a result; what was given is lost.
    """

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, x: Tensor) -> Tensor:
        """Apply it, elementwise."""
        if not self.inplace:
            return super().forward(x)
        options = {name: getattr(self, name) for name in self._options}
        return apply_(getattr(ops, self._operation), x, (), options)

    def extra_repr(self) -> str:
        """Options, for the printed form."""
        return ", ".join(filter(None, (super().extra_repr(), "inplace=True" * self.inplace)))


class Sigmoid(_Activation):
    """1 / (1 + e⁻ˣ), elementwise."""

    _operation = "sigmoid"


class LogSigmoid(_Activation):
    """ln σ(x), elementwise."""

    _operation = "logsigmoid"


class SiLU(_InPlace):
    """x · σ(x), elementwise (Elfwing et al. 2018)."""

    _operation = "silu"


class Mish(_InPlace):
    """x · tanh ln(1 + eˣ), elementwise (Misra 2020)."""

    _operation = "mish"


class ReLU6(_InPlace):
    """min(max(x, 0), 6), elementwise."""

    _operation = "relu6"


class SELU(_InPlace):
    """Scaled exponential linear unit, elementwise (Klambauer et al. 2017)."""

    _operation = "selu"


class Softsign(_Activation):
    """x / (1 + |x|), elementwise."""

    _operation = "softsign"


class Tanhshrink(_Activation):
    """x − tanh x, elementwise."""

    _operation = "tanhshrink"


class Hardsigmoid(_InPlace):
    """A sigmoid made of three lines, elementwise."""

    _operation = "hardsigmoid"


class Hardswish(_InPlace):
    """x · hardsigmoid(x), elementwise (Howard et al. 2019)."""

    _operation = "hardswish"


class LeakyReLU(_InPlace):
    """x, times `negative_slope` below 0, elementwise.

    Parameters
    ----------
    negative_slope : float, default 0.01
        Slope below 0.
    inplace : bool, default False
        Write the result over what is given.
    """

    _operation = "leaky_relu"
    _options = ("negative_slope",)

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False) -> None:
        super().__init__(inplace)
        self.negative_slope = negative_slope


class ELU(_InPlace):
    """x, below 0 α · (eˣ − 1), elementwise (Clevert et al. 2016).

    Parameters
    ----------
    alpha : float, default 1
        α.
    inplace : bool, default False
        Write the result over what is given.
    """

    _operation = "elu"
    _options = ("alpha",)

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__(inplace)
        self.alpha = alpha


class CELU(_InPlace):
    """x, below 0 α · (e^(x/α) − 1), elementwise (Barron 2017).

    Parameters
    ----------
    alpha : float, default 1
        α.
    inplace : bool, default False
        Write the result over what is given.
    """

    _operation = "celu"
    _options = ("alpha",)

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__(inplace)
        self.alpha = alpha


class Hardtanh(_InPlace):
    """x, cut off at two bounds, elementwise.

    Parameters
    ----------
    min_val : float, default -1
        Lower bound.
    max_val : float, default 1
        Upper bound.
    inplace : bool, default False
        Write the result over what is given.
    """

    _operation = "hardtanh"
    _options = (
        "min_val",
        "max_val",
    )

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> None:
        super().__init__(inplace)
        self.min_val = min_val
        self.max_val = max_val


class Softplus(_Activation):
    """ln(1 + e^(βx)) / β, elementwise.

    Parameters
    ----------
    beta : float, default 1
        β.
    threshold : float, default 20
        Where βx is above it, x itself.
    """

    _operation = "softplus"
    _options = (
        "beta",
        "threshold",
    )

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        super().__init__()
        self.beta = beta
        self.threshold = threshold


class Softshrink(_Activation):
    """x moved towards 0 by λ, elementwise; 0 within λ of it.

    Parameters
    ----------
    lambd : float, default 0.5
        λ.
    """

    _operation = "softshrink"
    _options = ("lambd",)

    def __init__(self, lambd: float = 0.5) -> None:
        super().__init__()
        self.lambd = lambd


class Hardshrink(_Activation):
    """x, but 0 within λ of 0, elementwise.

    Parameters
    ----------
    lambd : float, default 0.5
        λ.
    """

    _operation = "hardshrink"
    _options = ("lambd",)

    def __init__(self, lambd: float = 0.5) -> None:
        super().__init__()
        self.lambd = lambd


class Threshold(_InPlace):
    """x where it is above a threshold, elsewhere a fixed value.

    Parameters
    ----------
    threshold : float
        What x has to exceed.
    value : float
        What is put elsewhere.
    inplace : bool, default False
        Write the result over what is given.
    """

    _operation = "threshold"
    _options = (
        "threshold",
        "value",
    )

    def __init__(self, threshold: float, value: float, inplace: bool = False) -> None:
        super().__init__(inplace)
        self.threshold = threshold
        self.value = value


class GLU(_Activation):
    """First half of an axis times the sigmoid of the second (Dauphin et al. 2017).

    Parameters
    ----------
    dim : int, default -1
        The axis.
    """

    _operation = "glu"
    _options = ("dim",)

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = dim


class Softmax(_Activation):
    """Positive numbers with sum 1 along an axis, in the proportions of eˣ.

    Parameters
    ----------
    dim : int, default -1
        The axis.
    """

    _operation = "softmax"
    _options = ("dim",)

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = dim


class LogSoftmax(_Activation):
    """Logarithm of the softmax along an axis.

    Parameters
    ----------
    dim : int, default -1
        The axis.
    """

    _operation = "log_softmax"
    _options = ("dim",)

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = dim


class Softmin(_Activation):
    """Softmax of −x along an axis.

    Parameters
    ----------
    dim : int, default -1
        The axis.
    """

    _operation = "softmin"
    _options = ("dim",)

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = dim


class PReLU(Module):
    """x, times a learned slope below 0 (He et al. 2015).

    Parameters
    ----------
    num_parameters : int, default 1
        One slope for all, or one for each channel (axis 1).
    init : float, default 0.25
        The slope at first.

    Attributes
    ----------
    weight : Parameter
        ``(num_parameters,)``.
    """

    def __init__(self, num_parameters: int = 1, init: float = 0.25) -> None:
        super().__init__()
        self.slopes = num_parameters
        self.weight = Parameter(np.full(num_parameters, init, np.float32))

    def forward(self, x: Tensor) -> Tensor:
        """Apply it."""
        slope: Any = self.weight
        if self.slopes > 1 and x.ndim > 2:
            slope = ops.reshape(slope, (-1, *(1 for _ in x.shape[2:])))
        y: Tensor = ops.where(plain(x) > 0, x, slope * x)
        return y

    def extra_repr(self) -> str:
        """Sizes, for the printed form."""
        return f"num_parameters={self.slopes}"


class Identity(Module):
    """Whatever comes in, unchanged; takes and ignores any arguments when made.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.nn.Identity()(tm.ones(2))
    tensor([1., 1.])
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        """Return it."""
        return x


class Flatten(Module):
    """Merge neighbouring axes into one.

    Parameters
    ----------
    start_dim, end_dim : int, default 1 and −1
        First and last of them.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.nn.Flatten()(tm.zeros(2, 3, 4)).shape
    (2, 12)
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, x: Tensor) -> Tensor:
        """Merge."""
        y: Tensor = ops.flatten(x, self.start_dim, self.end_dim)
        return y

    def extra_repr(self) -> str:
        """Options, for the printed form."""
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Unflatten(Module):
    """Split an axis into several.

    Parameters
    ----------
    dim : int
        The axis.
    unflattened_size : sequence of int
        Sizes of the new ones; one may be −1.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.nn.Unflatten(1, (3, 4))(tm.zeros(2, 12)).shape
    (2, 3, 4)
    """

    def __init__(self, dim: int, unflattened_size: tuple[int, ...]) -> None:
        super().__init__()
        self.dim, self.unflattened_size = dim, tuple(unflattened_size)

    def forward(self, x: Tensor) -> Tensor:
        """Split."""
        dim = self.dim % x.ndim
        known = math.prod(n for n in self.unflattened_size if n != -1)
        sizes = tuple(x.shape[dim] // known if n == -1 else n for n in self.unflattened_size)
        y: Tensor = ops.reshape(x, (*x.shape[:dim], *sizes, *x.shape[dim + 1 :]))
        return y

    def extra_repr(self) -> str:
        """Options, for the printed form."""
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"
