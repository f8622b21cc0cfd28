"""Products under PyTorch's names, and einsum: values, gradients and refusals against PyTorch's."""

import operator
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_mha as tm
from tests.support import require

RNG = np.random.default_rng(5)


@pytest.fixture
def torch() -> ModuleType:
    return require.module("torch")


def same(name: str, torch: ModuleType, shapes: Any, *before: Any, **params: Any) -> None:
    """Run ours and theirs, forward and backward, on the same numbers."""
    arrays = [RNG.standard_normal(shape) for shape in shapes]
    ours = [tm.tensor(x, requires_grad=True) for x in arrays]
    theirs = [torch.tensor(x, requires_grad=True) for x in arrays]
    out = operator.attrgetter(name)(tm)(*before, *ours, **params)
    expected = operator.attrgetter(name)(torch)(*before, *theirs, **params)
    assert out.shape == tuple(expected.shape)
    np.testing.assert_allclose(out.data, expected.detach().numpy(), rtol=1e-10, atol=1e-12)
    seed = RNG.standard_normal(out.shape)
    out.backward(tm.tensor(seed))
    expected.backward(torch.tensor(seed))
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a.grad.data, b.grad.numpy(), rtol=1e-10, atol=1e-12)


EQUATIONS = [
    ("ij,jk->ik", (2, 3), (3, 4)),
    ("ij,jk", (2, 3), (3, 4)),
    ("i j , j k -> k i", (2, 3), (3, 4)),
    ("ij,ij->", (2, 3), (2, 3)),
    ("ij,ij->ij", (1, 3), (2, 3)),
    ("ij,j->i", (2, 3), (1,)),
    ("ij,kl", (2, 3), (4, 5)),
    ("iI", (2, 3)),
    ("ii", (3, 3)),
    ("ii->i", (3, 3)),
    ("iij->j", (3, 3, 2)),
    ("iji->ij", (3, 2, 3)),
    ("iijj->ij", (3, 3, 2, 2)),
    ("...ij,...jk", (2, 1, 3, 4), (5, 4, 2)),
    ("i...->...", (2, 3)),
    ("ab...->ab", (2, 3, 4)),
    ("...,...", (3, 1), (4,)),
    ("b...l,b...l->b...", (2, 3, 4), (2, 3, 4)),
    ("ij,jk,kl->il", (2, 3), (3, 4), (4, 2)),
    ("ij,jk,kl,li", (2, 3), (3, 4), (4, 2), (2, 2)),
    ("ij,jk->ik", (2, 0), (0, 3)),
    ("ij->", (0, 3)),
    (",", (), ()),
    ("->", ()),
]


@pytest.mark.parametrize("case", EQUATIONS, ids=lambda c: f"{c[0]} {c[1:]}")
def test_einsum_equals_torchs(case: Any, torch: ModuleType) -> None:
    equation, *shapes = case
    same("einsum", torch, shapes, equation)


def test_einsum_of_lists(torch: ModuleType) -> None:
    a, b = RNG.standard_normal((2, 3)), RNG.standard_normal((3, 4))
    for axes in ([[0, 1], [1, 2]], [[0, 1], [1, 2], [2, 0]], [[..., 1], [1, 30]]):
        ours = tm.einsum(tm.tensor(a), axes[0], tm.tensor(b), *axes[1:])
        theirs = torch.einsum(torch.tensor(a), axes[0], torch.tensor(b), *axes[1:])
        np.testing.assert_allclose(ours.data, theirs.numpy())
    assert tm.einsum("i,i", [tm.ones(2), tm.ones(2)]).item() == 2.0


def test_einsum_has_gradients_of_gradients() -> None:
    a, b, c = (
        tm.tensor(RNG.standard_normal(s), requires_grad=True) for s in ((2, 3), (3, 3), (3,))
    )
    assert tm.autograd.gradgradcheck(lambda *x: tm.einsum("ij,jj,k->ik", *x), [a, b, c])


@pytest.mark.parametrize(
    ("equation", "shapes", "part"),
    [
        ("ij,jk->ik", [(2, 3), (4, 5)], r"'j' has size 4 in operand 1.* but size 3"),
        ("ii", [(2, 3)], "'i' is twice in operand 0.* 2 and 3"),
        ("ij->ii", [(2, 2)], "'i' more than once"),
        ("ij->ik", [(2, 2)], "'k', which no operand has"),
        ("ijk", [(2, 2)], "names 3 axes"),
        ("i", [(2, 2)], "names 1 axes"),
        ("ab...->ab", [(2,)], "names 2 axes beside its ellipsis"),
        ("ij,jk", [(2, 2)], "names 2 operands, 1 given"),
        ("i.j", [(2, 3)], r"contains '\.'"),
        ("...i...", [(2, 3)], r"contains '\.'"),
        ("i1", [(2, 3)], "contains '1'"),
        ("ij->ji->i", [(3, 3)], "contains '-', '>'"),
        ("...,...", [(2,), (3,)], "axis -1 of the ellipsis"),
    ],
)
def test_einsum_says_what_is_wrong(
    equation: str, shapes: list[Any], part: str, torch: ModuleType
) -> None:
    with pytest.raises(ValueError, match=f"einsum: .*{part}"):
        tm.einsum(equation, *(tm.zeros(*s) for s in shapes))
    with pytest.raises(RuntimeError):
        torch.einsum(equation, *(torch.zeros(s) for s in shapes))


PRODUCTS: list[tuple[str, list[Any], dict[str, Any]]] = [
    ("mm", [(2, 3), (3, 4)], {}),
    ("bmm", [(5, 2, 3), (5, 3, 4)], {}),
    ("mv", [(2, 3), (3,)], {}),
    ("dot", [(3,), (3,)], {}),
    ("dot", [(0,), (0,)], {}),
    ("vdot", [(3,), (3,)], {}),
    ("inner", [(2, 3), (4, 3)], {}),
    ("inner", [(), (4, 3)], {}),
    ("outer", [(2,), (3,)], {}),
    ("ger", [(2,), (0,)], {}),
    ("trace", [(2, 3)], {}),
    ("trace", [(0, 3)], {}),
    ("kron", [(2, 3), (4,)], {}),
    ("kron", [(), (2, 2)], {}),
    ("tensordot", [(2, 3, 4), (3, 4, 5)], {}),
    ("tensordot", [(2, 3), (4, 5)], {"dims": 0}),
    ("tensordot", [(2, 3, 4), (4, 2, 5)], {"dims": ([0, -1], [1, 0])}),
    ("chain_matmul", [(2, 3), (3, 4), (4, 5)], {}),
    ("addmm", [(4,), (2, 3), (3, 4)], {"beta": 0.5, "alpha": 2.0}),
    ("addmm", [(2, 4), (2, 3), (3, 4)], {"beta": 0}),
    ("addmv", [(), (2, 3), (3,)], {"alpha": 2.0}),
    ("addr", [(2, 1), (2,), (3,)], {"beta": 2.0}),
    ("baddbmm", [(4,), (5, 2, 3), (5, 3, 4)], {"beta": 0.5}),
    ("addbmm", [(4,), (5, 2, 3), (5, 3, 4)], {"alpha": -1.0}),
]


@pytest.mark.parametrize("case", PRODUCTS, ids=lambda c: f"{c[0]} {c[1]}")
@pytest.mark.filterwarnings("ignore:torch.chain_matmul")
def test_product_equals_torchs(case: Any, torch: ModuleType) -> None:
    name, shapes, params = case
    same(name, torch, shapes, **params)


def test_beta_of_0_ignores_nan() -> None:
    x = tm.tensor(np.full(2, np.nan, np.float32), requires_grad=True)
    y = tm.addmm(x, tm.eye(2), tm.eye(2), beta=0)
    assert y.tolist() == [[1, 0], [0, 1]]
    y.sum().backward()
    assert x.grad.tolist() == [0, 0]


def test_multi_dot_takes_vectors_at_its_ends() -> None:
    a, b, c = (tm.tensor(RNG.standard_normal(s)) for s in ((3,), (3, 4), (4,)))
    np.testing.assert_allclose(tm.multi_dot([a, b, c]).data, a.data @ b.data @ c.data)
    with pytest.raises(ValueError, match="multi_dot: tensor 1"):
        tm.multi_dot([b, c, b])
    with pytest.raises(ValueError, match="at least two"):
        tm.multi_dot([b])


@pytest.mark.parametrize(
    ("name", "shapes", "error"),
    [
        ("mm", [(3,), (3,)], ValueError),
        ("mm", [(2, 3), (2, 3)], ValueError),
        ("bmm", [(1, 2, 3), (2, 3, 4)], ValueError),
        ("bmm", [(2, 3), (3, 4)], ValueError),
        ("mv", [(2, 3), (2,)], ValueError),
        ("dot", [(2,), (1,)], ValueError),
        ("dot", [(2, 2), (2,)], ValueError),
        ("inner", [(2,), (3,)], ValueError),
        ("outer", [(2, 2), (3,)], ValueError),
        ("trace", [(2, 2, 2)], ValueError),
        ("tensordot", [(2, 3), (3, 2)], ValueError),
        ("addmm", [(3,), (2, 3), (3, 4)], ValueError),
        ("addmm", [(3, 2, 4), (2, 3), (3, 4)], ValueError),
        ("baddbmm", [(1,), (2, 3), (3, 4)], ValueError),
    ],
)
def test_what_does_not_fit_is_refused(
    name: str, shapes: list[Any], error: type[Exception], torch: ModuleType
) -> None:
    with pytest.raises(error, match=r"\(\d"):  # the message tells the shapes
        getattr(tm, name)(*(tm.zeros(*s) for s in shapes))
    with pytest.raises((RuntimeError, ValueError, IndexError)):
        getattr(torch, name)(*(torch.zeros(s) for s in shapes))


def test_tensordot_dims_out_of_range() -> None:
    with pytest.raises(IndexError, match="tensordot: dim 2"):
        tm.tensordot(tm.zeros(2, 3), tm.zeros(3, 2), ([2], [0]))
    with pytest.raises(ValueError, match="dims is 3"):
        tm.tensordot(tm.zeros(2, 3), tm.zeros(3, 2), 3)
    with pytest.raises(ValueError, match="pair up"):
        tm.tensordot(tm.zeros(2, 3), tm.zeros(3, 2), ([0], [0, 1]))


def test_dtypes_do_not_mix_in_a_sum_with_a_product() -> None:
    with pytest.raises(TypeError, match="addmm: input is float32 and the product float64"):
        tm.addmm(tm.zeros(2), tm.eye(2, dtype="float64"), tm.eye(2, dtype="float64"))


@given(
    n=st.integers(0, 9), k=st.integers(0, 9), m=st.integers(0, 9),
    turned=st.booleans(), dtype=st.sampled_from([np.float32, np.float64, np.int64]),
)  # fmt: skip
def test_a_product_that_is_not_recorded_is_the_recorded_one(
    n: int, k: int, m: int, turned: bool, dtype: Any
) -> None:
    rng = np.random.default_rng(n + 10 * k + 100 * m)
    a = tm.Tensor(rng.uniform(-3, 3, (n, k)).astype(dtype))
    b = tm.Tensor(rng.uniform(-3, 3, (m, k) if turned else (k, m)).astype(dtype))
    b = b.T if turned else b
    quick = a @ b
    assert type(quick) is tm.Tensor
    assert quick.dtype == dtype
    assert not quick.requires_grad
    np.testing.assert_array_equal(quick.numpy(), tm.matmul(a, b).numpy())


def test_a_product_is_recorded_where_a_view_was_written_to_with_something_that_is() -> None:
    w, base = tm.ones(2, requires_grad=True), tm.zeros(2, 2)
    view = base.T
    base[0] = w
    (view @ tm.ones(2, 2)).sum().backward()
    assert w.grad is not None
    assert w.grad.tolist() == [2.0, 2.0]


def test_an_operator_that_is_not_recorded_explains_its_errors_too() -> None:
    with tm.no_grad(), pytest.raises(ValueError, match=r"matmul: .*\(2, 3\).*\(4, 5\)"):
        tm.ones(2, 3) @ tm.ones(4, 5)
