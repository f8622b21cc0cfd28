"""Train one layer of attention on real text for some seconds, and draw its heads.

Writes the picture that stands in the README; takes the path as its argument.
"""

import sys

import tinygrad_mha as tm
from tinygrad_mha.tasks.char_model import CharModel, Recipe, picture_inputs, train
from tinygrad_mha.tasks.text import python_documentation

text = python_documentation()
model = CharModel(text.alphabet, Recipe(layers=1, heads=4, width=32))
for progress in train(model, text, steps=600):
    if progress.step % 200 == 0:
        bits = model.bits_per_character(text.held_out, windows=32)  # measured at this very step
        print(f"step {progress.step}: {bits:.2f} bits per character")

loss, characters, gpt = picture_inputs(model, "import a module")
graph = tm.viz.trace(loss, model=gpt, tokens=characters, title="One layer, four heads")
print(graph.heads[0].proof.words())
graph.save(sys.argv[1] if len(sys.argv) > 1 else "heads.svg")
