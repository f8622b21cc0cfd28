"""The trace as plain data: what was computed, with nothing of the engine left in it.

Every picture is drawn from this and from nothing else. :meth:`Trace.to_json` is its
documented form (``schema.json`` beside this file is its JSON Schema); ``version`` counts up
when a field is added, changes its meaning or goes.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field, is_dataclass
from typing import Any

#: Of the JSON form.
VERSION = 5

#: How the name of an array begins that a module made itself.
CONSTANT = "constant of "

#: Name of a tensor that wants a gradient and is no parameter of the model.
LEAF = "leaf"


@dataclass
class Summary:
    """An array in a few numbers.

    Attributes
    ----------
    mean, std, low, high : float or None
        None where there are no finite elements.
    norm : float or None
        Root of the sum of squares.
    nans, infinities : int
        How many elements are neither.
    """

    mean: float | None
    std: float | None
    low: float | None
    high: float | None
    norm: float | None
    nans: int = 0
    infinities: int = 0


@dataclass
class Module:
    """One call of one module.

    Attributes
    ----------
    id : int
        Position in ``Trace.modules``.
    path : str
        Dotted name in the model, for example ``blocks.0.attention``.
    kind : str
        Class name.
    parent : int or None
        The call around it.
    """

    id: int
    path: str
    kind: str
    parent: int | None


@dataclass
class Saved:
    """An array that an operation keeps for its gradient rules.

    Attributes
    ----------
    name : str
        What the rules call it: an input, ``out``, or what the forward computed on the way.
    shape : tuple of int
        Of the array.
    bytes : int
        Of its numbers. The memory may be shared: with the value it is, or with another
        operation that saved the same one.
    """

    name: str
    shape: tuple[int, ...]
    bytes: int


@dataclass
class Vertex:
    """An operation, a parameter, an input or a constant.

    Attributes
    ----------
    id : int
        Position in ``Trace.vertices``: inputs before what is made of them.
    kind : {"op", "parameter", "input", "constant"}
        A parameter is a leaf that wants a gradient. An input is what a module was called with,
        whether it wants one or not, or any array that does not.
    name : str
        Of the operation; of the parameter or buffer in the model; of an input, what the module
        that a person called names it, "key, value" where it was given as both. An array of no
        name is called as the operation calls it, "x of inner", or "constant of positions".
    symbol, formula : str
        For an operation, from its definition.
    module : int or None
        The module call in which it ran.
    shape, dtype
        Of its value.
    options : dict of str to str
        The operation's other arguments.
    written, made : (str, int) or None
        File and line of the operation's definition; of the user's line that ran it, where
        origins were recorded.
    heads : (int, int) or None
        Which axis of the value is the heads', and how many there are.
    value, gradient : Summary or None
        None: not computed.
    elements, gradient_elements : list of float or None
        The numbers themselves, in row order, where there are few enough.
    bytes : int
        Of the value's numbers.
    saved : list of Saved
        For an operation, the arrays it keeps for backward; empty where it keeps none.
    freed : bool
        Whether a backward pass had let them go when the trace was taken.
    seconds : float or None
        How long the operation took when it was run again for the trace, at its fastest; None:
        not recorded.
    unseen : bool
        Whether the gradient is zero but for rounding because a softmax does not see the value: the
        bias of the keys raises all scores of a query alike.
    """

    id: int
    kind: str
    name: str
    symbol: str
    formula: str
    module: int | None
    shape: tuple[int, ...]
    dtype: str
    options: dict[str, str] = field(default_factory=dict)
    written: tuple[str, int] | None = None
    made: tuple[str, int] | None = None
    heads: tuple[int, int] | None = None
    value: Summary | None = None
    gradient: Summary | None = None
    elements: list[float] | None = None
    gradient_elements: list[float] | None = None
    bytes: int = 0
    saved: list[Saved] = field(default_factory=list)
    freed: bool = False
    seconds: float | None = None
    unseen: bool = False


@dataclass
class Edge:
    """A value's way into an operation; ``x · x`` has two.

    Attributes
    ----------
    source, target : int
        Vertex ids.
    slot : str
        Which input of the target.
    rule : str
        The gradient rule of that input, as mathematics.
    gradient : float or None
        Norm of what flowed back; None: not computed.
    head_gradients : list of float or None
        Of each head's part of it, where the value has heads, or is what a projection of the heads
        reads, or a parameter of one; None: it is of no head, or not computed.
    """

    source: int
    target: int
    slot: str
    rule: str
    gradient: float | None = None
    head_gradients: list[float] | None = None


@dataclass
class BackwardStep:
    """One node's turn in the backward pass.

    Attributes
    ----------
    vertex : int
        Whose turn it is.
    incoming : float
        Norm of what came in.
    flows : list of (int, str, str, float, bool)
        To which vertex, by which input, by which rule, with what norm, and whether it met
        another contribution there (+=).
    freed : tuple of str
        Names of the saved values that were let go.
    seconds : float or None
        How long its rules took; None: not recorded.
    """

    vertex: int
    incoming: float
    flows: list[tuple[int, str, str, float, bool]]
    freed: tuple[str, ...]
    seconds: float | None = None


@dataclass
class Lane:
    """One head, from its projections to its share of the output.

    Attributes
    ----------
    head : int
        Counts from 0.
    weights : list of list of float
        ``(L, S)`` of one batch item, averaged over squares where it is too large to show.
    rows, columns : list of str
        Labels of the queries and of the keys; the queries of a cached call are the last keys.
    visible : list of list of bool
        Where attention was allowed.
    entropy : float or None
        Of the weights, in bits, mean over the queries; None: there is no softmax.
    peak, to_self, to_previous, to_first : float or None
        Largest weight, and share of attention on the query's own position, on the one before
        and on the first; means over the queries. None where there is no softmax; own position
        and the one before also where the keys are another sequence's.
    contribution : float
        Norm of W_o[:, i-th block] hᵢ.
    gradient : float or None
        Norm of the loss's gradient with respect to hᵢ; None: not computed.
    blocks : list of int
        For each projection, which block of its columns is this head's, counted from 0; heads
        that share keys and values have the same.
    projected, staged : list of float or None
        As `gradient`, for what each of the region's projections, and each of its stages, gives this
        head; in the order of ``Attention.projections`` and ``stages``.
    sourced : list of float or None
        Norm of this head's part of the gradient of each value that the projections read,
        dqᵢ · Wᵢ^(q) + dkᵢ · Wᵢ^(k) + dvᵢ · Wᵢ^(v) where one is read by all three; in the order of
        ``Attention.sources``, without repeats. None: not computed.
    vertices : list of int
        What computes this head and no other, or few others, where each is computed by itself; empty
        where all are one computation with an axis of heads.
    ablation : float or None
        By how much the traced loss rises without the head, in a run of its own; None: not
        asked for, see :meth:`Graph.ablate`.
    """

    head: int
    weights: list[list[float]]
    rows: list[str]
    columns: list[str]
    visible: list[list[bool]]
    entropy: float | None
    peak: float | None
    to_self: float | None
    to_previous: float | None
    to_first: float | None
    contribution: float
    gradient: float | None
    blocks: list[int]
    projected: list[float | None]
    staged: list[float | None]
    sourced: list[float | None]
    vertices: list[int] = field(default_factory=list)
    ablation: float | None = None


@dataclass
class Proof:
    """That the lanes are the computation.

    Attributes
    ----------
    output : float
        Largest difference between the sum of the lanes, each computed alone, and the
        real output, relative to the output's largest element.
    gradient : float or None
        The same for the gradients of the lanes' inputs and weights; None: not computed.
    tolerance : float
        Up to which it holds.
    """

    output: float
    gradient: float | None
    tolerance: float

    @property
    def holds(self) -> bool:
        """Whether both are within the tolerance; nan is not."""
        return self.output <= self.tolerance and (
            self.gradient is None or self.gradient <= self.tolerance
        )

    @property
    def checkable(self) -> bool:
        """Whether it could be looked into: what is not finite differs from everything."""
        both = [self.output, self.gradient or 0.0]
        wrong = any(math.isfinite(x) and x > self.tolerance for x in both)
        return wrong or all(map(math.isfinite, both))

    def words(self) -> str:
        """Say it in a line."""
        if not self.checkable:
            return "Σ lanes = output cannot be checked: not finite"
        gradients = "not computed" if self.gradient is None else _size(self.gradient)
        says = "Σ lanes = output" if self.holds else "THE LANES DO NOT ADD UP"
        return f"{says} (largest difference {_size(self.output)}, of the gradients {gradients})"


@dataclass
class Attention:
    """One multi-head region: what lies between splitting into heads and merging them.

    Attributes
    ----------
    id : int
        Position in ``Trace.attentions``.
    module : int or None
        The module call in which the heads are merged.
    vertices : list of int
        What the lanes are drawn instead of.
    sources : list of int
        For each projection, the vertex whose value it projects.
    output : int
        Vertex whose value the lanes add up to.
    projections : list of str
        What each head begins with: names of the projections, in order.
    stages : list of str
        Symbols of the operations between, in order.
    weighted : int or None
        Position in `stages` of what makes the weights; None: nothing does.
    pooling : str
        Class of the module in which the weights are made; empty where there is none.
    combined : str
        Name of the output projection; empty where the heads are only concatenated.
    lanes : list of Lane
        One per head.
    proof : Proof
        That the lanes add up.
    pooled : int
        How many neighbours share a cell of the weights; 1: none.
    item, items : int
        Which batch item the lanes' weights are of, counted from 0, and how many there are, of
        which their measures are means; 0 of 0 where there are no weights.
    """

    id: int
    module: int | None
    vertices: list[int]
    sources: list[int]
    output: int
    projections: list[str]
    stages: list[str]
    weighted: int | None
    pooling: str
    combined: str
    lanes: list[Lane]
    proof: Proof
    pooled: int
    item: int
    items: int


@dataclass
class Trace:
    """A computation, whole.

    Attributes
    ----------
    title : str
        Over the picture.
    tokens : list of str
        Labels of the positions, where they were given.
    modules : list of Module
        Calls, those around others before them.
    vertices : list of Vertex
        Inputs before what is made of them.
    edges : list of Edge
        By target, and there in the order of the inputs.
    attentions : list of Attention
        Every region with heads.
    steps : list of BackwardStep
        In the engine's order; empty where no gradient was computed.
    outputs : list of int
        Vertex ids, in the order in which the tensors were given.
    fused : Trace or None
        The same computation as it ran, where operations ran that do the work of several: those
        stand in `vertices` as the steps that they are made of. The heads are an axis there, and
        have no lanes. None: nothing was fused, what ran is what stands here.
    """

    title: str
    tokens: list[str]
    modules: list[Module]
    vertices: list[Vertex]
    edges: list[Edge]
    attentions: list[Attention]
    steps: list[BackwardStep]
    outputs: list[int]
    fused: Trace | None = None
    version: int = VERSION

    def to_json(self) -> str:
        """Write it as JSON; the same trace gives the same bytes."""
        try:  # mostly every number is finite, and looking at each takes longer than writing them
            return _write(self)
        except ValueError:
            return _write(finite(self))


def _size(difference: float) -> str:
    return f"{difference:.0e}" if difference else "0"


def _write(value: Any) -> str:
    return json.dumps(
        value, ensure_ascii=True, separators=(",", ":"), allow_nan=False, default=vars
    )


def finite(value: Any) -> Any:
    """JSON has no nan and no infinity: they become strings, so that they are seen."""
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if is_dataclass(value):
        value = vars(value)
    if isinstance(value, dict):
        return {k: finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [finite(v) for v in value]
    return value
