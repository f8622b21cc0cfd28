"""What a tensor remembers of its making: the node, and the module call around it."""

from __future__ import annotations

import os
import sys
import zlib
from types import CodeType, FrameType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .memory import clock

if TYPE_CHECKING:
    from .function import FunctionOp
    from .modes import Modes
    from .op import Op
    from .tensor import Tensor

_package = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep


class Scope:
    """The name tag of a module, without the module.

    Nodes point at the tag and never at the module itself, so that a module
    which keeps one of its outputs (``self.weights = ...``) makes no cycle.
    """

    __slots__ = ("__weakref__", "kind")

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def __repr__(self) -> str:
        return f"Scope({self.kind})"


class Frame:
    """One call of one module, and the call around it.

    Attributes
    ----------
    scope : Scope
        The module's tag.
    outer : Frame or None
        The call around it.
    given : Given or None
        What the call was given, where no other is around it and a graph is recorded.
    """

    __slots__ = ("given", "outer", "scope")

    def __init__(self, scope: Scope, outer: Frame | None) -> None:
        self.scope = scope
        self.outer = outer
        self.given: Given | None = None


class Given(NamedTuple):
    """The arguments of a call, by ``id``: whoever keeps a graph does not keep them.

    An operation that ran during the call and uses one of them still holds it, and what else it
    holds was alive at the same time; so for such an operation equal ids mean the same object.
    """

    code: CodeType | None  # of forward; the method itself would hold the module
    positional: list[tuple[int, int]]  # of a tensor and of its array; 0: not a tensor
    named: dict[str, tuple[int, int]]

    def names(self) -> dict[int, str]:
        """For the ``id`` of each tensor, and of its array, the name that forward has for it."""
        known = () if self.code is None else self.code.co_varnames[: self.code.co_argcount]
        known = known[1:] if known[:1] == ("self",) else known
        found: dict[int, list[str]] = {}
        for name, ids in (*zip(known, self.positional, strict=False), *self.named.items()):
            for one in ids:
                found.setdefault(one, []).append(name)
        return {one: ", ".join(names) for one, names in found.items() if one}


class Node:
    """One operation that ran, with all that its gradient will need.

    Attributes
    ----------
    op : Op
        Which operation.
    inputs : list
        One entry per input: the :class:`Node` that made it, or the leaf
        :class:`Tensor` that wants its gradient, or the bare array or number
        where no gradient flows. A node never holds the tensor it made, nor any
        tensor that holds it: the graph has no reference cycle.
    wanted : list of int
        Positions of the inputs into which gradient flows.
    params : tuple
        The values of the operation's other arguments, in the order of its signature.
    saved : tuple or None
        What the gradient rules ask for, named by ``op.saved_names``. None once freed.
    shape, dtype
        Of the output.
    sequence : int
        Counts up with every node made and every write in place. Inputs are always older
        than what is made of them, so *the reverse of this order is a topological order*.
    frame : Frame or None
        The module call in which it ran.
    origin : tuple of (str, int) or None
        File and line, where :class:`record_origin` was on.
    hooks : dict or None
        The user's functions that see the gradient at the output; see :mod:`.hooks`.
    fingerprints : list of int or None
        Of the saved arrays, where :class:`detect_anomaly` was on.
    """

    __slots__ = (
        "__weakref__",
        "dtype",
        "fingerprints",
        "frame",
        "hooks",
        "inputs",
        "op",
        "origin",
        "params",
        "saved",
        "sequence",
        "shape",
        "wanted",
    )

    def __init__(
        self,
        op: Op[Any] | FunctionOp,
        inputs: list[Any],
        wanted: list[int],
        params: tuple[Any, ...],
        saved: tuple[Any, ...],
        out: np.ndarray,
        modes: Modes,
    ) -> None:
        self.op = op
        self.inputs = inputs
        self.wanted = wanted
        self.params = params
        self.saved: tuple[Any, ...] | None = saved
        self.shape = out.shape
        self.dtype = out.dtype
        self.sequence = next(clock)
        self.frame = modes.frame
        self.origin: tuple[str, int] | None = _caller() if modes.record_origin else None
        self.hooks: dict[int, Any] | None = None
        self.fingerprints = fingerprints(saved) if modes.anomaly else None

    @property
    def name(self) -> str:
        """Of the operation."""
        return self.op.name

    def parents(self) -> list[Node | Tensor]:
        """Those inputs into which gradient flows."""
        return [self.inputs[i] for i in self.wanted]

    def __repr__(self) -> str:
        return f"<{self.op.name} #{self.sequence} {self.shape}>"


def fingerprints(saved: tuple[Any, ...]) -> list[int]:
    """One number per saved array, which changes when the array does."""
    return [zlib.crc32(a.tobytes()) for a in saved if isinstance(a, np.ndarray)]


def _caller() -> tuple[str, int] | None:
    """File and line of the innermost frame outside this package."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        if not frame.f_code.co_filename.startswith(_package):
            return frame.f_code.co_filename, frame.f_lineno
        frame = frame.f_back
    return None
