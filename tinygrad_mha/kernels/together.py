"""How threads share a kernel without asking Python: ranges are posted, and taken, on a board.

Python can hand work to a thread in 5 to 10 µs, most of it the interpreter lock changing hands
twice; a product of 128 × 128 takes 38. Here the caller writes what is to be run, and over which
range, into memory that the others are looking at, and goes on with its own range: they begin
within a tenth of a microsecond, and need no lock.

There is a slot for each of the others. Its state goes ASLEEP, or AWAY in Python, → WAITING (someone
looks) → ORDERED (by the caller) → RUNNING → DONE → WAITING; each step is taken by one thread, with
a comparison and an exchange that cannot be interrupted. Whoever has not begun when the caller is
done with its own range is not waited for: the caller takes the order back.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from llvmlite.binding import add_symbol  # type: ignore[import-untyped]
from numba.core import types
from numba.extending import intrinsic

from .door import TASK, WORK_TAKES, WORK_TOGETHER, name_what_numpy_has, open_door
from .jit import kernel_with, stored, target
from .vector import call, pointer_to

#: What a slot consists of, and the words from one to the next: no two share a line of 64 bytes.
STATE, WHAT, FRAME, START, STOP, FAILED = range(6)
SLOT = 16

ASLEEP, AWAY, WAITING, ORDERED, RUNNING, DONE = range(6)

#: Looks, of some 25 ns on x86, else of a few: for so many who is away may come back; and after so
#: many whoever waits lets another process run.
HOPE, PATIENCE = 400, 2000

_WORD, _POINTER = ir.IntType(64), ir.IntType(8).as_pointer()


def new_board(threads: int) -> np.ndarray:
    """Return a board on which everybody is asleep; the first slot, the caller's, is not used."""
    return np.zeros(threads * SLOT, np.int64)


@intrinsic  # type: ignore[untyped-decorator]
def _look(typing: Any, board: Any, at: Any) -> Any:
    """Read what another thread writes, and see all that it had written before."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array, at = arguments
        place = pointer_to(context, builder, board, array, at, _WORD)
        return builder.load_atomic(place, "acquire", 8)

    return types.int64(board, types.intp), code


@intrinsic  # type: ignore[untyped-decorator]
def _tell(typing: Any, board: Any, at: Any, value: Any) -> Any:
    """Write what another thread reads, after all that was written before."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array, at, value = arguments
        place = pointer_to(context, builder, board, array, at, _WORD)
        builder.store_atomic(value, place, "release", 8)
        return context.get_dummy_value()

    return types.void(board, types.intp, types.int64), code


@intrinsic  # type: ignore[untyped-decorator]
def _change(typing: Any, board: Any, at: Any, before: Any, after: Any) -> Any:
    """Write `after` if `before` stands there, in one step; tell whether it did."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array, at, before, after = arguments
        place = pointer_to(context, builder, board, array, at, _WORD)
        found = builder.cmpxchg(place, before, after, "acq_rel", "acquire")
        return builder.extract_value(found, 1)

    return types.boolean(board, types.intp, types.int64, types.int64), code


@intrinsic  # type: ignore[untyped-decorator]
def _post(typing: Any, board: Any, at: Any, task: Any, frame: Any) -> Any:
    """Write down what is to be run."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array, at, *pointers = arguments
        for word, pointer in zip((WHAT, FRAME), pointers, strict=True):
            where = builder.add(at, _WORD(word))
            builder.store(pointer, pointer_to(context, builder, board, array, where, _POINTER))
        return context.get_dummy_value()

    return types.void(board, types.intp, types.voidptr, types.voidptr), code


def _run(builder: Any, task: Any, frame: Any, start: Any, stop: Any) -> Any:
    return builder.call(builder.bitcast(task, TASK.as_pointer()), [frame, start, stop])


@intrinsic  # type: ignore[untyped-decorator]
def _run_posted(typing: Any, board: Any, at: Any) -> Any:
    """Run what is written down in a slot."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array, at = arguments
        kinds = {WHAT: _POINTER, FRAME: _POINTER, START: _WORD, STOP: _WORD}
        return _run(
            builder,
            *(
                builder.load(
                    pointer_to(context, builder, board, array, builder.add(at, _WORD(word)), kind)
                )
                for word, kind in kinds.items()
            ),
        )

    return types.int64(board, types.intp), code


@intrinsic  # type: ignore[untyped-decorator]
def _run_here(typing: Any, task: Any, frame: Any, start: Any, stop: Any) -> Any:
    """Run a range in this thread."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _run(builder, *arguments)

    return types.int64(types.voidptr, types.voidptr, types.intp, types.intp), code


@intrinsic  # type: ignore[untyped-decorator]
def _rest(typing: Any, looks: Any) -> Any:
    """Rest for some 25 ns where the processor knows how; after many looks let others run."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if "86" in builder.module.triple:
            call(builder, "llvm.x86.sse2.pause", ir.VoidType(), [])
        if sys.platform != "win32":
            long = builder.icmp_signed(">", arguments[0], _WORD(PATIENCE))
            with builder.if_then(long, likely=False):
                call(builder, "sched_yield", ir.IntType(32), [])
        return context.get_dummy_value()

    return types.void(types.intp), code


def _work_together(board, share, count, task, frame):  # type: ignore[no-untyped-def]
    """Run a task on ``0 … count`` in ranges of `share`, the first here.

    Returns
    -------
    int
        0, or 1 if a range failed; −1 if nothing was done, because somebody is not there.
    """
    others, looks = (count + share - 1) // share, 0
    if others * SLOT > len(board):  # the team became smaller since the ranges were cut
        return -1
    for i in range(1, others):
        there = _look(board, i * SLOT + STATE)
        while there != WAITING:
            if there == ASLEEP or looks == HOPE:
                return -1
            _rest(0)
            looks += 1
            there = _look(board, i * SLOT + STATE)
    for i in range(1, others):
        at = i * SLOT
        _post(board, at, task, frame)
        board[at + START], board[at + STOP] = i * share, min((i + 1) * share, count)
        _change(board, at + STATE, WAITING, ORDERED)  # if it fell asleep by now, see below
    failed = _run_here(task, frame, 0, share)
    for i in range(1, others):
        at, looks = i * SLOT, 0
        while True:
            state = _look(board, at + STATE)
            if state == DONE:
                failed |= board[at + FAILED]
                _tell(board, at + STATE, WAITING)
                break
            if state != RUNNING and (
                state != ORDERED or _change(board, at + STATE, ORDERED, WAITING)
            ):
                failed |= _run_here(task, frame, board[at + START], board[at + STOP])
                break
            _rest(looks)
            looks += 1
    return failed


@kernel_with(nogil=True)
def serve(board, at, counter, seen, looks, after):  # type: ignore[no-untyped-def]
    """Wait awake: run what is posted in a slot, until a counter, (1,), is not what was seen.

    Or until there was nothing for so many looks. After the counter changed there are `after` more:
    whoever changed it still holds the interpreter lock, and to ask for that too early means to
    sleep until it is handed over.
    """
    _tell(board, at + STATE, WAITING)
    left = looks
    while True:
        state = _look(board, at + STATE)
        if state == ORDERED and _change(board, at + STATE, ORDERED, RUNNING):
            board[at + FAILED] = _run_posted(board, at)
            _tell(board, at + STATE, DONE)
            left = looks
        told = _look(counter, 0) != seen
        leaving = state == WAITING and (told or left <= 0)
        if leaving and _change(board, at + STATE, WAITING, AWAY if told else ASLEEP):
            break
        _rest(-left)
        left -= 1
    if told:
        for _ in range(after):
            _rest(0)


@kernel_with(nogil=True)
def watch(counter, seen, looks, after):  # type: ignore[no-untyped-def]
    """Wait awake for a counter to change, as :func:`serve` does."""
    for _ in range(looks):
        if _look(counter, 0) != seen:
            for _ in range(after):
                _rest(0)
            return
        _rest(0)


_known: list[Any] = []


def name_what_doors_use() -> None:
    """Tell the linker what doors refer to; before any of them is compiled or loaded."""
    if not _known:
        name_what_numpy_has()
        work = stored(_work_together, no_cpython_wrapper=True, no_cfunc_wrapper=True)
        work.compile(WORK_TAKES)
        (code,) = work.overloads.values()
        address = code.library.get_pointer_to_function(code.fndesc.llvm_func_name)
        add_symbol(WORK_TOGETHER, address)
        _known.append(code)


def _opened(kernel: Any, *kinds: Any) -> Callable[..., object]:
    name_what_doors_use()
    kernel.compile(kinds)
    return open_door(kernel.overloads[kinds])


@cache
def server() -> Callable[..., object]:
    """Return :func:`serve`, compiled."""
    words = target(types.int64, 1)
    return _opened(serve, words, types.intp, words, *3 * (types.intp,))


@cache
def watcher() -> Callable[..., object]:
    """Return :func:`watch`, compiled."""
    return _opened(watch, target(types.int64, 1), *3 * (types.intp,))
