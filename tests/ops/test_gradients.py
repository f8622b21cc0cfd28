"""Checks that hold for every registered operation, whatever it computes."""

import numpy as np
import pytest

import tinygrad_mha as tm
from tests.support.cases import Case, assert_close, each_case, each_differentiable, each_op
from tinygrad_mha.engine import Op, push_forward


@each_differentiable
def test_gradient_is_that_of_central_differences(case: Case) -> None:
    assert tm.autograd.gradcheck(case.run, case.tensors())


@each_differentiable
def test_gradient_of_gradient_is_that_of_central_differences(case: Case) -> None:
    assert tm.autograd.gradgradcheck(case.run, case.tensors())


@each_case
def test_every_floating_input_of_a_floating_op_has_a_rule(case: Case) -> None:
    if case.run(*case.tensors()).dtype.kind == "f":
        assert case.differentiable == case.floating
    else:
        assert not case.op.differentiable


@each_differentiable
def test_rules_say_the_same_on_arrays_as_on_tensors(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(case.op, "fused", None)
    on_arrays = case.gradients(case.tensors())
    on_tensors = case.gradients(case.tensors(), create_graph=True)
    for a, b in zip(on_arrays, on_tensors, strict=True):
        assert_close(a.data, b.data)


@each_differentiable
def test_fused_gradient_equals_the_rules(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    if case.op.fused is None:
        return
    for dtype in (np.float64, np.float32):
        tensors = case.tensors(dtype)
        fused = case.gradients(tensors)
        with monkeypatch.context() as patch:
            patch.setattr(case.op, "fused", None)
            ruled = case.gradients(tensors)
        for i, a, b in zip(case.differentiable, fused, ruled, strict=True):
            assert_close(a.data, b.data, dtype, case.input_name(i))


@each_differentiable
def test_fused_gradient_serves_each_input_alone(case: Case) -> None:
    """`needs` may leave inputs out; what is left must not change."""
    together = case.gradients(case.tensors())
    for position, expected in zip(case.differentiable, together, strict=True):
        tensors = [
            t.detach() if isinstance(t, tm.Tensor) and i != position else t
            for i, t in enumerate(case.tensors())
        ]
        out = case.run(*tensors)
        (alone,) = tm.autograd.grad(out, tensors[position], case.seed_for(out))
        assert_close(alone.data, expected.data)


@each_differentiable
def test_a_fused_gradient_reads_nothing_that_the_rule_does_not_name(case: Case) -> None:
    """For that may be overwritten: whether it was, is looked up by the rules' names."""
    if case.op.fused is None:
        return
    together = case.gradients(case.tensors())
    for position, expected in zip(case.differentiable, together, strict=True):
        tensors = [
            t.detach() if isinstance(t, tm.Tensor) and i != position else t
            for i, t in enumerate(case.tensors())
        ]
        out = case.run(*tensors)
        named = case.op.rules[case.input_name(position)].takes
        values = [(case.input_name(i), t) for i, t in enumerate(tensors)] + [("out", out)]
        for name, value in values:
            if isinstance(value, tm.Tensor) and value.is_floating_point() and name not in named:
                value.data[...] = np.nan
        (alone,) = tm.autograd.grad(out, tensors[position], case.seed_for(out))
        assert_close(alone.data, expected.data)


@each_case
def test_float32_stays_float32(case: Case) -> None:
    tensors = case.tensors(np.float32)
    out = case.run(*tensors)
    if out.dtype.kind == "f" and case.op.name != "astype":
        assert out.dtype == np.float32
    if case.differentiable:
        assert {g.dtype for g in case.gradients(tensors)} == {np.dtype(np.float32)}
        assert {g.dtype for g in case.gradients(tensors, create_graph=True)} == {
            np.dtype(np.float32)
        }


def _strided(array: np.ndarray) -> np.ndarray:
    """The same values, neither contiguous nor in row order."""
    wide = np.full((*array.shape[::-1], 2), np.nan, array.dtype)
    view = wide[..., 1].T
    view[...] = array
    return view


@each_case
def test_memory_layout_does_not_matter(case: Case) -> None:
    arrays = case.arrays()
    strided = [_strided(x) if i in case.floating and x.ndim else x for i, x in enumerate(arrays)]
    plain, moved = case.lift(arrays), case.lift(strided)
    assert_close(case.run(*moved).data, case.run(*plain).data)
    if case.differentiable:
        for a, b in zip(case.gradients(moved), case.gradients(plain), strict=True):
            assert_close(a.data, b.data)


@each_case
def test_inputs_are_left_as_they_were(case: Case) -> None:
    tensors = case.tensors()
    case.run(*tensors)
    if case.differentiable:
        case.gradients(tensors)
    for before, after in zip(case.arrays(), tensors, strict=True):
        if isinstance(after, tm.Tensor):
            np.testing.assert_array_equal(after.data, before)


@each_differentiable
@pytest.mark.parametrize("create_graph", [False, True])
def test_gradients_share_memory_with_nothing(case: Case, create_graph: bool) -> None:
    tensors = case.tensors()
    out = case.run(*tensors)
    seed = case.seed_for(out)
    out.backward(seed, create_graph=create_graph)
    grads = [tensors[i].grad.data for i in case.differentiable]
    others = [seed.data, out.data, *(t.data for t in tensors if isinstance(t, tm.Tensor))]
    for i, gradient in enumerate(grads):
        assert gradient.flags.writeable
        for other in [*grads[:i], *others]:
            assert not np.shares_memory(gradient, other)


@each_differentiable
def test_forward_and_reverse_derivatives_agree(case: Case) -> None:
    """J v, with the tangents walking forward, against a central difference along v."""
    rng = np.random.default_rng(3)
    tensors = case.tensors()
    wanted = [tensors[i] for i in case.differentiable]
    along = [rng.standard_normal(t.shape) for t in wanted]
    out = case.run(*tensors)
    jvp = push_forward(out, wanted, [tm.Tensor(v) for v in along], create_graph=False)

    def moved(step: float) -> np.ndarray:
        arrays = case.arrays()
        for i, v in zip(case.differentiable, along, strict=True):
            arrays[i] = np.asarray(arrays[i] + step * v)
        return case.run(*case.lift(arrays)).data

    eps = 1e-6
    np.testing.assert_allclose(
        jvp.data, (moved(eps) - moved(-eps)) / (2 * eps), rtol=1e-5, atol=1e-7
    )


@each_op
def test_registered_op_documents_itself(op: Op) -> None:
    assert op.samples, f"{op.name} has no samples: nothing checks it"
    assert op.formula
    assert op.__doc__
    assert op.__doc__.split("\n")[0].endswith("."), "the first line of a docstring is a sentence"
    for name, rule in op.rules.items():
        assert rule.text.startswith("d"), f"the rule of {name} reads as mathematics: {rule.text}"
        assert rule.source[1] > op.source[1], "a rule stands below its forward"
        assert rule.source[0] == op.source[0], "a rule stands beside its forward"


def test_names_of_one_op_cannot_be_taken_twice() -> None:
    from tinygrad_mha.engine import op

    with pytest.raises(ValueError, match="registered already"):

        @op("y = x")
        def exp(x):
            return x
