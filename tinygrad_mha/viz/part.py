"""One module of a trace, as a trace of its own."""

from __future__ import annotations

from dataclasses import replace

from .data import Attention, Trace, Vertex

_NO_NAMES = "The graph is of one module, or of none, so there are no names in it"


def heads_in(data: Trace, path: str) -> list[int]:
    """Positions, in a whole trace, of the attentions that its part `path` has."""
    return [a.id for a in _attentions(data, *_members(data, _inside(data, path)))]


def part(data: Trace, path: str) -> Trace:
    """Cut out what ran in a module; what it was given become inputs.

    Parameters
    ----------
    data : Trace
        The whole.
    path : str
        The module's dotted name, such as ``blocks.0``.

    Returns
    -------
    Trace
        Numbered anew. Where the module was called several times, all calls are in it.

    Raises
    ------
    ValueError
        No module of that name ran.
    """
    inside = _inside(data, path)
    members, given = _members(data, inside)
    kept = sorted(members | given)
    number = {old: new for new, old in enumerate(kept)}
    modules = [m for m in data.modules if m.id in inside]
    call = {m.id: i for i, m in enumerate(modules)}
    leaves = {e.source for e in data.edges if e.source in members and e.target not in members}
    final = sorted(leaves | (members & set(data.outputs))) or [max(members)]
    attentions = _attentions(data, members, given)
    return replace(
        data,
        title=f"{path} of {data.title}",
        modules=[
            replace(m, id=call[m.id], parent=call.get(-1 if m.parent is None else m.parent))
            for m in modules
        ],
        vertices=[
            replace(
                _as_input(data, v) if old in given else v,
                id=number[old],
                module=call.get(-1 if v.module is None else v.module),
            )
            for old in kept
            for v in [data.vertices[old]]
        ],
        edges=[
            replace(e, source=number[e.source], target=number[e.target])
            for e in data.edges
            if e.target in members
        ],
        attentions=[
            replace(
                a,
                id=i,
                module=None if a.module is None else call[a.module],
                vertices=[number[v] for v in a.vertices],
                sources=[number[v] for v in a.sources],
                output=number[a.output],
                lanes=[
                    replace(lane, vertices=[number[v] for v in lane.vertices]) for lane in a.lanes
                ],
            )
            for i, a in enumerate(attentions)
        ],
        steps=[
            replace(
                step,
                vertex=number[step.vertex],
                flows=[
                    (number[f[0]], f[1], f[2], f[3], f[4]) for f in step.flows if f[0] in number
                ],
            )
            for step in data.steps
            if step.vertex in members
        ],
        outputs=[number[v] for v in final],
        fused=None if data.fused is None else part(data.fused, path),
    )


def _inside(data: Trace, path: str) -> set[int]:
    """Calls of a module, and all calls within those."""
    inside = {m.id for m in data.modules if m.path == path}
    if not inside:
        names = sorted({m.path for m in data.modules} - {""})
        near = [n for n in names if path.rpartition(".")[2] in n] or names
        raise ValueError(
            f"module is {path!r}; no module of that name ran. "
            + (f"Some that did: {', '.join(near[:8])}" if near else _NO_NAMES)
        )
    for module in data.modules:  # a call stands behind the one around it
        if module.parent in inside:
            inside.add(module.id)
    return inside


def _members(data: Trace, inside: set[int]) -> tuple[set[int], set[int]]:
    """What ran in calls of modules, and what that was given."""
    members = {v.id for v in data.vertices if v.module in inside}
    return members, {e.source for e in data.edges if e.target in members} - members


def _attentions(data: Trace, members: set[int], given: set[int]) -> list[Attention]:
    """Those that are whole in a part."""
    known = members | given
    return [
        a for a in data.attentions if members.issuperset(a.vertices) and known.issuperset(a.sources)
    ]


def _as_input(data: Trace, vertex: Vertex) -> Vertex:
    """What comes from outside, named after the module it comes from."""
    if vertex.kind != "op":
        return vertex
    where = "" if vertex.module is None else data.modules[vertex.module].path
    return replace(vertex, kind="input", name=short_path(where) or vertex.symbol, heads=None)


def short_path(path: str) -> str:
    """The last part of a dotted name; of one in a list the last two: a number alone says nothing.

    Examples
    --------
    >>> short_path("decoder.blocks.0.norm"), short_path("decoder.blocks.0")
    ('norm', 'blocks.0')
    """
    outer, _, name = path.rpartition(".")
    return f"{outer.rpartition('.')[2]}.{name}".lstrip(".") if name.isdigit() else name
