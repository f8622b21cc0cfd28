"""A graph is a program: run it again, to have every value and every gradient.

The engine keeps only what backward needs, and frees that. But a graph still holds
its leaves, its constants and its operations, so all the rest can be computed anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..engine import Node, Step, Tensor, enable_grad, steps


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
    """

    nodes: list[Node]
    values: dict[Node, Tensor]
    leaves: dict[int, Tensor]
    steps: list[Step]
    incoming: dict[Node, np.ndarray]
    original: dict[Node, Node]

    def value(self, source: Any) -> Any:
        """Return the array behind an entry of ``Node.inputs``."""
        if isinstance(source, Node):
            return self.values[source].data
        return source.data if isinstance(source, Tensor) else source


def ancestors(output: Tensor) -> list[Node]:
    """All nodes that a tensor depends on, inputs first."""
    seen: set[Node] = set()
    stack = [output.grad_fn] if output.grad_fn is not None else []
    while stack:
        node = stack.pop()
        if node not in seen:
            seen.add(node)
            stack.extend(p for p in node.inputs if isinstance(p, Node))
    return sorted(seen, key=lambda node: node.sequence)


def call(node: Node, inputs: list[Any]) -> Any:
    """Run a node's operation on other inputs."""
    op = node.op
    if op.variadic:
        return op(*inputs, **dict(zip(op.param_names, node.params, strict=True)))
    return op(*inputs, *node.params)


def replay(output: Tensor, seed: np.ndarray | None) -> Replay:
    """Run the graph of `output` again; and backward, where a `seed` gradient is given."""
    nodes = ancestors(output)
    values: dict[Node, Tensor] = {}
    leaves: dict[int, Tensor] = {}
    original: dict[Node, Node] = {}
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
            values[node] = call(node, inputs)
            made = values[node].grad_fn
            assert made is not None
            original[made] = node
    walked: list[Step] = []
    if seed is not None and output.grad_fn is not None:
        walked = list(steps(values[output.grad_fn], Tensor(seed)))
    incoming = {original[step.node]: step.incoming for step in walked}
    return Replay(nodes, values, leaves, walked, incoming, original)
