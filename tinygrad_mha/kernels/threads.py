"""Threads: how many, and how work is shared among them.

Kernels are serial and, but for the smallest work, release the interpreter lock; what is large is
cut into ranges of rows, one per thread (:mod:`.team`, :mod:`.together`). So there is no parallel
version of a kernel to compile, no OpenMP that a fork could break, and calls from several Python
threads at once are nothing special: while one is inside a large kernel, others run Python or are
inside kernels too. A kernel keeps nothing from one call to the next, and what is remembered
around it (which kernels are compiled, where the matrices of a stack begin) is written in one
step, and whoever finds it changed or gone goes the long way; nothing here leans on the lock, so
an interpreter without one may do the same. Two threads that write to one array are the caller's
business, as with NumPy.
"""

from __future__ import annotations

import os

from .backend import QUICK


def cores() -> int:
    """How many cores this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS and Windows do not pin processes
        return os.cpu_count() or 1


_threads = cores()


def get_num_threads() -> int:
    """How many threads a large operation uses.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.get_num_threads() >= 1
    True
    """
    return _threads


def set_num_threads(n: int) -> None:
    """Set how many threads a large operation uses; results depend on it in the last bits at most.

    Raises
    ------
    ValueError
        `n` is below 1.

    Notes
    -----
    Small operations run on the thread that asks for them, whatever `n` is. Programs with
    threads of their own do best with ``n = 1``: large kernels release the interpreter lock.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> before = tm.get_num_threads()
    >>> tm.set_num_threads(1)
    >>> tm.get_num_threads()
    1
    >>> tm.set_num_threads(before)
    """
    global _threads
    if n < 1:
        raise ValueError(f"set_num_threads: n is {n}, expected at least 1")
    _threads = int(n)
    for quick in QUICK.values():  # how much one thread does alone has changed
        quick.clear()
