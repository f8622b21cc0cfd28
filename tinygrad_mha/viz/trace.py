"""From a tensor to the plain data of :mod:`.data`."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..engine import Frame, Node, Step, Tensor, enable_grad
from .data import CONSTANT, LEAF, Attention, BackwardStep, Edge, Module, Saved, Trace, Vertex
from .graph import Graph
from .lanes import attention
from .measure import norm, summary
from .one_by_one import Group, grouped, joined, share_out
from .part import short_path
from .regions import Region, by_head, head_axes, parameter_blocks, regions
from .replay import Replay, ancestors, replay
from .shares import Shares, shares, through_reshapes
from .unfold import results, thawed, unfold
from .unseen import carried_over, unseen


def trace(
    output: Tensor | Sequence[Tensor] | Callable[..., Any],
    model: Any = None,
    tokens: Sequence[str] | None = None,
    *,
    gradient: Tensor | Sequence[Tensor | None] | None = None,
    batch: int = 0,
    elements: int = 64,
    record_time: bool = False,
    title: str = "",
) -> Graph:
    """Record what tensors were computed from.

    The graph is run again, forward and, from a single number or with a `gradient`, backward;
    so values and gradients are there also when the engine has freed them. If parameters
    have changed since, what is recorded is what the graph computes now. Fused operations are
    run as the steps that they stand for, so that each head's weights are there.

    Parameters
    ----------
    output : Tensor, sequence of Tensor, or Module
        The result; the whole graph behind it is recorded. To see gradients, a loss. A module
        is called first, with what stands in the place of `model` as its input: a tensor, or
        a tuple of all its inputs, or a dict of them by name; it is recorded whole then, also
        under ``no_grad()`` and where parameters are frozen.
    model : Module, optional
        Gives parameters and modules their names.
    tokens : sequence of str, optional
        What stands at each position, to label the attention maps: of queries, of keys, or of
        both, where there are as many.
    gradient : Tensor or sequence of Tensor or None, optional
        Gradient at `output`, or one for each; 1 where it has one element. Without one,
        gradients are "not computed".
    batch : int, default 0
        Which batch item's attention is shown; the numbers beside it are means of all.
    elements : int, default 64
        Values with up to so many elements are recorded whole, larger ones in summary.
    record_time : bool, default False
        Measure how long each operation takes, forward and backward: the fastest of three
        runs of the graph. Such a trace is not the same twice.
    title : str, optional
        Over the picture; by default the model's class.

    Returns
    -------
    Graph

    Raises
    ------
    TypeError
        `output` is not a tensor, a sequence of tensors, or a module with its inputs.
    ValueError
        `output` has no graph: nothing it was made of requires a gradient. Or a gradient has
        another shape than its output, or there are not as many. Or `model` has no part in the
        graph; or there are as many `tokens` as neither an attention nor an input has positions;
        or an attention has no batch item `batch`.

    Notes
    -----
    In code heads count from 0, as ``W_q[0]``; pictures and tables label them from 1, as the
    formula does: ``graph.heads[0].lanes[0]`` is "head 1".

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> mha = tm.nn.MultiHeadAttention(8, 2)
    >>> graph = tm.viz.trace(mha(tm.randn(1, 3, 8)).sum(), model=mha, tokens=["a", "b", "c"])
    >>> len(graph.heads), graph.heads[0].proof.holds
    (1, True)
    >>> len(tm.viz.trace(mha, tm.randn(1, 3, 8)).heads)  # or the module and its input
    1
    """
    if callable(output) and not isinstance(output, Tensor):
        output, model = _call(output, model), output
    outputs = list(_tensors(output))
    seeds = _seeds(outputs, gradient)
    stands_for: dict[Node, Node] = {}

    held = _held(outputs)

    def recorder(what: list[Tensor]) -> _Recorder:
        replayed = _timed(what, seeds) if record_time else replay(what, seeds)
        made = _Recorder(replayed, model, list(tokens or []), batch, elements)
        made.held = held
        return made

    with _uncollected():
        steps = unfold(outputs, stands_for)
        unfolded = recorder(steps)
        unfolded.stands_for = stands_for
        unfolded.find_heads()
        unfolded.unseen = unseen(unfolded.replayed)
        unfolded.check()
        data = unfolded.record(steps, title)
        if any(a is not b for a, b in zip(steps, outputs, strict=True)):
            ran = recorder(outputs)
            ran.axes |= results(stands_for, unfolded.axes)
            ran.unseen = carried_over(unfolded.unseen, ran.replayed.nodes)
            data.fused = ran.record(outputs, title)
        return Graph(data, steps)


def _held(outputs: Sequence[Tensor]) -> set[int]:
    """Tensors and arrays that a graph has held since it was made, by ``id``."""
    sources = [source for node in ancestors(outputs) for source in node.inputs]
    bases = [source.base for source in sources if isinstance(source, np.ndarray)]
    return {id(one) for one in (*sources, *bases) if isinstance(one, Tensor | np.ndarray)}


def _timed(outputs: Sequence[Tensor], seeds: Sequence[np.ndarray | None]) -> Replay:
    """Run it several times, of which the first may compile and any may be interrupted."""
    best = replay(outputs, seeds, record_time=True)
    for _ in range(2):
        again = replay(outputs, seeds, record_time=True)
        for node, seconds in best.seconds.items():
            again.seconds[node] = min(again.seconds[node], seconds)
        again.step_seconds = list(map(min, again.step_seconds, best.step_seconds))
        best = again
    return best


@contextmanager
def _uncollected() -> Iterator[None]:
    """Make many objects without the collector looking through all of them again and again."""
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()


def _call(model: Callable[..., Any], inputs: Any) -> list[Tensor]:
    """Run a module, on the record in all its parts; of what it returns, what has a graph."""
    if inputs is None:
        raise TypeError(
            f"trace: output is a {type(model).__name__}: give its input after it, "
            "trace(model, x), or trace what it returns, trace(model(x), model)"
        )
    # what needs no gradient is not in a graph, nor are its heads
    frozen = model.parameters() if hasattr(model, "parameters") else ()
    with enable_grad(), thawed(frozen):
        if isinstance(inputs, dict):
            found = model(**inputs)
        else:
            found = model(*(inputs if isinstance(inputs, tuple) else (inputs,)))
    tensors: list[Tensor] = []
    waiting = [found]
    while waiting:
        one = waiting.pop()
        if isinstance(one, Tensor):
            tensors.append(one)
        elif isinstance(one, dict):
            waiting.extend(reversed(one.values()))
        elif isinstance(one, tuple | list):
            waiting.extend(reversed(one))
    return [tensor for tensor in tensors if tensor.grad_fn is not None] or tensors


def _tensors(output: Any) -> Sequence[Tensor]:
    """Check what was given to be traced."""
    outputs = [output] if isinstance(output, Tensor) else output
    if not isinstance(outputs, list | tuple) or not outputs:
        raise TypeError(
            f"trace: output is a {type(output).__name__}, expected a Tensor, a sequence of "
            "them, or a module followed by its input"
        )
    for i, one in enumerate(outputs):
        name = "output" if outputs[0] is output else f"output[{i}]"
        if not isinstance(one, Tensor):
            raise TypeError(f"trace: {name} is a {type(one).__name__}, expected a Tensor")
        if one.grad_fn is None:
            raise ValueError(
                f"trace: {name} has no graph: nothing it was made of requires a gradient, or it "
                "was made under no_grad(); trace(model, x) calls the model on the record, "
                "whatever is frozen"
            )
    return outputs


def _seeds(outputs: Sequence[Tensor], gradient: Any) -> list[np.ndarray | None]:
    """Where a backward pass starts, and with what."""
    given = [gradient] if gradient is None or isinstance(gradient, Tensor) else list(gradient)
    if gradient is None:
        given *= len(outputs)
    if len(given) != len(outputs):
        raise ValueError(f"trace: {len(given)} gradients for {len(outputs)} outputs")
    seeds: list[np.ndarray | None] = []
    for output, seed in zip(outputs, given, strict=True):
        if seed is not None:
            if seed.shape != output.shape:
                raise ValueError(
                    f"trace: gradient has shape {seed.shape}, its output {output.shape}"
                )
            seeds.append(np.asarray(seed.data, output.dtype))
        elif output.data.size == 1 and output.is_floating_point():
            seeds.append(np.ones(output.shape, output.dtype))
        else:
            seeds.append(None)
    return seeds


class _Recorder:
    """Turns a replayed graph into data, giving out numbers as it goes."""

    def __init__(
        self, replayed: Replay, model: Any, tokens: list[str], batch: int, elements: int
    ) -> None:
        self.replayed, self.tokens, self.batch, self.elements = replayed, tokens, batch, elements
        self.model = model
        self.stands_for: dict[Node, Node] = {}  # for a step of a fused operation, that one
        self.paths: dict[int, str] = {}
        self.names: dict[int, str] = {}
        if model is not None:
            self.paths = {id(module._scope): path for path, module in model.named_modules()}
            self.names = {id(p): name for name, p in model.named_parameters()}
            self.names |= {id(b.data): name for name, b in model.named_buffers()}
        self.held: set[int] = set()  # what the graph has kept alive since it was made
        self.given: dict[int, dict[int, str]] = {}  # by the outermost call around an operation
        self.modules: list[Module] = []
        self.frames: dict[int, int] = {}
        self.vertices: list[Vertex] = []
        self.edges: list[Edge] = []
        self.numbers: dict[Any, int] = {}  # node, or id of a leaf or constant, to vertex
        self.axes = head_axes(replayed)
        self.flows: dict[tuple[Node, int], float] = {}  # norms, by who sent them and to which input
        self.head_flows: dict[tuple[Node, int], list[float] | None] = {}
        self.regions: list[Region] = []
        self.shares: list[Shares] = []
        self.unseen: set[Any] = set()  # by softmaxes: nodes, and leaves by ``id``

    def find_heads(self) -> None:
        """Look for attentions, so that they are recorded lane by lane."""
        self.regions = regions(self.replayed, self.axes)
        self.shares = [shares(region, self.axes, self.replayed) for region in self.regions]

    def record(self, outputs: Sequence[Tensor], title: str) -> Trace:
        self._flows()
        for node in self.replayed.nodes:
            self._node(node)
        found = [
            self._attention(group, i)
            for i, group in enumerate(grouped(self.regions, self.replayed))
        ]
        kind = type(self.model).__name__ if self.model is not None else "computation"
        return Trace(
            title=title or kind,
            tokens=self.tokens,
            modules=self.modules,
            vertices=self.vertices,
            edges=self.edges,
            attentions=found,
            steps=[self._step(i, step) for i, step in enumerate(self.replayed.steps)],
            outputs=[self.numbers[output.grad_fn] for output in outputs],
        )

    def _flows(self) -> None:
        """Norms of all that flowed back, and of the heads' parts of it."""
        blocks = parameter_blocks(self.regions, self.axes)
        for (node, i), gradient in self.replayed.flows.items():
            self.flows[node, i] = norm(gradient)
            self.head_flows[node, i] = by_head(node, i, gradient, self.axes, blocks)
        for found in self.shares:
            self.head_flows |= found.edges
        through_reshapes(self.replayed.nodes, self.replayed.users, self.head_flows)

    def check(self) -> None:
        """Refuse a model and tokens that are of another computation than this one."""
        here = self.regions
        if self.model is not None and not self._took_part():
            raise ValueError(
                f"trace: no operation of this graph ran inside model, a "
                f"{type(self.model).__name__}, nor used its parameters; give the module that "
                "computed output, or none"
            )
        lengths = {length for region in here for length in region.lengths}
        lengths |= {region.lengths[0] + (region.offset or 0) for region in here}
        inputs = {length for node in self.replayed.nodes for length in self._positions(node)}
        if self.tokens and len(self.tokens) not in lengths | inputs:
            known = [f"{name} = {one.lengths[i]}" for one in here for i, name in enumerate("LS")]
            there = (
                f"its attention has {', '.join(dict.fromkeys(known))}"
                if known
                else f"its inputs have {', '.join(map(str, sorted(inputs))) or 'none'}"
            )
            raise ValueError(
                f"trace: {len(self.tokens)} tokens, but nothing in this graph has so many "
                f"positions: {there}"
            )

    def _positions(self, node: Node) -> Iterator[int]:
        """How many tokens its inputs can have: numbers along the last axis, vectors before it."""
        for source in node.inputs:
            if isinstance(source, Tensor | np.ndarray) and id(source) not in self.names:
                vectors = len(source.shape) > 1 and source.dtype.kind == "f"
                yield from source.shape[-2:-1] if vectors else source.shape[-1:]

    def _took_part(self) -> bool:
        frames = [node.frame for node in self.replayed.nodes]
        while frames:
            if any(f is not None and id(f.scope) in self.paths for f in frames):
                return True
            frames = list({id(f.outer): f.outer for f in frames if f is not None}.values())
        return any(number in self.names for number in self.replayed.leaves)

    # -- vertices -------------------------------------------------------------------------

    def _node(self, node: Node) -> None:
        slots = [node.op.input_names[0 if node.op.variadic else i] for i in range(len(node.inputs))]
        sources = [
            self._source(source, slot, node.frame)
            for source, slot in zip(node.inputs, slots, strict=True)
        ]
        value = self.replayed.values[node].data
        incoming = self.replayed.incoming.get(node)
        number = len(self.vertices)
        self.numbers[node] = number
        axis = self.axes.get(node)
        self.vertices.append(
            Vertex(
                id=number,
                kind="op",
                name=node.op.name,
                symbol=node.op.symbol,
                formula=node.op.formula,
                module=self._module(node.frame),
                shape=node.shape,
                dtype=str(node.dtype),
                options={
                    name: _short(value)
                    for name, value in zip(node.op.param_names, node.params, strict=True)
                },
                written=node.op.source,
                made=node.origin,
                heads=None if axis is None else (axis, node.shape[axis]),
                value=summary(value),
                gradient=None if incoming is None else summary(np.asarray(incoming)),
                elements=self._whole(value),
                gradient_elements=None if incoming is None else self._whole(np.asarray(incoming)),
                bytes=value.nbytes,
                saved=[
                    Saved(name, array.shape, array.nbytes)
                    for name, array in self.replayed.saved[node]
                ],
                freed=self.stands_for.get(node, node).saved is None,
                unseen=incoming is not None and node in self.unseen,
                seconds=self.replayed.seconds.get(node),
            )
        )
        for i, (source, slot) in enumerate(zip(sources, slots, strict=True)):
            if source is not None:
                rule = node.op.rules.get(slot)
                text = rule.text if rule else ""
                flows = self.flows.get((node, i)), self.head_flows.get((node, i))
                self.edges.append(Edge(source, number, slot, text, *flows))

    def _source(self, source: Any, slot: str, frame: Frame | None) -> int | None:
        """Number of the vertex of an input; leaves and constants get theirs when first met."""
        if not isinstance(source, Node | Tensor | np.ndarray | np.generic | bool | int | float):
            return None  # nothing, or an argument of a user's function that is no number
        if isinstance(source, Node):
            return self.numbers[source]
        if id(source) in self.numbers:
            return self.numbers[id(source)]
        leaf = isinstance(source, Tensor)
        array = source.data if isinstance(source, Tensor) else source
        scalar = not isinstance(array, np.ndarray)
        gradient = None
        if leaf:
            mine = self.replayed.leaves[id(source)].grad
            gradient = None if mine is None else mine.data
        argument = None if scalar else self._argument(source, frame)
        kind = "parameter" if leaf and argument is None else "constant" if scalar else "input"
        number = len(self.vertices)
        if not scalar:  # a number in the code is a new constant wherever it stands
            self.numbers[id(source)] = number
        self.vertices.append(
            Vertex(
                id=number,
                kind=kind,
                name=argument
                or self.names.get(id(source))
                or (LEAF if leaf else _short(array) if scalar else self._slot(slot, frame)),
                symbol="",
                formula="",
                module=None,
                shape=np.shape(array),
                dtype=str(array.dtype) if isinstance(array, np.ndarray) else type(array).__name__,
                value=summary(np.asarray(array)),
                gradient=None if gradient is None else summary(gradient),
                elements=self._whole(np.asarray(array)),
                gradient_elements=None if gradient is None else self._whole(gradient),
                bytes=np.asarray(array).nbytes if isinstance(array, np.ndarray) else 0,
                unseen=gradient is not None and id(source) in self.unseen,
            )
        )
        return number

    def _argument(self, source: Any, frame: Frame | None) -> str | None:
        """What the module that a person called names it, if it was given to that."""
        if frame is None or id(source) in self.names:
            return None
        while frame.outer is not None:
            frame = frame.outer
        if id(frame) not in self.given:
            self.given[id(frame)] = {} if frame.given is None else frame.given.names()
        known = self.given[id(frame)]
        base = source.base if isinstance(source, np.ndarray) else None
        ids = [id(one) for one in (source, base) if id(one) in self.held]  # it, or it is a view
        return next((known[one] for one in ids if one in known), None)

    def _slot(self, slot: str, frame: Frame | None) -> str:
        """Name an array that has none: what the operation calls it, and where that ran."""
        if len(slot) > 1 or frame is None:
            return slot
        path = self.paths.get(id(frame.scope), "")
        of = CONSTANT if slot in ("a", "b") else f"{slot} of "  # which of two says nothing
        return of + (short_path(path) or frame.scope.kind)

    def _whole(self, array: np.ndarray) -> list[float] | None:
        if array.size > self.elements:
            return None
        return np.asarray(array, np.float64).reshape(-1).tolist()

    def _module(self, frame: Frame | None) -> int | None:
        """Number of the module call, and of all around it, given out from the outside in."""
        chain = []
        while frame is not None and id(frame) not in self.frames:
            chain.append(frame)
            frame = frame.outer
        parent = None if frame is None else self.frames[id(frame)]
        for inner in reversed(chain):
            path = self.paths.get(id(inner.scope), inner.scope.kind)
            number = len(self.modules)
            self.modules.append(Module(number, path, inner.scope.kind, parent))
            self.frames[id(inner)] = number
            parent = number
        return parent

    # -- attention and backward -------------------------------------------------------------

    def _attention(self, group: Group, number: int) -> Attention:
        """Measure the heads of an attention, and say which vertices the lanes stand for."""
        parts = []
        for region in group.regions:
            mine = self.shares[self.regions.index(region)]
            given = self.tokens, self.batch, self.names, mine
            parts.append(self._place(attention(region, self.axes, self.replayed, *given), region))
        found = parts[0]
        if group.sums:
            found = joined(group, parts, self.replayed)
            share_out(self.edges, found)
            own = {vertex for part in parts for vertex in part.vertices}
            found.vertices = sorted(own | {self.numbers[node] for node in group.sums})
            found.output = self.numbers[group.output]
        found.id = number
        return found

    def _place(self, found: Attention, region: Region) -> Attention:
        """Say which vertices a region's lanes stand for."""
        inner = [*region.splits, *region.inside, region.merge]
        begins: list[Node] = []
        for split, source in zip(region.splits, region.origins, strict=True):
            begins.append(split if source is None else source.projection)
            inner += [] if source is None else [source.projection, *source.between]
        inner += [region.combine] if region.combine else []
        found.vertices = sorted({self.numbers[node] for node in inner})
        found.sources = [self._number(node.inputs[0]) for node in begins]
        found.output = self.numbers[region.output]
        found.module = self._module(region.merge.frame)
        return found

    def _number(self, source: Any) -> int:
        return self.numbers[source if isinstance(source, Node) else id(source)]

    def _step(self, turn: int, step: Step) -> BackwardStep:
        node = self.replayed.original[step.node]
        flows = []
        for i, flow in zip(step.node.wanted, step.flows, strict=True):
            flows.append(
                (
                    self._number(node.inputs[i]),
                    flow.input,
                    flow.rule.text if flow.rule else "",
                    self.flows[node, i],
                    flow.accumulated,
                )
            )
        return BackwardStep(
            self.numbers[node],
            norm(step.incoming),
            flows,
            tuple(node.op.saved_names) if step.freed else (),
            self.replayed.step_seconds[turn] if self.replayed.step_seconds else None,
        )


def _short(value: Any) -> str:
    text = repr(value) if not isinstance(value, np.ndarray) else f"array{value.shape}"
    return text if len(text) <= 40 else text[:39] + "…"
