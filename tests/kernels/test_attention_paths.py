"""Fused operations and the steps that they stand for: the same numbers, forward and backward."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest

import tinygrad_mha as tm
from tests.support.cases import CASES, Case, assert_close
from tinygrad_mha import kernels
from tinygrad_mha.viz.replay import ancestors
from tinygrad_mha.viz.unfold import unfold

attend = tm.nn.functional.scaled_dot_product_attention
each_fused = pytest.mark.parametrize(
    "case", [case for case in CASES if case.op.steps], ids=lambda case: case.name
)

SOME = np.random.default_rng(3).random((70, 90)) < 0.5
SOME[2] = False
ADDED = np.where(SOME, np.linspace(-1, 1, 90), -np.inf)
LIMITS: list[dict[str, Any]] = [
    {},
    {"is_causal": True, "scale": 0.7},
    {"attn_mask": tm.Tensor(SOME)},
    {"attn_mask": tm.Tensor(np.stack([SOME, ~SOME])[:, None]), "is_causal": True},
    {"attn_mask": tm.Tensor(ADDED)},
    {"attn_mask": tm.Tensor(ADDED[:1].astype(np.float32)), "is_causal": True},
    {"dropout_p": 0.3, "attn_mask": tm.Tensor(SOME)},
]


def gradients(out: tm.Tensor, inputs: list[tm.Tensor]) -> list[np.ndarray]:
    return [g.data for g in tm.autograd.grad((out * out).sum(), inputs)]


@each_fused
def test_an_operation_is_its_steps(case: Case) -> None:
    tensors = case.tensors()
    fused = case.run(*tensors)
    omitted = [None] * (len(case.op.input_names) - len(tensors))
    steps = case.op.steps(*tensors, *omitted, *case.params.values())
    assert fused.grad_fn.op is case.op
    assert steps.grad_fn.op is not case.op
    assert_close(steps.data, fused.data)
    wanted = [tensors[i] for i in case.differentiable]
    for a, b in zip(gradients(steps, wanted), gradients(fused, wanted), strict=True):
        assert_close(a, b)


@pytest.mark.parametrize("limits", LIMITS, ids=lambda limits: "-".join(limits) or "none")
def test_long_sequences_too(limits: dict[str, Any]) -> None:
    rng = np.random.default_rng(0)
    shapes = ((2, 3, 70, 4), (3, 90, 4), (2, 1, 90, 5))
    q, k, v = (tm.Tensor(rng.standard_normal(shape), True) for shape in shapes)
    out = attend(q, k, v, **limits)
    (steps,) = unfold([out])
    assert (out.grad_fn.name, steps.grad_fn.name) == ("attention", "matmul")
    np.testing.assert_allclose(out.data, steps.data, rtol=1e-12, atol=1e-12)
    for a, b in zip(gradients(out, [q, k, v]), gradients(steps, [q, k, v]), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("sizes", [(5, 7, 4, 3), (97, 400, 8, 17), (200, 90, 33, 16)], ids=str)
def test_dropout_in_the_kernel_is_its_twins(sizes: Any, causal: bool, dtype: Any) -> None:
    rng, (length, keys, width, deep) = np.random.default_rng(0), sizes
    shapes = ((2, 3, length, width), (3, keys, width), (2, 1, keys, deep), (2, 3, length, deep))
    q, k, v, dout = (rng.standard_normal(shape).astype(dtype) for shape in shapes)
    how = {"causal": causal, "scale": 0.3, "dropout": 0.4, "seed": 2**40 + 5}
    out, lse = kernels.attention(q, k, v, **how)
    grown = kernels.attention_backward(dout, q, k, v, out, lse, **how)
    exact = [x.astype(np.float64) for x in (q, k, v, dout)]
    with kernels.use_backend("numpy"):
        true, true_lse = kernels.attention(*exact[:3], **how)
        wanted = kernels.attention_backward(exact[3], *exact[:3], true, true_lse, **how)
    tolerance = 1e-5 if dtype is np.float32 else 1e-12
    for a, b in zip((out, lse, *grown), (true, true_lse, *wanted), strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=20 * tolerance)


@pytest.mark.parametrize("dropout", [0.0, 0.25, 1.0])
def test_how_many_are_kept(dropout: float) -> None:
    kept = kernels.kept((4, 250, 200), dropout, 3)
    assert kept.mean() == pytest.approx(1 - dropout, abs=0.005)
    # rows and columns are no more alike than chance has it
    apart = kept.reshape(1000, 200) - kept.mean()
    alike = np.abs(apart[1:] * apart[:-1]).mean() if dropout in (0.0, 1.0) else 0.0
    assert alike == 0
    together = (apart[1:] * apart[:-1]).mean() + (apart[:, 1:] * apart[:, :-1]).mean()
    assert abs(together) < 0.005


@pytest.mark.parametrize("threads", [2, 3])
@pytest.mark.parametrize("batch", [(1,), (3,), (8,)], ids=str)
@pytest.mark.parametrize("limits", [{}, {"causal": True}, {"dropout": 0.3, "seed": 5}])
def test_threads_change_nothing_but_the_last_digits(
    limits: dict[str, Any], batch: Any, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tinygrad_mha.kernels import compiled

    monkeypatch.setattr(compiled, "PARALLEL_PRODUCTS", 0)
    rng = np.random.default_rng(0)
    q, k, v, dout = (rng.standard_normal((*batch, n, 8)) for n in (300, 410, 410, 300))

    def run(count: int) -> list[np.ndarray]:
        tm.set_num_threads(count)
        out, lse = kernels.attention(q, k, v, scale=0.3, **limits)
        return [out, *kernels.attention_backward(dout, q, k, v, out, lse, scale=0.3, **limits)]

    before = tm.get_num_threads()
    try:
        one, several, again = run(1), run(threads), run(threads)
    finally:
        tm.set_num_threads(before)
    for a, b, c in zip(one, several, again, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-12)
        assert np.array_equal(b, c)
    assert np.array_equal(one[0], several[0])


@pytest.mark.parametrize("shapes", [((3, 4), (5, 4)), ((2, 1, 70, 8), (3, 90, 8))], ids=str)
@pytest.mark.parametrize("threads", [1, 2])
def test_additive_scores_block_by_block(
    shapes: Any, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tinygrad_mha.kernels import additive

    monkeypatch.setattr(additive, "BLOCK", 5000)
    monkeypatch.setattr(additive, "PARALLEL", 0)
    rng = np.random.default_rng(1)
    q, k = (rng.standard_normal(shape) for shape in shapes)
    w = rng.standard_normal(q.shape[-1])
    before = tm.get_num_threads()
    try:
        tm.set_num_threads(threads)
        found = kernels.additive_scores(q, k, w)
        dy = rng.standard_normal(found.shape)
        gradients = kernels.additive_scores_backward(dy, q, k, w)
    finally:
        tm.set_num_threads(before)
    with kernels.use_backend("numpy"):
        wanted = (kernels.additive_scores(q, k, w), *kernels.additive_scores_backward(dy, q, k, w))
    for a, b in zip((found, *gradients), wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-11)


_drawn = np.random.default_rng(2)
LIMITS: dict[str, dict[str, Any]] = {
    "none": {},
    "causal": {"causal": True},
    "rows": {"mask": _drawn.random((70, 1)) < 0.7},
    "keys": {"mask": _drawn.random(90) < 0.5},
    "items": {"mask": _drawn.random((3, 1, 90)) < 0.5},
    "each": {"mask": _drawn.random((2, 3, 70, 90)) < 0.5},
    "nothing": {"mask": np.zeros((1, 1), bool)},
    "added": {"bias": np.where(_drawn.random((2, 1, 70, 90)) < 0.5, 0.5, -np.inf)},
    "both": {"bias": _drawn.standard_normal((70, 90)), "mask": _drawn.random((3, 70, 1)) < 0.5},
    "dropped": {"dropout": 0.3, "seed": 5, "causal": True},
    "all dropped": {"dropout": 1.0, "seed": 5},
}


@pytest.mark.parametrize("limits", LIMITS.values(), ids=LIMITS)
@pytest.mark.parametrize("blocks", [2**7, 2**12, 2**20])
@pytest.mark.parametrize("threads", [1, 2])
def test_additive_attention_block_by_block(
    limits: dict[str, Any], blocks: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tinygrad_mha.kernels import additive, blockwise

    monkeypatch.setattr(additive, "BLOCK", 4 * blocks)
    monkeypatch.setattr(blockwise, "SCORES", blocks)
    monkeypatch.setattr(blockwise, "PARALLEL", 0)
    rng = np.random.default_rng(1)
    shapes = (2, 1, 70, 4), (3, 90, 4), (4,), (2, 1, 90, 5)
    q, k, w, v = (rng.standard_normal(shape) for shape in shapes)
    dy = rng.standard_normal((2, 3, 70, 5))

    def run() -> list[Any]:
        out, lse = kernels.additive_attention(q, k, w, v, **limits)
        return [out, lse, *kernels.additive_attention_backward(
            dy, q, k, w, v, out, lse, **limits, scores_too=True
        )]  # fmt: skip

    before = tm.get_num_threads()
    try:
        tm.set_num_threads(threads)
        found = run()
    finally:
        tm.set_num_threads(before)
    with kernels.use_backend("numpy"):
        wanted = run()
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize(
    "shapes", [((0, 3, 2), (0, 4, 2)), ((2, 0, 2), (2, 4, 2)), ((2, 3, 2), (2, 0, 2))], ids=str
)
def test_additive_attention_of_nothing(shapes: Any) -> None:
    q, k = (tm.randn(*shape, requires_grad=True) for shape in shapes)
    out = tm.nn.functional.additive_attention(q, k, tm.ones(2), k)
    assert out.shape == q.shape
    assert not out.data.any()
    for d, x in zip(tm.autograd.grad(out.sum(), [q, k]), (q, k), strict=True):
        assert d is not None
        assert d.shape == x.shape
        assert not d.data.any()


@pytest.mark.parametrize("limit", [{}, {"is_causal": True}, {"mask": tm.Tensor(SOME[:5, :5])}])
def test_weights_of_ones_own_are_those_of_each_head(limit: dict[str, Any]) -> None:
    """Output and weights in one pass, or head by head: numbers, first and second derivatives."""
    mha, x = tm.nn.MultiHeadAttention(6, 2).double(), tm.randn(2, 5, 6).double()
    x.requires_grad_()
    found = []
    for method in ("fused", "formula"):
        mha.method = method
        out, weights = mha(x, need_weights=True, **limit)
        if method == "fused":
            assert weights.grad_fn.name == "self_attention_weights"
        loss = (out * out).sum() + (weights * weights).sum()
        first = tm.autograd.grad(loss, [x, *mha.parameters()], create_graph=True)
        second = tm.autograd.grad((first[0] * first[0]).sum(), [x, mha.W_q])
        found.append([out, weights, *first, *second])
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a.data, b.data, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("others", [False, True])
@pytest.mark.parametrize("attention", ["dot", "additive"])
def test_asking_for_the_weights_changes_nothing(attention: str, others: bool) -> None:
    mha = tm.nn.MultiHeadAttention(6, 2, dropout=0.5, attention=attention)
    x = tm.randn(2, 5, 6)
    given = (x, tm.randn(2, 7, 6)) if others else (x,)
    tm.manual_seed(0)
    alone = mha(*given)
    tm.manual_seed(0)
    out, weights = mha(*given, need_weights=True)
    np.testing.assert_allclose(alone.data, out.data, rtol=1e-5, atol=1e-6)
    assert attention == "additive" or np.array_equal(alone.data, out.data)
    np.testing.assert_allclose(weights.data.sum(-1), 1, rtol=1e-6)  # before dropout


def test_steps_that_two_results_share_are_shown_once() -> None:
    mha, x = tm.nn.MultiHeadAttention(6, 2), tm.randn(2, 5, 6)
    out, weights = unfold(list(mha(x, need_weights=True)))
    names = [node.op.name for node in ancestors([out, weights])]
    assert [names.count(name) for name in ("linear", "dot_scores", "softmax")] == [4, 1, 1]
    # another call has steps of its own, though it computes the same
    apart = unfold([mha(x), mha(x)])
    assert [node.op.name for node in ancestors(apart)].count("dot_scores") == 2


@pytest.mark.skipif(kernels.backend() == "numpy", reason="the twins go through whole matrices")
@pytest.mark.parametrize("kind", ["dot", "additive"])
def test_memory_grows_with_the_length_and_not_with_its_square(kind: str) -> None:
    length, a = 1024, 64
    q, k = (tm.randn(1, 1, length, a, requires_grad=True) for _ in range(2))
    w = tm.randn(a, requires_grad=True)
    by_addition = tm.nn.functional.additive_attention

    def step() -> None:
        out = attend(q, k, k) if kind == "dot" else by_addition(q, k, w, k)
        out.sum().backward()

    before = tm.get_num_threads()
    tm.set_num_threads(1)  # each more has a gradient of its own for the keys that it shares
    try:
        step()  # loads the kernels, and what loads them
        q.grad = k.grad = w.grad = None
        tracemalloc.start()
        step()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        tm.set_num_threads(before)
    one = q.data.nbytes
    # scores are (L, S), as large as 16 inputs; tanh(q + k) would be 1,024 inputs
    assert peak < 12 * one


@pytest.mark.parametrize("name", ["attention", "self_attention"])
def test_an_output_that_was_written_to_is_found_out(name: str) -> None:
    """The gradient needs the output: what was written into it would make it silently wrong."""
    mha, x = tm.nn.MultiHeadAttention(4, 2), tm.randn(1, 3, 4, requires_grad=True)
    given = [x, x, x] if name == "attention" else [x, mha.W_q, mha.W_k, mha.W_v]
    out = getattr(tm.nn.functional, name)(*given)
    out.mul_(2)
    with pytest.raises(RuntimeError, match="saved for its gradient"):
        out.sum().backward()


def test_a_mask_can_be_learned() -> None:
    bias = tm.zeros(7, 9, requires_grad=True)
    x, y = tm.randn(7, 4), tm.randn(9, 4)
    attend(x, y, y, attn_mask=bias).sum().backward()
    assert bias.grad is not None
    assert bias.grad.shape == (7, 9)


def test_dropout_is_the_seeds() -> None:
    x = tm.randn(2, 40, 8, requires_grad=True)

    def run(seed: int) -> list[np.ndarray]:
        tm.manual_seed(seed)
        out = attend(x, x, x, dropout_p=0.5)
        return [out.data, *gradients(out, [x])]

    first, again, other = run(1), run(1), run(2)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0], other[0])
