"""What heads do: plain functions on attention weights, arrays in and arrays out.

Weights are ``(N, h, L, S)`` or ``(h, L, S)``, as modules return them, each row with the sum 1,
or 0 where a query may see nothing. Such blind rows count in no average. Results are ``(h,)``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np

from ..engine import Tensor, grad
from ..engine.op import plain


def _weights(weights: Any, function: str) -> np.ndarray:
    """Bring weights to (N, h, L, S) in float64."""
    if isinstance(weights, tuple):
        raise TypeError(
            f"{function}: weights is a tuple; mha(x, need_weights=True) returns (out, weights): "
            "give the second"
        )
    array = np.asarray(plain(weights), np.float64)
    if array.ndim not in (3, 4):
        raise ValueError(
            f"{function}: weights has shape {array.shape}, expected (N, h, L, S) or (h, L, S), for "
            "example from mha(x, need_weights=True)"
        )
    return array if array.ndim == 4 else array[None]


def _mean(rows: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Average numbers per row (N, h, L), over the rows that see something: (h,)."""
    sighted = weights.any(-1)  # (N, h, L)
    count = sighted.sum((0, 2))
    total = np.where(sighted, rows, 0.0).sum((0, 2))
    return np.asarray(np.divide(total, count, out=np.zeros_like(total), where=count > 0))


def entropy(weights: Any, *, normalized: bool = False) -> np.ndarray:
    """How widely each head spreads: −Σ α log₂ α, averaged over queries.

    Parameters
    ----------
    weights : Tensor or array
        ``(N, h, L, S)`` or ``(h, L, S)``.
    normalized : bool, default False
        Divide by log₂ of the number of keys with a weight: from 0, a single key, to 1, all of
        them alike.

    Returns
    -------
    ndarray
        ``(h,)``, in bits.

    Examples
    --------
    >>> import numpy as np
    >>> from tinygrad_mha.nn import analysis
    >>> analysis.entropy(np.stack([np.eye(4), np.full((4, 4), 0.25)])).tolist()
    [0.0, 2.0]
    """
    w = _weights(weights, "entropy")
    bits = -(w * np.log2(np.where(w > 0, w, 1.0))).sum(-1)
    if normalized:
        bits = bits / np.maximum(np.log2(np.maximum((w > 0).sum(-1), 1)), 1e-12)
    return _mean(np.maximum(bits, 0.0), w)


def distance(weights: Any) -> np.ndarray:
    """How far each head looks: Σ α |i − j|, averaged over queries.

    Parameters
    ----------
    weights : Tensor or array
        ``(N, h, L, S)`` or ``(h, L, S)``. With fewer queries than keys these are the last, as in
        decoding with a cache.

    Returns
    -------
    ndarray
        ``(h,)``, in positions.

    Examples
    --------
    >>> import numpy as np
    >>> from tinygrad_mha.nn import analysis
    >>> analysis.distance(np.stack([np.eye(4), np.eye(4)[::-1]])).tolist()
    [0.0, 2.0]
    """
    w = _weights(weights, "distance")
    length, keys = w.shape[-2:]
    own = np.arange(length) + max(keys - length, 0)
    apart = np.abs(own[:, None] - np.arange(keys))
    return _mean((w * apart).sum(-1), w)


def share_at(weights: Any, offset: int) -> np.ndarray:
    """Weight on the key at a fixed distance: of query i, on key i + offset.

    Parameters
    ----------
    weights : Tensor or array
        ``(N, h, L, S)`` or ``(h, L, S)``. With fewer queries than keys these are the last.
    offset : int
        0 is the query's own position, −1 the one before.

    Returns
    -------
    ndarray
        ``(h,)``, averaged over the queries that have such a key.

    Examples
    --------
    >>> import numpy as np
    >>> from tinygrad_mha.nn import analysis
    >>> previous = np.eye(4, k=-1) + np.eye(4) * [1, 0, 0, 0]
    >>> analysis.share_at(previous[None], -1).tolist()
    [1.0]
    """
    w = _weights(weights, "share_at")
    length, keys = w.shape[-2:]
    rows = np.arange(length)
    columns = rows + max(keys - length, 0) + offset
    there = (columns >= 0) & (columns < keys)
    if not there.any():
        return np.zeros(w.shape[1])
    rows, columns = rows[there], columns[there]
    # (N, h, L') of the rows that have the key
    return _mean(w[:, :, rows, columns], w[:, :, rows])


def share_on_self(weights: Any) -> np.ndarray:
    """Weight of each query on its own position: ``(h,)``; see :func:`share_at`.

    Examples
    --------
    >>> import numpy as np
    >>> from tinygrad_mha.nn import analysis
    >>> analysis.share_on_self(np.full((1, 4, 4), 0.25)).tolist()
    [0.25]
    """
    return share_at(weights, 0)


def share_on_previous(weights: Any) -> np.ndarray:
    """Weight of each query on the position before its own: ``(h,)``; see :func:`share_at`.

    High in the previous-token heads that induction needs (Olsson et al. 2022).

    Examples
    --------
    >>> import numpy as np
    >>> from tinygrad_mha.nn import analysis
    >>> analysis.share_on_previous(np.full((1, 4, 4), 0.25)).tolist()
    [0.25]
    """
    return share_at(weights, -1)


def share_on_first(weights: Any) -> np.ndarray:
    """Weight on the first key, where heads rest that have nothing to do: ``(h,)``.

    In self-attention (L = S) the first query is left out: under a causal mask it can see nothing
    else.

    Examples
    --------
    >>> import numpy as np
    >>> from tinygrad_mha.nn import analysis
    >>> analysis.share_on_first(np.eye(4)[None]).tolist()
    [0.0]
    """
    w = _weights(weights, "share_on_first")
    if not w.shape[-1]:
        return np.zeros(w.shape[1])
    rows = w[:, :, 1:] if w.shape[-2] == w.shape[-1] > 1 else w
    return _mean(rows[..., 0], rows)


def similarity(weights: Any) -> np.ndarray:
    """How alike heads attend: 1 − Jensen–Shannon divergence of their rows, in bits, averaged.

    Parameters
    ----------
    weights : Tensor or array
        ``(N, h, L, S)`` or ``(h, L, S)``.

    Returns
    -------
    ndarray
        ``(h, h)``, symmetric: 1 where two heads do the same, 0 where they share no key.

    Examples
    --------
    >>> import numpy as np
    >>> from tinygrad_mha.nn import analysis
    >>> analysis.similarity(np.stack([np.eye(3), np.eye(3), np.eye(3)[[1, 2, 0]]])).tolist()
    [[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    """
    w = _weights(weights, "similarity")
    h = w.shape[1]
    found = np.eye(h)
    for i in range(h):
        for j in range(i):
            a, b = w[:, i], w[:, j]
            both = a.any(-1) & b.any(-1)
            if both.any():
                found[i, j] = found[j, i] = 1 - _divergence(a[both], b[both]).mean()
    return found


def _divergence(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Jensen–Shannon divergence of rows (..., S), in bits: from 0 to 1."""
    middle = (a + b) / 2

    def relative(p: np.ndarray) -> np.ndarray:
        ratio = np.divide(p, middle, out=np.ones_like(p), where=p > 0)
        return np.asarray((p * np.log2(ratio)).sum(-1))

    return np.clip((relative(a) + relative(b)) / 2, 0.0, 1.0)


def induction(weights: Any, period: int) -> np.ndarray:
    """How much each head continues a repetition: weight on the token after the last occurrence.

    On a sequence of random tokens that repeats every `period`, query i of a later repetition
    looks at key i − period + 1 (Olsson et al. 2022, "In-context learning and induction heads").

    Parameters
    ----------
    weights : Tensor or array
        ``(N, h, L, L)`` or ``(h, L, L)``, of such a sequence.
    period : int
        Length of what is repeated.

    Returns
    -------
    ndarray
        ``(h,)``, averaged over the queries after the first repetition.

    Raises
    ------
    ValueError
        The sequence does not repeat: L is not above the period.

    Examples
    --------
    >>> import numpy as np
    >>> from tinygrad_mha.nn import analysis
    >>> analysis.induction(np.eye(6, k=-2)[None], period=3).tolist()
    [1.0]
    """
    w = _weights(weights, "induction")
    length = w.shape[-2]
    if not 1 <= period < length or length != w.shape[-1]:
        raise ValueError(
            f"induction: weights has shape {w.shape} and period is {period}; expected (..., L, L) "
            "with L above the period, of a sequence that repeats"
        )
    rows = np.arange(period, length)
    return _mean(w[:, :, rows, rows - period + 1], w[:, :, rows])


# -- importance -----------------------------------------------------------------------------


def gate_importance(
    loss: Callable[[Tensor], Tensor], num_heads: int | tuple[int, ...], *, dtype: Any = np.float32
) -> np.ndarray:
    """How much the loss hangs on each head, to first order: −∂loss/∂gate at gates of 1.

    Parameters
    ----------
    loss : callable
        Takes gates, for ``head_mask``, and returns the loss, one element.
    num_heads : int or tuple of int
        h, or the shape of the gates: (num_layers, h) for a :class:`GPT`.
    dtype : dtype, default float32
        Of the gates.

    Returns
    -------
    ndarray
        Of the shape of the gates: by how much the loss would rise, were it linear, without the
        head. Michel et al. 2019 (eq. 2) rank by the absolute value of it.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> from tinygrad_mha.nn import analysis
    >>> mha, x = tm.nn.MultiHeadAttention(8, 2), tm.randn(1, 3, 8)
    >>> analysis.gate_importance(lambda g: (mha(x, head_mask=g) ** 2).mean(), 2).shape
    (2,)
    """
    gates = Tensor(np.ones(num_heads, dtype), True)
    (slope,) = grad(loss(gates), [gates])
    assert slope is not None
    return -slope.data


def ablation_importance(
    loss: Callable[[Tensor], Any], num_heads: int | tuple[int, ...], *, dtype: Any = np.float32
) -> np.ndarray:
    """By how much the loss really rises when a head is taken away: loss without it − loss.

    Parameters
    ----------
    loss : callable
        Takes gates, for ``head_mask``, and returns the loss, one element or a number.
    num_heads : int or tuple of int
        h, or the shape of the gates: (num_layers, h) for a :class:`GPT`.
    dtype : dtype, default float32
        Of the gates.

    Returns
    -------
    ndarray
        Of the shape of the gates; below 0 where the loss is better without.

    Examples
    --------
    >>> from tinygrad_mha.nn import analysis
    >>> analysis.ablation_importance(lambda g: 5 - g[0] - 3 * g[1], 2).tolist()
    [1.0, 3.0]
    """
    gates = np.ones(num_heads, dtype)
    whole = float(loss(Tensor(gates.copy())))
    found = np.empty(num_heads)
    for i in np.ndindex(found.shape):
        without = gates.copy()
        without[i] = 0
        found[i] = float(loss(Tensor(without))) - whole
    return found


# -- a table --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Summary:
    """One row per head.

    Attributes
    ----------
    columns : dict of str to ndarray
        ``(h,)`` each, under the name of what it says.
    """

    columns: dict[str, np.ndarray]

    @property
    def num_heads(self) -> int:
        """How many rows there are."""
        return len(next(iter(self.columns.values())))

    def rows(self) -> list[dict[str, float]]:
        """Return a dict per head."""
        return [
            {name: float(column[i]) for name, column in self.columns.items()}
            for i in range(self.num_heads)
        ]

    def _cells(self) -> list[list[str]]:
        head = ["head", *self.columns]
        body = [[str(i), *(f"{v:.3f}" for v in r.values())] for i, r in enumerate(self.rows())]
        return [head, *body]

    def text(self) -> str:
        """Lay it out for a terminal."""
        cells = self._cells()
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        return "\n".join(
            "  ".join(c.rjust(w) for c, w in zip(row, widths, strict=True)) for row in cells
        )

    def html(self) -> str:
        """Lay it out as an HTML table."""
        head, *body = self._cells()
        lines = ["<tr>" + "".join(f"<th>{escape(c)}</th>" for c in head) + "</tr>"]
        lines += ["<tr>" + "".join(f"<td>{escape(c)}</td>" for c in row) + "</tr>" for row in body]
        return '<table class="heads">\n' + "\n".join(lines) + "\n</table>"

    _repr_html_ = html

    def __str__(self) -> str:
        return self.text()


def summary(weights: Any, **more: Any) -> Summary:
    """Measure every head.

    Parameters
    ----------
    weights : Tensor or array
        ``(N, h, L, S)`` or ``(h, L, S)``.
    **more : array_like
        Further columns ``(h,)``, for example ``importance=…``.

    Returns
    -------
    Summary
        With ``.text()``, ``.html()``, ``.rows()`` and ``.columns``.

    Raises
    ------
    ValueError
        A further column is not of shape ``(h,)``.

    Examples
    --------
    >>> import numpy as np
    >>> from tinygrad_mha.nn import analysis
    >>> heads = np.stack([np.eye(4), np.full((4, 4), 0.25)])
    >>> print(analysis.summary(heads).text())
    head  entropy  distance   self  previous  first  largest
       0    0.000     0.000  1.000     0.000  0.000    1.000
       1    2.000     1.250  0.250     0.250  0.250    0.250
    """
    w = _weights(weights, "summary")
    columns = {
        "entropy": entropy(w),
        "distance": distance(w),
        "self": share_on_self(w),
        "previous": share_on_previous(w),
        "first": share_on_first(w),
        "largest": _mean(w.max(-1, initial=0.0), w),
    }
    for name, values in more.items():
        column = np.asarray(plain(values), np.float64)
        if column.shape != (w.shape[1],):
            raise ValueError(f"summary: {name} has shape {column.shape}, expected ({w.shape[1]},)")
        columns[name] = column
    return Summary(columns)


# -- pictures -------------------------------------------------------------------------------


def plot_weights(weights: Any, tokens: list[str] | None = None, *, item: int = 0) -> Any:
    """Draw every head's weights as a map, with matplotlib (the extra ``plots``).

    Parameters
    ----------
    weights : Tensor or array
        ``(N, h, L, S)`` or ``(h, L, S)``.
    tokens : list of str, optional
        Labels of the keys; of the queries too, where there are as many.
    item : int, default 0
        Which batch item.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        There are fewer tokens than keys.
    ImportError
        matplotlib is not installed.
    """
    w = _weights(weights, "plot_weights")[item]
    if tokens is not None and len(tokens) < w.shape[-1]:
        raise ValueError(
            f"plot_weights: there are {len(tokens)} tokens for {w.shape[-1]} keys, in weights of "
            f"shape {w.shape}"
        )
    figure, axes = _subplots(len(w))
    for i, axis in enumerate(axes):
        axis.imshow(w[i], vmin=0, vmax=1, cmap="viridis")
        axis.set_title(f"head {i}")
        if tokens is not None:
            axis.set_xticks(range(w.shape[-1]), tokens[: w.shape[-1]], rotation=90)
            if w.shape[-2] == w.shape[-1]:
                axis.set_yticks(range(w.shape[-2]), tokens[: w.shape[-2]])
    return figure


def plot_similarity(weights: Any) -> Any:
    """Draw how alike the heads attend, with matplotlib (the extra ``plots``).

    Parameters
    ----------
    weights : Tensor or array
        ``(N, h, L, S)`` or ``(h, L, S)``.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ImportError
        matplotlib is not installed.
    """
    figure, (axis,) = _subplots(1)
    image = axis.imshow(similarity(weights), vmin=0, vmax=1, cmap="magma")
    axis.set_xlabel("head")
    axis.set_ylabel("head")
    figure.colorbar(image)
    return figure


def _subplots(count: int) -> tuple[Any, Any]:
    try:
        # not pyplot, which keeps every figure and looks for a screen
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("plots need matplotlib: pip install 'tinygrad-mha[plots]'") from error
    figure = Figure(figsize=(3 * count, 3), layout="constrained")
    return figure, np.atleast_1d(figure.subplots(1, count)).tolist()
