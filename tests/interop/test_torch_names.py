"""PyTorch's names and layouts, without PyTorch."""

from typing import Any

import numpy as np
import pytest

import tinygrad_mha as tm
from tinygrad_mha import nn
from tinygrad_mha.interop.torch_names import mha_from_torch, mha_to_torch


@pytest.mark.parametrize("layout", ["packed", "separate"])
@pytest.mark.parametrize("options", [{}, {"bias": False}, {"add_bias_kv": True}], ids=str)
def test_there_and_back(layout: str, options: dict[str, Any]) -> None:
    mha, other = (nn.MultiHeadAttention(8, 2, **options) for _ in range(2))
    state = mha_to_torch(mha, layout, prefix="encoder.")
    assert ("encoder.in_proj_weight" in state) == (layout == "packed")
    converted = mha_from_torch({**state, "head.weight": 1}, "encoder.", num_heads=2)
    assert converted.keys() == mha.state_dict().keys()
    other.load_state_dict(converted)
    for (name, a), (_, b) in zip(mha.named_parameters(), other.named_parameters(), strict=True):
        np.testing.assert_array_equal(a.data, b.data, err_msg=name)


def test_a_model_reads_them_at_any_depth() -> None:
    model = nn.Sequential(nn.MultiHeadAttention(8, 2), nn.MultiHeadAttention(8, 4, kdim=5))
    state: dict[str, Any] = {}
    for i, mha in enumerate(model.children()):
        state |= mha_to_torch(mha, prefix=f"{i}.")
    for p in model.parameters():
        state_before = p.data.copy()
        p.data = np.zeros_like(state_before)
    model.load_state_dict(state)
    assert all(p.data.any() for name, p in model.named_parameters() if "W_" in name)
    assert "1.in_proj_weight" not in state
    assert "1.k_proj_weight" in state


def test_a_strict_load_says_what_is_wrong() -> None:
    mha = nn.MultiHeadAttention(8, 2)
    state = mha_to_torch(mha)
    del state["out_proj.bias"]
    with pytest.raises(KeyError, match=r"missing: b_o \(8,\) \(PyTorch's out_proj\.bias\)"):
        mha.load_state_dict(state)
    with pytest.raises(KeyError, match=r"mismatched: W_q is \(4, 2, 8\), the module's is"):
        nn.MultiHeadAttention(8, 4, qk_head_dim=3, v_head_dim=2).load_state_dict(state)
    with pytest.raises(KeyError, match=r"W_q is .* \(from the given 0\.in_proj_weight \(24, 8\)\)"):
        nn.Sequential(nn.MultiHeadAttention(8, 1, qk_head_dim=3)).load_state_dict(
            mha_to_torch(mha, prefix="0.")
        )
    with pytest.raises(KeyError, match="unexpected: surplus"):
        mha.load_state_dict({**mha_to_torch(mha), "surplus": np.zeros(1)})


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"attention": "additive"}, "not a dot product"),
        ({"num_kv_heads": 1}, "num_kv_heads"),
        ({"out_dim": 4}, "not embed_dim wide"),
        ({"qk_head_dim": 3}, "widths"),
        ({"scale": 2.0}, "scale"),
        ({"rotary": nn.RotaryPositions(4)}, "rotates"),
    ],
)
def test_what_pytorch_has_no_module_for(options: dict[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        mha_to_torch(nn.MultiHeadAttention(8, 2, **options))


def test_wrong_layouts_and_states() -> None:
    mha = nn.MultiHeadAttention(8, 2, kdim=5)
    with pytest.raises(ValueError, match="say layout='separate'"):
        mha_to_torch(mha, "packed")
    with pytest.raises(ValueError, match="'packed' or 'separate'"):
        mha_to_torch(mha, "loose")
    with pytest.raises(KeyError, match="is the prefix right"):
        mha_from_torch(mha_to_torch(mha), "encoder.", num_heads=2)
    state = {"in_proj_weight": np.zeros((23, 8)), "out_proj.weight": np.zeros((8, 8))}
    with pytest.raises(ValueError, match="three equal parts"):
        mha_from_torch(state, num_heads=2)
    with pytest.raises(
        ValueError, match="in_proj_weight or q_proj_weight has 8 rows for W_q, not a multiple of 3"
    ):
        mha_from_torch(mha_to_torch(nn.MultiHeadAttention(8, 2)), num_heads=3)


@pytest.mark.parametrize("name", ["q_proj_weight", "W_q", "W_o", "b_v"])
def test_a_parameter_under_two_names_is_refused(name: str) -> None:
    """Of a state with both layouts, or with ours beside PyTorch's, one would be overwritten."""
    mha = nn.MultiHeadAttention(8, 2)
    state = {**mha_to_torch(mha), name: np.zeros((8, 8), np.float32)}
    before = mha.W_q.data.copy()
    with pytest.raises(ValueError, match=f"and {name} are both there, and are the same parameter"):
        mha.load_state_dict(state)
    np.testing.assert_array_equal(mha.W_q.data, before)


@pytest.mark.parametrize("name", ["in_proj_weight", "in_proj_bias"])
def test_a_number_is_no_stack_of_rows(name: str) -> None:
    state = {**mha_to_torch(nn.MultiHeadAttention(8, 2)), name: np.float32(1)}
    with pytest.raises(ValueError, match="three equal parts"):
        nn.MultiHeadAttention(8, 2).load_state_dict(state)


def test_a_subclass_that_scores_otherwise_is_not_pytorchs() -> None:
    class Negative(nn.DotProductAttention):
        def scores(self, query: tm.Tensor, key: tm.Tensor) -> tm.Tensor:
            return -super().scores(query, key)

    with pytest.raises(ValueError, match="not a dot product"):
        mha_to_torch(nn.MultiHeadAttention(8, 2, attention=Negative()))


def test_a_copy_shares_no_memory() -> None:
    mha = nn.MultiHeadAttention(8, 2, kdim=5)
    before = mha.W_o.data.copy()
    for t in mha_to_torch(mha).values():
        t.data[...] = 7
    np.testing.assert_array_equal(mha.W_o.data, before)
    assert isinstance(mha_to_torch(mha)["out_proj.weight"], tm.Tensor)
