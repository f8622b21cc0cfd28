"""The character model: learns, repeats itself exactly, comes back from its file."""

import math
from pathlib import Path

import numpy as np
import pytest

import tinygrad_mha as tm
from tinygrad_mha.tasks.char_model import CharModel, Recipe, picture_inputs, train
from tinygrad_mha.tasks.text import UNKNOWN, Text, encode

ALPHABET = ("a", "b", "c", UNKNOWN)
SMALL = Recipe(layers=1, heads=2, width=8, context=8, batch=8, lr=2e-2, warmup=5)


@pytest.fixture
def text() -> Text:
    """abcabc…: who looks one character back knows everything."""
    tokens = encode("abc" * 200, ALPHABET)
    return Text("abc", ALPHABET, tokens, tokens)


def test_training_learns(text: Text) -> None:
    model = CharModel(ALPHABET, SMALL)
    progress = list(train(model, text, steps=60))
    assert [p.step for p in progress] == list(range(1, 61))
    assert progress[0].loss == pytest.approx(math.log(4), abs=0.2)
    assert progress[-1].held_out_bits is not None
    assert progress[-1].held_out_bits < 0.3 < text.unigram_bits()
    assert model.sample("ab", 6, temperature=0) == "cabcab"


@pytest.mark.parametrize("attention", ["dot", "additive"])
def test_same_recipe_gives_the_same_model_bit_for_bit(text: Text, attention: str) -> None:
    found = []
    for _ in range(2):
        model = CharModel(ALPHABET, Recipe(**{**vars(SMALL), "attention": attention}))
        for _ in train(model, text, steps=5):
            pass
        found.append({name: t.data.tobytes() for name, t in model.gpt.state_dict().items()})
    assert found[0] == found[1]


def test_another_seed_gives_another_model() -> None:
    a, b = (CharModel(ALPHABET, Recipe(**{**vars(SMALL), "seed": s})) for s in (0, 1))
    assert not np.array_equal(a.gpt.head.weight.data, b.gpt.head.weight.data)


def test_stopping_early_is_taking_no_more(text: Text) -> None:
    model = CharModel(ALPHABET, SMALL)
    for progress in train(model, text, steps=1000):
        if progress.step == 3:
            break
    assert math.isfinite(model.bits_per_character(text.held_out))


def test_time_bounds_the_steps(text: Text) -> None:
    model = CharModel(ALPHABET, SMALL)
    last = list(train(model, text, seconds=0.2))[-1]
    assert last.step == last.steps
    assert last.held_out_bits is not None


def test_training_needs_an_end(text: Text) -> None:
    with pytest.raises(ValueError, match="steps or seconds"):
        next(train(CharModel(ALPHABET, SMALL), text))


def test_round_trip(text: Text, tmp_path: Path) -> None:
    model = CharModel(ALPHABET, Recipe(**{**vars(SMALL), "attention": "additive"}))
    for _ in train(model, text, steps=3):
        pass
    path = tmp_path / "model.safetensors"
    model.save(path)
    again = CharModel.load(path)
    assert again.recipe == model.recipe
    assert again.alphabet == ALPHABET
    assert again.bits_per_character(text.held_out) == model.bits_per_character(text.held_out)


def test_other_files_are_not_models(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    tm.save({"w": tm.ones(1)}, path)
    with pytest.raises(ValueError, match="not a character model's checkpoint"):
        CharModel.load(path)
    with pytest.raises(FileNotFoundError):
        CharModel.load(tmp_path / "none.safetensors")


def test_a_sentence_for_the_picture() -> None:
    model = CharModel(ALPHABET, SMALL)
    loss, tokens, gpt = picture_inputs(model, "abca")
    assert tokens == ["a", "b", "c"]
    assert loss.grad_fn is not None
    assert gpt.head.weight.grad is not None
    _, tokens, _ = picture_inputs(model, "abc" * 10)
    assert len(tokens) == SMALL.context, "no more than it can read"
    with pytest.raises(ValueError, match="at least two"):
        picture_inputs(model, "a")
