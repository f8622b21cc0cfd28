"""Taking times on a machine that others use too."""

from __future__ import annotations

import time
from collections.abc import Callable

Work = Callable[[], object]

#: Seconds; what is shorter is repeated until it takes so long. In less, the first few calls after
#: the others' turn, whose code and data have left the caches, would make much of the time.
BATCH = 2e-2
#: Seconds between turns of several threads: those of the turn before spin so long, waiting for
#: more, on a core that the next one needs.
PAUSE = 0.1


def alternate(works: list[Work], seconds: float, threads: int = 1) -> list[float]:
    """Return the shortest time of each, in seconds, taken in turns.

    In turns, a slower spell of the machine meets all of them; the shortest, because whatever
    else runs only ever adds. Of a single thread it is the processor time, to which other
    processes add least; of several, the time on the wall.
    """
    clock = time.thread_time if threads == 1 else time.perf_counter
    counts = [_repeats(work, clock) for work in works]
    best = [float("inf")] * len(works)
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or max(best) == float("inf"):
        for i, (work, count) in enumerate(zip(works, counts, strict=True)):
            if threads > 1:
                time.sleep(PAUSE)
                end += PAUSE
            best[i] = min(best[i], _time(work, count, clock))
    return best


def _time(work: Work, count: int, clock: Callable[[], float]) -> float:
    start = clock()
    for _ in range(count):
        work()
    return (clock() - start) / count


def _repeats(work: Work, clock: Callable[[], float]) -> int:
    work()  # compiles
    return max(1, int(BATCH / max(_time(work, 1, clock), 1e-7)))
