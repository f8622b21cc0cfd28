"""First values of what multi-head attention learns: by each head's own fan, or as in PyTorch."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from .. import ops
from .module import Parameter

if TYPE_CHECKING:
    from .attention import MultiHeadAttention

SCHEMES = ("heads", "torch")


def bounds(mha: MultiHeadAttention, scheme: str) -> dict[str, float]:
    """Say within what the matrices begin: ±bound, for "q", "k", "v" and "o".

    Parameters
    ----------
    mha : MultiHeadAttention
        Whose sizes are set.
    scheme : {"heads", "torch"}
        See :class:`MultiHeadAttention`.

    Raises
    ------
    ValueError
        There is no such scheme.
    """
    if scheme not in SCHEMES:
        raise ValueError(f"MultiHeadAttention: init is {scheme!r}, expected one of {SCHEMES}")
    h, g = mha.num_heads, mha.num_kv_heads
    p, d = (mha.p_q, mha.p_k, mha.p_v), (mha.d_q, mha.d_k, mha.d_v)
    width = h * mha.p_v
    if scheme == "heads":
        rows, of_output = p, math.sqrt(6 / (mha.p_o + width))
    else:  # one matrix for all heads; where the widths are equal, for q, k and v together
        q, k, v = rows = h * p[0], g * p[1], g * p[2]
        rows = (q + k + v,) * 3 if d[0] == d[1] == d[2] else rows
        of_output = 1 / math.sqrt(width)
    fans = zip("qkv", rows, d, strict=True)
    return {name: math.sqrt(6 / (r + c)) for name, r, c in fans} | {"o": of_output}


def uniform(bound: float, *shape: int) -> Parameter:
    """Numbers within ±bound."""
    return Parameter(ops.generator().uniform(-bound, bound, shape).astype(np.float32))


def zeros(*shape: int) -> Parameter:
    """Zeros."""
    return Parameter(np.zeros(shape, np.float32))


def normal(*shape: int) -> Parameter:
    """Xavier-normal as in PyTorch: of a row of all heads' features, whose fans are its width."""
    deviation = math.sqrt(2 / (2 * math.prod(shape)))
    return Parameter(ops.generator().normal(0.0, deviation, shape).astype(np.float32))
