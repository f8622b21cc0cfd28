"""What is fused, in steps: the graph that a picture shows.

A fused operation gives the same numbers as the steps that it says it stands for, faster and
without the values in between. A picture wants just these values. So the graph is run once
more with the steps in place of every fused operation, and that graph is traced: all that is
drawn has been computed, its gradients too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..engine import Node, Tensor, enable_grad
from ..engine.modes import thread
from .replay import ancestors, call


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
    if not any(node.op.steps for node in nodes):
        return list(outputs)
    values: dict[Node, Tensor] = {}
    modes = thread.modes
    outer = modes.frame
    try:
        with enable_grad():
            for node in nodes:
                inputs = [values[x] if isinstance(x, Node) else x for x in node.inputs]
                modes.frame = node.frame  # the module call that it belonged to
                values[node] = _in_steps(node, inputs, {} if stands_for is None else stands_for)
    finally:
        modes.frame = outer
    return [output if output.grad_fn is None else values[output.grad_fn] for output in outputs]


def _in_steps(node: Node, inputs: list[Any], stands_for: dict[Node, Node]) -> Tensor:
    """Run a node again, as its steps if it has such; they were made where it was."""
    steps = node.op.steps
    value: Tensor = call(node, inputs) if steps is None else steps(*inputs, *node.params)
    known = {x.grad_fn for x in inputs if isinstance(x, Tensor)}
    fresh = [value.grad_fn]
    while fresh:
        made = fresh.pop()
        if isinstance(made, Node) and made not in known:
            made.origin = node.origin
            stands_for[made] = node
            known.add(made)
            fresh.extend(x for x in made.inputs if isinstance(x, Node))
    return value
