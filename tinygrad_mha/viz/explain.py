"""What an operation computes, what its gradient is, and where both are written."""

from __future__ import annotations

import difflib
import inspect
import os

from ..engine import REGISTRY


def explain(name: str) -> str:
    """Describe an operation in words.

    Parameters
    ----------
    name : str
        Of the operation, for example ``"softmax"``.

    Returns
    -------
    str

    Raises
    ------
    KeyError
        There is no such operation; the message names similar ones.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> print(tm.viz.explain("relu").splitlines()[0])
    relu(x)    y = max(x, 0)
    """
    if name not in REGISTRY:
        near = difflib.get_close_matches(name, REGISTRY, 5, 0.5)
        hint = f"; did you mean {', '.join(near)}?" if near else ""
        raise KeyError(
            f"there is no operation {name!r}{hint} There are: {', '.join(sorted(REGISTRY))}"
        )
    op = REGISTRY[name]
    arguments = ", ".join(p for p in inspect.signature(op.forward).parameters)
    lines = [f"{op.name}({arguments})    {op.formula}", ""]
    lines += [inspect.cleandoc(op.__doc__ or "").split("\n\n")[0], "", f"  {_place(op.source)}", ""]
    if not op.rules:
        lines.append("It has no gradient.")
    for rule in op.rules.values():
        takes = f", needs {', '.join(rule.takes)}" if rule.takes else ""
        lines += [f"gradient of {rule.of}:  {rule.text}", f"  {_place(rule.source)}{takes}"]
    if op.fused is not None:
        lines += ["", "all gradients in one pass, on arrays:", f"  {_place(op.fused.source)}"]
    return "\n".join(lines)


def _place(source: tuple[str, int]) -> str:
    file, line = source
    near = os.path.relpath(file)
    return f"{file if near.startswith('..') else near}:{line}"
