"""Which heads does a model need, and what did training change in each?

Trains a small model of real text, takes every head away in turn, compares the model with what it
was before the training, and with itself without its most needed head. Writes what_changed.html,
what_changed.svg and without_a_head.svg; takes another folder as its argument.
"""

import sys
from pathlib import Path

import numpy as np

import tinygrad_mha as tm
from tinygrad_mha.tasks.char_model import CharModel, Recipe, picture_inputs, train
from tinygrad_mha.tasks.text import encode, python_documentation

SENTENCE = "import a module"
EVERYTHING = 10**7  # elements: with whole arrays, differences are exact

folder = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
text = python_documentation()
model = CharModel(text.alphabet, Recipe(layers=2, heads=4, width=32))


def trace() -> tm.viz.Graph:
    loss, characters, gpt = picture_inputs(model, SENTENCE)
    return tm.viz.trace(loss, model=gpt, tokens=characters, elements=EVERYTHING)


before = trace()
for progress in train(model, text, steps=400):  # noqa: B007
    pass
print(f"trained to {progress.held_out_bits:.2f} bits per character\n")
after = trace()

# a head less: everything that depends on it is computed again
ablations = after.ablate()
print(ablations)
needed = ablations.most_needed()
print(f"\nmost needed here: {needed}\n")

# two steps of a training
changed = before.diff(after, names=("untrained", "trained"))
print(changed.table().split("\nOperations")[0])
for name in ("what_changed.html", "what_changed.svg"):
    changed.save(folder / name)

# a head on, and off: the same by a gate, which the picture shows as operations that were added
gates = np.ones((2, 4), np.float32)
gates[needed.attention, needed.head] = 0
tokens = encode(SENTENCE, text.alphabet)
logits = model.gpt(tm.tensor(tokens[None, :-1]), head_mask=gates)
loss = tm.cross_entropy(logits[0], tm.tensor(tokens[1:]))
gated = tm.viz.trace(loss, model=model.gpt, tokens=list(SENTENCE[:-1]), elements=EVERYTHING)
assert np.isclose(loss.item(), needed.without, rtol=1e-4)  # the two ways agree
after.diff(gated, names=("all heads", str(needed).partition(":")[0] + " off")).save(
    folder / "without_a_head.svg"
)
