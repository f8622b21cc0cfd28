"""Who wrote into which memory, and when.

Writing in place is rare and saving a value for backward is not, so the bookkeeping is on the
writer's side: each write notes, for the array that owns the memory, a number from the same
counter that numbers the nodes. A node whose saved values live in memory with a higher number
than its own must not use them. All tensors on one memory, views and ``detach()`` included,
share its owner and so its note, and a forward pass pays nothing.
"""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Iterable
from typing import Any

import numpy as np

# The C library gives freed memory at the end of its heap back to the system, a training step
# asks for as much again, and each page of it is a fault: for arrays of some 10 kB, more time
# than the arithmetic. Glibc stops doing so for sizes below that of the largest block it has
# seen freed. So it is shown one, just under the limit up to which it learns, and never touched.
np.empty(31 << 20, np.uint8)

#: Numbers nodes and writes in the order in which they happen.
clock = itertools.count()


class _Note:
    """When an array was last written to, and how often."""

    __slots__ = ("gone", "number", "version")

    def __init__(self, gone: weakref.ref[np.ndarray]) -> None:
        self.gone = gone  # takes the note away with the array
        self.number = self.version = 0


_written: dict[int, _Note] = {}
#: The number of the latest write.
last_write = -1


def owner(array: np.ndarray) -> np.ndarray:
    """Return the array that a view, or a view of a view, looks into."""
    while array.base is not None:
        # as_strided puts an object between a view and its array, which knows that array as base
        base: Any = array.base
        below = base if isinstance(base, np.ndarray) else getattr(base, "base", None)
        if not isinstance(below, np.ndarray):
            break
        array = below
    return array


def touch(arrays: Iterable[np.ndarray]) -> None:
    """Note that arrays have been written to."""
    global last_write
    last_write = now = next(clock)
    for array in arrays:
        whole = array if array.base is None else owner(array)
        key = id(whole)
        note = _written.get(key)
        if note is None:
            gone = weakref.ref(whole, lambda _, key=key: _written.pop(key, None))  # type: ignore[misc]
            note = _written[key] = _Note(gone)
        note.number = now
        note.version += 1


def version(array: np.ndarray) -> int:
    """Count the writes into an array's memory."""
    note = _written.get(id(owner(array)))
    return 0 if note is None else note.version


def written_since(number: int, saved: tuple[Any, ...]) -> np.ndarray | None:
    """Return the first array among `saved` that was written to after the clock showed `number`."""
    for value in saved:
        if isinstance(value, tuple):
            found = written_since(number, value)
            if found is not None:
                return found
        elif isinstance(value, np.ndarray):
            note = _written.get(id(owner(value)))
            if note is not None and note.number > number:
                return value
    return None
