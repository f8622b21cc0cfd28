"""Normalisation as layers use it, composed of the operations in :mod:`.normalize`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..engine import touch
from ..engine.op import plain
from .axes import Shape
from .elementwise import exp, log, relu, sqrt, where
from .normalize import layer_norm as _of_rows
from .reduce import amax, mean, sum
from .shape import reshape


def _trailing(name: str, input: Any, normalized_shape: Any, **factors: Any) -> Shape:
    """Check that the input ends in `normalized_shape`, and the factors have just that."""
    one = isinstance(normalized_shape, int | np.integer)
    shape = (int(normalized_shape),) if one else tuple(normalized_shape)
    if not shape or tuple(input.shape[-len(shape) :]) != shape:
        raise ValueError(
            f"{name}: normalized_shape is {shape}, but input has shape {tuple(input.shape)}; it "
            "must be the sizes of the last axes, one or more"
        )
    for key, factor in factors.items():
        if factor is not None and tuple(factor.shape) != shape:
            raise ValueError(
                f"{name}: {key} has shape {tuple(factor.shape)}, expected normalized_shape, {shape}"
            )
    _floats(name, input)
    return shape


def _floats(name: str, input: Any) -> None:
    if input.dtype.kind != "f":
        raise TypeError(f"{name}: input is {input.dtype}, expected floats; say .float()")


def layer_norm(
    input: Any, normalized_shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Any:
    """Bring the last axes to mean 0 and variance 1, then scale and shift (Ba et al. 2016, eq. 4).

    Parameters
    ----------
    input : Tensor
        ``(..., *normalized_shape)``.
    normalized_shape : int or sequence of int
        Sizes of the last axes, over which mean and variance are taken together.
    weight, bias : Tensor, optional
        Of `normalized_shape`.
    eps : float, default 1e-5
        Added to the variance.

    Returns
    -------
    Tensor
        Of the shape of `input`.

    Raises
    ------
    ValueError
        The input does not end in `normalized_shape`, or a factor has another shape.
    TypeError
        The input is not floating.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> x = tm.tensor([[1.0, 3.0], [10.0, 30.0]])
    >>> tm.nn.functional.layer_norm(x, (2,), eps=0.0)
    tensor([[-1.,  1.],
            [-1.,  1.]])
    """
    shape = _trailing("layer_norm", input, normalized_shape, weight=weight, bias=bias)
    if len(shape) == 1:
        return _of_rows(input, weight, bias, eps)
    lead = input.shape[: input.ndim - len(shape)]
    flat = (math.prod(shape),)
    x = reshape(input, (*lead, *flat))
    weight, bias = (None if f is None else reshape(f, flat) for f in (weight, bias))
    return reshape(_of_rows(x, weight, bias, eps), input.shape)


def rms_norm(
    input: Any, normalized_shape: Any, weight: Any = None, eps: float | None = None
) -> Any:
    """Divide the last axes by the root of their mean square (Zhang and Sennrich 2019, eq. 4).

    Parameters
    ----------
    input : Tensor
        ``(..., *normalized_shape)``.
    normalized_shape : int or sequence of int
        Sizes of the last axes.
    weight : Tensor, optional
        Of `normalized_shape`.
    eps : float, optional
        Added to the mean square; by default the machine epsilon of the dtype.

    Returns
    -------
    Tensor
        Of the shape of `input`.

    Raises
    ------
    ValueError
        The input does not end in `normalized_shape`, or `weight` has another shape.
    TypeError
        The input is not floating.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.nn.functional.rms_norm(tm.tensor([3.0, -3.0]), (2,))
    tensor([ 1., -1.])
    """
    shape = _trailing("rms_norm", input, normalized_shape, weight=weight)
    if eps is None:
        eps = float(np.finfo(input.dtype).eps)
    dims = tuple(range(-len(shape), 0))
    y = input / sqrt(mean(input * input, dims, True) + eps)
    return y if weight is None else y * weight


def group_norm(
    input: Any, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Any:
    """Bring each group of channels to mean 0 and variance 1 (Wu and He 2018).

    Parameters
    ----------
    input : Tensor
        ``(N, C, ...)``.
    num_groups : int
        Of equally many channels each.
    weight, bias : Tensor, optional
        ``(C,)``.
    eps : float, default 1e-5
        Added to the variance.

    Returns
    -------
    Tensor
        Of the shape of `input`.

    Raises
    ------
    ValueError
        C is not a multiple of `num_groups`, or a factor is not ``(C,)``.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.nn.functional.group_norm(tm.randn(2, 6, 5), 3).shape
    (2, 6, 5)
    """
    _channels("group_norm", input, weight=weight, bias=bias)
    channels = input.shape[1]
    if num_groups < 1 or channels % num_groups:
        raise ValueError(
            f"group_norm: input has shape {tuple(input.shape)}, so {channels} channels, which do "
            f"not divide into num_groups={num_groups}"
        )
    each = channels // num_groups * math.prod(input.shape[2:])
    grouped = reshape(input, (input.shape[0], num_groups, each))
    y = reshape(_of_rows(grouped, None, None, eps), input.shape)
    return _scaled(y, weight, bias)


def instance_norm(
    input: Any,
    running_mean: Any = None,
    running_var: Any = None,
    weight: Any = None,
    bias: Any = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Any:
    """Bring each channel of each item to mean 0 and variance 1.

    Parameters
    ----------
    input : Tensor
        ``(N, C, ...)``.
    running_mean, running_var : Tensor, optional
        ``(C,)``; updated in place, and used where `use_input_stats` is False.
    weight, bias : Tensor, optional
        ``(C,)``.
    use_input_stats : bool, default True
        Whether to normalise by the input's own mean and variance.
    momentum : float, default 0.1
        How much of the new values goes into the running ones.
    eps : float, default 1e-5
        Added to the variance.

    Returns
    -------
    Tensor
        Of the shape of `input`.

    Raises
    ------
    ValueError
        There is only one place per channel, or a factor is not ``(C,)``.
    """
    _channels("instance_norm", input, weight=weight, bias=bias)
    if not use_input_stats:
        return batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)
    places = math.prod(input.shape[2:])
    if places == 1:
        raise ValueError(
            f"instance_norm: input has shape {tuple(input.shape)}; a variance needs more than one "
            "place per channel"
        )
    dims = tuple(range(2, input.ndim))
    if running_mean is not None:
        x = plain(input)
        _follow(running_mean, x.mean(dims).mean(0), momentum)
        _follow(running_var, x.var(dims, ddof=1).mean(0), momentum)
    return group_norm(input, input.shape[1], weight, bias, eps)


def batch_norm(
    input: Any,
    running_mean: Any,
    running_var: Any,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Any:
    """Bring each channel to mean 0 and variance 1 (Ioffe and Szegedy 2015, algorithm 1).

    Parameters
    ----------
    input : Tensor
        ``(N, C, ...)``.
    running_mean, running_var : Tensor or None
        ``(C,)``; in training updated in place, else what is normalised by.
    weight, bias : Tensor, optional
        ``(C,)``.
    training : bool, default False
        Whether to normalise by the batch's own mean and variance.
    momentum : float, default 0.1
        How much of the new values goes into the running ones.
    eps : float, default 1e-5
        Added to the variance.

    Returns
    -------
    Tensor
        Of the shape of `input`.

    Raises
    ------
    ValueError
        In training there is only one value per channel; or outside of it there are no running
        values; or a factor is not ``(C,)``.
    """
    _channels(
        "batch_norm",
        input,
        weight=weight,
        bias=bias,
        running_mean=running_mean,
        running_var=running_var,
    )
    channels = (1, -1, *(1 for _ in input.shape[2:]))
    if not training:
        if running_mean is None or running_var is None:
            raise ValueError(
                "batch_norm: outside of training running_mean and running_var are needed"
            )
        centred = input - reshape(running_mean, channels)
        return _scaled(centred / sqrt(reshape(running_var, channels) + eps), weight, bias)
    dims = (0, *range(2, input.ndim))
    count = math.prod(input.shape[d] for d in dims)
    if count == 1:
        raise ValueError(
            f"batch_norm: input has shape {tuple(input.shape)}; in training a variance needs more "
            "than one value per channel"
        )
    centred = input - mean(input, dims, True)
    variance = mean(centred * centred, dims, True)
    if running_mean is not None:
        _follow(running_mean, plain(input).mean(dims), momentum)
    if running_var is not None:
        _follow(running_var, plain(variance).reshape(-1) * (count / (count - 1)), momentum)
    return _scaled(centred / sqrt(variance + eps), weight, bias)


def _follow(running: Any, new: np.ndarray, momentum: float) -> None:
    """Move a running value towards a new one, in place."""
    values = plain(running)
    values += (momentum * (new - values)).astype(values.dtype)
    touch((values,))


def _channels(name: str, input: Any, **factors: Any) -> None:
    if input.ndim < 2:
        raise ValueError(
            f"{name}: input has shape {tuple(input.shape)}, expected (N, C, ...) with at least two "
            "axes"
        )
    for key, factor in factors.items():
        if factor is not None and tuple(factor.shape) != (input.shape[1],):
            raise ValueError(
                f"{name}: {key} has shape {tuple(factor.shape)}, expected one per channel, "
                f"({input.shape[1]},)"
            )
    _floats(name, input)


def _scaled(y: Any, weight: Any, bias: Any) -> Any:
    """Channels times weight plus bias."""
    channels = (1, y.shape[1], *(1 for _ in y.shape[2:]))
    if weight is not None:
        y = y * reshape(weight, channels)
    return y if bias is None else y + reshape(bias, channels)


def normalize(input: Any, p: float = 2.0, dim: Any = 1, eps: float = 1e-12) -> Any:
    """Divide by the p-norm along an axis, x / max(‖x‖ₚ, ε).

    Parameters
    ----------
    input : Tensor
        Any shape.
    p : float, default 2
        Of the norm; infinity takes the largest |x|.
    dim : int or tuple of int, default 1
        The axis.
    eps : float, default 1e-12
        The least norm to divide by.

    Returns
    -------
    Tensor
        Of the shape of `input`.

    Raises
    ------
    IndexError
        `dim` is out of range.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.nn.functional.normalize(tm.tensor([3.0, 4.0]), dim=0)
    tensor([0.6, 0.8])
    """
    _floats("normalize", input)
    norm = _norm(input, p, dim)
    short = plain(norm) < eps
    return input / (where(short, eps, norm) if short.any() else norm)


def _norm(x: Any, p: float, dim: Any) -> Any:
    """‖x‖ₚ along `dim`, kept as axis of size 1; where it is 0 its gradient is 0."""
    size = relu(x) + relu(-x)
    if p == 0:
        return sum(where(plain(x) != 0, 1.0, x * 0.0), dim, True)
    if math.isinf(p):
        return amax(size, dim, True) if p > 0 else -amax(-size, dim, True)
    if p == 1:
        return sum(size, dim, True)
    total = sum(x * x if p == 2 else size**p, dim, True)
    some = plain(total) != 0
    inside = where(some, total, 1.0)
    return where(some, sqrt(inside) if p == 2 else exp(log(inside) * (1 / p)), 0.0)
