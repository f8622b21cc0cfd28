"""Attention against torch: the same weights in, the same everything out."""

import itertools
import math
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import tinygrad_mha as tm
from tests.parity.reference import to_torch
from tinygrad_mha.nn import functional as F
from tinygrad_mha.nn import torch_layout

N, L, S, H = 2, 5, 7, 4


def draw(*shape: int, dtype: Any = np.float64) -> tm.Tensor:
    return tm.Tensor(tm.generator().standard_normal(shape).astype(dtype), True)


def close(ours: Any, theirs: Any, what: str = "") -> None:
    ours = ours.data if isinstance(ours, tm.Tensor) else ours
    np.testing.assert_allclose(ours, theirs.detach().numpy(), rtol=1e-9, atol=1e-12, err_msg=what)


def seen_mask(kind: str) -> np.ndarray | None:
    """Masks under which every query sees some key: torch's module gives nan otherwise."""
    if kind in ("none", "causal"):
        return None
    rng = np.random.default_rng(4)
    seen = {
        "keys": rng.random((L, S)) < 0.5,
        "per item": rng.random((N, L, S)) < 0.5,
        "per head": rng.random((N, H, L, S)) < 0.5,
        "padding": np.arange(S) < np.array([3, 7])[:, None, None],
    }[kind]
    seen = seen.copy()
    seen[..., 0] = True
    return seen


# -- torch.nn.MultiheadAttention -----------------------------------------------------------


def twins(torch: ModuleType, **options: Any) -> tuple[tm.nn.MultiHeadAttention, Any]:
    """Our module and torch's with the same weights."""
    bias = options.get("bias", True)
    ours = tm.nn.MultiHeadAttention(16, H, **options).double()
    for p in ours.parameters():
        p.data[...] = tm.generator().standard_normal(p.shape) / 3
    theirs = torch.nn.MultiheadAttention(16, H, dtype=torch.float64, batch_first=True, **options)
    flat = {c: torch.from_numpy(getattr(ours, f"W_{c}").data.reshape(16, -1)) for c in "qkv"}
    with torch.no_grad():
        if theirs.in_proj_weight is not None:
            theirs.in_proj_weight.copy_(torch.cat(list(flat.values())))
        else:
            for c, weight in flat.items():
                getattr(theirs, f"{c}_proj_weight").copy_(weight)
        theirs.out_proj.weight.copy_(torch.from_numpy(ours.W_o.data))
        if bias:
            flat_bias = [getattr(ours, f"b_{c}").data.reshape(-1) for c in "qkv"]
            theirs.in_proj_bias.copy_(torch.from_numpy(np.concatenate(flat_bias)))
            theirs.out_proj.bias.copy_(torch.from_numpy(ours.b_o.data))
    return ours, theirs


def parameter_gradients(theirs: Any, bias: bool) -> dict[str, Any]:
    """Torch's gradients under our names and in our shapes."""
    grads = {"W_o": theirs.out_proj.weight.grad}
    if theirs.in_proj_weight is not None:
        parts = theirs.in_proj_weight.grad.chunk(3)
    else:
        parts = [getattr(theirs, f"{c}_proj_weight").grad for c in "qkv"]
    for c, part in zip("qkv", parts, strict=True):
        grads[f"W_{c}"] = part.reshape(H, 16 // H, -1)
    if bias:
        grads["b_o"] = theirs.out_proj.bias.grad
        for c, part in zip("qkv", theirs.in_proj_bias.grad.chunk(3), strict=True):
            grads[f"b_{c}"] = part.reshape(H, 16 // H)
    return grads


MODULE_OPTIONS = [
    {},
    {"bias": False},
    {"kdim": 6, "vdim": 10},
    {"kdim": 6, "vdim": 10, "bias": False},
]


@pytest.mark.parametrize("options", MODULE_OPTIONS, ids=str)
@pytest.mark.parametrize("kind", ["none", "causal", "keys", "per item", "per head", "padding"])
@pytest.mark.parametrize("floating", [False, True], ids=["bool", "float"])
def test_module_equals_torchs(
    options: dict[str, Any], kind: str, floating: bool, torch: ModuleType
) -> None:
    ours, theirs = twins(torch, **options)
    length = S if kind == "causal" else L
    inputs = [
        draw(N, length, 16),
        draw(N, S, options.get("kdim", 16)),
        draw(N, S, options.get("vdim", 16)),
    ]
    their_inputs = [to_torch(x) for x in inputs]
    seen = seen_mask(kind)
    mask, their_masks = None, {}
    if seen is not None:
        mask = tm.Tensor(seen)
        # torch's module: True = ignore; three dimensions mean (N·h, L, S)
        ignored = torch.from_numpy(~seen)
        if floating:
            added = np.where(seen, np.random.default_rng(5).standard_normal(seen.shape), -np.inf)
            mask, ignored = tm.Tensor(added), torch.from_numpy(added)
        if kind == "padding":
            their_masks["key_padding_mask"] = ignored[:, 0]
        else:
            if ignored.ndim == 3:
                ignored = ignored[:, None].expand(N, H, L, S)
            their_masks["attn_mask"] = ignored.reshape(-1, L, S) if ignored.ndim == 4 else ignored
    if kind == "causal":
        their_masks["attn_mask"] = torch.ones(S, S, dtype=torch.bool).triu(1)

    out, weights = ours(*inputs, mask=mask, is_causal=kind == "causal", need_weights=True)
    expected, their_weights = theirs(*their_inputs, average_attn_weights=False, **their_masks)
    close(out, expected)
    close(weights, their_weights)

    (out * out).sum().backward()
    (expected * expected).sum().backward()
    for name, a, b in zip(("query", "key", "value"), inputs, their_inputs, strict=True):
        close(a.grad, b.grad, name)
    their_grads = parameter_gradients(theirs, options.get("bias", True))
    assert their_grads.keys() == dict(ours.named_parameters()).keys()
    for name, p in ours.named_parameters():
        close(p.grad, their_grads[name], name)


def test_unbatched_module_equals_torchs(torch: ModuleType) -> None:
    ours, theirs = twins(torch)
    x = draw(L, 16)
    y = to_torch(x)
    out, weights = ours(x, need_weights=True)
    expected, their_weights = theirs(y, y, y, average_attn_weights=False)
    close(out, expected)
    close(weights, their_weights)


def test_weights_that_enter_the_loss_have_torchs_gradients(torch: ModuleType) -> None:
    ours, theirs = twins(torch)
    x = draw(N, L, 16)
    y = to_torch(x)
    out, weights = ours(x, need_weights=True)
    expected, their_weights = theirs(y, y, y, average_attn_weights=False)
    (out.sum() + (weights * weights).sum()).backward()
    (expected.sum() + (their_weights * their_weights).sum()).backward()
    close(x.grad, y.grad)


# -- a plain composition, for what torch has no module for ------------------------------------


@pytest.mark.parametrize("kind", ["none", "keys", "per item", "per head", "padding"])
def test_additive_heads_equal_a_plain_composition(kind: str, torch: ModuleType) -> None:
    ours = tm.nn.MultiHeadAttention(
        16, H, attention="additive", kdim=6, qk_head_dim=(3, 5), v_head_dim=2, out_dim=9
    ).double()
    for p in ours.parameters():
        p.data[...] = tm.generator().standard_normal(p.shape) / 3
    weights_of = {name: to_torch(p) for name, p in ours.named_parameters()}
    inputs = [draw(N, L, 16), draw(N, S, 6), draw(N, S, 16)]
    q, k, v = (to_torch(x) for x in inputs)
    theirs = (q, k, v)
    seen = seen_mask(kind)

    projected = []
    for c, x in zip("qkv", (q, k, v), strict=True):
        # (N, T, d), (h, p, d) -> (N, h, T, p)
        y = torch.einsum("ntd,hpd->nhtp", x, weights_of[f"W_{c}"])
        projected.append(y + weights_of[f"b_{c}"][:, None])
    q, k, v = projected
    a = torch.einsum("nhtp,ap->nhta", q, weights_of["pooling.W_q.weight"])
    b = torch.einsum("nhtp,ap->nhta", k, weights_of["pooling.W_k.weight"])
    hidden = torch.tanh(a[..., :, None, :] + b[..., None, :, :])
    scores = hidden @ weights_of["pooling.w_v"]
    if seen is not None:
        allowed = torch.from_numpy(seen)
        allowed = allowed[:, None] if allowed.ndim == 3 else allowed
        scores = scores.masked_fill(~allowed, -torch.inf)
    alpha = scores.softmax(-1)
    pooled = (alpha @ v).transpose(1, 2).flatten(2)
    expected = pooled @ weights_of["W_o"].T + weights_of["b_o"]

    mask = None if seen is None else tm.Tensor(seen)
    out, weights = ours(*inputs, mask=mask, need_weights=True)
    close(out, expected)
    close(weights, alpha)
    (out * out).sum().backward()
    (expected * expected).sum().backward()
    for mine, reference in zip(inputs, theirs, strict=True):
        close(mine.grad, reference.grad)
    for name, p in ours.named_parameters():
        close(p.grad, weights_of[name].grad, name)


# -- torch.nn.functional.scaled_dot_product_attention -----------------------------------------


@pytest.mark.parametrize(
    ("kind", "floating", "scale"),
    list(
        itertools.product(
            ["none", "causal", "keys", "per item", "per head", "padding"],
            [False, True],
            [None, 0.3],
        )
    ),
)
def test_function_equals_torchs(
    kind: str, floating: bool, scale: float | None, torch: ModuleType
) -> None:
    inputs = [draw(N, H, L, 8), draw(N, H, S, 8), draw(N, H, S, 6)]
    theirs = [to_torch(x) for x in inputs]
    seen = seen_mask(kind)
    mask, their_mask = None, None
    if seen is not None:
        seen = seen[:, None] if seen.ndim == 3 else seen  # -> (N, 1, L, S)
        # torch adds floating masks and reads boolean ones as we do; its gradient of a mask too
        values = np.where(seen, np.linspace(-1, 1, S), -np.inf) if floating else seen
        mask = tm.Tensor(values, floating)
        their_mask = to_torch(mask)
    options = {"is_causal": kind == "causal", "scale": scale}
    out = F.scaled_dot_product_attention(*inputs, attn_mask=mask, **options)
    expected = torch.nn.functional.scaled_dot_product_attention(
        *theirs, attn_mask=their_mask, **options
    )
    close(out, expected)
    (out * out).sum().backward()
    (expected * expected).sum().backward()
    for a, b in zip(inputs, theirs, strict=True):
        close(a.grad, b.grad)
    if floating and mask is not None:
        close(mask.grad, their_mask.grad, "mask")


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_shared_keys_equal_torchs(groups: int, torch: ModuleType) -> None:
    """enable_gqa: key/value head j serves h/g consecutive heads."""
    mha = tm.nn.MultiHeadAttention(16, H, num_kv_heads=groups, bias=False).double()
    x = draw(N, L, 16)
    y = to_torch(x)
    state = {name: to_torch(p) for name, p in mha.named_parameters()}
    q, k, v = (torch.einsum("ntd,hpd->nhtp", y, state[f"W_{c}"]) for c in "qkv")
    pooled = torch.nn.functional.scaled_dot_product_attention(
        q, k, v, is_causal=True, enable_gqa=True
    )
    expected = pooled.transpose(1, 2).flatten(2) @ state["W_o"].T
    out = mha(x, is_causal=True)
    close(out, expected)
    (out * out).sum().backward()
    (expected * expected).sum().backward()
    close(x.grad, y.grad)
    for name, p in mha.named_parameters():
        close(p.grad, state[name].grad, name)


def test_causality_with_other_lengths_aligns_as_torch_does(torch: ModuleType) -> None:
    for length, keys in ((3, 6), (6, 3), (1, 4)):
        q, k = draw(1, length, 4), draw(1, keys, 4)
        out = F.scaled_dot_product_attention(q, k, k, is_causal=True)
        theirs = [to_torch(x) for x in (q, k, k)]
        close(out, torch.nn.functional.scaled_dot_product_attention(*theirs, is_causal=True))


def test_softmax_of_nothing_is_nan_but_attention_to_nothing_is_zero(torch: ModuleType) -> None:
    row = np.full((1, 3), -np.inf, np.float32)
    with np.errstate(invalid="ignore"):
        assert np.isnan(F.softmax(tm.Tensor(row)).data).all()
    assert torch.softmax(torch.from_numpy(row), -1).isnan().all()
    assert not F.attention_weights(tm.Tensor(row), tm.Tensor(np.zeros((1, 3), bool))).data.any()


# -- accuracy ------------------------------------------------------------------------------


def error(values: Any, truth: np.ndarray) -> float:
    """Root of the mean squared deviation, in units of the truth's."""
    deviation = np.asarray(values, np.float64) - truth
    return float(np.sqrt((deviation**2).mean() / (truth**2).mean()))


@pytest.mark.parametrize("causal", [False, True])
def test_float32_error_is_not_above_torchs(causal: bool, torch: ModuleType) -> None:
    shape = (2, 4, 128, 32)
    ours = [draw(*shape, dtype=np.float32) for _ in range(3)]
    seed = tm.randn(*shape)
    out = F.scaled_dot_product_attention(*ours, is_causal=causal)
    out.backward(seed)
    theirs = [to_torch(x) for x in ours]
    expected = torch.nn.functional.scaled_dot_product_attention(*theirs, is_causal=causal)
    expected.backward(to_torch(seed))
    exact = [to_torch(x).detach().double().requires_grad_() for x in ours]
    truth = torch.nn.functional.scaled_dot_product_attention(*exact, is_causal=causal)
    truth.backward(to_torch(seed).double())

    assert error(out.data, truth.detach().numpy()) <= 1.5 * error(
        expected.detach(), truth.detach().numpy()
    )
    for x, mine, reference in zip(exact, ours, theirs, strict=True):
        true = x.grad.numpy()
        assert error(mine.grad.data, true) <= 1.5 * error(reference.grad, true)


def test_default_scale_is_of_a_heads_width() -> None:
    mha = tm.nn.MultiHeadAttention(8, 2, qk_head_dim=9, bias=False)
    mha.W_q.data[...], mha.W_k.data[...] = 1.0, 1.0
    x = tm.tensor([[[1.0] + [0.0] * 7, [0.0] * 8]])
    _, weights = mha(x, need_weights=True)
    # q·k = 9 for the first pair, scaled by 1/√9
    expected = 1 / (1 + math.exp(-9 / 3))
    np.testing.assert_allclose(weights.data[0, 0, 0, 0], expected, rtol=1e-6)


@pytest.mark.parametrize("widths", [{}, {"kdim": 48, "vdim": 160}], ids=str)
def test_first_values_as_torch_draws_them(widths: dict[str, int], torch: ModuleType) -> None:
    tm.manual_seed(0)
    torch.manual_seed(0)
    ours = tm.nn.MultiHeadAttention(128, 4, init="torch", add_bias_kv=True, **widths)
    theirs = torch.nn.MultiheadAttention(128, 4, add_bias_kv=True, **widths)
    state = {name: t.numpy() for name, t in theirs.state_dict().items()}
    for name, values in torch_layout.to_torch(ours).items():
        assert values.std() == pytest.approx(state[name].std(), rel=0.03 + 4 / values.size**0.5)
        assert np.abs(values).max() == pytest.approx(np.abs(state[name]).max(), rel=0.4), name
