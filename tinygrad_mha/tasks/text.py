"""Real text that every Python installation has, as characters to learn from."""

from __future__ import annotations

import ast
import sysconfig
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

#: Stands for a character that the training text does not have.
UNKNOWN = "\N{REPLACEMENT CHARACTER}"


@dataclass(frozen=True)
class Text:
    """A text in two parts, one to learn from and one to be judged by, over one alphabet.

    Attributes
    ----------
    source : str
        Where it is from, for people.
    alphabet : tuple of str
        Every character of the training part, and :data:`UNKNOWN`; a token is a position in it.
    train, held_out : ndarray of int64
        The two parts as tokens.
    """

    source: str
    alphabet: tuple[str, ...]
    train: np.ndarray
    held_out: np.ndarray

    def encode(self, text: str) -> np.ndarray:
        """Characters to tokens; what the alphabet lacks becomes :data:`UNKNOWN`."""
        return encode(text, self.alphabet)

    def decode(self, tokens: np.ndarray) -> str:
        """Tokens to characters."""
        return "".join(self.alphabet[int(t)] for t in tokens)

    def unigram_bits(self) -> float:
        """Bits per character of the held-out part for who knows only how often each occurs.

        Counts of the training part plus one each (Laplace), so that none is impossible.
        """
        counts = np.bincount(self.train, minlength=len(self.alphabet)) + 1.0
        return float(-np.log2(counts / counts.sum())[self.held_out].mean())

    def batch(
        self, rng: np.random.Generator, size: int, length: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Draw windows of the training part, and what follows each of their characters.

        Returns
        -------
        x, y : ndarray of int64
            Both ``(size, length)``; ``y[i, t]`` follows ``x[i, t]``.
        """
        starts = rng.integers(0, len(self.train) - length, size)
        windows = self.train[starts[:, None] + np.arange(length + 1)]
        return windows[:, :-1], windows[:, 1:]


def encode(text: str, alphabet: tuple[str, ...]) -> np.ndarray:
    """Characters to their positions in an alphabet that holds :data:`UNKNOWN`."""
    position = {c: i for i, c in enumerate(alphabet)}
    unknown = position[UNKNOWN]
    return np.array([position.get(c, unknown) for c in text], np.int64)


def python_documentation() -> Text:
    """Load the language reference that ships inside CPython, or the library's docstrings.

    About a tenth of the topics is held out, whole; and as topics quote each other, their
    lines are taken out of the rest: no line of more than 30 characters that the model is
    judged by stands in what it learned from.

    Returns
    -------
    Text

    Examples
    --------
    >>> from tinygrad_mha.tasks.text import python_documentation
    >>> text = python_documentation()
    >>> text.decode(text.encode("the import statement"))
    'the import statement'
    """
    source, documents = _topics() or _docstrings()
    train, held_out = _split(documents)
    # a character seen once teaches nothing
    alphabet = (*sorted(c for c, n in Counter(train).items() if n > 1 and c != UNKNOWN), UNKNOWN)
    return Text(source, alphabet, encode(train, alphabet), encode(held_out, alphabet))


def _split(documents: list[str], share: float = 0.1) -> tuple[str, str]:
    """Hold out whole documents, evenly spread, up to a share of all characters."""
    kept: list[str] = []
    held_out: list[str] = []
    for document in documents:
        so_far = sum(map(len, kept)) + sum(map(len, held_out)) + len(document)
        # a document that alone outweighs the share would leave too little to learn from
        fits = sum(map(len, held_out)) + len(document) <= share * so_far
        (held_out if fits else kept).append(document)
    # quotations are indented anew, so lines are compared without what stands around them
    judged_by = {line.strip() for d in held_out for line in d.splitlines() if len(line) > 30}
    remaining = (
        "\n".join(line for line in d.splitlines() if line.strip() not in judged_by) for d in kept
    )
    return "\n\n".join(remaining), "\n\n".join(held_out)


def _topics() -> tuple[str, list[str]] | None:
    try:
        from pydoc_data.topics import topics
    except ImportError:  # some distributions leave it out
        return None
    return "the Python language reference (pydoc_data.topics)", [topics[k] for k in sorted(topics)]


def _docstrings() -> tuple[str, list[str]]:
    """Every module's docstrings, from the files of the standard library."""
    documents = []
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        try:
            tree = ast.parse(path.read_text(encoding="utf-8"))
        except (SyntaxError, UnicodeDecodeError, OSError):
            continue
        owners = (
            node
            for node in ast.walk(tree)
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        )
        found = [text for text in map(ast.get_docstring, owners) if text]
        if found:
            documents.append("\n\n".join(found))
    if len(documents) < 10:
        raise FileNotFoundError(
            "no text to learn from: this Python has neither pydoc_data.topics nor the sources of "
            "its standard library"
        )
    return "the docstrings of Python's standard library", documents
