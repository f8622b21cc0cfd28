"""Encoder and decoder layers against torch's, with the same checkpoints."""

from types import ModuleType
from typing import Any

import numpy as np
import pytest

import tinygrad_mha as tm
from tests.parity.reference import to_torch

D, H, N, T, S = 12, 3, 2, 4, 5
OPTIONS = [
    {"norm_first": norm_first, "activation": activation, "layer_norm_eps": eps}
    for norm_first in (False, True)
    for activation, eps in (("relu", 1e-5), ("gelu", 1e-3))
]
OPTIONS.append({"norm_first": True, "bias": False})


def _twins(torch: ModuleType, kind: str, options: dict[str, Any]) -> tuple[Any, Any]:
    sizes = {"dim_feedforward": 7, "dropout": 0.0, **options}
    theirs = getattr(torch.nn, kind)(D, H, batch_first=True, dtype=torch.float64, **sizes)
    with torch.no_grad():
        for p in theirs.parameters():
            p.copy_(torch.from_numpy(tm.generator().standard_normal(p.shape) / 2))
    ours = getattr(tm.nn, kind)(D, H, **sizes).double()
    ours.load_state_dict({name: t.numpy() for name, t in theirs.state_dict().items()})
    return ours, theirs


def _draw(*shape: int) -> tm.Tensor:
    return tm.randn(*shape, dtype="float64", requires_grad=True)


def _compare(out: Any, expected: Any, inputs: list[Any], theirs: list[Any]) -> None:
    def close(a: Any, b: Any) -> None:
        np.testing.assert_allclose(a.data, b.detach().numpy(), rtol=1e-9, atol=1e-12)

    close(out, expected)
    (out * out).sum().backward()
    (expected * expected).sum().backward()
    for a, b in zip(inputs, theirs, strict=True):
        close(a.grad, b.grad)


def _parameters_agree(ours: Any, theirs: Any) -> None:
    """Torch's gradients, read as if they were a checkpoint, are ours."""
    grads = type(ours)(D, H, dim_feedforward=7, bias=ours.linear1.bias is not None).double()
    grads.load_state_dict({name: p.grad.numpy() for name, p in theirs.named_parameters()})
    for (name, p), g in zip(ours.named_parameters(), grads.parameters(), strict=True):
        np.testing.assert_allclose(p.grad.data, g.data, rtol=1e-9, atol=1e-11, err_msg=name)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("kind", ["none", "causal", "padding"])
def test_encoder_layer(options: dict[str, Any], kind: str, torch: ModuleType) -> None:
    ours, theirs = _twins(torch, "TransformerEncoderLayer", options)
    x = _draw(N, S, D)
    y = to_torch(x)
    seen = tm.nn.masks.padding([2, 5], S)
    masks: dict[str, Any] = {
        "none": {},
        "causal": {"src_mask": torch.ones(S, S, dtype=torch.bool).triu(1)},
        "padding": {"src_key_padding_mask": torch.from_numpy(~seen.data[:, 0])},
    }
    out = ours(x, mask=seen if kind == "padding" else None, is_causal=kind == "causal")
    _compare(out, theirs(y, **masks[kind]), [x], [y])
    _parameters_agree(ours, theirs)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_decoder_layer(options: dict[str, Any], torch: ModuleType) -> None:
    ours, theirs = _twins(torch, "TransformerDecoderLayer", options)
    inputs = [_draw(N, T, D), _draw(N, S, D)]
    copies = [to_torch(x) for x in inputs]
    seen = tm.nn.masks.padding([2, 5], S)
    out = ours(*inputs, tgt_is_causal=True, memory_mask=seen)
    expected = theirs(
        *copies,
        tgt_mask=torch.ones(T, T, dtype=torch.bool).triu(1),
        memory_key_padding_mask=torch.from_numpy(~seen.data[:, 0]),
    )
    _compare(out, expected, inputs, copies)
    _parameters_agree(ours, theirs)
