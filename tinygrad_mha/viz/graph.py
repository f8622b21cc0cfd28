"""A traced computation, to be drawn, saved and asked."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from ..engine import Tensor
from .data import Attention, Trace
from .picture import PICTURES, Options, Picture, check_options

if TYPE_CHECKING:
    from .ablate import Ablations
    from .diff import Diff

FORMATS = (*PICTURES, "html", "json", "txt")


class Graph:
    """What :func:`tinygrad_mha.viz.trace` returns.

    Parameters
    ----------
    data : Trace
        The computation as plain data, fused operations in the steps that they stand for.
    source : sequence of Tensor, optional
        The traced outputs, in such steps. Their graph can be run again, which :meth:`ablate` does.
    within : (Graph, list of int), optional
        The graph that this one is a part of, and where its heads stand there.

    Attributes
    ----------
    data : Trace
    fused : Trace
        The same with the fused operations as they ran; `data` itself where there are none.
    source : sequence of Tensor or None
    heads : list of Attention
        Every multi-head attention, each with its lanes and their proof.
    """

    def __init__(
        self,
        data: Trace,
        source: Sequence[Tensor] | None = None,
        within: tuple[Graph, list[int]] | None = None,
    ) -> None:
        self.data, self.source, self.within = data, source, within

    @property
    def fused(self) -> Trace:
        """The computation as it ran, with fused operations as one each."""
        return self.data.fused or self.data

    @property
    def heads(self) -> list[Attention]:
        """Every multi-head attention, each with its lanes and their proof."""
        return self.data.attentions

    def to_dot(self, **options: Unpack[Options]) -> str:
        """Write the picture in Graphviz's language.

        Parameters
        ----------
        heads : {"lanes", "fused"}
            A lane for every head; or the operations that ran, with the heads as one axis.
        theme : {"light", "dark", "print"}
            Colours; the last for paper.
        direction : {"forward", "backward", "both"}
            Which way the arrows go. Gradients are coloured by the logarithm of their norm;
            those that are not a number, vanish or explode are marked.
        depth : int, optional
            How many modules inside each other are open; 0 draws the model as one box. By
            default those around attention are, and like layers in a row are drawn once.
        module : str, optional
            Draw this module only, by its dotted name: ``"blocks.0"``.
        head : int, optional
            Draw this head only, counted from 0; 1 is the one that is labelled "head 2".
        size : {"slide", "page", "column"} or (float, float), optional
            Width and height in inches to fit into. As much is drawn as can be read there: letters
            have at least 6 points on paper, 7.2 on a slide (10 inches or more). Lanes become
            narrow, then fewer; then modules are boxes in rows, over the lanes of one attention.
            What was folded is said in the picture.

        Returns
        -------
        str

        Raises
        ------
        ValueError
            An option has another value than these, no such module or head is there, or nothing
            of it could be read in the size.
        TypeError
            There is no such option.
        """
        from .dot import draw, part_of
        from .render import fitted

        check_options("to_dot", options)
        picture = Picture(**options, cells=True)
        shown = part_of(self._drawn(picture), picture)
        return draw(shown, fitted(shown, picture))

    def to_svg(self, **options: Unpack[Options]) -> str:
        """Draw it as SVG text; the arguments are those of :meth:`to_dot`."""
        from .render import render

        check_options("to_svg", options)
        picture = Picture(**options)
        return render(self._drawn(picture), picture, "svg").decode()

    def _drawn(self, picture: Picture) -> Trace:
        """With fused operations in the steps that they stand for, or as they ran."""
        return self.fused if picture.heads == "fused" else self.data

    def part(self, module: str) -> Graph:
        """Cut out one module, by its dotted name; what it was given become inputs.

        Parameters
        ----------
        module : str
            For example ``"blocks.0"``.

        Returns
        -------
        Graph

        Raises
        ------
        ValueError
            No module of that name ran.

        Examples
        --------
        >>> import tinygrad_mha as tm
        >>> gpt = tm.nn.GPT(5, 4, embed_dim=8, num_heads=2, num_layers=2)
        >>> graph = tm.viz.trace(gpt, tm.tensor([[1, 2, 3]]))
        >>> len(graph.heads), len(graph.part("blocks.1").heads)
        (2, 1)
        """
        from .part import heads_in, part

        return Graph(part(self.data, module), within=(self, heads_in(self.data, module)))

    def to_json(self) -> str:
        """Write the trace as JSON; the same trace gives the same bytes."""
        return self.data.to_json()

    @classmethod
    def from_json(cls, text: str) -> Graph:
        """Build a graph from what :meth:`to_json` wrote; see :func:`tinygrad_mha.viz.load`."""
        from .reading import read

        return cls(read(text))

    def to_html(self, theme: str = "system", heads: str = "lanes") -> str:
        """Build the interactive page: one file, which opens offline.

        Parameters
        ----------
        theme : {"system", "light", "dark"}
            In which colours it opens; whoever reads it can change them there.
        heads : {"lanes", "fused"}
            With which graph it opens: every head by itself, or the operations that ran. The
            page has a switch for that too.

        Raises
        ------
        ValueError
            `theme` or `heads` is another.
        """
        from .html import page

        return page(self.data, theme, heads)

    def save(self, path: str | os.PathLike[str], **options: Unpack[Options]) -> Path:
        """Write a picture, a page, a table or the data, as the suffix says.

        Parameters
        ----------
        path : path
            Ends in .svg, .png, .pdf, .dot, .html, .json or .txt. The file appears whole or
            not at all.
        **options
            Of pictures (.svg, .png, .pdf, .dot) those of :meth:`to_dot`, where ``head``
            counts from 0 and draws the head that is labelled one more; of .html the
            ``theme`` and ``heads`` of :meth:`to_html`. The others have none.

        Returns
        -------
        Path

        Raises
        ------
        ValueError
            Another suffix, or an option that this kind of file has not.
        TypeError
            There is no such option.
        FileNotFoundError
            The folder does not exist.
        RuntimeError
            No program is there that could draw the format; the message names what to install.

        Examples
        --------
        >>> import tempfile, tinygrad_mha as tm
        >>> x = tm.tensor([1.0, 2.0], requires_grad=True)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     tm.viz.trace((x * x).sum()).save(folder + "/square.svg").name
        'square.svg'
        """
        from .render import render

        path = Path(path)
        kind = path.suffix.lstrip(".").lower()
        if kind not in FORMATS:
            raise ValueError(
                f"save: {path.name!r} ends in none of " + ", ".join("." + name for name in FORMATS)
            )
        check_options("save", options, kind)
        check_folder(path)
        if kind == "json":
            content = self.to_json()
        elif kind == "html":
            content = self.to_html(options.get("theme", "system"), options.get("heads", "lanes"))
        elif kind == "txt":
            content = self.table(whole=True) + "\n"
        elif kind == "dot":
            content = self.to_dot(**options)
        else:
            picture = Picture(**options)
            write_whole(path, render(self._drawn(picture), picture, kind))
            return path
        write_whole(path, content.encode())
        return path

    def ablate(self, layer: int | str | None = None, head: int | None = None) -> Ablations:
        """Take heads away, one at a time, and run what depends on them again.

        A head's part of what is merged is set to 0, as a gate of 0 does
        (``MultiHeadAttention``'s ``head_mask``); then everything downstream is computed anew.
        What dropout dropped in the traced run is dropped again, so that all differences are
        the head's. Of a :meth:`part`, the whole model is run, and it is its loss that changes.
        The changes in the loss also become part of the trace (``Lane.ablation``).

        Parameters
        ----------
        layer : int or str, optional
            Position in :attr:`heads`, or path of the module, for example
            ``"blocks.0.attention"``; by default each.
        head : int, optional
            Counts from 0, and is labelled one more in pictures and tables; by default each.

        Returns
        -------
        Ablations
            A sequence with a row for each head taken away, which prints as a table.

        Raises
        ------
        ValueError
            The graph has no heads, no layer of this name, or was not made by ``trace`` but
            loaded; or the parameters have changed since.
        IndexError
            There is no such layer or head.

        Examples
        --------
        >>> import tinygrad_mha as tm
        >>> mha = tm.nn.MultiHeadAttention(8, 2)
        >>> mha.W_o.data[:, :4] = 0  # nobody hears head 0
        >>> graph = tm.viz.trace(mha(tm.randn(1, 3, 8)).sum(), model=mha)
        >>> graph.ablate(0, 0)[0].change
        0.0
        >>> graph.ablate(0, 1)[0].change == graph.heads[0].lanes[1].ablation != 0.0
        True
        """
        from .ablate import ablate

        whole, places = self, list(range(len(self.heads)))
        while whole.within is not None:  # of a part, all that it is a part of is run
            whole, there = whole.within
            places = [there[i] for i in places]
        if whole.source is None:
            raise ValueError(
                "ablate: this graph is data alone, as one that was loaded is, and cannot be run "
                "again; load the model's weights, call it, and trace what it returns"
            )
        return ablate(self.data, whole.data, whole.source, places, layer, head)

    def diff(
        self,
        other: Graph,
        *,
        names: tuple[str, str] = ("before", "after"),
        tolerance: float = 1e-6,
    ) -> Diff:
        """Compare with another graph: two steps of a training, a head on and off, two models.

        Parameters
        ----------
        other : Graph
            What became of this one. Operations are matched by where they stand: module,
            operation, position; parameters by name.
        names : (str, str), default ("before", "after")
            What the two are called in pictures and tables.
        tolerance : float, default 1e-6
            Relative distance up to which two arrays are the same.

        Returns
        -------
        Diff
            Prints as a table; ``.save("d.svg")`` and the like draw it.

        Raises
        ------
        TypeError
            `other` is not a graph.
        ValueError
            The two have nothing in common.

        Examples
        --------
        >>> import tinygrad_mha as tm
        >>> mha, x = tm.nn.MultiHeadAttention(8, 2), tm.randn(1, 3, 8)
        >>> whole = tm.viz.trace(mha(x).sum(), model=mha)
        >>> half = tm.viz.trace(mha(x, head_mask=[1.0, 0.0]).sum(), model=mha)
        >>> diff = whole.diff(half, names=("both heads", "head 1 alone"))
        >>> [change.name for change in diff.changes if change.state == "added"]
        ['constant of MultiHeadAttention', 'mul']
        """
        from .diff import diff

        return diff(self, other, names, tolerance)

    def table(self, *, whole: bool = False) -> str:
        """Write the computation as text, a line for each operation, inputs first.

        Parameters
        ----------
        whole : bool, default False
            Do not cut lines where the terminal ends, if one reads it.

        Returns
        -------
        str
        """
        from .table import table

        return table(self.data, whole=whole)

    def _repr_svg_(self) -> str | None:
        """Picture for notebooks; None where nothing can draw it, and the page is shown alone."""
        try:
            return self.to_svg()
        except RuntimeError:
            return None

    def _repr_html_(self) -> str:
        """Interactive page in a frame of its own, which notebooks prefer."""
        from .notebook import framed

        return framed(self.to_html(), self.data.title, [self._counted()], self._repr_svg_())

    def _counted(self) -> str:
        ops = sum(v.kind == "op" for v in self.data.vertices)
        return f"{ops} operations, {sum(len(a.lanes) for a in self.heads)} heads"

    def __repr__(self) -> str:
        return f"<Graph of {self.data.title}: {self._counted()}>"


def check_folder(path: Path) -> None:
    """A file is made under another name first; say what is wrong with the one that was given."""
    if not path.parent.is_dir():
        raise FileNotFoundError(
            errno.ENOENT, f"the folder {str(path.parent)!r} does not exist", str(path)
        )


def write_whole(path: Path, content: bytes) -> None:
    """Write a file that appears whole or not at all."""
    check_folder(path)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:100]}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        mask = os.umask(0o022)
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)  # mkstemp's files are private
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
