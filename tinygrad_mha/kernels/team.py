"""The threads that share what is large, and how one of them is told and heard.

A second thread pays only if handing it work costs less than the work. Asleep, it takes
some 25 µs to begin, so whoever waits here first stays awake for a moment, outside the
interpreter lock: the next large operation of a training step comes sooner than that, and
finds it after about 5 µs. And it runs on another core than the one that called: left
alone, the system likes to wake a thread where its waker runs, and moves it away only
when both have taken turns for milliseconds.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import os
import sys
import threading
from collections.abc import Callable
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any

import numpy as np

from .backend import state
from .threads import cores, get_num_threads

#: How often a waiting thread looks before it sleeps, some 200 µs on x86; and how often still, 1 µs,
#: once it has seen what it waits for, until the other has let go of the interpreter lock.
LOOKS, AFTER = 8000, 40

#: What is put in place of what is taken back.
_STAY_AWAKE = object()

Work = Callable[[int, int], object]
Watch = Callable[[np.ndarray, int, int, int], object]


class _Mail:
    """What one thread hands to another, which waits for it: awake at first, then asleep."""

    def __init__(self, watch: Watch | None) -> None:
        self._watch, self._things = watch, SimpleQueue[Any]()
        self._counter = np.zeros(1, np.int64)
        self._sent = self._got = 0

    def put(self, thing: object) -> None:
        self._things.put(thing)
        self._counter[0] = self._sent = self._sent + 1

    def get(self) -> Any:
        thing = _STAY_AWAKE
        while thing is _STAY_AWAKE:
            if self._watch is not None:
                self._watch(self._counter, self._got, LOOKS, AFTER)
            if self._watch is None or self._counter[0] == self._got:
                thing = self._things.get()
            else:
                with contextlib.suppress(Empty):  # it may have been taken back
                    thing = self._things.get_nowait()
            self._got = self._sent
        return thing

    def take_back(self) -> Any:
        """Return what was put in last if nobody has got it yet; else None."""
        with contextlib.suppress(Empty):
            while (thing := self._things.get_nowait()) is _STAY_AWAKE:
                pass
            self.put(_STAY_AWAKE)  # so that for the next one it does not come too late
            return thing
        return None


class _Worker(threading.Thread):
    """A thread that runs what it is given, on another core than whoever gives it."""

    def __init__(self, serve: Watch | None, watch: Watch | None) -> None:
        super().__init__(name="tinygrad_mha", daemon=True)
        self.orders, self.results = _Mail(serve), _Mail(watch)
        self._avoided = -1
        self.start()

    def run(self) -> None:
        while (order := self.orders.get()) is not None:
            work, start, stop = order
            error = None
            try:
                work(start, stop)
            except BaseException as raised:
                error = raised
            self.results.put(error)
            del order, work, error  # while it waits it keeps no arrays

    def answer(self) -> BaseException | None:
        """Wait for what it was given; if it has not even begun, do that here."""
        late = self.orders.take_back()
        if late is None:
            error: BaseException | None = self.results.get()
            return error
        work, start, stop = late
        work(start, stop)
        return None

    def avoid(self, core: int) -> None:
        """Run on any core that the process may use but this one."""
        if core != self._avoided:
            self._avoided = core
            others = os.sched_getaffinity(0) - {core}
            if others and self.native_id:
                with contextlib.suppress(OSError):  # where a sandbox forbids it, it is only slower
                    os.sched_setaffinity(self.native_id, others)


def _current_core() -> Callable[[], int] | None:
    """Return what tells where the calling thread runs; None where a thread cannot be placed."""
    if not sys.platform.startswith("linux"):
        return None
    tell = getattr(ctypes.PyDLL(None), "sched_getcpu", None)
    if tell is not None:
        tell.argtypes, tell.restype = (), ctypes.c_int
    return tell


_core = _current_core()
_team: list[_Worker] = []
_board = np.zeros(0, np.int64)  # on which ranges are posted for those who are awake
_busy = threading.Lock()


def _assemble(threads: int) -> list[_Worker]:
    """Return all but the calling thread."""
    global _board
    if len(_team) != threads - 1:
        dismiss()
        if threads > cores() or state.name == "numpy":
            # to be awake takes a core from whoever works; or there is nothing compiled to do it
            _team.extend(_Worker(None, None) for _ in range(threads - 1))
        else:
            from .together import SLOT, new_board, server, watcher

            serve, watch, _board = server(), watcher(), new_board(threads)
            _team.extend(
                _Worker(partial(serve, _board, i * SLOT), watch) for i in range(1, threads)
            )
    return _team


def dismiss() -> None:
    """Let the threads end, once they have done what they were given."""
    global _board
    _board = np.zeros(0, np.int64)
    for worker in _team:
        worker.orders.put(None)
    _team.clear()


@atexit.register
def _leave() -> None:
    """Wait for the threads: the interpreter must not go while one of them is on its way back.

    From here on nobody gets the team, so that a thread of the user's that is still at work neither
    takes back what tells it to end, nor calls for a new one.
    """
    _busy.acquire(timeout=60)
    dismiss()
    for thread in threading.enumerate():
        if isinstance(thread, _Worker):
            thread.join()


def _forget() -> None:
    """Begin anew in a forked child, which has this module's objects but not its threads."""
    global _busy, _board
    _team.clear()
    _board = np.zeros(0, np.int64)
    _busy = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def threads_for(work: int, least: int) -> int:
    """How many threads a work pays for: one below `least`, from there on one for each half of it.

    So on a machine of many cores not all of them are called for what two have done at once.
    """
    return 1 if work < least else max(1, min(get_num_threads(), work // max(1, least // 2)))


def _share(count: int, threads: int, multiple: int) -> int:
    return max(1, -(-count // (threads * multiple))) * multiple


def together(
    run: Callable[..., bool], given: tuple[Any, ...], count: int, threads: int, multiple: int = 1
) -> bool:
    """Let threads that are awake share a kernel, in the ranges of :func:`over_ranges`.

    Returns
    -------
    bool
        False if nothing was done: somebody has to be woken, or works for another thread.
    """
    share = _share(count, threads, multiple)
    if share >= count or not _busy.acquire(blocking=False):
        return False
    try:
        if len(_team) != get_num_threads() - 1 or not len(_board):
            return False
        if _core:
            core = _core()
            for worker in _team[: -(-count // share) - 1]:
                worker.avoid(core)
        return run(_board, share, count, *given)
    finally:
        _busy.release()


def over_ranges(run: Work, count: int, threads: int, multiple: int = 1) -> None:
    """Call ``run(start, stop)`` on ranges that together cover ``0 … count``, one per thread.

    While the team works for one thread, others that ask for it run their ranges one after the
    other, so that what comes out does not depend on who else is at work.

    Parameters
    ----------
    run : callable
        Releases the interpreter lock for most of its time.
    count : int
        How many rows there are.
    threads : int
        How many share them, at most :func:`get_num_threads`.
    multiple : int, default 1
        Ranges begin at multiples of it.
    """
    share = _share(count, threads, multiple)
    if share >= count:  # also of nothing, which a kernel may still have to look at
        run(0, count)
        return
    if not _busy.acquire(blocking=False):
        for start in range(0, count, share):
            run(start, min(start + share, count))
        return
    try:
        core = _core() if _core else -1
        workers = _assemble(get_num_threads())[: -(-count // share) - 1]
        for i, worker in enumerate(workers, 1):
            if core >= 0:
                worker.avoid(core)
            worker.orders.put((run, i * share, min((i + 1) * share, count)))
        run(0, share)
        for start in range((len(workers) + 1) * share, count, share):  # the team became smaller
            run(start, min(start + share, count))
        errors = [worker.answer() for worker in workers]
    except BaseException:  # perhaps while it waited: answers may still be on their way
        dismiss()
        raise
    finally:
        _busy.release()
    for error in errors:
        if error is not None:
            raise error
