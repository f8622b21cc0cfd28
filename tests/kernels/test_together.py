"""Threads that share a kernel without asking Python: who runs what, and that it is all the same."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from numba import types

from tinygrad_mha import kernels
from tinygrad_mha.kernels import compiled, rows, team
from tinygrad_mha.kernels.door import open_door
from tinygrad_mha.kernels.jit import kernel, target
from tinygrad_mha.kernels.ready import kernel_for
from tinygrad_mha.kernels.together import (
    ASLEEP,
    AWAY,
    SLOT,
    WAITING,
    name_what_doors_use,
    new_board,
    server,
)

if kernels.backend() == "numpy":
    pytest.skip("the NumPy backend has no threads of its own", allow_module_level=True)

FLOAT = np.dtype(np.float32)


@pytest.fixture
def shared_softmax() -> Callable[..., bool]:
    return kernel_for(rows.softmax, FLOAT, "together")


@pytest.fixture
def x(rng: Any) -> np.ndarray:
    return rng.standard_normal((7, 100)).astype(FLOAT)


def call(run: Callable[..., bool], board: np.ndarray, x: np.ndarray) -> tuple[bool, np.ndarray]:
    y = np.zeros_like(x)
    return run(board, 4, len(x), x, x, False, y), y


def test_while_somebody_sleeps_nothing_is_done(
    shared_softmax: Callable[..., bool], x: np.ndarray
) -> None:
    done, y = call(shared_softmax, new_board(2), x)
    assert done is False
    assert not y.any()


def test_whoever_has_not_begun_is_not_waited_for(
    shared_softmax: Callable[..., bool], x: np.ndarray
) -> None:
    board = new_board(2)
    board[SLOT] = WAITING  # so it says, but nobody comes
    done, y = call(shared_softmax, board, x)
    assert done is True
    np.testing.assert_array_equal(y, kernels.softmax(x))
    assert board[SLOT] == WAITING


class Server(threading.Thread):
    """Somebody who waits awake in a slot, until told to leave."""

    def __init__(self, board: np.ndarray, looks: int) -> None:
        super().__init__(daemon=True)
        self.counter = np.zeros(1, np.int64)
        self.work = server(), (board, SLOT, self.counter, 0, looks, 1)
        self.start()

    def run(self) -> None:
        serve, arguments = self.work
        serve(*arguments)

    def leave(self) -> None:
        self.counter[0] = 1
        self.join(60)
        assert not self.is_alive()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_who_waits_runs_what_is_posted_and_leaves_when_told(
    shared_softmax: Callable[..., bool], x: np.ndarray
) -> None:
    board = new_board(2)
    other = Server(board, 2**60)
    until(lambda: board[SLOT] == WAITING)
    for _ in range(100):
        done, y = call(shared_softmax, board, x)
        assert done is True
        np.testing.assert_array_equal(y, kernels.softmax(x))
        assert board[SLOT] == WAITING
    other.leave()
    assert board[SLOT] == AWAY


def test_who_waits_for_nothing_falls_asleep() -> None:
    board = new_board(2)
    other = Server(board, 1000)
    other.join(60)
    assert not other.is_alive()
    assert board[SLOT] == ASLEEP


@kernel
def _fails_from_one_on(X, first, last):  # type: ignore[no-untyped-def]
    X[first:last] = 1
    if first > 0:
        raise MemoryError


@pytest.mark.parametrize("there", [True, False], ids=["the other's", "taken back"])
def test_a_range_that_fails_is_an_error(there: bool) -> None:
    name_what_doors_use()
    signature = target(types.float32, 1), types.intp, types.intp
    _fails_from_one_on.compile(signature)
    run = open_door(_fails_from_one_on.overloads[signature], "together")
    board, x = new_board(2), np.zeros(10, FLOAT)
    other = Server(board, 2**60) if there else None
    if other:
        until(lambda: board[SLOT] == WAITING)
    board[SLOT] = WAITING
    with pytest.raises(MemoryError, match="fails_from_one_on"):
        run(board, 5, 10, x)
    assert x.all()  # both ran
    assert board[SLOT] == WAITING
    if other:
        other.leave()


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Two threads that share all they can."""
    if team.cores() < 2:
        pytest.skip("there is one core only, on which nobody waits awake")
    for name in ("PARALLEL_PRODUCTS", "PARALLEL_NUMBERS"):
        monkeypatch.setattr(compiled, name, 0)
    before = kernels.get_num_threads()
    kernels.set_num_threads(2)
    yield
    kernels.set_num_threads(before)


def every_kind(rng: Any) -> list[Callable[[], Any]]:
    a, stack = rng.standard_normal((70, 90)), rng.standard_normal((4, 30, 20))
    w, seen = rng.standard_normal((90, 50)), rng.random((70, 90)) < 0.7
    out, lse = kernels.attention(stack, stack, stack, scale=0.2)
    return [
        lambda: kernels.matmul(a, w),
        lambda: kernels.matmul(a, w, bias=w[0]),
        lambda: kernels.matmul(stack, stack.swapaxes(-1, -2)),
        lambda: kernels.softmax(stack),
        lambda: kernels.softmax(a, mask=seen),
        lambda: kernels.softmax_backward(a, a),
        lambda: kernels.log_softmax(a, 0),
        lambda: kernels.logsumexp(a),
        lambda: kernels.layer_norm(a, w[:, 0], w[:, 1], 1e-5),
        lambda: kernels.gelu(a),
        lambda: kernels.gelu_backward(a, a),
        lambda: kernels.attention(stack, stack, stack, scale=0.2),
        lambda: kernels.attention_weights(stack, stack, scale=0.2),
        lambda: kernels.attention_backward(out, stack, stack, stack, out, lse, scale=0.2),
    ]


def flat(found: Any) -> list[np.ndarray]:
    return [found] if isinstance(found, np.ndarray) else list(found)


def test_it_makes_no_difference_who_hands_over(
    eager: None, monkeypatch: pytest.MonkeyPatch, rng: Any
) -> None:
    board, shared = new_board(2), []
    other = Server(board, 2**60)
    until(lambda: board[SLOT] == WAITING)

    def on_our_board(
        run: Callable[..., bool], given: Any, count: int, threads: int, multiple: int = 1
    ) -> bool:
        share = -(-count // (threads * multiple)) * multiple
        shared.append(run(board, share, count, *given))
        return shared[-1]

    computations = every_kind(rng)
    shared.clear()
    for compute in computations:
        monkeypatch.setattr(compiled, "together", lambda *_: False)
        wanted = flat(compute())
        monkeypatch.setattr(compiled, "together", on_our_board)
        for x, y in zip(flat(compute()), wanted, strict=True):
            np.testing.assert_array_equal(x, y)
    other.leave()
    assert shared == [True] * len(computations)


def test_the_team_is_found_awake(eager: None, monkeypatch: pytest.MonkeyPatch, rng: Any) -> None:
    answers: list[bool] = []

    def watched(*arguments: Any) -> bool:
        answers.append(team.together(*arguments))
        return answers[-1]

    monkeypatch.setattr(compiled, "together", watched)
    a = rng.standard_normal((300, 300)).astype(FLOAT)
    wanted = kernels.matmul(a, a)

    def shares() -> bool:
        np.testing.assert_array_equal(kernels.matmul(a, a), wanted)
        return True in answers

    until(shares)


def test_a_board_that_is_too_small_is_not_written_beyond(
    shared_softmax: Callable[..., bool], x: np.ndarray
) -> None:
    memory = new_board(4)
    memory[2 * SLOT] = memory[3 * SLOT] = WAITING
    y = np.zeros_like(x)
    assert shared_softmax(memory[: 2 * SLOT], 2, len(x), x, x, False, y) is False
    assert memory.sum() == 2 * WAITING
    assert not y.any()


def test_a_kernel_that_declines_a_range_has_not_done_it(
    shared_softmax: Callable[..., bool], x: np.ndarray
) -> None:
    board = new_board(2)
    board[SLOT] = WAITING
    with pytest.raises(MemoryError):
        shared_softmax(board, 4, len(x), x[:, ::2], x[:, ::2], False, np.zeros_like(x[:, ::2]))


def test_fewer_threads_than_ranges_run_all_of_them(eager: None) -> None:
    ranges: list[tuple[int, int]] = []
    team.over_ranges(lambda i, j: ranges.append((i, j)), 100, 4)
    assert sorted(ranges) == [(0, 25), (25, 50), (50, 75), (75, 100)]


def test_an_interrupt_leaves_the_team_free(eager: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted() -> int:
        raise KeyboardInterrupt

    with monkeypatch.context() as context:
        context.setattr(team, "_core", interrupted)
        with pytest.raises(KeyboardInterrupt):
            team.over_ranges(lambda i, j: None, 9, 2)
    done: list[int] = []
    team.over_ranges(lambda i, j: done.append(threading.get_ident()), 9, 2)
    assert not team._busy.locked()


def test_a_process_ends_although_a_thread_of_its_own_still_works() -> None:
    program = (
        "import threading, time\n"
        "from tinygrad_mha.kernels import set_num_threads, team\n"
        "set_num_threads(2)\n"
        "def forever():\n"
        "    while True: team.over_ranges(lambda i, j: time.sleep(0.003), 2, 2)\n"
        "threading.Thread(target=forever, daemon=True).start()\n"
        "time.sleep(0.2)\n"
    )
    for _ in range(3):
        subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_threads_that_end_leave_others_alone(eager: None, rng: Any) -> None:
    a = rng.standard_normal((64, 64))
    wanted = kernels.matmul(a, a)
    for count in (2, 1, 2, 3, 2) * 5:
        kernels.set_num_threads(count)
        for _ in range(3):
            np.testing.assert_array_equal(kernels.matmul(a, a), wanted)
