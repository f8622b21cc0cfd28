"""Two graphs side by side: what came, what went, and what changed its value.

Both are plain data (:mod:`.data`), so steps of a training, a head on and off, a fused and a
formula's computation, and two models are all compared alike.
"""

from __future__ import annotations

import json
import math
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .data import Summary, Trace, Vertex, finite
from .diff_heads import heads
from .match import calls, match

if TYPE_CHECKING:
    from .diff_heads import HeadChange
    from .graph import Graph
    from .picture import Size

FORMATS = ("svg", "png", "pdf", "dot", "html", "txt", "json")

#: What float32 rounds away of the largest array is no change in a smaller one.
ROUNDING = 1e-7


@dataclass(frozen=True)
class Difference:
    """What became of one array.

    Attributes
    ----------
    before, after : float or None
        Norms; None where there are no finite elements.
    distance : float
        ‖after − before‖; if not `exact`, a lower bound, from what the summaries differ by.
    exact : bool
        Whether both traces have the elements (``trace(..., elements=...)``).
    """

    before: float | None
    after: float | None
    distance: float
    exact: bool

    @property
    def relative(self) -> float:
        """Distance as a part of the larger norm; nan where a not-a-number came or went."""
        scale = max(self.before or 0.0, self.after or 0.0)
        return self.distance / scale if scale else (0.0 if self.distance == 0.0 else math.inf)

    @property
    def growth(self) -> float | None:
        """Change of the norm, as a part of that before; None where that was 0."""
        return (self.after or 0.0) / self.before - 1 if self.before else None


@dataclass(frozen=True)
class Change:
    """One vertex, in both traces or in one.

    Attributes
    ----------
    state : {"same", "changed", "reshaped", "added", "removed"}
    before, after : int or None
        Vertex ids.
    kind, name : str
        Of the vertex.
    module : str
        Path of the module call in which it ran.
    value, gradient : Difference or None
        None: in one of the traces it is missing, not computed, or of another shape.
    """

    state: str
    before: int | None
    after: int | None
    kind: str
    name: str
    module: str
    value: Difference | None
    gradient: Difference | None


@dataclass(frozen=True)
class ModuleChange:
    """What leaves one module call, however it was computed.

    Attributes
    ----------
    path : str
        Of the call.
    value, gradient : Difference or None
        Of its last operation; None: not computed.
    """

    path: str
    value: Difference | None
    gradient: Difference | None


class Diff:
    """What :meth:`Graph.diff` returns.

    Parameters
    ----------
    before, after : Trace
    names : (str, str)
        What the two are called.
    tolerance : float
        Relative distance up to which two arrays are the same.

    Attributes
    ----------
    changes : list of Change
        Every vertex of either graph.
    modules : list of ModuleChange
        Every module call that both have, with outputs of one shape.
    heads : list of HeadChange
        Every head of either graph. Where one computes its heads one by one, as a
        ``MultiHeadAttention`` with ``method="formula"`` does, its maps are those of the
        softmaxes, if the trace has their elements.

    Raises
    ------
    ValueError
        The two have nothing in common.
    """

    def __init__(
        self, before: Trace, after: Trace, names: tuple[str, str], tolerance: float
    ) -> None:
        self.before, self.after, self.names, self.tolerance = before, after, names, tolerance
        self._largest = {
            what: max((_norm(v, what) for t in (before, after) for v in t.vertices), default=0.0)
            for what in ("value", "gradient")
        }
        pairs = match(before, after)
        if not any(i is not None and j is not None for i, j in pairs):
            raise ValueError(
                f"diff: {before.title!r} and {after.title!r} have nothing in common: no module, "
                "operation or parameter of one stands in the other; compare runs of one model, or "
                "of models whose modules have the same names, and give trace() the model"
            )
        paths = calls(before), calls(after)
        self.changes = [self._change(i, j, paths) for i, j in pairs]
        self.modules = self._modules(paths)
        self.heads: list[HeadChange] = heads(before, after)

    def _modules(self, paths: tuple[list[str], list[str]]) -> list[ModuleChange]:
        last = [
            _last(data, names) for data, names in zip((self.before, self.after), paths, strict=True)
        ]
        return [
            ModuleChange(path, *self._both(last[0][path], last[1][path]))
            for path in last[1]
            if path in last[0] and last[0][path].shape == last[1][path].shape
        ]

    def _both(self, old: Vertex, new: Vertex) -> tuple[Difference | None, Difference | None]:
        if old.shape != new.shape:
            return None, None
        return (
            _difference(old, new, "value", "elements"),
            _difference(old, new, "gradient", "gradient_elements"),
        )

    def is_same(self, difference: Difference | None, what: str) -> bool:
        """Whether two arrays differ by no more than the tolerance, or than rounding."""
        if difference is None:
            return True
        rounding = ROUNDING * self._largest[what]
        return difference.relative <= self.tolerance or difference.distance <= rounding

    def _change(self, i: int | None, j: int | None, paths: tuple[list[str], list[str]]) -> Change:
        old = None if i is None else self.before.vertices[i]
        new = None if j is None else self.after.vertices[j]
        known = new or old
        assert known is not None
        path = "" if known.module is None else paths[new is not None][known.module]
        about = (i, j, known.kind, known.name, path)
        if old is None or new is None:
            return Change("removed" if new is None else "added", *about, None, None)
        if old.shape != new.shape:
            return Change("reshaped", *about, None, None)
        value, gradient = self._both(old, new)
        same = self.is_same(value, "value") and self.is_same(gradient, "gradient")
        same = same and (old.gradient is None) == (new.gradient is None)
        return Change("same" if same else "changed", *about, value, gradient)

    def count(self, state: str) -> int:
        """How many operations and leaves are in a state."""
        return sum(change.state == state for change in self.changes)

    @property
    def same(self) -> bool:
        """Whether nothing came, went or changed beyond the tolerance."""
        return all(change.state == "same" for change in self.changes)

    # -- forms --------------------------------------------------------------------------------

    def table(self) -> str:
        """Write it as text: what changed, and every head before and after."""
        from .diff_table import text

        return text(self)

    def to_dot(self, *, theme: str = "light", size: Size = None) -> str:
        """Write the picture in Graphviz's language.

        Parameters
        ----------
        theme : {"light", "dark", "print"}
            Colours; the last for paper.
        size : {"slide", "page", "column"} or (float, float), optional
            Width and height in inches to fit into, as of :meth:`Graph.to_dot`. As much is drawn
            as can be read there: of more heads and modules those that changed most, which the
            picture says.

        Raises
        ------
        ValueError
            There is no such theme or size, or not one head could be read in it.
        """
        from .diff_fitting import fitted
        from .diff_picture import draw
        from .picture import Picture

        picture = Picture(theme=theme, size=size, cells=True)
        return draw(self, picture, fitted(self, picture))

    def to_svg(self, *, theme: str = "light", size: Size = None) -> str:
        """Draw it as SVG text; the arguments are those of :meth:`to_dot`."""
        from .diff_fitting import fitted
        from .diff_picture import draw
        from .finish import finish
        from .maps import Stencils
        from .picture import Picture
        from .render import layout

        picture = Picture(theme=theme, size=size)
        stencils = Stencils(picture.colours)
        svg = layout(draw(self, picture, fitted(self, picture), stencils), "svg").decode()
        return finish(svg, self.after, picture, stencils, "Difference of two graphs")

    def to_html(self, theme: str = "system") -> str:
        """Build a page of the picture and the tables: one file, which opens offline.

        Parameters
        ----------
        theme : {"system", "light", "dark"}
            Its colours; by default those of whoever reads it.

        Raises
        ------
        ValueError
            `theme` is another.
        """
        from .diff_table import page

        return page(self, theme)

    def to_json(self) -> str:
        """Write it as JSON; the same graphs give the same bytes."""
        kept = ("layer", "head", "delta", "moved")
        every = [
            {**{name: getattr(head, name) for name in kept}, "measures": head.measures()}
            for head in self.heads
        ]
        content = {
            "version": 1,
            "names": self.names,
            "titles": (self.before.title, self.after.title),
            "tolerance": self.tolerance,
            "changes": [asdict(change) for change in self.changes],
            "modules": [asdict(change) for change in self.modules],
            "heads": every,
        }
        return json.dumps(finite(content), ensure_ascii=True, separators=(",", ":"))

    def save(
        self, path: str | os.PathLike[str], *, theme: str | None = None, size: Size = None
    ) -> Path:
        """Write a picture, a page, a table or the data, as the suffix says.

        Parameters
        ----------
        path : path
            Ends in .svg, .png, .pdf, .dot, .html, .txt or .json. The file appears whole or not
            at all.
        theme : {"light", "dark", "print"}
            Of a picture (.svg, .png, .pdf, .dot), by default light; of a page (.html) light or
            dark, by default as whoever reads it has it.
        size : {"slide", "page", "column"} or (float, float), optional
            Of a picture, width and height in inches to fit into; see :meth:`to_dot`.

        Returns
        -------
        Path

        Raises
        ------
        ValueError
            Another suffix, an unknown theme or size, or one that this kind of file has not.
        FileNotFoundError
            The folder does not exist.
        RuntimeError
            No program is there that could draw the format; the message names what to install.
        """
        from .graph import check_folder, write_whole
        from .picture import check_options
        from .render import written

        path = Path(path)
        kind = path.suffix.lstrip(".").lower()
        if kind not in FORMATS:
            raise ValueError(
                f"save: {path.name!r} ends in none of " + ", ".join("." + name for name in FORMATS)
            )
        given = {"theme": theme, "size": size}
        check_options("save", {name: it for name, it in given.items() if it is not None}, kind)
        check_folder(path)
        page, theme = theme or "system", theme or "light"
        if kind in ("svg", "png", "pdf"):
            content = written(
                kind,
                lambda: self.to_svg(theme=theme, size=size),
                lambda: self.to_dot(theme=theme, size=size),
            )
        elif kind == "dot":
            content = self.to_dot(theme=theme, size=size).encode()
        elif kind == "html":
            content = self.to_html(page).encode()
        else:
            content = (self.to_json() if kind == "json" else self.table() + "\n").encode()
        write_whole(path, content)
        return path

    def _repr_svg_(self) -> str | None:
        """Picture for notebooks; None where nothing can draw it, and the page is shown alone."""
        try:
            return self.to_svg()
        except RuntimeError:
            return None

    def _repr_html_(self) -> str:
        """Page of the picture and the tables in a frame of its own, which notebooks prefer."""
        from .diff_table import facts
        from .notebook import framed

        title = f"{self.names[0]} → {self.names[1]}"
        return framed(self.to_html(), title, facts(self), self._repr_svg_())

    def __str__(self) -> str:
        return self.table()

    def __repr__(self) -> str:
        words = [
            f"{self.count(s)} {s}" for s in ("same", "changed", "reshaped", "added", "removed")
        ]
        return f"<Diff of {self.names[0]} and {self.names[1]}: {', '.join(words)}>"


def diff(before: Graph, after: Graph, names: tuple[str, str], tolerance: float) -> Diff:
    """Compare two graphs; see :meth:`Graph.diff`."""
    from .graph import Graph

    if not isinstance(after, Graph):
        raise TypeError(
            f"diff: other is a {type(after).__name__}, expected a Graph, as viz.trace returns it"
        )
    if not 0.0 <= tolerance < 1.0:
        raise ValueError(f"diff: tolerance is {tolerance}, expected a small relative number, ≥ 0")
    return Diff(before.data, after.data, names, tolerance)


# -- arrays -----------------------------------------------------------------------------------


def _difference(old: Vertex, new: Vertex, what: str, elements: str) -> Difference | None:
    """Compare one array of a vertex: element by element where both have them."""
    a, b = getattr(old, what), getattr(new, what)
    if a is None or b is None:
        return None
    if (a.nans, a.infinities) != (b.nans, b.infinities):
        return Difference(a.norm, b.norm, math.nan, True)
    mine, other = getattr(old, elements), getattr(new, elements)
    if mine is not None and other is not None and not (a.nans or a.infinities):
        distance = float(np.linalg.norm(np.subtract(other, mine))) if mine else 0.0
        return Difference(a.norm, b.norm, distance, True)
    return Difference(a.norm, b.norm, _at_least(a, b, math.prod(old.shape)), False)


def _at_least(a: Summary, b: Summary, size: int) -> float:
    """How far apart two arrays are at the least, if this is all that is known of them."""

    def apart(x: float | None, y: float | None) -> float:
        return abs((x or 0.0) - (y or 0.0))

    # reverse triangle inequality, for the arrays, their means and what is left without them
    return max(
        apart(a.norm, b.norm),
        math.sqrt(size) * math.hypot(apart(a.mean, b.mean), apart(a.std, b.std)),
        apart(a.low, b.low),
        apart(a.high, b.high),
    )


def _norm(vertex: Vertex, what: str) -> float:
    summary: Summary | None = getattr(vertex, what)
    return 0.0 if summary is None else summary.norm or 0.0


def _last(data: Trace, paths: list[str]) -> dict[str, Vertex]:
    """The last operation of each module call, those inside it included."""
    found: dict[int, Vertex] = {}
    for v in data.vertices:
        module = v.module if v.kind == "op" else None
        while module is not None:
            found[module] = v
            module = data.modules[module].parent
    for attention in data.attentions:
        if attention.module is not None:
            found[attention.module] = data.vertices[attention.output]
    return {paths[module]: found[module] for module in sorted(found)}
