"""A character model: a small GPT that learns to continue text."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from .. import nn, ops, optim
from ..engine import Tensor, no_grad
from ..interop import safetensors
from ..viz import Film
from .text import Text, encode


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what is trained, and how.

    Attributes
    ----------
    layers, heads, width, context : int
        Of the model.
    attention : {"dot", "additive"}
        The pooling function f of every head.
    batch : int
        Windows of `context` characters per step.
    lr : float
        Highest learning rate, reached after `warmup` steps.
    seed : int
        The same recipe, seed and number of steps give the same model.
    """

    layers: int = 2
    heads: int = 4
    width: int = 64
    context: int = 64
    attention: str = "dot"
    batch: int = 16
    lr: float = 3e-3
    warmup: int = 50
    weight_decay: float = 0.05
    seed: int = 0


@dataclass(frozen=True)
class Progress:
    """What is known after a step."""

    step: int
    steps: int
    loss: float  # nats per character, running mean over the last steps
    held_out_bits: float | None  # bits per character, as last measured
    tokens_per_second: float
    seconds: float
    seconds_left: float


class CharModel:
    """A GPT together with its alphabet and the recipe that made it.

    Parameters
    ----------
    alphabet : tuple of str
        What a token stands for.
    recipe : Recipe
        Sizes and training options.
    """

    def __init__(self, alphabet: tuple[str, ...], recipe: Recipe) -> None:
        self.alphabet, self.recipe = alphabet, recipe
        ops.manual_seed(recipe.seed)
        self.gpt = nn.GPT(
            len(alphabet),
            recipe.context,
            embed_dim=recipe.width,
            num_heads=recipe.heads,
            num_layers=recipe.layers,
            attention=recipe.attention,
        )

    def loss(self, x: np.ndarray, y: np.ndarray) -> Tensor:
        """Mean nats per character, of predicting `y` from `x`, both ``(N, T)``."""
        logits = self.gpt(Tensor(x))
        # (N, T, C) -> (N·T, C)
        loss: Tensor = ops.cross_entropy(
            logits.reshape(-1, len(self.alphabet)), Tensor(y.reshape(-1))
        )
        return loss

    def bits_per_character(self, tokens: np.ndarray, windows: int = 32) -> float:
        """Bits per character on up to `windows` windows spread evenly over `tokens`."""
        length = min(self.recipe.context, len(tokens) - 1)
        count = min(windows, (len(tokens) - 1) // length)
        starts = np.linspace(0, len(tokens) - 1 - length, count).astype(np.int64)
        x = tokens[starts[:, None] + np.arange(length + 1)]
        with no_grad():
            return float(self.loss(x[:, :-1], x[:, 1:]).item() / math.log(2))

    def sample(self, prompt: str, count: int, temperature: float = 0.8) -> str:
        """Continue a text by `count` characters."""
        tokens = nn.generate(
            self.gpt.eval(), encode(prompt, self.alphabet), count, temperature=temperature, top_k=40
        )
        return "".join(self.alphabet[t] for t in tokens[len(prompt) :])

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write weights, alphabet and recipe to one safetensors file."""
        safetensors.save(
            self.gpt.state_dict(),
            path,
            {
                "format": "tinygrad_mha.char_model.1",
                "alphabet": json.dumps(self.alphabet),
                "recipe": json.dumps(asdict(self.recipe)),
            },
        )

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> CharModel:
        """Read what :meth:`save` wrote.

        Raises
        ------
        FileNotFoundError
            There is no such file.
        ValueError
            It is no checkpoint of a character model.
        """
        state = safetensors.load(path)
        metadata = safetensors.load_metadata(path)
        if metadata.get("format") != "tinygrad_mha.char_model.1":
            raise ValueError(
                f"{os.fspath(path)} is a safetensors file, but not a character model's checkpoint; "
                "'tinygrad-mha demo' writes one"
            )
        model = cls(
            tuple(json.loads(metadata["alphabet"])), Recipe(**json.loads(metadata["recipe"]))
        )
        model.gpt.load_state_dict(state)
        return model


def train(
    model: CharModel,
    text: Text,
    *,
    steps: int | None = None,
    seconds: float | None = None,
    evaluate_every: float = 4.0,
) -> Iterator[Progress]:
    """Train, one step per item taken; to stop early, take no more.

    Parameters
    ----------
    model : CharModel
        Changed in place.
    text : Text
        What it learns from, and what it is judged by.
    steps : int, optional
        How many. Without it, as many as fit into `seconds` at the speed of the first steps:
        the learning rate's schedule needs to know its end.
    seconds : float, optional
        Bound on the time, when `steps` is not given.
    evaluate_every : float
        Seconds between two looks at held-out text; also before the first and after the last step.

    Yields
    ------
    Progress
    """
    if steps is None and seconds is None:
        raise ValueError("train: say steps or seconds")
    recipe = model.recipe
    rng = np.random.default_rng(recipe.seed)
    optimizer = optim.AdamW(
        model.gpt.parameters(), recipe.lr, betas=(0.9, 0.99), weight_decay=recipe.weight_decay
    )
    model.gpt.train()
    held_out = model.bits_per_character(text.held_out)
    begin = looked = time.perf_counter()
    planned = steps or 10**9
    schedule = optim.lr_scheduler.warmup_cosine(recipe.warmup, planned)
    losses: list[float] = []
    first_steps = 20  # the very first one compiles the kernels, so speed is measured after it
    settled = begin
    step = 0
    while step < planned:
        optimizer.lr = recipe.lr * schedule(step)
        loss = model.loss(*text.batch(rng, recipe.batch, recipe.context))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(optimizer.params, 1.0)
        optimizer.step()
        step += 1
        losses = [*losses[-19:], loss.item()]
        now = time.perf_counter()
        if step == 1:
            settled = now
        speed = (now - settled) / (step - 1) if step > 1 else now - begin  # seconds per step
        if steps is None and step == first_steps and seconds is not None:
            planned = max(step, step + int((seconds - (now - begin)) / speed))
            schedule = optim.lr_scheduler.warmup_cosine(recipe.warmup, planned)
        if seconds is not None and steps is None and now - begin > 1.15 * seconds:
            planned = step  # the machine slowed down; do not keep anyone waiting
        if now - looked > evaluate_every or step == planned:
            held_out = model.bits_per_character(
                text.held_out, windows=256 if step == planned else 32
            )
            looked = time.perf_counter()
        yield Progress(
            step,
            planned if planned < 10**9 else 0,
            float(np.mean(losses)),
            held_out,
            recipe.batch * recipe.context / speed,
            now - begin,
            speed * (planned - step) if planned < 10**9 else float(seconds or 0.0),
        )


def picture_inputs(model: CharModel, sentence: str) -> tuple[Tensor, list[str], Any]:
    """Run a sentence through the model and back, ready to be traced.

    Returns
    -------
    loss : Tensor
        Of predicting each next character; its graph is kept.
    tokens : list of str
        The characters that the model read.
    model : GPT
        For the names of the modules.
    """
    tokens = encode(sentence, model.alphabet)[: model.recipe.context + 1]
    if len(tokens) < 2:
        raise ValueError("the text needs at least two characters, one to read and one to predict")
    model.gpt.eval()
    model.gpt.zero_grad()
    loss = model.loss(tokens[None, :-1], tokens[None, 1:])
    loss.backward(retain_graph=True)
    return loss, [model.alphabet[t] for t in tokens[:-1]], model.gpt


def film_of(model: CharModel, sentence: str, every: int = 10) -> Film:
    """Begin a film of what the heads make of a sentence; to be called after each step."""
    tokens = encode(sentence, model.alphabet)[: model.recipe.context]
    return Film(
        model.gpt,
        tokens,
        tokens=[model.alphabet[t] for t in tokens],
        every=every,
        title=f"{model.recipe.layers} layers learn to read: {sentence!r}",
    )
