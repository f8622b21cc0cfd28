"""One node's turn in the backward pass, as :func:`tinygrad_mha.autograd.steps` shows it."""

from __future__ import annotations

from typing import Any, NamedTuple

from .messages import describe
from .node import Node
from .op import Rule
from .tensor import Tensor


class Flow(NamedTuple):
    """What one step sent to one of its inputs."""

    input: str
    rule: Rule | None
    gradient: Any
    target: Node | Tensor
    accumulated: bool  # True where something had arrived before: the += at a fan-out

    def __str__(self) -> str:
        """Say what the rule gave, where it went, and whether it was added to something there."""
        rule = f"the gradient of {self.input}" if self.rule is None else self.rule.text
        leaf = isinstance(self.target, Tensor)
        target = f"leaf {self.target.shape}" if leaf else f"{self.target}"
        return f"{rule}    {describe(self.gradient)} {'+=>' if self.accumulated else '->'} {target}"


class Step(NamedTuple):
    """One node's turn in the backward pass; printed, a line for it and one for each input."""

    index: int  # type: ignore[assignment]  # a field, not tuple.index: nobody searches a step
    node: Node
    incoming: Any
    flows: tuple[Flow, ...]
    freed: bool

    def __str__(self) -> str:
        """Say which node it is, what came in, and what went where."""
        freed = ", then frees what it saved" if self.freed else ""
        op = self.node.op
        head = f"{self.index}. {op.name}: {op.formula}    dy is {describe(self.incoming)}{freed}"
        return "\n".join([head, *(f"   {flow}" for flow in self.flows)])
