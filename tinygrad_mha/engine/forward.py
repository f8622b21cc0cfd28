"""How a tangent walks forward: each gradient rule, transposed by itself.

A rule takes what flows in at an operation's output to what flows out at one of its inputs,
Jᵀ dy. That is linear in dy, so the derivative of ⟨Jᵀ dy, t⟩ with respect to dy is J t: what a
change t of the input does to the output (Townsend 2017, "A new trick for calculating Jacobian
vector products", here for one operation at a time). So forward mode needs no rules of its own,
and no graph of a whole backward pass: it goes through the nodes once, in the order in which they
were made, with the tangents of their inputs at hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .backward import as_tensors, check_unwritten, fit, freed, grad, leading_to
from .modes import enable_grad
from .node import Node
from .tensor import Tensor


def push_forward(
    output: Tensor, inputs: Sequence[Tensor], tangents: Sequence[Tensor], *, create_graph: bool
) -> Tensor:
    """Return how `output` changes when `inputs` change along `tangents`: J · tangents.

    Parameters
    ----------
    output : Tensor
        Its graph is walked, and left as it is.
    inputs : sequence of Tensor
        None of them made from another.
    tangents : sequence of Tensor
        One per input, of its shape.
    create_graph : bool
        Return a tangent that can be differentiated again.

    Returns
    -------
    Tensor
        Of the shape of `output`; 0 where it does not depend on the inputs.

    Raises
    ------
    RuntimeError
        The values that the rules need have been freed by a backward pass, or written to since.
    """
    moving: dict[Any, Tensor] = {x.grad_fn or x: t for x, t in zip(inputs, tangents, strict=True)}
    between = leading_to(dict.fromkeys(moving), [output], -1) - moving.keys()
    for node in sorted(between, key=lambda node: node.sequence):
        moving[node] = _through(node, moving, create_graph)
    found = moving.get(output.grad_fn or output)
    return Tensor(np.zeros(output.shape, output.dtype)) if found is None else found


def _through(node: Node, moving: dict[Any, Tensor], create_graph: bool) -> Tensor:
    """Push the tangents of a node's inputs through it."""
    if node.saved is None:
        raise freed(node, "forward mode")
    wanted = [i for i in node.wanted if node.inputs[i] in moving]
    check_unwritten(node, wanted, node.saved, "forward mode")
    dy = Tensor(np.zeros(node.shape, node.dtype), True)
    with enable_grad():
        saved = as_tensors(node, node.saved)
        if not create_graph:  # then only dy is a variable
            saved = _detached(saved)
        pulled = node.op.gradients(dy, wanted, saved, fused=False)
        along = sum(
            (fit(g, node, node.inputs[i]) * moving[node.inputs[i]]).sum()
            for g, i in zip(pulled, wanted, strict=True)
        )
    if not along.requires_grad:
        return Tensor(np.zeros(node.shape, node.dtype))
    (tangent,) = grad(along, dy, create_graph=create_graph, allow_unused=True)
    return Tensor(np.zeros(node.shape, node.dtype)) if tangent is None else tangent


def _detached(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(_detached(v) for v in value)
    return value.detach() if isinstance(value, Tensor) else value
