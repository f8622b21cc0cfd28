"""What is drawn: modules folded up until a person can read the picture.

Attention is drawn in full; modules without any become one box each, as far out as
possible. A graph without attention is drawn operation by operation while it is small.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from .data import Attention, Trace, Vertex

#: Operations up to which a graph without attention is drawn whole.
READABLE = 150


@dataclass
class View:
    """What of a trace is drawn, and as what.

    Attributes
    ----------
    shown : dict of int to str
        For each vertex, the key of the thing that stands for it; hidden vertices are missing.
    boxes : dict of str to int
        Keys of folded modules, with the module's number.
    singles : dict of str to int
        Keys of vertices drawn by themselves, with the vertex's number.
    attentions : list of Attention
        Those drawn as lanes.
    parents : dict of str to int or None
        For each key the open module around it.
    open : set of int
        Modules drawn as frames.
    """

    shown: dict[int, str] = field(default_factory=dict)
    boxes: dict[str, int] = field(default_factory=dict)
    singles: dict[str, int] = field(default_factory=dict)
    attentions: list[Attention] = field(default_factory=list)
    parents: dict[str, int | None] = field(default_factory=dict)
    open: set[int] = field(default_factory=set)


def arrange(data: Trace, lanes: bool) -> View:
    """Decide what is drawn."""
    view = View(attentions=data.attentions if lanes else [])
    view.open = _open_modules(data)
    inside = {v: a for a in view.attentions for v in a.vertices}
    projected = {v for a in view.attentions for v in a.sources}
    weights = _made_of_parameters(data)
    users: dict[int, list[int]] = {}
    for edge in data.edges:
        users.setdefault(edge.source, []).append(edge.target)
    for vertex in reversed(data.vertices):  # users first: what nobody shows is not shown
        if vertex.id in inside:
            key = f"a{inside[vertex.id].id}"
            view.parents[key] = inside[vertex.id].module
        elif vertex.kind == "op":
            if vertex.id in weights and _swallowed(vertex, users, view, inside):
                continue
            key = _place(vertex, data, view)
        elif vertex.kind == "constant" or (
            vertex.id not in projected and _swallowed(vertex, users, view, inside)
        ):
            continue
        else:
            key = f"v{vertex.id}"
            view.singles[key] = vertex.id
            first = data.vertices[users[vertex.id][0]]
            outside = vertex.kind == "input"
            view.parents[key] = None if outside else _innermost_open(first, data, view)
        view.shown[vertex.id] = key
    return view


def _open_modules(data: Trace) -> set[int]:
    """Modules drawn as frames: those around attention, or all of a small graph."""
    operations = sum(v.kind == "op" for v in data.vertices)
    if not data.attentions:
        return set(range(len(data.modules))) if operations <= READABLE else set()
    found: set[int] = set()
    for attention in data.attentions:
        module = attention.module
        while module is not None:
            found.add(module)
            module = data.modules[module].parent
    return found


def _made_of_parameters(data: Trace) -> set[int]:
    """Parameters, and what is computed from nothing else."""
    sources: dict[int, list[int]] = {}
    for edge in data.edges:
        sources.setdefault(edge.target, []).append(edge.source)
    found: set[int] = set()
    for v in data.vertices:
        if v.kind == "parameter" or (v.kind == "op" and found.issuperset(sources.get(v.id, [-1]))):
            found.add(v.id)
    return found


def _swallowed(
    vertex: Vertex, users: dict[int, list[int]], view: View, inside: dict[int, Attention]
) -> bool:
    """Whether every user is drawn as part of something larger, so that this goes without saying."""
    if vertex.id not in users:  # the result, even where all that it is made of wants a gradient
        return False
    keys = [view.shown.get(user) for user in users[vertex.id]]
    if vertex.kind == "input":  # data is shown, but for a mask that only the lanes use
        return all(user in inside for user in users[vertex.id])
    return all(key is None or key in view.boxes or key.startswith("a") for key in keys)


def _chain(module: int | None, data: Trace) -> list[int]:
    """A module and those around it, from the outside in."""
    chain: list[int] = []
    while module is not None:
        chain.append(module)
        module = data.modules[module].parent
    return chain[::-1]


def _place(vertex: Vertex, data: Trace, view: View) -> str:
    """Key of an operation: its outermost folded module, or itself."""
    for module in _chain(vertex.module, data):
        if module not in view.open:
            key = f"m{module}"
            view.boxes[key] = module
            view.parents[key] = data.modules[module].parent
            return key
    key = f"v{vertex.id}"
    view.singles[key] = vertex.id
    view.parents[key] = vertex.module
    return key


def _innermost_open(vertex: Vertex, data: Trace, view: View) -> int | None:
    inner = [m for m in _chain(vertex.module, data) if m in view.open]
    return inner[-1] if inner else None
