"""Random numbers, all from one generator that :func:`manual_seed` sets."""

from __future__ import annotations

import secrets
import threading
from typing import Any

import numpy as np
import numpy.typing as npt

from ..engine import Sample, Tensor, op
from ..engine.op import Value, plain
from .axes import broadcast_axis
from .creation import dtype_of, sizes


class Generator:
    """A source of random numbers of one's own.

    Attributes
    ----------
    numpy : numpy.random.Generator
        What draws the numbers.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> source = tm.Generator().manual_seed(0)
    >>> a = tm.rand(3, generator=source)
    >>> tm.equal(a, tm.rand(3, generator=source.manual_seed(0)))
    True
    """

    def __init__(self) -> None:
        self.seed()

    def manual_seed(self, seed: int) -> Generator:
        """Start anew; the same seed gives the same numbers. Returns itself."""
        if not -(2**63) <= seed < 2**64:
            raise ValueError(f"manual_seed: {seed} does not fit into 64 bits")
        self._seed = seed
        self.numpy = np.random.default_rng(seed % 2**64)
        return self

    def seed(self) -> int:
        """Start anew from a seed that the system's entropy gives, and return it."""
        self.manual_seed(secrets.randbits(64))
        return self._seed

    def initial_seed(self) -> int:
        """Return the seed it was last started from."""
        return self._seed


class _Source(threading.local):
    """Each thread draws from a generator of its own: NumPy's are not safe to share."""

    def __init__(self) -> None:
        self.generator = Generator()


_source = _Source()


def manual_seed(seed: int) -> Generator:
    """Start this thread's random numbers anew; the same seed gives the same numbers.

    Returns
    -------
    Generator
        This thread's.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> _ = tm.manual_seed(0); a = tm.rand(3)
    >>> _ = tm.manual_seed(0); b = tm.rand(3)
    >>> bool((a == b).data.all())
    True
    """
    return _source.generator.manual_seed(seed)


def generator() -> np.random.Generator:
    """Return the generator that this thread draws from."""
    return _source.generator.numpy


def draws_from(given: Generator | None) -> np.random.Generator:
    return generator() if given is None else given.numpy


def _floating(name: str, dtype: npt.DTypeLike | None, default: Any = np.float32) -> Any:
    found = dtype_of(dtype, default)
    if found.kind != "f":
        raise TypeError(f"{name}: dtype is {found}; these numbers are floating, take tm.float32")
    return found


# -- of a shape ---------------------------------------------------------------------


def rand(
    *size: Any,
    generator: Generator | None = None,
    dtype: npt.DTypeLike | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """Draw uniform numbers from [0, 1).

    Parameters
    ----------
    *size : int
        The shape, as numbers or as one tuple.
    generator : Generator, optional
        What to draw from; by default what :func:`manual_seed` sets.
    dtype : dtype, optional
        float32 unless given.
    requires_grad : bool, default False
        Whether backward is to fill ``.grad``.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.rand(2, 3).shape
    (2, 3)
    """
    wanted, shape = _floating("rand", dtype), sizes("rand", size)
    values = draws_from(generator).random(shape)
    below_one = np.nextafter(wanted.type(1), wanted.type(0))  # which rounding may reach otherwise
    return Tensor(np.minimum(values.astype(wanted), below_one), requires_grad)


def randn(
    *size: Any,
    generator: Generator | None = None,
    dtype: npt.DTypeLike | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """Draw standard normal numbers.

    Parameters
    ----------
    *size : int
        The shape, as numbers or as one tuple.
    generator : Generator, optional
        What to draw from; by default what :func:`manual_seed` sets.
    dtype : dtype, optional
        float32 unless given.
    requires_grad : bool, default False
        Whether backward is to fill ``.grad``.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.randn(2, 3).shape
    (2, 3)
    """
    wanted, shape = _floating("randn", dtype), sizes("randn", size)
    return Tensor(draws_from(generator).standard_normal(shape).astype(wanted), requires_grad)


def rand_like(
    input: Any, *, dtype: npt.DTypeLike | None = None, requires_grad: bool = False
) -> Tensor:
    """Draw uniform numbers from [0, 1), in the shape and, unless given, the dtype of a tensor."""
    wanted = _floating("rand_like", dtype, input.dtype)
    return rand(input.shape, dtype=wanted, requires_grad=requires_grad)


def randn_like(
    input: Any, *, dtype: npt.DTypeLike | None = None, requires_grad: bool = False
) -> Tensor:
    """Draw standard normal numbers, in the shape and, unless given, the dtype of a tensor."""
    wanted = _floating("randn_like", dtype, input.dtype)
    return randn(input.shape, dtype=wanted, requires_grad=requires_grad)


def randint(
    low: int,
    high: Any = None,
    size: Any = None,
    *,
    generator: Generator | None = None,
    dtype: npt.DTypeLike | None = None,
) -> Tensor:
    """Draw integers from `low` to `high` − 1: ``randint(low, high, size)``.

    Parameters
    ----------
    low : int
        The smallest; ``randint(high, size)`` starts at 0.
    high : int
        One above the largest.
    size : tuple of int
        The shape.
    generator : Generator, optional
        What to draw from; by default what :func:`manual_seed` sets.
    dtype : dtype, optional
        int64 unless given.

    Raises
    ------
    ValueError
        `low` is not below `high`.
    TypeError
        The size is missing.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.randint(0, 10, (2, 3)).dtype
    dtype('int64')
    >>> tm.randint(10, (2, 3)).shape
    (2, 3)
    """
    if isinstance(high, tuple | list) or (high is None and size is not None):
        low, high, size = 0, low, high if size is None else size
    if size is None:
        raise TypeError("randint: the size is missing; write randint(low, high, (2, 3))")
    if low >= high:
        raise ValueError(f"randint: low is {low}, high is {high}; low has to be below high")
    values = draws_from(generator).integers(low, high, sizes("randint", (size,)))
    return Tensor(np.asarray(values).astype(dtype_of(dtype, np.int64), copy=False))


def randperm(
    n: int, *, generator: Generator | None = None, dtype: npt.DTypeLike | None = None
) -> Tensor:
    """Draw an order of the integers from 0 to n − 1.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> sorted(tm.randperm(3).tolist())
    [0, 1, 2]
    """
    (count,) = sizes("randperm", (n,))
    return Tensor(draws_from(generator).permutation(count).astype(dtype_of(dtype, np.int64)))


# -- of a distribution --------------------------------------------------------------


def bernoulli(input: Any, p: Any = None, *, generator: Generator | None = None) -> Tensor:
    """Draw 1 with a probability, 0 otherwise, for each element; without a gradient.

    Parameters
    ----------
    input : floating Tensor
        The probabilities; their shape and dtype are the result's.
    p : float, optional
        One probability for all, in place of those of `input`.
    generator : Generator, optional
        What to draw from; by default what :func:`manual_seed` sets.

    Raises
    ------
    ValueError
        A probability is not from 0 to 1.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.bernoulli(tm.tensor([0.0, 1.0]))
    tensor([0., 1.])
    """
    if p is None and plain(input).dtype.kind != "f":
        raise TypeError(f"bernoulli: input is {input.dtype}; probabilities are floating")
    probability = np.broadcast_to(plain(input if p is None else p), input.shape)
    if not ((probability >= 0) & (probability <= 1)).all():
        raise ValueError("bernoulli: expected probabilities from 0 to 1")
    drawn = draws_from(generator).random(input.shape) < probability
    return Tensor(np.asarray(drawn).astype(input.dtype))


def normal(
    mean: Any = 0.0,
    std: Any = 1.0,
    size: Any = None,
    *,
    generator: Generator | None = None,
    dtype: npt.DTypeLike | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """Draw normal numbers of a mean and a standard deviation; without a gradient to these.

    Parameters
    ----------
    mean, std : float or Tensor
        Of each element where they are tensors, which broadcast.
    size : tuple of int, optional
        The shape, where both are numbers.
    generator : Generator, optional
        What to draw from; by default what :func:`manual_seed` sets.
    dtype : dtype, optional
        That of the tensors, or float32.
    requires_grad : bool, default False
        Whether backward is to fill ``.grad``.

    Raises
    ------
    ValueError
        A standard deviation is negative, or the shapes do not broadcast.
    TypeError
        Neither is a tensor, and the size is missing.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.normal(5.0, 0.0, (2,))
    tensor([5., 5.])
    >>> tm.normal(tm.tensor([1.0, 2.0]), 0.0)
    tensor([1., 2.])
    """
    given = [plain(x) for x in (mean, std) if isinstance(x, Tensor)]
    if size is None and not given:
        raise TypeError("normal: mean and std are numbers, so the size has to be given")
    mu, sigma = plain(mean), plain(std)
    if not np.all(np.greater_equal(sigma, 0)):
        raise ValueError(f"normal: std is {std}; a standard deviation is not negative")
    shape = np.broadcast_shapes(*(x.shape for x in given))
    if size is not None:
        shape = sizes("normal", (size,))
    wanted = _floating("normal", dtype, given[0].dtype if given else np.float32)
    values = mu + sigma * draws_from(generator).standard_normal(shape)
    return Tensor(np.asarray(values).astype(wanted), requires_grad)


def multinomial(
    input: Any,
    num_samples: int,
    replacement: bool = False,
    *,
    generator: Generator | None = None,
) -> Tensor:
    """Draw positions along the last dimension, in proportion to weights.

    Parameters
    ----------
    input : floating Tensor
        ``(k,)`` or ``(n, k)``: weights, not negative, which need not sum to 1.
    num_samples : int
        How many to draw from each row.
    replacement : bool, default False
        Whether a position can be drawn twice.
    generator : Generator, optional
        What to draw from; by default what :func:`manual_seed` sets.

    Returns
    -------
    Tensor
        ``(num_samples,)`` or ``(n, num_samples)``, int64.

    Raises
    ------
    ValueError
        Other dimensions; weights that are negative, not finite, or all 0; or more samples
        than there are positions.
    TypeError
        The weights are not floating.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.multinomial(tm.tensor([0.0, 3.0, 0.0]), 2, replacement=True)
    tensor([1, 1])
    """
    weights = plain(input)
    if weights.dtype.kind != "f":
        raise TypeError(f"multinomial: input is {weights.dtype}; weights are floating")
    if weights.ndim not in (1, 2) or num_samples < 1:
        raise ValueError(
            f"multinomial: expected weights (k,) or (n, k) and at least 1 sample, got shape "
            f"{weights.shape} and {num_samples}"
        )
    if not (np.isfinite(weights) & (weights >= 0)).all() or not weights.any(-1).all():
        raise ValueError("multinomial: weights have to be finite, not negative, and not all 0")
    if not replacement and num_samples > weights.shape[-1]:
        raise ValueError(
            f"multinomial: {num_samples} samples of {weights.shape[-1]} positions need "
            "replacement=True"
        )
    p, source = weights.astype(np.float64), draws_from(generator)
    if not replacement:  # the first of exponential clocks that run at these rates
        clocks = p / source.standard_exponential(p.shape)
        return Tensor(np.argsort(-clocks, axis=-1, kind="stable")[..., :num_samples].copy())
    bounds = np.cumsum(p, -1)
    draws = source.random((*p.shape[:-1], num_samples)) * bounds[..., -1:]
    return Tensor((draws[..., None] >= bounds[..., None, :]).sum(-1))


# -- dropout ------------------------------------------------------------------------


@op(
    "y = x · keep / (1 − p)",
    symbol="dropout",
    axis=broadcast_axis,
    method=False,
    torch="ours:scaled_mask",
    samples=(Sample(((2, 3), np.array([[True, False, True], [True, True, False]])), {"p": 0.25}),),
)
def scaled_mask(x: Value, keep: Value, p: float) -> Value:
    """Zero where `keep` is False, the rest scaled so that the expectation stays."""
    return x * (keep * x.dtype.type(1 / (1 - p) if p < 1 else 0.0))


@scaled_mask.gradient("x", "dx = dy · keep / (1 − p)")
def scaled_mask_dx(dy: Value, keep: Value, p: float) -> Value:
    return scaled_mask(dy, keep, p)


def dropout(x: Tensor, p: float = 0.5, training: bool = True) -> Tensor:
    """Drop each element with probability `p`, and scale the rest by 1/(1 − p).

    Parameters
    ----------
    x : Tensor
        Any shape.
    p : float, default 0.5
        From 0 to 1.
    training : bool, default True
        False returns `x` as it is.

    Returns
    -------
    Tensor
        Of the shape of `x`.

    Raises
    ------
    ValueError
        `p` is not between 0 and 1.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.nn.functional.dropout(tm.ones(3), p=0.0)
    tensor([1., 1., 1.])
    """
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"dropout: p is {p}, expected a probability from 0 to 1")
    if not training or p == 0.0:
        return x
    kept: Tensor = scaled_mask(x, generator().random(x.shape) >= p, p=p)
    return kept
