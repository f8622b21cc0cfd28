"""Where the head axis begins, and where it ends.

These two operations are nothing but a reshape and a transpose. They are operations
of their own so that whoever reads the graph knows which axis is the heads': it begins
at a ``split_heads``, each operation says what it does to an axis, and it ends at a
``merge_heads``. A module of your own gets its heads drawn by using the same two.
"""

from __future__ import annotations

from ..engine import Sample, op
from ..engine.op import Value


@op(
    "yᵢ = the i-th block of p columns of x, i = 1 … h",
    symbol="split heads",
    method=False,
    torch="ours:split_heads",
    samples=(
        Sample(((2, 3, 8),), {"num_heads": 2}),
        Sample(((3, 4),), {"num_heads": 4}),
    ),
)
def split_heads(x: Value, num_heads: int) -> Value:
    """Give each head its own block of the last axis: the head axis begins here.

    Parameters
    ----------
    x : Tensor
        ``(..., T, h·p)``.
    num_heads : int
        h.

    Returns
    -------
    Tensor
        ``(..., h, T, p)``, sharing memory with `x`.

    Raises
    ------
    ValueError
        The last axis is not a multiple of h, or there are fewer than two axes.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.nn.functional.split_heads(tm.zeros(1, 5, 8), 4).shape
    (1, 4, 5, 2)
    """
    if x.ndim < 2 or num_heads < 1 or x.shape[-1] % num_heads:
        raise ValueError(
            f"the last axis of x, in shape {x.shape}, must split into num_heads={num_heads} "
            "equal parts, and an axis of positions must stand before it"
        )
    *batch, length, width = x.shape
    # (..., T, h·p) -> (..., T, h, p) -> (..., h, T, p)
    return x.reshape(*batch, length, num_heads, width // num_heads).swapaxes(-2, -3)


@split_heads.gradient("x", "dx = [dy₁, …, dyₕ]")
def split_heads_dx(dy: Value) -> Value:
    return merge_heads(dy)


@op(
    "y = [x₁, …, xₕ]",
    symbol="merge heads",
    method=False,
    torch="ours:merge_heads",
    samples=(Sample(((2, 4, 3, 2),)), Sample(((2, 3, 4),))),
)
def merge_heads(x: Value) -> Value:
    """Concatenate the heads' outputs: the head axis ends here.

    Parameters
    ----------
    x : Tensor
        ``(..., h, T, p)``.

    Returns
    -------
    Tensor
        ``(..., T, h·p)``.

    Raises
    ------
    ValueError
        There are fewer than three axes.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.nn.functional.merge_heads(tm.zeros(1, 4, 5, 2)).shape
    (1, 5, 8)
    """
    if x.ndim < 3:
        raise ValueError(f"x has shape {x.shape}, expected (..., h, T, p)")
    *batch, heads, length, width = x.shape
    # (..., h, T, p) -> (..., T, h, p) -> (..., T, h·p)
    return x.swapaxes(-2, -3).reshape(*batch, length, heads * width)


@merge_heads.gradient("x", "dxᵢ = the i-th block of dy")
def merge_heads_dx(dy: Value, x_shape: tuple[int, ...]) -> Value:
    return split_heads(dy, x_shape[-3])
