"""Groups of parameters with options of their own, and what a training remembers to go on."""

import math
from typing import Any

import numpy as np
import pytest

import tinygrad_mha as tm
from tinygrad_mha import kernels, optim

KINDS = [optim.SGD, optim.Adam, optim.AdamW]
each_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda k: k.__name__)


def leaf(*shape: int) -> tm.Tensor:
    return tm.ones(*shape or (2,), requires_grad=True)


def walk(optimizer: Any, steps: int = 3) -> None:
    for step in range(steps):
        for i, p in enumerate(optimizer.params):
            p.grad = tm.full(p.shape, float(1 + i + step), dtype=p.dtype)
        optimizer.step()


@each_kind
def test_each_group_has_its_options(kind: type) -> None:
    optimizer = kind([{"params": [leaf()]}, {"params": leaf(), "lr": 0.0, "name": "fixed"}], lr=0.1)
    walk(optimizer)
    changed, fixed = optimizer.params
    assert changed.tolist() != [1.0, 1.0]
    assert fixed.tolist() == [1.0, 1.0]
    assert [group["lr"] for group in optimizer.param_groups] == [0.1, 0.0]
    assert [len(group["params"]) for group in optimizer.param_groups] == [1, 1]
    assert optimizer.param_groups[1]["name"] == "fixed"


@each_kind
def test_two_groups_of_equal_options_are_as_one(kind: type) -> None:
    one, two = [leaf(), leaf(3)], [leaf(), leaf(3)]
    walk(kind(one, lr=0.1))
    walk(kind([{"params": two[:1]}, {"params": two[1:]}], lr=0.1))
    for a, b in zip(one, two, strict=True):
        assert a.tolist() == b.tolist()


@each_kind
def test_a_group_may_be_added_later(kind: type) -> None:
    optimizer = kind([leaf()], lr=0.1)
    walk(optimizer, 2)
    late = leaf()
    optimizer.add_param_group({"params": late, "weight_decay": 0.5})
    alone = leaf()
    late.grad = alone.grad = tm.ones(2)
    optimizer.step()
    other = kind([alone], lr=0.1, weight_decay=0.5)
    other.step()
    assert late.tolist() == alone.tolist()  # its own count of steps began with it
    optimizer.zero_grad()
    assert late.grad is None


def test_a_group_is_one_call_of_a_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    run = kernels.adamw_step
    monkeypatch.setattr(
        kernels, "adamw_step", lambda *a, **k: (calls.append(k["weight_decay"]), run(*a, **k))
    )
    groups = [{"params": [leaf() for _ in range(5)]}, {"params": [leaf()], "weight_decay": 0.0}]
    walk(optim.AdamW(groups), 1)
    assert calls == [0.01, 0.0]


def test_an_attribute_sets_all_groups() -> None:
    optimizer = optim.AdamW([{"params": leaf(), "lr": 0.5}, {"params": leaf()}], lr=0.1)
    assert optimizer.lr == 0.5
    optimizer.lr = 0.2
    optimizer.betas = (0.5, 0.6)
    assert [g["lr"] for g in optimizer.param_groups] == [0.2, 0.2]
    assert [g["betas"] for g in optimizer.param_groups] == [(0.5, 0.6)] * 2


@each_kind
@pytest.mark.parametrize(
    ("group", "error", "words"),
    [
        ([1], TypeError, r"a group is a dict with 'params' and options, got \[1\]"),
        ({"lr": 0.1}, TypeError, "a group is a dict with 'params'"),
        ({"params": [np.ones(2)]}, TypeError, r"params\[1\] is a ndarray, expected a Tensor"),
        ({"params": {leaf()}}, TypeError, "params is a set, whose order may change"),
        ({"params": [leaf() * 2]}, ValueError, r"params\[1\] of shape \(2,\) is not a leaf"),
        ({"params": leaf(), "lr": -1.0}, ValueError, "lr is -1.0, expected at least 0"),
        ({"params": leaf(), "lr": math.nan}, ValueError, "lr is nan"),
        ({"params": leaf(), "weight_deacy": 1.0}, ValueError, r"'weight_deacy'.*'weight_decay'"),
        ({"params": leaf(), "weight_decay": -1.0}, ValueError, "weight_decay is -1.0"),
    ],
)
def test_a_wrong_group_is_refused(
    kind: type, group: Any, error: type[Exception], words: str
) -> None:
    optimizer = kind([leaf()])
    with pytest.raises(error, match=words):
        optimizer.add_param_group(group)
    assert len(optimizer.param_groups) == len(optimizer.params) == 1
    walk(optimizer)


@each_kind
def test_a_parameter_stands_in_one_place(kind: type) -> None:
    p = leaf()
    with pytest.raises(ValueError, match=r"params\[1\] .* is params\[0\] once more"):
        kind([p, p])
    with pytest.raises(ValueError, match=r"params\[2\] .* is params\[0\] once more"):
        kind([{"params": [p, leaf()]}, {"params": [p]}])
    with pytest.raises(TypeError, match=r"groups and tensors do not mix"):
        kind([p, {"params": [leaf()]}])


# -- schedules ------------------------------------------------------------------------------


def test_a_schedule_works_per_group() -> None:
    optimizer = optim.SGD([{"params": leaf(), "lr": 1.0}, {"params": leaf(), "lr": 0.1}])
    schedule = optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5**step)
    schedule.step()
    assert schedule.get_last_lr() == [0.5, 0.05]
    each = optim.lr_scheduler.LambdaLR(optimizer, [lambda step: 1.0, lambda step: 10.0**step])
    each.step()
    assert schedule.get_last_lr() == each.get_last_lr() == [0.5, 0.5]
    with pytest.raises(ValueError, match="1 factors for 2 groups"):
        optim.lr_scheduler.LambdaLR(optimizer, [lambda step: 1.0])


# -- what it remembers ----------------------------------------------------------------------

OPTIONS: list[tuple[type, dict[str, Any]]] = [
    (optim.SGD, {"momentum": 0.9}),
    (optim.SGD, {}),
    (optim.Adam, {"weight_decay": 0.1}),
    (optim.AdamW, {}),
]


@pytest.mark.parametrize(("kind", "options"), OPTIONS, ids=str)
def test_a_training_goes_on_where_it_stood(kind: type, options: dict[str, Any]) -> None:
    def groups() -> list[dict[str, Any]]:
        return [{"params": [leaf(2, 3), leaf()]}, {"params": [leaf(1)], "lr": 0.3}]

    whole, part = kind(groups(), **options), kind(groups(), **options)
    for optimizer in (whole, part):
        walk(optimizer, 2)
    again = kind(groups(), lr=7.0)
    for p, q in zip(again.params, part.params, strict=True):
        p.data[...] = q.data
    again.load_state_dict(part.state_dict())
    walk(whole, 2)
    walk(part, 1)  # what was loaded is a copy
    walk(again, 2)
    for p, q in zip(whole.params, again.params, strict=True):
        assert p.tolist() == q.tolist()
    assert [g["lr"] for g in again.param_groups] == [g["lr"] for g in whole.param_groups]


@pytest.mark.parametrize(("kind", "options"), OPTIONS, ids=str)
def test_parameters_that_never_had_a_gradient_have_no_state(
    kind: type, options: dict[str, Any]
) -> None:
    optimizer = kind([leaf(), leaf()], **options)
    assert optimizer.state_dict()["state"] == {}
    optimizer.params[1].grad = tm.ones(2)
    optimizer.step()
    assert list(optimizer.state_dict()["state"]) == [1]
    again = kind([leaf(), leaf()], **options)
    again.load_state_dict(optimizer.state_dict())
    walk(again)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda state: state.pop("state"), "expected the keys 'state' and 'param_groups'"),
        (lambda state: state["param_groups"].pop(), r"groups of \[\] parameters.* of \[2\]"),
        (lambda state: state["param_groups"][0]["params"].pop(), r"groups of \[1\] parameters"),
        (lambda state: state["param_groups"][0].update(lr=-1.0), "lr is -1.0"),
        (lambda state: state["param_groups"][0].update(amsgrad=True), "amsgrad=True, which"),
        (lambda state: state["state"][1].update(exp_avg=tm.ones(3)), r"exp_avg of parameter 1"),
        (lambda state: state["state"][1].pop("exp_avg"), "parameter 1 has no exp_avg"),
    ],
)
def test_a_state_that_does_not_fit_changes_nothing(change: Any, words: str) -> None:
    optimizer, other = optim.AdamW([leaf(), leaf()]), optim.AdamW([leaf(), leaf()], lr=0.5)
    walk(other)
    state = other.state_dict()
    change(state)
    with pytest.raises(ValueError, match=words):
        optimizer.load_state_dict(state)
    assert optimizer.lr == 1e-3
    assert optimizer.state_dict()["state"] == {}
