"""Film two layers of attention while they learn to continue a repeated pattern.

The task needs two heads in a row (Olsson et al. 2022, "In-context learning and induction heads"):
one that looks at the previous token, and one in the next layer that looks for an earlier place
where the previous token was the present one, and copies what came there. The page shows both
appear, within seconds of each other, and the loss fall when they do.

Writes induction.html; takes another path as its argument.
"""

import sys
from functools import partial

import numpy as np

import tinygrad_mha as tm
from tinygrad_mha import nn
from tinygrad_mha.nn import analysis

VOCABULARY, LENGTH, PERIOD, BATCH, STEPS = 32, 40, 10, 32, 800
UNKNOWN = -100  # targets that cross_entropy leaves out


class AttentionOnly(nn.Module):
    """Layers of attention and nothing else, each added to what it reads."""

    def __init__(self, layers: int, heads: int, width: int) -> None:
        super().__init__()
        self.tokens = nn.Embedding(VOCABULARY, width)
        self.positions = nn.LearnedPositions(LENGTH, width)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(layers))
        self.layers = nn.ModuleList(nn.MultiHeadAttention(width, heads) for _ in range(layers))
        self.head = nn.Linear(width, VOCABULARY)

    def forward(self, tokens):
        x = self.positions(self.tokens(tokens))
        for norm, attention in zip(self.norms, self.layers, strict=True):
            x = x + attention(norm(x), is_causal=True)
        return self.head(x)


def repeated(rng, count):
    """Patterns that begin somewhere and repeat to the end; what can be known is the target.

    A fixed period, or one beginning, would be no test: then a position says what comes next.
    """
    rows = rng.integers(VOCABULARY, size=(count, LENGTH + 1))
    targets = np.full((count, LENGTH), UNKNOWN)
    for row, target in zip(rows, targets, strict=True):
        start, period = rng.integers(0, 16), rng.integers(6, 16)
        row[start:] = np.resize(row[start : start + period], LENGTH + 1 - start)
        target[start + period :] = row[start + period + 1 :]
    return rows[:, :-1], targets


tm.manual_seed(0)
rng = np.random.default_rng(0)
model = AttentionOnly(layers=2, heads=4, width=64)
optimizer = tm.optim.AdamW(model.parameters(), 3e-3)

shown = np.resize(rng.integers(VOCABULARY, size=PERIOD), LENGTH)
film = tm.viz.Film(
    model,
    shown,
    tokens=[chr(0x41 + t) for t in shown],
    every=10,
    measures={"induction": partial(analysis.induction, period=PERIOD)},
    title="Two layers learn to continue what repeats",
)
for step in range(1, STEPS + 1):
    tokens, targets = repeated(rng, BATCH)
    logits = model(tm.tensor(tokens)).reshape(-1, VOCABULARY)  # (N, T, C) -> (N·T, C)
    loss = tm.cross_entropy(logits, tm.tensor(targets.reshape(-1)))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    film(loss)
    if step % 200 == 0:
        heads = film.frames[-1].measures
        print(
            f"step {step}: loss {loss.item():.3f}; best head of layer 1 on the previous token "
            f"{max(heads['to_previous'][0]):.2f}, of layer 2 on induction "
            f"{max(heads['induction'][1]):.2f}"
        )
print("Saved", film.save(sys.argv[1] if len(sys.argv) > 1 else "induction.html"))
