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


class BatchNorm1d(Module):
    """Bring each channel to mean 0 and variance 1 over the batch (Ioffe and Szegedy 2015).

    In training by the batch's own mean and variance, which the running ones follow; in
    evaluation by those.

    Parameters
    ----------
    num_features : int
        C, the number of channels.
    eps : float, default 1e-5
        Added to the variance.
    momentum : float or None, default 0.1
        How much of a batch goes into the running values; None: their plain average.
    affine : bool, default True
        Whether there are a weight and a bias.
    track_running_stats : bool, default True
        Whether there are running values; without them the batch's own serve in evaluation too.

    Attributes
    ----------
    weight, bias : Parameter or None
        ``(C,)``, at first 1 and 0.
    running_mean, running_var, num_batches_tracked : Tensor or None
        Buffers: ``(C,)``, ``(C,)`` and ``()``.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.nn.BatchNorm1d(3)(tm.randn(8, 3)).shape
    (8, 3)
    """

    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
    ) -> None:
        super().__init__()
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.affine, self.track_running_stats = affine, track_running_stats
        ones, zeros = np.ones(num_features, np.float32), np.zeros(num_features, np.float32)
        self.weight = Parameter(ones) if affine else None
        self.bias = Parameter(zeros) if affine else None
        tracked = {
            "running_mean": Tensor(zeros.copy()),
            "running_var": Tensor(ones.copy()),
            "num_batches_tracked": Tensor(np.zeros((), np.int64)),
        }
        for name, value in tracked.items():
            self.register_buffer(name, value if track_running_stats else None)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise ``(N, C)`` or ``(N, C, L)``."""
        if x.ndim not in (2, 3):
            raise ValueError(f"BatchNorm1d: x has shape {x.shape}, expected (N, C) or (N, C, L)")
        momentum = self.momentum or 0.0
        if self.training and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            if self.momentum is None:
                momentum = 1 / self.num_batches_tracked.item()
        own = self.training or self.running_mean is None
        y: Tensor = ops.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, own, momentum, self.eps
        )
        return y

    def extra_repr(self) -> str:
        """Sizes and options, for the printed form."""
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"track_running_stats={self.track_running_stats}"
        )
