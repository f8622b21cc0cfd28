"""What surrounds the kernels: backends, threads, processes, the cache on disk."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinygrad_mha import kernels
from tinygrad_mha.kernels import team

PRODUCT = """
import numpy as np, tinygrad_mha as tm
a = np.linspace(-1, 1, 35 * 70, dtype=np.float32).reshape(35, 70)
x = tm.Tensor(a, True)
y = tm.softmax(x @ x.T)
y[:, 3].sum().backward()
print(float(y.data.sum()), float(np.abs(x.grad.data).sum()))
"""


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Python code in a process of its own, which looks for its cache where it does at home."""
    inherited = {k: v for k, v in os.environ.items() if k != "NUMBA_CACHE_DIR"}
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**inherited, **environment},
        cwd=Path(__file__).parents[2],
    )


def numbers(done: subprocess.CompletedProcess[str]) -> list[float]:
    assert done.returncode == 0, done.stderr
    return [float(word) for word in done.stdout.split()[-2:]]


# -- compiled ahead -------------------------------------------------------------------------

AHEAD = """
import numpy as np
from tinygrad_mha import kernels
told = []
with kernels.on_compile(lambda kernel, state, seconds: told.append((kernel, state))):
    kernels.prepare("gelu_tanh")
    y = kernels.gelu(np.ones(3, np.float32), True)
from tinygrad_mha.kernels import elements
hits = sum(elements.gelu_tanh.stats.cache_hits.values())
print(*told, hits, float(y[0]))
"""


def test_another_process_compiles_ahead(tmp_path: Path) -> None:
    first = run(AHEAD, XDG_CACHE_HOME=str(tmp_path), TINYGRAD_MHA_BACKEND="numba")
    assert first.returncode == 0, first.stderr
    waited = "('gelu_tanh', 'start') ('gelu_tanh', 'done') 1 0.841"
    alone = "('gelu_tanh', 'start') ('gelu_tanh', 'done') 0 0.841"  # where there is one core
    assert first.stdout.startswith(waited if (os.cpu_count() or 1) > 1 else alone), first.stdout
    again = run(
        AHEAD, XDG_CACHE_HOME=str(tmp_path), TINYGRAD_MHA_BACKEND="numba"
    )  # from the cache, with nothing to wait for
    assert again.stdout.startswith("1 0.841"), again.stdout


def test_only_kernels_can_be_prepared() -> None:
    with (
        kernels.use_backend("numba"),
        pytest.raises(ValueError, match="no kernel \\['tuba'\\], only \\['adamw', "),
    ):
        kernels.prepare("tuba")


# -- backends -------------------------------------------------------------------------------


def test_backend_of_a_block_ends_with_it() -> None:
    before = kernels.backend()
    with kernels.use_backend("numpy"):
        assert kernels.backend() == "numpy"
        with kernels.use_backend("numba"):
            assert kernels.backend() == "numba"
    assert kernels.backend() == before


def test_backend_is_each_threads_own() -> None:
    seen = []
    with kernels.use_backend("numpy"):
        other = threading.Thread(target=lambda: seen.append(kernels.backend()))
        other.start()
        other.join()
    assert seen == [os.environ.get("TINYGRAD_MHA_BACKEND", "numba")]


def test_unknown_backends_are_named() -> None:
    with pytest.raises(ValueError, match="'fortran' is not one of"), kernels.use_backend("fortran"):
        pass
    done = run("import tinygrad_mha", TINYGRAD_MHA_BACKEND="fortran")
    assert "TINYGRAD_MHA_BACKEND is 'fortran'" in done.stderr


def test_both_backends_agree_in_processes_of_their_own() -> None:
    compiled = numbers(run(PRODUCT, TINYGRAD_MHA_BACKEND="numba"))
    plain = numbers(run(PRODUCT, TINYGRAD_MHA_BACKEND="numpy"))
    assert compiled == pytest.approx(plain, rel=1e-5)


def test_numba_is_imported_only_when_a_kernel_runs() -> None:
    done = run("import sys, tinygrad_mha; print('numba' in sys.modules)")
    assert done.stdout.strip() == "False", done.stderr


#: Features are needed too: with a name alone, numba keeps those of the processor it runs on.
CPUS = {"generic": "", "haswell": "+avx,+avx2,+fma,+bmi,+bmi2,+f16c,+popcnt,+lzcnt"}


@pytest.mark.parametrize("cpu", CPUS)
def test_other_processors_compute_the_same(cpu: str, tmp_path: Path) -> None:
    environment = {"NUMBA_CPU_NAME": cpu, "NUMBA_CPU_FEATURES": CPUS[cpu]}
    other = numbers(run(PRODUCT, XDG_CACHE_HOME=str(tmp_path), **environment))
    assert other == pytest.approx(numbers(run(PRODUCT)), rel=1e-5)


REGISTERS = """
import numpy as np
from tinygrad_mha import kernels
from tinygrad_mha.kernels import matrix, simd
kernels.matmul(np.ones((8, 64), np.float32), np.ones((64, 128), np.float32))
code = "".join(matrix.product.dispatcher.inspect_asm().values())
print(simd.REGISTER_BYTES, *(code.count("%" + name) for name in ("xmm", "ymm", "zmm")))
"""


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="x86's registers")
@pytest.mark.parametrize("cpu", ["this one", *CPUS])
def test_kernels_use_the_registers_that_there_are(cpu: str, tmp_path: Path) -> None:
    other = {"NUMBA_CPU_NAME": cpu, "NUMBA_CPU_FEATURES": CPUS[cpu]} if cpu in CPUS else {}
    fresh = {"XDG_CACHE_HOME": str(tmp_path), "TINYGRAD_MHA_BACKEND": "numba"}
    done = run(REGISTERS, **fresh, **other)
    assert done.returncode == 0, done.stderr
    size, *used = map(int, done.stdout.split())
    mine = {16: 0, 32: 1, 64: 2}[size]
    assert used[mine] > sum(used) / 2
    assert not any(used[mine + 1 :]), "wider than what the kernels were written for"


# -- cache ----------------------------------------------------------------------------------


def test_a_damaged_cache_is_made_anew(tmp_path: Path) -> None:
    first = numbers(run(PRODUCT, XDG_CACHE_HOME=str(tmp_path)))
    files = [f for f in tmp_path.rglob("*") if f.suffix in (".nbc", ".nbi")]
    if not files and os.environ.get("TINYGRAD_MHA_BACKEND") == "numpy":
        pytest.skip("the NumPy backend compiles nothing")
    assert files
    for i, file in enumerate(sorted(files)):
        content = file.read_bytes()
        file.write_bytes(b"" if i % 3 == 0 else content[: len(content) // 2])
    assert numbers(run(PRODUCT, XDG_CACHE_HOME=str(tmp_path))) == first
    assert numbers(run(PRODUCT, XDG_CACHE_HOME=str(tmp_path))) == first


def test_a_start_from_the_cache_loads_no_compiler(tmp_path: Path) -> None:
    code = PRODUCT + "import sys; print(int('numba.np.linalg' in sys.modules), 0)\n"
    places = {"XDG_CACHE_HOME": str(tmp_path), "TINYGRAD_MHA_BACKEND": "numba"}
    assert numbers(run(code, **places)) == [1, 0]
    assert numbers(run(code, **places)) == [0, 0]
    # what is not in the cache is compiled beside what is
    more = code + "print(float(tm.logsumexp(x, 0).sum().data), 0)"
    assert numbers(run(more, **places)) == pytest.approx(numbers(run(more, **places)))


def test_the_cache_is_private(tmp_path: Path) -> None:
    numbers(run(PRODUCT, XDG_CACHE_HOME=str(tmp_path), TINYGRAD_MHA_BACKEND="numba"))
    (folder,) = (tmp_path / "tinygrad_mha").iterdir()
    assert folder.stat().st_mode & 0o077 == 0


@pytest.mark.skipif(os.name != "posix", reason="permissions are told in POSIX's way")
def test_a_cache_that_others_can_write_to_is_not_used(tmp_path: Path) -> None:
    where = "from tinygrad_mha.kernels import jit; print(jit.cache_folder())"
    folder = Path(run(where, XDG_CACHE_HOME=str(tmp_path)).stdout.strip())
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o777)
    done = run(PRODUCT, XDG_CACHE_HOME=str(tmp_path), TINYGRAD_MHA_BACKEND="numba")
    numbers(done)
    assert "can be written to by, another user" in done.stderr
    assert not list(folder.rglob("*.nbi"))


def test_without_a_place_for_the_cache_it_runs_and_warns_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way of a folder")
    done = run(
        PRODUCT, XDG_CACHE_HOME=str(tmp_path / "file"), HOME="/nonexistent",
        TINYGRAD_MHA_BACKEND="numba",
    )  # fmt: skip
    numbers(done)
    assert done.stderr.count("compiled kernels cannot be kept") == 1
    assert "Set NUMBA_CACHE_DIR, or else XDG_CACHE_HOME" in done.stderr


STATES = ("start", "done")
FIRST = ("work_together", "product", "pack", "matmul")


def test_compilation_is_announced(tmp_path: Path) -> None:
    done = run(
        "from tinygrad_mha import kernels\nimport numpy as np\n"
        "with kernels.on_compile(lambda k, s, t: print(k, s)):\n"
        "    kernels.matmul(np.ones((2, 2)), np.ones((2, 2)))\n",
        XDG_CACHE_HOME=str(tmp_path),
        TINYGRAD_MHA_BACKEND="numba",
    )
    wanted = [f"{name} {state}" for name in FIRST for state in STATES]
    assert done.stdout.splitlines() == wanted, done.stderr  # what it shares with others first


# -- threads and processes --------------------------------------------------------------------


@pytest.fixture
def eager_threads(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Share even the smallest work among threads."""
    if kernels.backend() == "numpy":
        pytest.skip("the NumPy backend has no threads of its own")
    from tinygrad_mha.kernels import compiled

    monkeypatch.setattr(compiled, "PARALLEL_PRODUCTS", 0)
    monkeypatch.setattr(compiled, "PARALLEL_NUMBERS", 0)
    before = kernels.get_num_threads()
    yield
    kernels.set_num_threads(before)


@pytest.mark.parametrize("count", [1, 2, 3, 5])
@pytest.mark.parametrize("rows", [1, 2, 5, 6, 7, 31, 64])
def test_any_number_of_threads_computes_the_same(
    count: int, rows: int, eager_threads: None, rng: Any
) -> None:
    a, b = rng.standard_normal((rows, 33)), rng.standard_normal((33, 19))
    stack = rng.standard_normal((5, rows, 33))
    kernels.set_num_threads(count)
    np.testing.assert_allclose(kernels.matmul(a, b), a @ b, atol=1e-12)
    np.testing.assert_allclose(kernels.matmul(stack, b), stack @ b, atol=1e-12)
    assert np.array_equal(kernels.softmax(a), kernels.softmax(a))
    out, lse = kernels.attention(stack, stack, stack, scale=0.2)
    grown = kernels.attention_backward(out, stack, stack, stack, out, lse, scale=0.2)
    kernels.set_num_threads(1)
    assert np.array_equal(kernels.attention(stack, stack, stack, scale=0.2)[0], out)
    alone = kernels.attention_backward(out, stack, stack, stack, out, lse, scale=0.2)
    assert all(map(np.array_equal, grown, alone))
    kernels.set_num_threads(count)
    _, dw, db = kernels.layer_norm_backward(
        a, a, None, a.mean(-1, keepdims=True), np.ones((rows, 1))
    )
    np.testing.assert_allclose(db, a.sum(0), atol=1e-12)
    assert np.array_equal(
        dw,
        kernels.layer_norm_backward(a, a, None, a.mean(-1, keepdims=True), np.ones((rows, 1)))[1],
    )


def test_several_python_threads_at_once(eager_threads: None, rng: Any) -> None:
    a = rng.standard_normal((64, 64))
    kernels.set_num_threads(2)
    expected, wrong = kernels.matmul(a, a), []

    def work() -> None:
        wrong.extend(1 for _ in range(50) if not np.array_equal(kernels.matmul(a, a), expected))

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


def test_an_error_in_a_threads_share_is_raised() -> None:
    def share(start: int, stop: int) -> None:
        if start > 0:
            raise ZeroDivisionError

    before = kernels.get_num_threads()
    kernels.set_num_threads(3)
    try:
        with pytest.raises(ZeroDivisionError):
            team.over_ranges(share, 9, 3)
    finally:
        kernels.set_num_threads(before)


@pytest.fixture
def three_threads() -> Iterator[None]:
    before = kernels.get_num_threads()
    kernels.set_num_threads(3)
    yield
    kernels.set_num_threads(before)


def test_ranges_cover_everything_once_and_start_at_multiples(three_threads: None) -> None:
    for count in (0, 1, 5, 6, 7, 12, 13, 100):
        ranges: list[tuple[int, int]] = []
        team.over_ranges(lambda i, j, into=ranges: into.append((i, j)), count, 3, 6)
        assert [i for r in sorted(ranges) for i in range(*r)] == [*range(count)]
        assert all(start % 6 == 0 for start, _ in ranges)
        assert len(ranges) <= 3
        assert ranges  # of nothing too: a kernel may have arguments to look at


@pytest.mark.parametrize(
    ("work", "threads"), [(0, 1), (99, 1), (100, 2), (149, 2), (150, 3), (10**9, 3)]
)
def test_more_work_is_worth_more_threads(work: int, threads: int, three_threads: None) -> None:
    assert team.threads_for(work, 100) == threads


def test_while_the_team_works_others_run_the_same_ranges_themselves(three_threads: None) -> None:
    begun, go_on = threading.Event(), threading.Event()
    ranges: list[tuple[int, int]] = []

    def busy(start: int, stop: int) -> None:
        begun.set()
        assert go_on.wait(60)

    other = threading.Thread(target=lambda: team.over_ranges(busy, 3, 3))
    other.start()
    assert begun.wait(60)
    team.over_ranges(lambda i, j: ranges.append((i, j)), 9, 3)
    go_on.set()
    other.join()
    assert ranges == [(0, 3), (3, 6), (6, 9)]


def test_who_works_keeps_nothing_afterwards(three_threads: None) -> None:
    class Held:
        pass

    held = Held()
    left = weakref.ref(held)
    team.over_ranges(lambda i, j, held=held: None, 9, 3)
    del held
    deadline = time.monotonic() + 60
    while left() is not None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert left() is None


def test_after_an_interrupt_the_team_is_a_new_one(three_threads: None) -> None:
    def interrupted(start: int, stop: int) -> None:
        if start == 0:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        team.over_ranges(interrupted, 9, 3)
    done: list[int] = []
    team.over_ranges(lambda i, j: done.append(j - i), 9, 3)
    assert sum(done) == 9


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="threads cannot be placed here")
def test_whoever_is_called_runs_on_another_core(three_threads: None) -> None:
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("there is one core only")
    allowed: dict[int, set[int]] = {}

    def look(start: int, stop: int) -> None:
        allowed[start] = os.sched_getaffinity(0)
        time.sleep(0.05)  # so that nobody else takes the other ranges over

    team.over_ranges(look, 9, 3)
    for start in (3, 6):
        assert len(allowed[start]) == len(allowed[0]) - 1


def test_a_process_ends_while_its_threads_still_wait_awake() -> None:
    done = run(
        "import numpy as np\n"
        "from tinygrad_mha import kernels\n"
        "kernels.set_num_threads(2)\n"
        "a = np.ones((512, 512), np.float32)\n"
        "for _ in range(3): kernels.matmul(a, a)\n"
        "print(0, kernels.matmul(a, a)[0, 0])\n"
    )
    assert numbers(done) == [0, 512]


def test_number_of_threads_is_checked() -> None:
    with pytest.raises(ValueError, match="n is 0, expected at least 1"):
        kernels.set_num_threads(0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_after_a_fork_threads_work_again() -> None:
    done = run(
        "import os, numpy as np\n"
        "from tinygrad_mha import kernels\n"
        "kernels.set_num_threads(2)\n"
        "a = np.ones((512, 512), np.float32)\n"
        "assert kernels.matmul(a, a)[0, 0] == 512\n"
        "child = os.fork()\n"
        "assert kernels.matmul(a, a)[511, 511] == 512\n"
        "if child:\n"
        "    print(os.waitpid(child, 0)[1], 0)\n"
    )
    assert numbers(done) == [0, 0]
