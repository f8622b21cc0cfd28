"""The trace as the page carries it: column by column, with what repeats said once.

Nothing is left out; numbers keep six digits, weights the 65,536th part. ``page/unpack.js``
makes the documented form of it again. A trace of 10,000 operations takes a quarter of
the room that way.
"""

from __future__ import annotations

import json
import math
from base64 import b64encode
from collections.abc import Hashable, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from .data import Trace


def packed(data: Trace) -> str:
    """Write a trace as packed JSON; the same trace gives the same text."""
    return json.dumps(_record([data]), ensure_ascii=True, separators=(",", ":"))


def _record(items: Sequence[Any]) -> dict[str, Any]:
    """Instances of one dataclass, as a column for each field."""
    if not items:
        return {"n": 0, "columns": {}}
    names = [field.name for field in fields(items[0])]
    return {
        "n": len(items),
        "columns": {name: _column([getattr(item, name) for item in items]) for name in names},
    }


def _column(values: list[Any]) -> Any:
    """Values of one kind, in the shortest of several forms; see ``unpack.js`` for each."""
    first = next((v for v in values if v is not None and v != []), None)
    inner = first[0] if isinstance(first, list) else None
    if is_dataclass(first):
        at = [i for i, value in enumerate(values) if value is not None]
        return {"some": at, "record": _record([values[i] for i in at])}
    if is_dataclass(inner):
        return {"counts": [len(v) for v in values], "record": _record(_flat(values))}
    if isinstance(inner, tuple):
        parts = [list(part) for part in zip(*_flat(values), strict=True)]
        return {"counts": [len(v) for v in values], "zip": [_column(part) for part in parts]}
    if isinstance(inner, list) and inner:
        if isinstance(inner[0], bool):
            return {"bits": _column([_bits(value) for value in values])}
        if isinstance(inner[0], float):
            return {"weights": [_weights(value) for value in values]}
    if isinstance(first, float):
        return [_short(value) for value in values]
    if isinstance(inner, float):
        return [None if value is None else [_short(x) for x in value] for value in values]
    named = first is not None and not isinstance(first, list | dict)
    return _table(values, values if named else [repr(value) for value in values])


def _flat(lists: list[list[Any]]) -> list[Any]:
    return [item for items in lists for item in items]


def _table(values: list[Any], keys: list[Hashable]) -> Any:
    """Each different value once, where that is shorter; values are equal if their keys are."""
    seen: dict[Hashable, int] = {}
    different: list[Any] = []
    at = []
    for value, key in zip(values, keys, strict=True):
        if key not in seen:
            seen[key] = len(different)
            different.append(value)
        at.append(seen[key])
    if len(different) == 1:
        return {"same": different[0]}
    return {"table": different, "at": at} if 2 * len(different) < len(values) else values


def _short(value: float | None) -> float | str | None:
    """Six digits; JSON has no nan and no infinity: they become text."""
    if value is None:
        return None
    return float(f"{value:.6g}") if math.isfinite(value) else str(float(value))


def _weights(rows: list[list[float]]) -> str:
    """Rows and columns, and each weight from 0 to 1 as two bytes; nan as the largest number."""
    array = np.asarray(rows)
    scaled = np.where(np.isfinite(array), np.round(np.clip(array, 0, 1) * 65534), 65535)
    return _sized(array.shape, scaled.astype("<u2").tobytes())


def _bits(rows: list[list[bool]]) -> str:
    array = np.asarray(rows, bool)
    return _sized(array.shape, np.packbits(array).tobytes())


def _sized(shape: tuple[int, ...], content: bytes) -> str:
    high, wide = shape if len(shape) == 2 else (0, 0)
    return f"{high} {wide} {b64encode(content).decode()}"
