"""Attention step by step, in the order in which Dive into Deep Learning tells it.

Chapter 11 of https://d2l.ai goes from averaging by distance to many heads. Each step is here, with
the shapes that come out, in the names of this package. The one difference to remember: the book
says how many keys are valid; here that becomes a mask, ``masks.padding``, with True = may attend.
"""

import numpy as np

import tinygrad_mha as tm
from tinygrad_mha import nn
from tinygrad_mha.nn import functional as F
from tinygrad_mha.nn import masks

tm.manual_seed(0)


def show(what: str, shape: tuple[int, ...]) -> None:
    print(f"{what:<58} {shape}")


# Kernel regression: the nearer a key, the more its value counts ------------------------------

rng = np.random.default_rng(0)
x = tm.tensor(np.sort(rng.uniform(0, 5, (40, 1)), axis=0).astype(np.float32))
y = tm.tensor((2 * np.sin(x.data) + x.data + rng.normal(0, 0.3, x.shape)).astype(np.float32))
grid = tm.tensor(np.linspace(0, 5, 50, dtype=np.float32)[:, None])
for width in (2.0, 0.5):
    estimate, weights = nn.GaussianAttention(width=width)(grid, x, y, need_weights=True)
    error = np.sqrt(((estimate.data - 2 * np.sin(grid.data) - grid.data) ** 2).mean())
    show(f"kernel regression, width {width}: off by {error:.2f}; weights", weights.shape)

# Masked softmax: only the first keys of each item count --------------------------------------

scores = tm.rand(2, 2, 4)
weights = F.masked_softmax(scores, masks.padding([2, 3], 4))  # one length per item
show("masked softmax, one length per item", weights.shape)
print(weights.data.round(3))
weights = F.masked_softmax(scores, masks.padding([[1, 3], [2, 4]], 4))  # one length per query
print(weights.data.round(3))

# Scaled dot products: queries and keys of one width ------------------------------------------

queries, keys, values = tm.randn(2, 1, 2), tm.randn(2, 10, 2), tm.randn(2, 10, 4)
seen = masks.padding([2, 6], 10)
dot = nn.DotProductAttention(dropout=0.5).eval()
out, weights = dot(queries, keys, values, mask=seen, need_weights=True)
show("dot-product attention: output", out.shape)
show("dot-product attention: weights", weights.shape)
print("keys with a weight:", (weights.data > 0).sum(-1).ravel().tolist())

# Additive scores: queries and keys of different widths meet in a hidden layer ----------------

wide = tm.randn(2, 1, 20)
additive = nn.AdditiveAttention(query_dim=20, key_dim=2, num_hiddens=8, dropout=0.1).eval()
out, weights = additive(wide, keys, values, mask=seen, need_weights=True)
show("additive attention: output", out.shape)
show("additive attention: weights", weights.shape)

# Many heads: 5 views of 20 features each, combined by one more matrix ------------------------

mha = nn.MultiHeadAttention(100, 5, dropout=0.5, bias=False).eval()
show("W_q: one matrix per head", mha.W_q.shape)
show("W_o: combines the heads", mha.W_o.shape)
x, y = tm.ones(2, 4, 100), tm.ones(2, 6, 100)
out, weights = mha(x, y, y, mask=masks.padding([3, 2], 6), need_weights=True)
show("multi-head attention: output", out.shape)
show("multi-head attention: weights, head by head", weights.shape)
parts = mha.contributions(x, y, y, mask=masks.padding([3, 2], 6))
show("what each head adds to the output", parts.shape)
print("they add up:", np.allclose(parts.sum(1).data, out.data, atol=1e-5))

# Self-attention with positions: the same sequence is queries, keys and values ----------------

sequence = nn.SinusoidalPositions(100)(tm.randn(2, 4, 100))
out, weights = mha(sequence, is_causal=True, need_weights=True)
show("causal self-attention: output", out.shape)
print(nn.analysis.summary(weights).text())
