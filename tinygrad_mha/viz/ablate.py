"""Ablation: run the recorded graph again without a head, and see what becomes of the output.

A graph is a program (:mod:`.replay`), so no code of the model is needed: everything downstream
of a ``merge_heads`` is computed once more, with that head's part of what is merged set to 0.
This is what a gate of 0 does in :class:`~tinygrad_mha.nn.MultiHeadAttention`, for any module
that splits and merges heads.
"""

from __future__ import annotations

import html
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np

from ..engine import Node, Tensor, no_grad
from .data import Trace
from .measure import summary
from .one_by_one import grouped
from .regions import head_axes, regions
from .replay import call, replay
from .table import aligned
from .text import visible


@dataclass(frozen=True)
class Ablation:
    """What a computation is without one head.

    Attributes
    ----------
    attention : int
        Position in ``graph.heads``.
    layer : str
        Path of the module in which the heads are merged.
    head : int
        Index, from 0; in pictures and tables it is "head" index + 1.
    whole, without : float or None
        The traced output with all heads and without this one, the first that is one number;
        None where there is no such.
    moved : float
        How far the traced output moves: ‖without − whole‖ / ‖whole‖; of several, together.
    outputs : tuple of ndarray
        The traced outputs without the head.
    """

    attention: int
    layer: str
    head: int
    whole: float | None
    without: float | None
    moved: float
    outputs: tuple[np.ndarray, ...]

    @property
    def output(self) -> np.ndarray:
        """The first of the outputs without the head, or the only one."""
        return self.outputs[0]

    @property
    def change(self) -> float | None:
        """Without − whole: above 0 where the loss rises; None where the output is no number."""
        return None if self.whole is None or self.without is None else self.without - self.whole

    def __str__(self) -> str:
        where = f"{visible(self.layer) or 'attention'}, head {self.head + 1} (index {self.head})"
        if self.change is None:
            return f"{where}: the output moves by {self.moved:.1%} of its norm"
        return f"{where}: {self.whole:.6g} → {self.without:.6g} ({self.change:+.3g})"


class Ablations(Sequence[Ablation]):
    """Several ablations, one head each; prints as a table.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> mha = tm.nn.MultiHeadAttention(8, 2)
    >>> graph = tm.viz.trace((mha(tm.randn(1, 3, 8)) ** 2).mean(), model=mha)
    >>> len(graph.ablate()), graph.ablate().most_needed().head in (0, 1)
    (2, True)
    """

    def __init__(self, rows: Sequence[Ablation]) -> None:
        self._rows = list(rows)

    @overload
    def __getitem__(self, index: int) -> Ablation: ...
    @overload
    def __getitem__(self, index: slice) -> Ablations: ...
    def __getitem__(self, index: Any) -> Any:
        """One row, or some of them."""
        found = self._rows[index]
        return Ablations(found) if isinstance(found, list) else found

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Ablation]:
        return iter(self._rows)

    def most_needed(self) -> Ablation:
        """The head without which the output is worst: by change, or by how far it moves."""
        return max(self, key=lambda row: row.moved if row.change is None else row.change)

    def _cells(self) -> list[tuple[str, ...]]:
        titles = ("module", "head", "index", "output", "without", "change", "moved")
        rows: list[tuple[str, ...]] = [
            (
                visible(row.layer) or "attention",
                str(row.head + 1),
                str(row.head),
                "" if row.whole is None else f"{row.whole:.6g}",
                "" if row.without is None else f"{row.without:.6g}",
                "" if row.change is None else f"{row.change:+.3g}",
                f"{row.moved:.2%}",
            )
            for row in self
        ]
        return [titles, *rows]

    def text(self) -> str:
        """Lay it out for a terminal."""
        return "\n".join(aligned(self._cells()))

    def html(self) -> str:
        """Lay it out as an HTML table."""
        titles, *rows = self._cells()
        lines = ["<tr>" + "".join(f"<th>{html.escape(c)}</th>" for c in titles) + "</tr>"]
        lines += [
            "<tr>" + "".join(f"<td>{html.escape(c)}</td>" for c in row) + "</tr>" for row in rows
        ]
        return '<table class="ablations">\n' + "\n".join(lines) + "\n</table>"

    _repr_html_ = html

    def __str__(self) -> str:
        return self.text()

    __repr__ = __str__


def ablate(
    data: Trace,
    whole: Trace,
    source: Sequence[Tensor],
    places: Sequence[int],
    layer: int | str | None = None,
    head: int | None = None,
) -> Ablations:
    """Take heads away, one at a time; the figures go into the trace's lanes too.

    Parameters
    ----------
    data : Trace
        Whose heads are taken away: all that was recorded, or a part of it.
    whole : Trace
        What was recorded of `source`.
    source : sequence of Tensor
        The traced outputs, with their graph.
    places : sequence of int
        For each attention of `data`, its position in `whole`.
    layer, head
        As in :meth:`Graph.ablate`.

    Returns
    -------
    Ablations

    Raises
    ------
    ValueError, IndexError
        See :meth:`Graph.ablate`.
    """
    chosen = _attentions(data, layer)
    replayed = replay(source, [None] * len(source))
    nodes = replayed.nodes
    values: dict[Node, Tensor] = {node: value.detach() for node, value in replayed.values.items()}
    before = _outputs(source, values)
    _unchanged(whole, before)
    every = grouped(regions(replayed, head_axes(replayed)), replayed)
    number = next((i for i, one in enumerate(before) if one.size == 1), None)
    rows = []
    for position in chosen:
        attention = data.attentions[position]
        for lane in _lanes(attention.lanes, head, position):
            merge, place = every[places[position]].merge(lane.head)
            without = _outputs(source, _without(nodes, values, merge, place))
            row = Ablation(
                position,
                "" if attention.module is None else data.modules[attention.module].path,
                lane.head,
                None if number is None else before[number].item(),
                None if number is None else without[number].item(),
                _norm([a - b for a, b in zip(without, before, strict=True)])
                / (_norm(before) or 1.0),
                without,
            )
            lane.ablation = row.change
            rows.append(row)
    return Ablations(rows)


def _attentions(data: Trace, layer: int | str | None) -> list[int]:
    """Positions in ``data.attentions`` that a layer's number or path means."""
    count = len(data.attentions)
    if count == 0:
        raise ValueError("ablate: this graph has no heads: nothing in it merges any")
    if layer is None:
        return list(range(count))
    if isinstance(layer, str):
        paths = [None if a.module is None else data.modules[a.module].path for a in data.attentions]
        found = [i for i, path in enumerate(paths) if path == layer]
        if not found:
            named = [repr(path) for path in dict.fromkeys(paths) if path]
            raise ValueError(
                f"ablate: layer is {layer!r}; "
                + (f"there are {', '.join(named)}" if named else "the heads here have no path")
                + f"; a number from 0 to {count - 1} is a position in graph.heads"
            )
        return found
    if not -count <= layer < count:
        raise IndexError(f"ablate: layer is {layer}, but the graph has {count} with heads")
    return [layer % count]


def _lanes(lanes: list[Any], head: int | None, layer: int) -> list[Any]:
    if head is None:
        return lanes
    if not -len(lanes) <= head < len(lanes):
        raise IndexError(f"ablate: head is {head}, but layer {layer} has {len(lanes)} heads")
    return [lanes[head]]


def _outputs(source: Sequence[Tensor], values: dict[Node, Tensor]) -> tuple[np.ndarray, ...]:
    return tuple(
        output.data if output.grad_fn is None else values[output.grad_fn].data for output in source
    )


def _norm(arrays: Sequence[np.ndarray]) -> float:
    return math.hypot(*(float(np.linalg.norm(array)) for array in arrays))


def _unchanged(data: Trace, whole: Sequence[np.ndarray]) -> None:
    """The graph must still compute what was recorded: its parameters may have been trained on."""
    for vertex, array in zip(data.outputs, whole, strict=True):
        then, now = data.vertices[vertex].value, summary(array)
        if then is None or not np.allclose(
            [then.norm or 0.0, then.mean or 0.0], [now.norm or 0.0, now.mean or 0.0], 1e-5, 1e-7
        ):
            raise ValueError(
                "ablate: the graph computes something else than when it was traced, because its "
                "parameters have changed since; run the model and trace it again"
            )


def _without(
    nodes: list[Node], values: dict[Node, Tensor], merge: Node, head: int
) -> dict[Node, Tensor]:
    """All values with one head's part of a merge at 0; what does not depend on it stays."""
    heads = values[merge.inputs[0]].data.copy()  # (..., h, T, p)
    heads[..., head, :, :] = 0
    with no_grad():
        new = {**values, merge: call(merge, [Tensor(heads)])}
        touched = {merge}
        for node in nodes:
            if node is not merge and any(s in touched for s in node.inputs if isinstance(s, Node)):
                inputs = [new[s] if isinstance(s, Node) else s for s in node.inputs]
                new[node] = call(node, inputs)
                touched.add(node)
    return new
