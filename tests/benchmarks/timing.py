"""Taking times on a machine that others use too."""

from __future__ import annotations

import time
from collections.abc import Callable

Work = Callable[[], object]

BATCH = 2e-3  # seconds: what is shorter is repeated until it takes so long


def alternate(works: list[Work], seconds: float) -> list[float]:
    """Return the shortest time of each, in seconds, taken in turns.

    In turns, a slower spell of the machine meets all of them; the shortest, because whatever
    else runs only ever adds.
    """
    counts = [_repeats(work) for work in works]
    best = [float("inf")] * len(works)
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or max(best) == float("inf"):
        for i, (work, count) in enumerate(zip(works, counts, strict=True)):
            best[i] = min(best[i], _time(work, count))
    return best


def _time(work: Work, count: int) -> float:
    start = time.perf_counter()
    for _ in range(count):
        work()
    return (time.perf_counter() - start) / count


def _repeats(work: Work) -> int:
    work()  # compiles
    return max(1, int(BATCH / max(_time(work, 1), 1e-7)))
