"""The command ``tinygrad-mha``."""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from .starting import INTERRUPTED, over

if TYPE_CHECKING:
    from .tasks.char_model import CharModel, Progress
    from .viz import Film, Graph
    from .viz.diff import Diff

#: What the pictures are drawn of, unless --text says otherwise.
SENTENCE = "The import statement finds a module."

#: What 'graph' can write.
FORMATS = ("svg", "png", "pdf", "dot", "html", "json", "txt")


class UserError(Exception):
    """Something the user can mend; shown as one line, without a traceback."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Parameters
    ----------
    arguments : sequence of str, optional
        By default those of the process.

    Returns
    -------
    int
        Exit status: 0, 1 for an error that was explained, 2 for a wrong option, 130 for Ctrl-C.
    """
    try:
        over()
        options = _parser().parse_args(arguments)
        status: int = options.run(options)
    except UserError as error:
        print(f"tinygrad-mha: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ntinygrad-mha: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # the reader, for example `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tinygrad-mha",
        description="Multi-head attention on its own autograd engine, with every head drawn.",
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    demo = commands.add_parser(
        "demo",
        help="train a small transformer on real text, then draw each of its heads",
        description=(
            "Trains a causal character model on the documentation that ships inside Python, for "
            "less than a minute, and writes into a folder: the trained model "
            "(model.safetensors), a picture of its computation with a lane for every head "
            "(graph.svg), an interactive page with every head's attention (report.html), and a "
            "film of how the heads came to it (film.html)."
        ),
        epilog=(
            "Ctrl-C ends the training early; what was learnt so far is saved and drawn. "
            "The same --steps, --seed and sizes give the same model."
        ),
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    demo.add_argument("--out", type=Path, default=Path("tinygrad-mha-demo"), help="output folder")
    demo.add_argument(
        "--steps",
        type=_at_least(1),
        default=argparse.SUPPRESS,
        help="training steps (default: as many as fit into --seconds)",
    )
    demo.add_argument("--seconds", type=_at_least(1), default=40, help="time to train")
    demo.add_argument("--heads", type=_at_least(1), default=4, help="attention heads per layer")
    demo.add_argument("--layers", type=_at_least(1), default=2, help="transformer layers")
    demo.add_argument(
        "--width", type=_at_least(1), default=64, help="width of the model, a multiple of --heads"
    )
    demo.add_argument(
        "--attention",
        choices=("dot", "additive"),
        default="dot",
        help="pooling function of each head: scaled dot product, or additive",
    )
    demo.add_argument("--seed", type=_at_least(0), default=0, help="of all random numbers")
    demo.add_argument("--text", default=SENTENCE, help="the sentence to draw the attention of")
    demo.add_argument(
        "--film",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="film the heads while they learn",
    )
    demo.set_defaults(run=_demo)

    sample = commands.add_parser(
        "sample",
        help="let a trained model continue a text",
        description="Lets a model that 'demo' has trained continue a text.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    sample.add_argument("checkpoint", type=Path, help="a model.safetensors")
    sample.add_argument("--prompt", default="The ", help="how it begins")
    sample.add_argument("--length", type=_at_least(1), default=400, help="characters to add")
    sample.add_argument(
        "--temperature", type=float, default=0.8, help="below 1 predictable, above 1 wild"
    )
    sample.add_argument("--seed", type=_at_least(0), default=0, help="of the random choices")
    sample.set_defaults(run=_sample)

    graph = commands.add_parser(
        "graph",
        help="draw a trained model's computation on a text of yours",
        description=(
            "Runs a text through a model that 'demo' has trained, and back; draws it, takes each "
            "head away in turn, and prints what the loss is without it. With --diff it also shows "
            "what is different in another model, head by head."
        ),
        epilog=(
            "Files: graph.svg, .png, .pdf, .dot the picture with a lane for each head; report.html "
            "the interactive page; graph.json everything as data; graph.txt a line for each "
            "operation and a table of the heads. The same of the difference: diff.svg and so on."
        ),
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    graph.add_argument("checkpoint", type=Path, help="a model.safetensors")
    graph.add_argument("--text", default=SENTENCE, help="what the model reads")
    graph.add_argument("--out", type=Path, default=Path(), help="folder for the files")
    graph.add_argument(
        "--formats",
        type=_formats,
        default="svg,html,json,txt",
        help=f"which files, separated by commas, of {','.join(FORMATS)}",
    )
    graph.add_argument(
        "--theme",
        choices=("light", "dark", "print"),
        default=argparse.SUPPRESS,
        help="colours of pictures, and those in which pages open (default: pictures light, pages "
        "as the system is)",
    )
    graph.add_argument(
        "--diff",
        type=Path,
        metavar="OTHER",
        default=argparse.SUPPRESS,
        help="another model.safetensors, for example of an earlier step, to compare with",
    )
    graph.set_defaults(run=_graph)

    explain = commands.add_parser(
        "explain",
        help="formula, gradient and source of an operation",
        description="Prints what an operation computes, its gradient, and where both are written.",
    )
    explain.add_argument("operation", help="for example softmax")
    explain.set_defaults(run=_explain)
    return parser


def _formats(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip().lstrip(".").lower() for name in text.split(",")))
    for name in names:
        if name not in FORMATS:
            raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(FORMATS)}")
    return names


def _at_least(least: int) -> Callable[[str], int]:
    def integer(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None
        if value < least:
            raise argparse.ArgumentTypeError(f"{value} is too small, the least is {least}")
        return value

    return integer


# -- demo -----------------------------------------------------------------------------


def _demo(options: argparse.Namespace) -> int:
    if options.width % options.heads:
        raise UserError(
            f"--width {options.width} does not split into --heads {options.heads}; "
            f"take a multiple, for example --width {options.heads * (64 // options.heads or 1)}"
        )
    if len(options.text) < 2:
        raise UserError("--text needs at least two characters")
    _writable(options.out)
    from .tasks import char_model
    from .tasks.text import python_documentation

    text = python_documentation()
    model = char_model.CharModel(
        text.alphabet,
        char_model.Recipe(
            layers=options.layers,
            heads=options.heads,
            width=options.width,
            attention=options.attention,
            seed=options.seed,
        ),
    )
    unigram = text.unigram_bits()
    print(
        f"Text    {text.source}: {len(text.train):,} characters to learn from, "
        f"{len(text.held_out):,} held out\n"
        f"Model   {options.layers} layers × {options.heads} heads, width {options.width}, "
        f"{options.attention} attention, {model.gpt.num_parameters():,} parameters",
        flush=True,
    )
    started = time.perf_counter()
    film = char_model.film_of(model, options.text) if options.film else None
    steps = getattr(options, "steps", None)
    last, interrupted = _train(model, text, steps, options.seconds, film)
    checkpoint = options.out / "model.safetensors"
    model.save(checkpoint)
    if last is None:
        print("Stopped before the first step.")
    else:
        print(
            f"Trained {last.step:,} steps in {time.perf_counter() - started:.0f} s. "
            f"Held-out text: {last.held_out_bits:.2f} bits per character "
            f"(counting characters alone: {unigram:.2f})"
        )
        print(f"\nIt continues {options.text!r}:\n")
        print("    " + model.sample(options.text, 240).replace("\n", "\n    ") + "\n", flush=True)
    for words in _misread(model, options.text):
        print(f"Note    {words}")
    graph = _traced(model, options.text)
    graph.ablate()
    picture, page = _draw(graph, options.out, ("svg", "html"))
    filmed = ""
    if film is not None:
        path = film.save(options.out / "film.html")
        filmed = f"        {path}  how the heads learnt it, step by step\n"
    print(
        f"Saved   {checkpoint}  the trained model\n"
        f"        {picture}  its computation, a lane for each head\n"
        f"        {page}  every head's attention: open it in a browser\n"
        f"{filmed}"
        f"Next    tinygrad-mha sample {checkpoint} --prompt 'A class '\n"
        f"        tinygrad-mha graph {checkpoint} --text 'what each head looks at'\n"
        f"        tinygrad-mha demo --attention additive --heads 8\n"
        f"        tinygrad-mha explain softmax"
    )
    return INTERRUPTED if interrupted else 0


def _train(
    model: CharModel, text: Any, steps: int | None, seconds: float, film: Film | None
) -> tuple[Progress | None, bool]:
    """Train with a progress bar; returns the last progress, and whether Ctrl-C ended it."""
    from .kernels import prepare
    from .tasks.char_model import train

    prepare("attention", "attention_backward")  # on a new machine, while others are compiled here
    last = None
    with _until_interrupted() as interrupted, _Bar() as bar:
        for progress in train(model, text, steps=steps, seconds=seconds):
            last = progress
            bar.show(progress)
            if film is not None:
                film(progress.loss)
            if interrupted():
                break
    if interrupted() and last is not None and last.step < last.steps:
        # as measured some seconds ago; the sentence below it is about the model that is saved
        bits = model.bits_per_character(text.held_out, windows=256)
        last = type(last)(**{**vars(last), "held_out_bits": bits})
    return last, interrupted()


def _traced(model: CharModel, sentence: str, elements: int = 64) -> Graph:
    """What a model makes of a sentence, there and back."""
    from . import viz
    from .tasks.char_model import picture_inputs

    loss, tokens, gpt = picture_inputs(model, sentence)
    return viz.trace(loss, model=gpt, tokens=tokens, elements=elements)


def _misread(model: CharModel, text: str) -> list[str]:
    """What of a text the model will not see as it is, in words."""
    from .tasks.text import UNKNOWN
    from .viz.text import visible

    context, told = model.recipe.context, []
    read = text[: context + 1]  # the last one is only foretold
    if len(text) > len(read):
        told.append(
            f"the model reads {context} characters at a time; of {len(text):,} these are drawn: "
            f"{read[:-1]!r}"
        )
    strange = sorted(set(read) - set(model.alphabet))
    if strange:
        shown = " ".join(map(visible, strange[:12])) + (" …" if len(strange) > 12 else "")
        told.append(f"not in the model's alphabet, so read as {UNKNOWN}: {shown}")
    return told


def _draw(
    graph: Graph, folder: Path, formats: Sequence[str], theme: str | None = None
) -> list[Path]:
    """Write a graph in some formats."""
    names = {"html": "report.html"}
    return [_save(graph, folder / names.get(f, f"graph.{f}"), theme) for f in formats]


def _save(thing: Graph | Diff, path: Path, theme: str | None) -> Path:
    from .viz.picture import PICTURES

    try:
        if theme and path.suffix == ".html":  # which is not printed
            thing.save(path, theme="light" if theme == "print" else theme)
        elif theme and path.suffix[1:] in PICTURES:
            thing.save(path, theme=theme)
        else:
            thing.save(path)
    except (RuntimeError, OSError) as error:
        raise UserError(f"cannot write {path}: {error}") from error
    return path


@contextlib.contextmanager
def _until_interrupted() -> Iterator[Callable[[], bool]]:
    """Let Ctrl-C end the loop after the step in progress; a second one ends it at once."""
    pressed = False

    def first(number: int, frame: FrameType | None) -> None:
        nonlocal pressed
        pressed = True
        signal.signal(signal.SIGINT, before)
        print("\nStopping after this step; Ctrl-C again to stop at once.", file=sys.stderr)

    before = signal.signal(signal.SIGINT, first)
    try:
        yield lambda: pressed
    finally:
        signal.signal(signal.SIGINT, before)


class _Bar:
    """Progress of the training: a live line on a terminal, a line now and then elsewhere."""

    def __enter__(self) -> _Bar:
        from . import kernels

        self._live = sys.stderr.isatty()
        self._bar: Any = None
        self._compiled = kernels.on_compile(self._compiling)
        self._compiled.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._compiled.__exit__(None, None, None)
        if self._bar is not None:
            self._bar.close()

    def _compiling(self, kernel: str, state: str, seconds: float) -> None:
        """Say that a kernel is being compiled, which happens once per machine."""
        if self._bar is not None:
            self._bar.clear()
        if state == "start":
            print(f"Compiling the {kernel} kernel (once on this machine) …", end="", flush=True)
        else:
            print(f" {seconds:.1f} s", flush=True)

    def show(self, progress: Progress) -> None:
        """Bring the display up to date."""
        if not self._live:
            if progress.step in (1, progress.steps) or progress.step % 100 == 0:
                print(self._words(progress), flush=True)
            return
        from tqdm import tqdm

        if self._bar is None:
            self._bar = tqdm(
                total=progress.steps or None,
                dynamic_ncols=True,
                bar_format="{bar} {n_fmt}/{total_fmt} steps  {desc}",
                mininterval=0.1,
            )
        self._bar.total = progress.steps or None
        self._bar.set_description_str(self._words(progress, brief=True), refresh=False)
        self._bar.update(progress.step - self._bar.n)

    @staticmethod
    def _words(progress: Progress, brief: bool = False) -> str:
        bits = progress.held_out_bits
        words = (
            f"loss {progress.loss:.3f}  held-out {bits:.2f} bits/char  "
            f"{progress.tokens_per_second:,.0f} tokens/s  {progress.seconds_left:.0f} s left"
        )
        return words if brief else f"step {progress.step:>5}/{progress.steps or '…'}  {words}"


def _writable(folder: Path) -> None:
    """Make the folder, and find out now, not after the training, whether files can be put there."""
    probe = folder / f".tinygrad-mha-{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UserError(
            f"cannot write into the folder {str(folder)!r} ({error.strerror}); "
            "choose another with --out"
        ) from error


# -- the other commands ------------------------------------------------------------------


def _load(path: Path) -> CharModel:
    from .tasks.char_model import CharModel

    if path.is_dir():
        raise UserError(
            f"{str(path)!r} is a folder; name the file in it, for example "
            f"{str(path / 'model.safetensors')!r}"
        )
    try:
        return CharModel.load(path)
    except FileNotFoundError:
        raise UserError(
            f"there is no checkpoint {str(path)!r}; 'tinygrad-mha demo' makes one"
        ) from None
    except (OSError, ValueError) as error:
        raise UserError(str(error)) from error


def _sample(options: argparse.Namespace) -> int:
    if not options.prompt:
        raise UserError("--prompt needs at least one character")
    if not 0 <= options.temperature < math.inf:
        raise UserError(f"--temperature {options.temperature} is no number from 0 up")
    from . import ops

    model = _load(options.checkpoint)
    ops.manual_seed(options.seed)
    print(options.prompt + model.sample(options.prompt, options.length, options.temperature))
    return 0


def _drawable(folder: Path, formats: Sequence[str]) -> None:
    """Find out before the work whether a program is here that writes each of the pictures."""
    from .viz.render import check

    for kind in formats:
        if kind in ("svg", "png", "pdf"):
            try:
                check(kind)
            except RuntimeError as error:
                raise UserError(f"cannot write {folder / f'graph.{kind}'}: {error}") from error


def _graph(options: argparse.Namespace) -> int:
    if len(options.text) < 2:
        raise UserError("--text needs at least two characters")
    _drawable(options.out, options.formats)
    model = _load(options.checkpoint)
    other = _load(options.diff) if hasattr(options, "diff") else None
    _writable(options.out)
    for words in _misread(model, options.text):
        print(f"Note    {words}")
    print("Loss, in nats per character, without each head in turn:\n", flush=True)
    graph = _traced(model, options.text)
    print(graph.ablate(), flush=True)
    theme = getattr(options, "theme", None)
    saved = _draw(graph, options.out, options.formats, theme)
    if other is not None:
        everything = 10**8  # elements: so that differences are exact
        before, after = (_traced(m, options.text, everything) for m in (other, model))
        try:
            diff = before.diff(after, names=(str(options.diff), str(options.checkpoint)))
        except ValueError as error:
            raise UserError(str(error)) from error
        for kind in options.formats:
            saved.append(_save(diff, options.out / f"diff.{kind}", theme))
    print("\nSaved   " + "\n        ".join(map(str, saved)))
    return 0


def _explain(options: argparse.Namespace) -> int:
    from . import viz

    try:
        print(viz.explain(options.operation))
    except KeyError as error:
        raise UserError(str(error.args[0])) from error
    return 0
