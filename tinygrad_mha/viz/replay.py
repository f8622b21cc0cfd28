"""A graph is a program: run it again, to have every value and every gradient.

The engine keeps only what backward needs, and frees that. But a graph still holds
its leaves, its constants and its operations, so all the rest can be computed anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from time import perf_counter
from typing import Any

import numpy as np

from ..engine import Node, Step, Tensor, enable_grad, steps
from ..engine.function import FunctionOp


@dataclass
class Replay:
    """A graph that has been run again.

    Attributes
    ----------
    nodes : list of Node
        Of the original graph, inputs first.
    values : dict of Node to Tensor
        What each computes, in a graph of its own.
    leaves : dict of int to Tensor
        For each leaf of the original, by ``id``, the one that stands for it here.
    steps : list of Step
        The backward pass, over the new graph; empty where none was wanted.
    incoming : dict of Node to ndarray
        The gradient at each original node, where it was computed.
    original : dict of Node to Node
        From the new graph's nodes to those they repeat.
    saved : dict of Node to list of (str, ndarray)
        The arrays that each original node keeps for backward, or kept until it was freed.
    seconds : dict of Node to float
        How long each original node's operation took this time; empty unless asked for.
    step_seconds : list of float
        The same for each of `steps`.
    seeds : dict of Node to ndarray
        Where the backward pass began, and with what.
    """

    nodes: list[Node]
    values: dict[Node, Tensor]
    leaves: dict[int, Tensor]
    steps: list[Step]
    incoming: dict[Node, np.ndarray]
    original: dict[Node, Node]
    saved: dict[Node, list[tuple[str, np.ndarray]]]
    seconds: dict[Node, float]
    step_seconds: list[float]
    seeds: dict[Node, np.ndarray]

    @cached_property
    def users(self) -> dict[Node, list[Node]]:
        """Who uses each original node's value, once for each input that it is."""
        found: dict[Node, list[Node]] = {}
        for node in self.nodes:
            for source in node.inputs:
                if isinstance(source, Node):
                    found.setdefault(source, []).append(node)
        return found

    @cached_property
    def flows(self) -> dict[tuple[Node, int], np.ndarray]:
        """What flowed back from each original node to each of its inputs that wanted it."""
        return {
            (self.original[step.node], which): np.asarray(flow.gradient)
            for step in self.steps
            for which, flow in zip(step.node.wanted, step.flows, strict=True)
        }

    def value(self, source: Any) -> Any:
        """Return the array behind an entry of ``Node.inputs``."""
        if isinstance(source, Node):
            return self.values[source].data
        return source.data if isinstance(source, Tensor) else source


def ancestors(outputs: Sequence[Tensor]) -> list[Node]:
    """All nodes that tensors depend on, inputs first."""
    seen: set[Node] = set()
    stack = [output.grad_fn for output in outputs if output.grad_fn is not None]
    while stack:
        node = stack.pop()
        if node not in seen:
            seen.add(node)
            stack.extend(p for p in node.inputs if isinstance(p, Node))
    return sorted(seen, key=lambda node: node.sequence)


def call(node: Node, inputs: list[Any], params: tuple[Any, ...] | None = None) -> Any:
    """Run a node's operation on other inputs, and other arguments if they are given."""
    op, params = node.op, node.params if params is None else params
    if op.variadic:
        return op(*inputs, **dict(zip(op.param_names, params, strict=True)))
    return op(*inputs, *params)


def replay(
    outputs: Sequence[Tensor], seeds: Sequence[np.ndarray | None], record_time: bool = False
) -> Replay:
    """Run the graph of `outputs` again; and backward from those with a `seeds` gradient."""
    nodes = ancestors(outputs)
    values: dict[Node, Tensor] = {}
    leaves: dict[int, Tensor] = {}
    original: dict[Node, Node] = {}
    saved: dict[Node, list[tuple[str, np.ndarray]]] = {}
    seconds: dict[Node, float] = {}
    with enable_grad():
        for node in nodes:
            inputs = []
            for source in node.inputs:
                if isinstance(source, Node):
                    inputs.append(values[source])
                elif isinstance(source, Tensor):
                    if id(source) not in leaves:
                        leaves[id(source)] = Tensor(source.data, True)
                    inputs.append(leaves[id(source)])
                else:
                    inputs.append(source)
            begin = perf_counter()
            values[node] = call(node, inputs)
            if record_time:
                seconds[node] = perf_counter() - begin
            made = values[node].grad_fn
            assert made is not None
            original[made] = node
            saved[node] = _arrays(made)
    walked: list[Step] = []
    step_seconds: list[float] = []
    roots = [
        (values[output.grad_fn], Tensor(seed))
        for output, seed in zip(outputs, seeds, strict=True)
        if seed is not None and output.grad_fn is not None
    ]
    if roots:
        begin = perf_counter()
        for step in steps([root for root, _ in roots], [seed for _, seed in roots]):
            if record_time:
                step_seconds.append(perf_counter() - begin)
            walked.append(step)
            begin = perf_counter()
    incoming = {original[step.node]: step.incoming for step in walked}
    begun: dict[Node, np.ndarray] = {}
    for output, seed in zip(outputs, seeds, strict=True):
        if seed is not None and output.grad_fn is not None:
            begun[output.grad_fn] = begun.get(output.grad_fn, 0) + seed  # may be given twice
    return Replay(
        nodes, values, leaves, walked, incoming, original, saved, seconds, step_seconds, begun
    )


def _arrays(node: Node) -> list[tuple[str, np.ndarray]]:
    """Those of a node's saved values that take memory, by name."""
    if isinstance(node.op, FunctionOp):  # what the user's own forward handed to its context
        kept = node.op.needed(node.wanted, node.saved or ())
        return [("saved_tensors", array) for array in kept]
    found = []
    for name, value in zip(node.op.saved_names, node.saved or (), strict=False):
        several = value if isinstance(value, tuple | list) else (value,)
        found += [(name, array) for array in several if isinstance(array, np.ndarray)]
    return found
