"""The text that every Python has: split without leaking, turned into tokens and back."""

import builtins
from typing import Any

import numpy as np
import pytest

from tinygrad_mha.tasks import text as texts


def test_tokens_and_back() -> None:
    text = texts.python_documentation()
    sentence = "The import statement."
    assert text.decode(text.encode(sentence)) == sentence
    assert text.decode(text.encode("\N{SNOWMAN}")) == texts.UNKNOWN
    assert len(set(text.alphabet)) == len(text.alphabet)


def test_no_long_line_of_the_held_out_part_was_learned_from() -> None:
    text = texts.python_documentation()
    learned = {line.strip() for line in text.decode(text.train).splitlines()}
    judged = {line.strip() for line in text.decode(text.held_out).splitlines() if len(line) > 30}
    assert len(judged) > 100
    assert not {line for line in judged & learned if len(line) > 30}


def test_about_a_tenth_is_held_out_and_the_split_is_the_same_each_time() -> None:
    one, other = texts.python_documentation(), texts.python_documentation()
    share = len(one.held_out) / (len(one.train) + len(one.held_out))
    assert 0.05 < share < 0.15
    np.testing.assert_array_equal(one.train, other.train)
    np.testing.assert_array_equal(one.held_out, other.held_out)


def test_batches_are_windows_and_what_follows() -> None:
    tokens = np.arange(100)
    text = texts.Text("numbers", ("a", texts.UNKNOWN), tokens, tokens)
    x, y = text.batch(np.random.default_rng(0), 200, 5)
    assert x.shape == y.shape == (200, 5)
    np.testing.assert_array_equal(y, x + 1)
    np.testing.assert_array_equal(np.diff(x), 1)
    assert y.max() == 99, "the last token is predicted too"


def test_unigram_bits_of_a_fair_coin() -> None:
    train = np.array([0, 1] * 500)
    text = texts.Text("coin", ("a", "b"), train, train)
    assert text.unigram_bits() == pytest.approx(1.0)


def test_without_the_reference_there_are_the_docstrings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some distributions leave pydoc_data out."""
    real = builtins.__import__

    def without(name: str, *arguments: Any, **options: Any) -> Any:
        if name.startswith("pydoc_data"):
            raise ImportError(name)
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    text = texts.python_documentation()
    assert "docstrings" in text.source
    assert len(text.train) > 100_000
