"""What people trace by accident, or on purpose: the data is whole, and the same each time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygrad_mha as tm
from tinygrad_mha.nn import functional as F

from .test_lanes import Own, check, weighted

EVIL = '</script><img src=x onerror=alert(1)>"]; x [URL="javascript:alert(1)\x00\u202e\ud800'


def attention(**options: Any) -> Any:
    tm.manual_seed(1)
    return tm.nn.MultiHeadAttention(8, 2, **options)


def x_of(*shape: int, wants: bool = True) -> tm.Tensor:
    numbers = np.random.default_rng(0).standard_normal(shape)
    return tm.Tensor(numbers.astype(np.float32), requires_grad=wants)


def several_outputs() -> tm.viz.Graph:
    mha = attention()
    out, weights = mha(x_of(1, 3, 8), need_weights=True)
    return tm.viz.trace([out, weights, out.sum(), out], mha)


def the_same_output_twice() -> tm.viz.Graph:
    mha = attention()
    loss = weighted(mha(x_of(1, 3, 8)))
    return tm.viz.trace([loss, loss], mha)


def freed() -> tm.viz.Graph:
    mha = attention()
    loss = weighted(mha(x_of(1, 3, 8)))
    loss.backward()
    return tm.viz.trace(loss, mha)


def called_without_gradients() -> tm.viz.Graph:
    with tm.no_grad():
        return tm.viz.trace(attention(), x_of(1, 3, 8))


def called_frozen() -> tm.viz.Graph:
    mha = attention()
    mha.requires_grad_(False)
    graph = tm.viz.trace(mha, x_of(1, 3, 8, wants=False))
    assert not any(p.requires_grad for p in mha.parameters()), "as they were before"
    return graph


def frozen_since() -> tm.viz.Graph:
    mha = attention()
    loss = weighted(mha(x_of(1, 3, 8)))
    mha.requires_grad_(False)
    return tm.viz.trace(loss, mha)


def values_frozen() -> tm.viz.Graph:
    mha = attention()
    for parameter in (mha.W_v, mha.b_v, mha.W_o, mha.b_o):
        parameter.requires_grad_(False)
    return tm.viz.trace(weighted(mha(x_of(1, 3, 8, wants=False))), mha)


def gradient_of_a_gradient() -> tm.viz.Graph:
    mha, x = attention(), x_of(1, 3, 8)
    (gradient,) = tm.autograd.grad((mha(x) ** 2).sum(), [x], create_graph=True)
    return tm.viz.trace((gradient**2).sum(), mha)


def no_items() -> tm.viz.Graph:
    mha = attention()
    return tm.viz.trace(mha(x_of(0, 3, 8)).sum(), mha)


def no_tokens() -> tm.viz.Graph:
    mha = attention(num_kv_heads=1)
    return tm.viz.trace(mha(x_of(1, 0, 8)).sum(), mha)


def no_keys() -> tm.viz.Graph:
    mha = attention()
    return tm.viz.trace(mha(x_of(1, 3, 8), x_of(1, 0, 8)).sum(), mha)


def no_keys_but_an_appended_one() -> tm.viz.Graph:
    mha = attention(add_bias_kv=True)
    return tm.viz.trace(mha(x_of(1, 3, 8), x_of(1, 0, 8)).sum(), mha)


def one_token() -> tm.viz.Graph:
    mha = attention()
    return tm.viz.trace(weighted(mha(x_of(1, 1, 8))), mha, tokens=["a"])


def a_loss_of_nan() -> tm.viz.Graph:
    mha = attention()
    return tm.viz.trace((mha(x_of(1, 3, 8)) * np.nan).sum(), mha)


def a_loss_that_overflows() -> tm.viz.Graph:
    mha = attention()
    with np.errstate(over="ignore"):
        return tm.viz.trace((mha(x_of(1, 3, 8)) * 1e38).sum() * 1e38, mha)


def written_in_place() -> tm.viz.Graph:
    mha = attention()
    out = mha(x_of(1, 3, 8))
    out.mul_(2.0)
    out[0, 0] = 0.0
    return tm.viz.trace(weighted(out), mha)


def written_in_place_between() -> tm.viz.Graph:
    heads = F.split_heads(x_of(1, 3, 8) * 1.0, 2)
    heads.mul_(3.0)
    return tm.viz.trace(weighted(F.merge_heads(F.softmax(heads, -1) * heads)))


def in_float64() -> tm.viz.Graph:
    mha = attention().double()
    return tm.viz.trace(weighted(mha(x_of(1, 3, 8).double())), mha)


def of_two_dtypes() -> tm.viz.Graph:
    mha = attention()
    return tm.viz.trace((mha(x_of(1, 3, 8)) * tm.ones(1, dtype=np.float64)).sum(), mha)


def several_batch_axes() -> tm.viz.Graph:
    own = Own(8, 2)
    return tm.viz.trace(weighted(own(x_of(2, 3, 4, 8))), own, batch=5)


def one_module_twice() -> tm.viz.Graph:
    mha = attention()
    return tm.viz.trace(weighted(mha(mha(x_of(1, 3, 8)))), mha)


def with_dropout() -> tm.viz.Graph:
    mha = attention(dropout=0.5)
    return tm.viz.trace(weighted(mha(x_of(2, 4, 8))), mha)


def hostile_names() -> tm.viz.Graph:
    class Evil(tm.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            setattr(self, EVIL, attention())

        def forward(self, **given: Any) -> Any:
            return getattr(self, EVIL)(given[EVIL])

    model = Evil()
    return tm.viz.trace(model(**{EVIL: x_of(1, 3, 8)}).sum(), model, [EVIL] * 3, title=EVIL)


def many_layers_of_many_heads() -> tm.viz.Graph:
    tm.manual_seed(0)
    gpt = tm.nn.GPT(9, 8, embed_dim=32, num_heads=16, num_layers=24)
    return tm.viz.trace(weighted(gpt(tm.tensor([[1, 2, 3, 4]]))), gpt)


def checkpointed() -> tm.viz.Graph:
    model = Checkpointed()
    loss = weighted(model(x_of(1, 3, 8)))
    loss.backward()
    return tm.viz.trace(loss, model)


class Checkpointed(tm.nn.Module):
    """A module whose attention runs again in backward, and gives out two tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.attention, self.line = attention(dropout=0.3), tm.nn.Linear(8, 8)
        self.hidden = True

    def forward(self, x: tm.Tensor) -> Any:
        def inner(z: tm.Tensor) -> Any:
            return self.attention(z, is_causal=True), self.line(z)

        y = self.line(x)
        tm.manual_seed(7)
        a, b = tm.autograd.checkpoint(inner, y) if self.hidden else inner(y)
        return (a + b) @ b.swapaxes(-1, -2)


#: And whether its lanes can be held against finite numbers.
CASES: list[tuple[Callable[[], tm.viz.Graph], bool]] = [
    (several_outputs, True),
    (the_same_output_twice, True),
    (freed, True),
    (called_without_gradients, True),
    (called_frozen, True),
    (frozen_since, True),
    (values_frozen, True),
    (gradient_of_a_gradient, True),
    (no_items, True),
    (no_tokens, True),
    (no_keys, True),
    (no_keys_but_an_appended_one, True),
    (one_token, True),
    (a_loss_of_nan, False),
    (a_loss_that_overflows, False),
    (written_in_place, True),
    (written_in_place_between, True),
    (in_float64, True),
    (of_two_dtypes, True),
    (several_batch_axes, True),
    (one_module_twice, True),
    (with_dropout, True),
    (hostile_names, True),
    (many_layers_of_many_heads, True),
    (checkpointed, True),
]


@pytest.mark.parametrize(("make", "finite"), CASES, ids=[make.__name__ for make, _ in CASES])
def test_every_form_of_it_can_be_had_and_read_again(
    make: Callable[[], tm.viz.Graph], finite: bool
) -> None:
    graph = make()
    assert graph.heads
    for found in graph.heads:
        assert found.proof.holds == finite, found.proof
        assert found.proof.checkable == finite
    text = graph.to_json()
    again = tm.viz.Graph.from_json(text)
    assert again.to_json() == text
    for heads in ("lanes", "fused"):
        for direction in ("forward", "backward", "both"):
            dot = graph.to_dot(heads=heads, direction=direction)
            assert again.to_dot(heads=heads, direction=direction) == dot
    assert again.to_html() == graph.to_html()
    assert again.table() == graph.table()
    graph.to_svg()


@pytest.mark.parametrize("make", [one_token, in_float64, checkpointed, no_keys])
def test_made_anew_it_is_the_same(make: Callable[[], tm.viz.Graph]) -> None:
    assert make().to_json() == make().to_json()


def test_a_checkpoint_is_seen_into() -> None:
    model = Checkpointed()
    seen, plain = [], []
    for hidden, found in ((True, seen), (False, plain)):
        model.hidden = hidden
        graph = tm.viz.trace(weighted(model(x_of(1, 3, 8))), model)
        check(graph, 2)
        found += [graph.heads[0].lanes, [m.path for m in graph.data.modules]]
        found.append({v.name: v.gradient for v in graph.data.vertices if v.kind != "op"})
    assert seen == plain
    model.hidden = True
    loss = weighted(model(x_of(1, 3, 8)))
    assert "Checkpoint" in {v.name for v in tm.viz.trace(loss, model).fused.vertices}
    loss.backward()
    graph = tm.viz.trace(loss, model)
    assert all(v.freed for v in graph.data.vertices if v.name == "split_heads" and v.saved)
    rows = graph.ablate()
    model.hidden = False
    plainly = tm.viz.trace(weighted(model(x_of(1, 3, 8))), model).ablate()
    assert [row.change for row in rows] == pytest.approx([row.change for row in plainly])


def test_a_checkpoint_in_a_checkpoint() -> None:
    mha = attention()

    def twice(x: tm.Tensor) -> Any:
        return tm.autograd.checkpoint(mha, tm.autograd.checkpoint(mha, x))

    out = tm.autograd.checkpoint(twice, x_of(1, 3, 8))
    graph = tm.viz.trace(weighted(out), mha)
    assert len(graph.heads) == 2
    check(graph, 2)


def test_what_has_no_graph_says_how_to_see_it() -> None:
    mha = attention()
    with tm.no_grad():
        out = mha(x_of(1, 3, 8))
    with pytest.raises(ValueError, match=r"no_grad\(\); trace\(model, x\) calls the model"):
        tm.viz.trace(out, mha)
