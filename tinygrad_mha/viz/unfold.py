"""What is fused, in steps: the graph that a picture shows.

A fused operation gives the same numbers as the steps that it says it stands for, faster and
without the values in between. A picture wants just these values. So the graph is run once
more with the steps in place of every fused operation, and that graph is traced: all that is
drawn has been computed, its gradients too. What a checkpoint hides until backward runs it
again is run again here.

Operations of one module call may stand for steps that they share: an attention and its
weights. These are drawn once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np

from ..engine import REGISTRY, Node, Tensor, enable_grad
from ..engine.function import FunctionOp
from ..engine.modes import thread
from .replay import ancestors, call

#: Nodes by operation, module call, and the nodes and tensors that went in.
_Made = dict[tuple[str, Any, tuple[int, ...]], list[Node]]

T = TypeVar("T")


def unfold(outputs: Sequence[Tensor], stands_for: dict[Node, Node] | None = None) -> list[Tensor]:
    """Compute tensors again, with the steps of every fused operation recorded.

    Parameters
    ----------
    outputs : sequence of Tensor
        Their graph is left as it is. Leaves are shared: nothing flows back here.
    stands_for : dict, optional
        Is told, for each node of the new graph, that of the old one.

    Returns
    -------
    list of Tensor
        `outputs` themselves where nothing in their graph is fused.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> from tinygrad_mha.viz.unfold import unfold
    >>> x = tm.randn(2, 3, requires_grad=True)
    >>> y = tm.nn.functional.scaled_dot_product_attention(x, x, x)
    >>> y.grad_fn.name, unfold([y])[0].grad_fn.name
    ('attention', 'matmul')
    """
    nodes = ancestors(outputs)
    if not any(node.op.steps or _again(node) for node in nodes):
        return list(outputs)
    modes = thread.modes
    outer = modes.frame
    try:
        with enable_grad(), thawed(_leaves(nodes)):
            values = _run(nodes, {}, {} if stands_for is None else stands_for, {})
    finally:
        modes.frame = outer
    return [output if output.grad_fn is None else values[output.grad_fn] for output in outputs]


def _leaves(nodes: list[Node]) -> Iterator[Tensor]:
    return (source for node in nodes for source in node.inputs if isinstance(source, Tensor))


@contextmanager
def thawed(leaves: Iterable[Tensor]) -> Iterator[None]:
    """Let leaves that are frozen, perhaps since the graph was made, want a gradient meanwhile."""
    frozen = {id(x): x for x in leaves if not x.requires_grad and x.is_floating_point()}
    for leaf in frozen.values():
        leaf.requires_grad_(True)
    try:
        yield
    finally:
        for leaf in frozen.values():
            leaf.requires_grad_(False)


def _run(
    nodes: list[Node], known: dict[Node, Tensor], stands_for: dict[Node, Node], made: _Made
) -> dict[Node, Tensor]:
    """Run nodes again, those that are fused as their steps; `known` are values from before."""
    values = dict(known)
    for node in nodes:
        thread.modes.frame = node.frame  # the module call that it belonged to
        if _again(node):
            values[node] = _from_inside(node, values, stands_for, made)
        else:
            inputs = [values[x] if isinstance(x, Node) else x for x in node.inputs]
            values[node] = _in_steps(node, inputs, stands_for, made)
    return values


def _again(node: Node) -> Any:
    """How the outputs of a user's function are computed on the record, where it says that."""
    return node.op.function.again if isinstance(node.op, FunctionOp) else None


def _from_inside(
    node: Node, values: dict[Node, Tensor], stands_for: dict[Node, Node], made: _Made
) -> Tensor:
    """Run what a checkpoint runs again, so that it is seen; in the form that its node has."""
    outs, start = _again(node)(*node.inputs)
    inside = [one for one in ancestors(outs) if one.sequence > start]
    within: dict[Node, Node] = {}
    new = _run(inside, values, within, made)
    stands_for |= dict.fromkeys(within, node)
    found = [out if out.grad_fn is None else new[out.grad_fn] for out in outs]
    flowing = [out for out in found if out.is_floating_point()]
    if len(flowing) == 1:
        return flowing[0]
    # as the node has it: all outputs as one row of numbers
    rows: Tensor = REGISTRY["concatenate"](
        *(REGISTRY["reshape"](out, (out.numel(),)) for out in flowing), dim=0
    )
    return rows


def _in_steps(node: Node, inputs: list[Any], stands_for: dict[Node, Node], made: _Made) -> Tensor:
    """Run a node again, as its steps if it has such; they were made where it was."""
    steps = node.op.steps
    value: Tensor = call(node, inputs) if steps is None else steps(*inputs, *node.params)
    known = {x.grad_fn for x in inputs if isinstance(x, Tensor)}
    fresh, found = [value.grad_fn], []
    while fresh:
        step = fresh.pop()
        if isinstance(step, Node) and step not in known:
            known.add(step)
            found.append(step)
            fresh.extend(x for x in step.inputs if isinstance(x, Node))
    first: dict[Any, Node] = {}
    for step in sorted(found, key=lambda step: step.sequence):
        step.inputs = [first.get(x, x) if isinstance(x, Node) else x for x in step.inputs]
        first[step] = step if steps is None else _first(step, made)
        if first[step] is step:
            step.origin = node.origin
            stands_for[step] = node
    last = value.grad_fn
    return value if first.get(last, last) is last else Tensor(value.data, True, first[last])


def _first(step: Node, made: _Made) -> Node:
    """The node that computed the same in the same module call, or this one."""
    sources = tuple(id(x) for x in step.inputs if isinstance(x, Node | Tensor))
    alike = made.setdefault((step.op.name, step.frame, sources), [])
    for other in alike:
        if _same(step.inputs, other.inputs) and _same(step.params, other.params):
            return other
    alike.append(step)
    return step


def _same(some: Sequence[Any], others: Sequence[Any]) -> bool:
    return len(some) == len(others) and all(
        a is b or (not isinstance(a, Node | Tensor) and np.array_equal(a, b))
        for a, b in zip(some, others, strict=True)
    )


def results(stands_for: dict[Node, Node], found: dict[Node, T]) -> dict[Node, T]:
    """What is known of the steps' results, told of the operations that they stand for."""
    last: dict[Node, Node] = {}
    for made, node in stands_for.items():
        if node not in last or made.sequence > last[node].sequence:
            last[node] = made
    return {
        node: found[made]
        for node, made in last.items()
        if made in found and made.shape == node.shape  # a result may be shared with another's
    }
