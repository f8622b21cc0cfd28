"""How a thread waits awake for another: it watches a number that the other changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from .jit import stored, target
from .vector import call, pointer_to

Array = np.ndarray


@intrinsic  # type: ignore[untyped-decorator]
def _look(typing: Any, counter: Any) -> Any:
    """Read what another thread writes, after a rest where the processor knows one."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if "86" in builder.module.triple:
            call(builder, "llvm.x86.sse2.pause", ir.VoidType(), [])
        integer = ir.IntType(64)
        first = ir.Constant(integer, 0)
        value = builder.load(pointer_to(context, builder, counter, arguments[0], first, integer))
        value.volatile = True  # or it would be read once, before the loop
        return value

    return types.int64(counter), code


def _watch(counter, seen, looks, after):  # type: ignore[no-untyped-def]
    """Look; without the interpreter lock, although it is only a number that is looked at."""
    for _ in range(looks):
        if _look(counter) != seen:
            for _ in range(after):
                _look(counter)
            return


def watcher() -> Callable[[Array, int, int, int], object]:
    """Return what looks until a counter, (1,), is no longer what was seen, at most so many times.

    And then some times more: whoever changed it still holds the interpreter lock, and to ask
    for that too early means to sleep until it is handed over.
    """
    signature = target(types.int64, 1), types.int64, types.int64, types.int64
    watch = stored(_watch, nogil=True)
    watch.compile(signature)
    run: Callable[[Array, int, int, int], object] = watch.overloads[signature].entry_point
    return run
