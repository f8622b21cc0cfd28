"""Positions: learned, sinusoidal, and as rotations of queries and keys."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import ops
from ..engine import Tensor
from .checks import expect_array, expect_number, expect_size
from .module import Module, Parameter


class LearnedPositions(Module):
    """x + P[position], with one learned row per position (Gehring et al. 2017, section 3.1).

    Parameters
    ----------
    context : int
        Number of positions.
    embed_dim : int
        Width d.

    Attributes
    ----------
    weight : Parameter
        ``(context, d)``, at first standard normal.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.nn.LearnedPositions(16, 8)(tm.zeros(2, 5, 8)).shape
    (2, 5, 8)
    """

    def __init__(self, context: int, embed_dim: int) -> None:
        super().__init__()
        expect_size(context, "LearnedPositions: context")
        expect_size(embed_dim, "LearnedPositions: embed_dim")
        self.context = context
        self.weight = Parameter(ops.randn(context, embed_dim))

    def forward(self, x: Tensor, offset: int = 0) -> Tensor:
        """Add to ``(..., T, d)`` the rows of the positions offset … offset + T − 1.

        Raises
        ------
        ValueError
            x has another width, or there are not so many positions.
        TypeError
            x is not of floating numbers.
        """
        _expect_rows(self, x, self.weight.shape[1], offset)
        end = offset + x.shape[-2]
        if end > self.context:
            raise ValueError(
                f"LearnedPositions: x has shape {x.shape} and begins at offset={offset}, but there "
                f"are only context={self.context} positions"
            )
        whole = end - offset == self.context
        y: Tensor = x + (self.weight if whole else self.weight[offset:end])
        return y


class SinusoidalPositions(Module):
    """x + sines and cosines of the position, of wavelengths 2π … 10000·2π.

    Feature 2i of position t is sin(t / 10000^(2i/d)), feature 2i + 1 the cosine (Vaswani et
    al. 2017, section 3.5). Nothing is learned, and no length is too long.

    Parameters
    ----------
    embed_dim : int
        Width d.
    base : float, default 10000
        What bounds the wavelengths.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.nn.SinusoidalPositions(4)(tm.zeros(1, 1, 4))
    tensor([[[0., 1., 0., 1.]]])
    """

    def __init__(self, embed_dim: int, base: float = 10_000.0) -> None:
        super().__init__()
        expect_size(embed_dim, "SinusoidalPositions: embed_dim")
        _expect_base(self, base)
        self.embed_dim, self.base = embed_dim, base

    def forward(self, x: Tensor, offset: int = 0) -> Tensor:
        """Add to ``(..., T, d)`` the waves at the positions offset … offset + T − 1.

        Raises
        ------
        ValueError
            x has another width, or the offset is below 0.
        TypeError
            x is not of floating numbers.
        """
        _expect_rows(self, x, self.embed_dim, offset)
        length = x.shape[-2]
        angles = _angles(length, -(-self.embed_dim // 2), self.embed_dim, self.base, offset)
        waves = np.empty((length, self.embed_dim))
        waves[:, 0::2] = np.sin(angles)
        waves[:, 1::2] = np.cos(angles[:, : self.embed_dim // 2])
        y: Tensor = x + Tensor(waves.astype(x.dtype))
        return y

    def extra_repr(self) -> str:
        """Sizes and options, for the printed form."""
        return f"{self.embed_dim}"


class RotaryPositions(Module):
    """Rotate each pair of features by an angle that grows with the position (Su et al. 2021).

    Features i and i + p/2 of position t form a pair, rotated by t / 10000^(2i/p) (eq. 15; the
    pairs are those of GPT-NeoX and Llama). The product of a rotated query and a rotated key
    depends on their distance only. Give it to :class:`MultiHeadAttention` as ``rotary``.

    Parameters
    ----------
    head_dim : int
        Width p of a head's queries and keys; even.
    base : float, default 10000
        What bounds the wavelengths.

    Raises
    ------
    ValueError
        The width is odd.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> rotary = tm.nn.RotaryPositions(2)
    >>> turned = rotary(tm.tensor([[1.0, 0.0], [1.0, 0.0]]))  # by the angles 0 and 1
    >>> [f"{a:.2f} {b:.2f}" for a, b in turned.tolist()]
    ['1.00 0.00', '0.54 0.84']
    """

    def __init__(self, head_dim: int, base: float = 10_000.0) -> None:
        super().__init__()
        expect_size(head_dim, "RotaryPositions: head_dim")
        if head_dim % 2:
            raise ValueError(
                f"RotaryPositions: head_dim is {head_dim}, expected an even number: features are "
                "rotated in pairs"
            )
        _expect_base(self, base)
        self.head_dim, self.base = head_dim, base

    def forward(self, x: Tensor, offset: int = 0) -> Tensor:
        """Rotate ``(..., T, p)``, at the positions offset … offset + T − 1.

        Raises
        ------
        ValueError
            x has another width, or the offset is below 0.
        TypeError
            x is not of floating numbers.
        """
        p = self.head_dim
        _expect_rows(self, x, p, offset)
        angles = _angles(x.shape[-2], p // 2, p, self.base, offset)
        cos, sin = np.tile(np.cos(angles), 2), np.tile(np.sin(angles), 2)  # (T, p)
        # (a, b) -> (−b, a) as a matrix: a product keeps the head axis in sight, where cutting
        # and joining would lose it
        half, none = np.eye(p // 2), np.zeros((p // 2, p // 2))
        turn = np.block([[none, half], [-half, none]])
        y: Tensor = x * Tensor(cos.astype(x.dtype)) + (x @ Tensor(turn.astype(x.dtype))) * Tensor(
            sin.astype(x.dtype)
        )
        return y

    def extra_repr(self) -> str:
        """Sizes and options, for the printed form."""
        return f"{self.head_dim}"


def _expect_rows(positions: Module, x: Any, width: int, offset: int) -> None:
    """Refuse what has no rows of this width, and positions that there are not."""
    name = type(positions).__name__
    expect_array(x, f"{name}: x")
    if x.ndim < 2 or x.shape[-1] != width:
        raise ValueError(f"{name}: x has shape {x.shape}, expected (..., T, {width})")
    if x.dtype.kind != "f":
        raise TypeError(f"{name}: x is {x.dtype}, expected floating numbers; say x.float()")
    expect_size(offset, f"{name}: offset", 0)


def _expect_base(positions: Module, base: float) -> None:
    name = f"{type(positions).__name__}: base"
    expect_number(base, name)
    if base <= 0:
        raise ValueError(f"{name} is {base}, expected a positive number")


def _angles(length: int, count: int, width: int, base: float, offset: int) -> np.ndarray:
    """t / base^(2i/width) for `length` positions t from `offset` and `count` indices i."""
    return np.outer(np.arange(offset, offset + length), base ** (-2 * np.arange(count) / width))
