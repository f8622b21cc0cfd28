"""Normalising layers beside LayerNorm, which is in :mod:`.layers`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .. import ops
from ..engine import Tensor
from .module import Module, Parameter


class RMSNorm(Module):
    """Divide the last axes by the root of their mean square (Zhang and Sennrich 2019).

    Parameters
    ----------
    normalized_shape : int or sequence of int
        Sizes of the last axes.
    eps : float, optional
        Added to the mean square; by default the machine epsilon of the dtype.
    elementwise_affine : bool, default True
        Whether there is a weight.

    Attributes
    ----------
    weight : Parameter or None
        Of `normalized_shape`, at first 1.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.nn.RMSNorm(4)(tm.randn(2, 4)).shape
    (2, 4)
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float | None = None,
        elementwise_affine: bool = True,
    ) -> None:
        super().__init__()
        if isinstance(normalized_shape, int):
            normalized_shape = (normalized_shape,)
        self.normalized_shape, self.eps = tuple(normalized_shape), eps
        self.elementwise_affine = elementwise_affine
        ones = np.ones(self.normalized_shape, np.float32)
        self.weight = Parameter(ones) if elementwise_affine else None

    def forward(self, x: Tensor) -> Tensor:
        """Normalise ``(..., *normalized_shape)``."""
        y: Tensor = ops.rms_norm(x, self.normalized_shape, self.weight, self.eps)
        return y

    def extra_repr(self) -> str:
        """Sizes and options, for the printed form."""
        return (
            f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"
        )


class GroupNorm(Module):
    """Bring each group of channels to mean 0 and variance 1 (Wu and He 2018).

    Parameters
    ----------
    num_groups, num_channels : int
        How many groups, of how many channels in all.
    eps : float, default 1e-5
        Added to the variance.
    affine : bool, default True
        Whether there are a weight and a bias.

    Attributes
    ----------
    weight, bias : Parameter or None
        ``(num_channels,)``, at first 1 and 0.

    Raises
    ------
    ValueError
        The channels do not divide into the groups.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.nn.GroupNorm(3, 6)(tm.randn(2, 6, 5)).shape
    (2, 6, 5)
    """

    def __init__(
        self, num_groups: int, num_channels: int, eps: float = 1e-5, affine: bool = True
    ) -> None:
        super().__init__()
        if num_groups < 1 or num_channels % num_groups:
            raise ValueError(
                f"GroupNorm: num_channels={num_channels} does not divide into "
                f"num_groups={num_groups}"
            )
        self.num_groups, self.num_channels = num_groups, num_channels
        self.eps, self.affine = eps, affine
        self.weight = Parameter(np.ones(num_channels, np.float32)) if affine else None
        self.bias = Parameter(np.zeros(num_channels, np.float32)) if affine else None

    def forward(self, x: Tensor) -> Tensor:
        """Normalise ``(N, num_channels, ...)``."""
        y: Tensor = ops.group_norm(x, self.num_groups, self.weight, self.bias, self.eps)
        return y

    def extra_repr(self) -> str:
        """Sizes and options, for the printed form."""
        return f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}"
