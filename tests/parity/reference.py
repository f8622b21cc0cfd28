"""What each operation is called in PyTorch, or how it is composed there."""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

import tinygrad_mha as tm
from tests.support import require
from tinygrad_mha import kernels
from tinygrad_mha.engine import Op


def _masked_softmax(torch: Any, x: Any, mask: Any) -> Any:
    # rows that may see nothing: softmax over −∞ would be nan, so they are computed on zeros
    blind = ~mask.any(-1, keepdim=True)
    weights = x.masked_fill(~mask & ~blind, -torch.inf).softmax(-1)
    return weights.masked_fill(blind, 0.0)


def _scatter_add_at(torch: Any, x: Any, shape: Any, index: Any) -> Any:
    index = tuple(map(torch.as_tensor, index if isinstance(index, tuple) else (index,)))
    return torch.zeros(shape, dtype=x.dtype).index_put(index, x, accumulate=True)


def _assign(torch: Any, x: Any, value: Any, steps: Any) -> Any:
    y = x.clone()
    part = y
    for _, (index,) in steps:
        part = part[index]
    part.copy_(value)
    return y


def _index(torch: Any, index: Any) -> Any:
    """The arrays in an index as tensors."""
    if isinstance(index, tuple):
        return tuple(_index(torch, i) for i in index)
    return torch.as_tensor(index) if isinstance(index, np.ndarray) else index


def _getitem(torch: Any, x: Any, index: Any) -> Any:
    return x[_index(torch, index)]


def _add_at(torch: Any, x: Any, source: Any, index: Any) -> Any:
    return x.index_put((_index(torch, index),), source, accumulate=True)


def _put_at(torch: Any, x: Any, source: Any, index: Any) -> Any:
    return x.index_put((_index(torch, index),), source)


def _multiply_at(torch: Any, x: Any, source: Any, index: Any) -> Any:
    rows = torch.as_tensor(index)[:, None].expand(source.shape)
    return x.scatter_reduce(0, rows, source, "prod")


def _on_diagonal(torch: Any, x: Any, shape: Any, **where: Any) -> Any:
    return torch.diagonal_scatter(torch.zeros(shape, dtype=x.dtype), x, **where)


def _embedding(torch: Any, weight: Any, index: Any, padding_idx: int | None = None) -> Any:
    return torch.nn.functional.embedding(index, weight, padding_idx)


def _astype(torch: Any, x: Any, dtype: Any) -> Any:
    return x.to(getattr(torch, np.dtype(dtype).name))


def _clamp(torch: Any, x: Any, min: Any, max: Any) -> Any:
    return x.clamp(*(b if b is None else torch.as_tensor(b, dtype=x.dtype) for b in (min, max)))


def _split_heads(torch: Any, x: Any, num_heads: int) -> Any:
    return x.unflatten(-1, (num_heads, -1)).transpose(-2, -3)


def _reduced(losses: Any, reduction: str) -> Any:
    return losses if reduction == "none" else getattr(losses, reduction)()


def _layer_norm(torch: Any, x: Any, weight: Any, bias: Any, eps: float = 1e-5) -> Any:
    return torch.nn.functional.layer_norm(x, x.shape[-1:], weight, bias, eps)


def _additive_scores(torch: Any, query: Any, key: Any, weight: Any) -> Any:
    return torch.tanh(query.unsqueeze(-2) + key.unsqueeze(-3)) @ weight


def _additive_attention(
    torch: Any, query: Any, key: Any, weight: Any, value: Any, mask: Any = None,
    is_causal: bool = False, dropout: float = 0.0, seed: int = 0,
) -> Any:  # fmt: skip
    scores = _additive_scores(torch, query, key, weight)
    return _pooled(torch, _weights(torch, scores, mask, is_causal), value, dropout, seed)


def _dot_weights(
    torch: Any, query: Any, key: Any, mask: Any = None, scale: float | None = None,
    is_causal: bool = False,
) -> Any:  # fmt: skip
    scores = query @ key.mT * (query.shape[-1] ** -0.5 if scale is None else scale)
    return _weights(torch, scores, mask, is_causal)


def _weights(torch: Any, scores: Any, mask: Any, is_causal: bool) -> Any:
    seen = torch.ones(scores.shape[-2:], dtype=torch.bool)
    if is_causal:
        seen = seen.tril()
    if mask is not None and mask.dtype == torch.bool:
        seen = seen & mask
    elif mask is not None:
        seen = seen & ~mask.isneginf()
        scores = scores + mask.nan_to_num(neginf=0.0).to(scores.dtype)
    return _masked_softmax(torch, scores, seen)


def _attention(
    torch: Any, query: Any, key: Any, value: Any, mask: Any = None, scale: float | None = None,
    is_causal: bool = False, dropout: float = 0.0, seed: int = 0,
) -> Any:  # fmt: skip
    weights = _dot_weights(torch, query, key, mask, scale, is_causal)
    return _pooled(torch, weights, value, dropout, seed)


def _pooled(torch: Any, weights: Any, value: Any, dropout: float, seed: int) -> Any:
    if dropout:
        kept = torch.as_tensor(kernels.kept(tuple(weights.shape), dropout, seed))
        weights = weights * kept / (1 - dropout)
    return weights @ value


def _self_attention(
    torch: Any, x: Any, W_q: Any, W_k: Any, W_v: Any, b_q: Any, b_k: Any, b_v: Any,
    *mask: Any, **how: Any,
) -> Any:  # fmt: skip
    views = (_heads(torch, x, *pair) for pair in ((W_q, b_q), (W_k, b_k), (W_v, b_v)))
    return _attention(torch, *views, *mask, **how)


def _heads(torch: Any, x: Any, W: Any, b: Any) -> Any:
    y = torch.einsum("ntd,hpd->nhtp", x, W)
    return y if b is None else y + b[:, None]


def _self_attention_weights(
    torch: Any, x: Any, W_q: Any, W_k: Any, b_q: Any, b_k: Any, *mask: Any, **how: Any
) -> Any:
    return _dot_weights(torch, _heads(torch, x, W_q, b_q), _heads(torch, x, W_k, b_k), *mask, **how)


def _combine_heads(torch: Any, x: Any, weight: Any, bias: Any) -> Any:
    y = torch.einsum("...htp,ohp->...to", x, weight.unflatten(1, (x.shape[-3], -1)))
    return y if bias is None else y + bias


#: Operations that PyTorch does not have under one name, as it would write them. Input tensors come
#: in the operation's order; the other arguments by name, all of them.
COMPOSITIONS: dict[str, Callable[..., Any]] = {
    "sum_to": lambda torch, x, shape: x.sum_to_size(shape),
    "expand": lambda torch, x, shape: x.expand(shape),
    "concatenate": lambda torch, *tensors, dim: torch.cat(tensors, dim),
    "astype": _astype,
    "getitem": _getitem,
    "assign": _assign,
    "overwrite": lambda torch, x, value: x * 0 + value,
    "scatter_add_at": _scatter_add_at,
    "clamp": _clamp,
    # torch.nn.functional.hardsigmoid takes 1/6 in single precision, and has no second derivative
    "hardsigmoid": lambda torch, x: torch.nn.functional.relu6(x + 3) / 6,
    "floor_divide": lambda torch, a, b: torch.div(a, b, rounding_mode="floor"),
    "advanced_index": _getitem,
    "add_at": _add_at,
    "put_at": _put_at,
    "multiply_at": _multiply_at,
    "on_diagonal": _on_diagonal,
    "row_order": lambda torch, x: x.contiguous(),
    "repeat": lambda torch, x, sizes: x.repeat(sizes),
    "flip": lambda torch, x, dims: x.flip(dims),
    "constant_pad": lambda torch, x, **how: torch.nn.functional.pad(x, mode="constant", **how),
    "embedding": _embedding,
    # torch.nn.functional.hardsigmoid takes 1/6 in single precision, and has no second derivative
    "variance": lambda torch, x, **how: x.var(**how),
    "deviation": lambda torch, x, **how: x.std(**how),
    "last_largest": lambda torch, x, dim: x.cummax(dim).indices,
    "last_smallest": lambda torch, x, dim: x.cummin(dim).indices,
    # torch.nn.functional.hardsigmoid takes 1/6 in single precision, and has no second derivative
    "split_heads": _split_heads,
    "merge_heads": lambda torch, x: x.transpose(-2, -3).flatten(-2),
    "masked_softmax": _masked_softmax,
    "layer_norm": _layer_norm,
    "scaled_mask": lambda torch, x, keep, p: x * keep / (1 - p),
    "dot_scores": lambda torch, query, key, scale: query @ key.mT * scale,
    "additive_attention": _additive_attention,
    "additive_scores": _additive_scores,
    "attention": _attention,
    "self_attention": _self_attention,
    "dot_weights": _dot_weights,
    "self_attention_weights": _self_attention_weights,
    "combine_heads": _combine_heads,
    "bernoulli_nll": lambda torch, x, target: torch.nn.functional.binary_cross_entropy(
        x, target, reduction="none"
    ),
    # not torch.nn.functional.mse_loss, which warns where shapes differ
    "mse_loss": lambda torch, x, target, reduction="mean": _reduced((x - target) ** 2, reduction),
    "huber": lambda torch, x, delta: torch.nn.functional.huber_loss(
        x, torch.zeros_like(x), reduction="none", delta=delta
    ),
    "logistic_nll": lambda torch, x: -torch.nn.functional.logsigmoid(x),
}


def reference(op: Op) -> Callable[..., Any]:
    """PyTorch's counterpart: takes tensors in the order of the op's inputs, params by name."""
    torch = require.module("torch")
    if op.name in COMPOSITIONS:
        return functools.partial(COMPOSITIONS[op.name], torch)
    assert not (op.torch or "").startswith("ours:"), f"{op.name} needs a row in COMPOSITIONS"
    found: Any = torch
    for part in (op.torch or op.name).split("."):
        found = getattr(found, part)
    return found


def to_torch(value: Any) -> Any:
    """The same values as a torch tensor, of the same dtype, wanting a gradient just so."""
    torch = require.module("torch")
    if isinstance(value, tm.Tensor):
        copy = torch.from_numpy(value.data.copy())  # a copy keeps 0-d and negative strides harmless
        return copy.requires_grad_(value.requires_grad)
    return value


def to_numpy(value: Any) -> np.ndarray:
    """The values of a tensor, ours or torch's."""
    return value.data if isinstance(value, tm.Tensor) else value.detach().numpy(force=True)
