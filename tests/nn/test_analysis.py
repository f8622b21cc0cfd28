"""Measures of heads, each against its definition written as a loop."""

import builtins
import math
from typing import Any

import numpy as np
import pytest

import tinygrad_mha as tm
from tests.support import require
from tinygrad_mha import nn
from tinygrad_mha.nn import analysis

N, H, T = 2, 3, 5


def weights(causal: bool = True, blind: bool = True) -> np.ndarray:
    """Rows with the sum 1, and some that see nothing."""
    mha = nn.MultiHeadAttention(12, H).double()
    seen = np.ones((N, T, T), bool)
    if blind:
        seen[0, 3] = False
    x = tm.randn(N, T, 12, dtype="float64") * 3
    _, w = mha(x, mask=tm.Tensor(seen), is_causal=causal, need_weights=True)
    return w.data


def by_loop(w: np.ndarray, row: Any) -> np.ndarray:
    """Average of what `row(i, alpha)` gives, over sighted rows for which it gives anything."""
    found = []
    for head in range(w.shape[1]):
        values = [
            row(i, w[n, head, i])
            for n in range(len(w))
            for i in range(w.shape[2])
            if w[n, head, i].any()
        ]
        found.append(np.mean([v for v in values if v is not None]))
    return np.array(found)


def bits(alpha: np.ndarray) -> float:
    return -sum(a * math.log2(a) for a in alpha if a > 0)


DEFINITIONS: dict[str, tuple[Any, Any]] = {
    "entropy": (analysis.entropy, lambda i, a: bits(a)),
    "distance": (
        analysis.distance,
        lambda i, a: sum(x * abs(i - j) for j, x in enumerate(a)),
    ),
    "self": (analysis.share_on_self, lambda i, a: a[i]),
    "previous": (analysis.share_on_previous, lambda i, a: a[i - 1] if i else None),
    "next": (lambda w: analysis.share_at(w, 1), lambda i, a: a[i + 1] if i + 1 < T else None),
    "first": (analysis.share_on_first, lambda i, a: a[0] if i else None),
    "induction": (lambda w: analysis.induction(w, 2), lambda i, a: a[i - 1] if i > 1 else None),
}


@pytest.mark.parametrize("name", DEFINITIONS)
@pytest.mark.parametrize("causal", [False, True])
def test_measures_are_their_definitions(name: str, causal: bool) -> None:
    measure, row = DEFINITIONS[name]
    w = weights(causal)
    np.testing.assert_allclose(measure(w), by_loop(w, row), rtol=1e-12)
    np.testing.assert_allclose(measure(tm.Tensor(w)), measure(w))
    np.testing.assert_allclose(measure(w[1]), by_loop(w[1:], row), rtol=1e-12)


def test_entropy_per_visible_key() -> None:
    uniform = np.tri(4) / np.arange(1, 5)[:, None]
    np.testing.assert_allclose(analysis.entropy(uniform[None, 1:], normalized=True), 1.0)
    assert analysis.entropy(np.eye(4)[None], normalized=True) == 0


def test_queries_of_a_cache_are_the_last() -> None:
    last = np.zeros((1, 2, 5))
    last[0, 0, 3] = last[0, 1, 4] = 1
    assert analysis.share_on_self(last).tolist() == [1.0]
    assert analysis.distance(last).tolist() == [0.0]
    assert analysis.share_on_previous(np.roll(last, -1, 2)).tolist() == [1.0]


def test_heads_that_see_nothing_measure_zero() -> None:
    nothing = np.zeros((1, 2, 3, 3))
    for measure, _ in DEFINITIONS.values():
        assert measure(nothing).tolist() == [0.0, 0.0]
    assert analysis.similarity(nothing).tolist() == [[1.0, 0.0], [0.0, 1.0]]
    assert analysis.share_at(weights(), 99).tolist() == [0.0] * H


def test_similarity_is_by_jensen_and_shannon() -> None:
    w = weights()
    found = analysis.similarity(w)
    values = []
    for n in range(N):
        for i in range(T):
            a, b = w[n, 0, i], w[n, 1, i]
            if a.any():
                values.append(1 - (bits((a + b) / 2) - (bits(a) + bits(b)) / 2))
    assert found[0, 1] == pytest.approx(np.mean(values), rel=1e-10)
    np.testing.assert_array_equal(found, found.T)
    assert ((found >= 0) & (found <= 1)).all()


def test_importance_of_heads() -> None:
    mha = nn.MultiHeadAttention(8, 4).double()
    mha.W_o.data[:, 2:4] = 0  # what head 1 finds is not read
    x, seed = (tm.randn(2, 3, 8, dtype="float64") for _ in range(2))

    def loss(gates: tm.Tensor) -> tm.Tensor:
        return (mha(x, head_mask=gates) * seed).sum()

    by_gate = analysis.gate_importance(loss, 4, dtype=np.float64)
    by_ablation = analysis.ablation_importance(loss, 4, dtype=np.float64)
    np.testing.assert_allclose(by_gate, by_ablation, atol=1e-10, err_msg="this loss is linear")
    assert by_gate[1] == 0
    assert (by_gate[[0, 2, 3]] != 0).all()


def test_ablation_and_gates_differ_where_the_loss_bends() -> None:
    def loss(g: tm.Tensor) -> tm.Tensor:
        return (g * g).sum()

    np.testing.assert_allclose(analysis.gate_importance(loss, 2), [-2, -2])
    np.testing.assert_allclose(analysis.ablation_importance(loss, 2), [-1, -1])


def test_a_summary_says_it_in_text_and_html() -> None:
    w = weights()
    table = analysis.summary(w, importance=[0.5, 1.5, -2.0])
    assert table.num_heads == H
    assert table.rows()[2]["importance"] == -2
    text = table.text().splitlines()
    assert len(text) == 1 + H
    assert len({len(line) for line in text}) == 1, "columns are aligned"
    assert str(table) == table.text()
    assert f"{analysis.entropy(w)[1]:.3f}" in text[2]
    assert table.html().count("<tr>") == 1 + H
    assert "<th>importance</th>" in table._repr_html_()
    assert "&lt;b&gt;" in analysis.summary(w, **{"<b>": np.zeros(H)}).html()


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: analysis.entropy(np.ones((3, 3))), r"weights has shape \(3, 3\), expected"),
        (lambda: analysis.summary(weights(), extra=[1.0]), r"extra has shape \(1,\)"),
        (lambda: analysis.induction(weights(), T), "period is 5"),
        (lambda: analysis.induction(weights(), 0), "period is 0"),
        (lambda: analysis.induction(weights()[..., :4], 2), "expected"),
    ],
)
def test_wrong_arguments(call: Any, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        call()


def test_plots() -> None:
    require.module("matplotlib")
    figure = analysis.plot_weights(weights(), list("abcde"), item=1)
    with pytest.raises(ValueError, match="2 tokens for 5 keys"):
        analysis.plot_weights(weights(), ["a", "b"])
    assert [axis.get_title() for axis in figure.axes] == ["head 0", "head 1", "head 2"]
    figure.canvas.draw()
    analysis.plot_weights(weights()[:, :, :2], list("abcde")).canvas.draw()
    analysis.plot_similarity(weights()).canvas.draw()


def test_plots_without_matplotlib_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r"tinygrad-mha\[plots\]"):
        analysis.plot_weights(weights())


def test_weights_of_no_keys() -> None:
    table = analysis.summary(np.zeros((2, 3, 4, 0)))
    assert not any(column.any() for column in table.columns.values())


def test_what_a_module_returned_is_taken_apart() -> None:
    found = nn.MultiHeadAttention(8, 2)(tm.randn(1, 3, 8), need_weights=True)
    with pytest.raises(TypeError, match=r"weights is a tuple.*give the second"):
        analysis.summary(found)
