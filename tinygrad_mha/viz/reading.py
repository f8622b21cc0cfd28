"""A trace from its JSON form, checked as it is read."""

from __future__ import annotations

import json
import os
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from .data import VERSION, Trace
from .graph import Graph


def load(path: str | os.PathLike[str]) -> Graph:
    """Open a trace that was saved as JSON.

    Parameters
    ----------
    path : path
        What ``Graph.save("….json")`` wrote.

    Returns
    -------
    Graph
        Equal to the one that was saved: pictures of it are the same.

    Raises
    ------
    ValueError
        It is not a trace, or one of another version; the message says where.

    Examples
    --------
    >>> import tempfile, tinygrad_mha as tm
    >>> x = tm.tensor([1.0, 2.0], requires_grad=True)
    >>> graph = tm.viz.trace((x * x).sum())
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     tm.viz.load(graph.save(folder + "/square.json")).data == graph.data
    True
    """
    return Graph(read(Path(path).read_text("utf-8")))


def read(text: str) -> Trace:
    """Build a trace from JSON; see :func:`load`."""
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"this is no trace: {error}") from None
    version = found.get("version") if isinstance(found, dict) else None
    if version != VERSION:
        raise ValueError(
            f"this is no trace of version {VERSION}, which this package reads: its version is "
            f"{version!r}; save it again with the package that wrote it, or trace anew"
        )
    trace: Trace = _build(Trace, found, "trace")
    _check_numbers(trace)
    return trace


def _build(kind: Any, value: Any, where: str) -> Any:
    """Turn what JSON gave into what a field's type says; `where` is for the message."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin is UnionType:
        return None if value is None else _build(inner[0], value, where)
    if is_dataclass(kind):
        return _build_object(kind, value, where)
    if kind is float:
        if isinstance(value, str) and value in ("nan", "inf", "-inf"):
            return float(value)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return value
    elif origin in (list, tuple) and isinstance(value, list):
        if origin is tuple and inner[-1] is not ...:
            if len(value) == len(inner):
                pairs = enumerate(zip(inner, value, strict=True))
                return tuple(_build(k, v, f"{where}[{i}]") for i, (k, v) in pairs)
        else:
            if inner[0] in (int, str) and all(type(v) is inner[0] for v in value):
                return origin(value)
            return origin(_build(inner[0], v, f"{where}[{i}]") for i, v in enumerate(value))
    elif origin is dict and isinstance(value, dict):
        return {k: _build(inner[1], v, f"{where}.{k}") for k, v in value.items()}
    elif kind in (int, str, bool) and type(value) is kind:
        return value
    raise ValueError(f"this is no trace: {where} is {value!r:.60}, expected {kind}")


def _build_object(kind: Any, value: Any, where: str) -> Any:
    types = _types(kind)
    if not isinstance(value, dict):
        raise ValueError(f"this is no trace: {where} is {value!r:.60}, expected a {kind.__name__}")
    if unknown := value.keys() - types.keys():
        raise ValueError(f"this is no trace: {where} has {sorted(unknown)}, which nobody knows")
    missing = {f.name for f in fields(kind) if f.default is f.default_factory is MISSING}
    if missing := missing - value.keys():
        raise ValueError(f"this is no trace: {where} lacks {sorted(missing)}")
    return kind(**{k: _build(types[k], v, f"{where}.{k}") for k, v in value.items()})


@cache
def _types(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


def _check_numbers(trace: Trace) -> None:
    """Every id is a position that exists: a picture may rely on it."""
    if trace.fused is not None:
        _check_numbers(trace.fused)
    vertices, modules = range(len(trace.vertices)), range(len(trace.modules))
    for i, vertex in enumerate(trace.vertices):
        if vertex.id != i or not (vertex.module is None or vertex.module in modules):
            raise ValueError(f"this is no trace: vertices[{i}] has a wrong id or module")
    for i, module in enumerate(trace.modules):
        if module.id != i or not (module.parent is None or module.parent in range(i)):
            raise ValueError(f"this is no trace: modules[{i}] has a wrong id or parent")
    used = [*trace.outputs, *(end for edge in trace.edges for end in (edge.source, edge.target))]
    for attention in trace.attentions:
        used += [*attention.vertices, *attention.sources, attention.output]
        used += [vertex for lane in attention.lanes for vertex in lane.vertices]
    for step in trace.steps:
        used += [step.vertex, *(flow[0] for flow in step.flows)]
    if not trace.outputs or any(number not in vertices for number in used):
        raise ValueError("this is no trace: it names a vertex that it does not have")
