"""What an operation computes, why its gradient is what it is, and where all of it is written."""

from __future__ import annotations

import ast
import difflib
import importlib
import inspect
import os
import re
import textwrap
from collections.abc import Callable
from types import ModuleType
from typing import Any

from .. import ops
from ..engine import REGISTRY, Op

WIDTH = 88


def explain(name: str) -> str:
    """Describe an operation: formula, gradients, their derivation, sources, and kernels.

    Parameters
    ----------
    name : str
        Of the operation, for example ``"softmax"``; or of a public function that is made of
        operations, or is another name of one, for example ``"cat"``.

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
    found = REGISTRY.get(name) or _public().get(name)
    if found is None:
        near = ", ".join(_near(name))
        raise KeyError(
            f"there is no operation {name!r}; "
            + (f"did you mean {near}?" if near else "those of tm and tm.nn.functional are known")
        )
    if not isinstance(found, Op):
        return _composed(name, found)
    op = found
    arguments = ", ".join(inspect.signature(op.forward).parameters)
    summary = inspect.cleandoc(op.__doc__ or "").split("\n\n")[0]
    blocks = [
        f"{op.name}({arguments})    {op.formula}",
        _wrapped(summary) + f"\n  written in {_place(op.source)}",
        *_gradients(op),
    ]
    if op.derivation:
        blocks.append("why:\n" + textwrap.indent(_wrapped(op.derivation), "  "))
    blocks.append(_runs_on(op))
    return "\n\n".join(blocks)


def _public() -> dict[str, Any]:
    """Functions and operations by the names they have for users."""
    return {
        name: thing
        for name, thing in vars(ops).items()
        if not name.startswith("_") and (isinstance(thing, Op) or inspect.isfunction(thing))
    }


def _composed(name: str, function: Callable[..., Any]) -> str:
    """Describe a public function that is no operation itself."""
    arguments = ", ".join(inspect.signature(function).parameters)
    made = _operations(function)
    blocks = [
        f"{name}({arguments})",
        _wrapped(inspect.cleandoc(function.__doc__ or "").split("\n\n")[0])
        + f"\n  written in {_place(_where(function))}",
        f"{name} is a function, no operation of its own: "
        + (
            f"beside arithmetic it calls, some by way of helpers,\n{', '.join(made)}. "
            "Each of them can be explained."
            if made
            else "what it calls is told by its source."
        ),
    ]
    return "\n\n".join(blocks)


def _operations(function: Callable[..., Any], depth: int = 0) -> list[str]:
    """Operations named in a function, and in the package's functions that it calls, in order."""
    space = inspect.unwrap(function).__globals__
    found: list[str] = []
    for node in ast.walk(_tree(function)):
        thing: Any = None
        if isinstance(node, ast.Name):
            thing = space.get(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            room = space.get(node.value.id)
            thing = getattr(room, node.attr, None) if inspect.ismodule(room) else None
        if isinstance(thing, Op):
            found.append(thing.name)
        elif inspect.isfunction(thing) and thing.__module__.startswith(ops.__name__) and depth < 3:
            found += _operations(thing, depth + 1)
    return list(dict.fromkeys(found))


def _near(name: str) -> list[str]:
    """Operations whose names look alike, or contain what was asked for."""
    asked = name.lower().replace("-", "_")
    names = [*REGISTRY, *_public()]
    close = difflib.get_close_matches(asked, names, 5, 0.6)
    within = [known for known in names if len(asked) > 2 and asked in known]
    part = [known for known in names if len(known) > 2 and known in asked]
    return list(dict.fromkeys([*close, *within, *part]))[:4]


def _gradients(op: Op[Any]) -> list[str]:
    """One block for each input that has a gradient."""
    if not op.rules:
        return ["It has no gradient."]
    blocks = []
    for rule in op.rules.values():
        needs = f", from {', '.join(rule.takes)}" if rule.takes else ""
        blocks.append(
            f"gradient of {rule.of}:  {rule.text}\n  written in {_place(rule.source)}{needs}"
        )
    rest = [n for n in op.input_names if n not in op.rules and f"*{n}" not in op.input_names]
    if rest:
        blocks.append(f"no gradient of: {', '.join(rest)}")
    return blocks


# -- what runs -----------------------------------------------------------------------------


def _runs_on(op: Op[Any]) -> str:
    """Say which kernels the forward and the fast backward call, or which NumPy functions."""
    lines = ["what runs:", *_calls("forward", op.forward)]
    if op.fused is not None:
        lines.append(f"  backward  all gradients in one pass: {_place(op.fused.source)}")
        lines += _calls("", op.fused.function)
    elif op.rules:
        lines.append("  backward  the rules above, on arrays")
    return "\n".join(lines)


def _calls(what: str, function: Callable[..., Any]) -> list[str]:
    """Lines about the kernels that a function calls; else about its NumPy functions."""
    function = inspect.unwrap(function)
    kernels = function.__globals__.get("kernels")
    names = _attributes(function, "kernels") if kernels is not None else []
    if kernels is None or not names:
        used = [f"np.{name}" for name in _attributes(function, "np") if name not in _PLAIN]
        return [f"  {what:8}  NumPy" + (f": {', '.join(used)}" if used else "")] if what else []
    lines = []
    for i, name in enumerate(names):
        lines.append(f"  {what if i == 0 else '':8}  kernels.{name}")
        lines += [f"{'':12}  {line}" for line in _kernel(kernels, name)]
    return lines


#: Of NumPy, what computes nothing.
_PLAIN = {"ndarray", "dtype", "integer", "generic", "asarray", "errstate", "float64", "float32"}


def _kernel(kernels: ModuleType, name: str) -> list[str]:
    """Say what computes ``kernels.<name>`` on each backend, and which backend is in use."""
    wrapper = getattr(kernels, name)
    chosen = _chosen(kernels, wrapper)
    twin = getattr(importlib.import_module(f"{kernels.__name__}.reference"), chosen, None)
    plain = [f"reference.{chosen}, {_place(_where(twin))}"] if twin else []
    if _attributes(wrapper, "reference") or wrapper is twin:
        return [f"NumPy on either backend: {line}" for line in plain]
    try:
        compiled = importlib.import_module(f"{kernels.__name__}.compiled")
        loops = _loops(compiled, getattr(compiled, chosen))
    except (ImportError, AttributeError):  # no numba here
        loops = []
    lines = []
    for backend, found in (("numba", loops), ("numpy", plain)):
        used = " (in use)" if kernels.backend() == backend else ""
        lines += [f"backend {backend}{used}: {line}" for line in found]
    return lines


def _loops(compiled: ModuleType, function: Any, depth: int = 0) -> list[str]:
    """Kernels that a function of the compiled backend runs, if need be through its helpers."""
    found = []
    names = {n.id for n in ast.walk(_tree(function)) if isinstance(n, ast.Name)}
    for room in sorted(names):
        module = getattr(compiled, room, None)
        kernel: Any = getattr(module, "dispatcher", None)  # behind a table of its versions
        if hasattr(kernel, "py_func"):
            of, place = kernel.py_func, _place(_where(kernel))
            found.append(f"{of.__module__.rpartition('.')[2]}.{of.__name__}, {place}")
        if inspect.ismodule(module) and module.__name__.startswith(compiled.__package__ or "?"):
            for loop in _attributes(function, room):
                kernel = getattr(module, loop, None)
                if hasattr(kernel, "py_func"):
                    found.append(f"{room}.{loop}, {_place(_where(kernel))}")
    if depth < 2:
        for name in sorted(names):
            helper = getattr(compiled, name, None)
            if inspect.isfunction(helper) and helper.__module__ == compiled.__name__:
                found += _loops(compiled, helper, depth + 1)
    return list(dict.fromkeys(found))


def _chosen(kernels: ModuleType, wrapper: Callable[..., Any]) -> str:
    """Name of the function that a wrapper asks of the backend, if need be by way of another."""
    for node in ast.walk(_tree(wrapper)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Call):
            called = node.value.func
            if isinstance(called, ast.Name) and called.id == "backend_for":
                return node.attr
    for node in ast.walk(_tree(wrapper)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            inner = getattr(kernels, node.func.id, None)
            if inspect.isfunction(inner) and inner is not wrapper:
                return _chosen(kernels, inner)
    return wrapper.__name__


def _attributes(function: Any, of: str) -> list[str]:
    """Every ``x`` that stands as ``of.x`` in the source of a function, in order."""
    found = [
        (node.lineno, node.col_offset, node.attr)
        for node in ast.walk(_tree(function))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == of
    ]
    return list(dict.fromkeys(name for _, _, name in sorted(found)))


def _tree(function: Any) -> ast.AST:
    """The syntax of a function's body; of one without source, nothing."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(function))))
    except (OSError, TypeError):
        return ast.Module([], [])
    definition = tree.body[0]
    assert isinstance(definition, ast.FunctionDef)
    return ast.Module(definition.body, [])


# -- on paper ------------------------------------------------------------------------------


def _wrapped(text: str) -> str:
    text = re.sub(r":\w+:`~?([^`]+)`|``([^`]+)``|`([^`]+)`", r"\1\2\3", text)  # no markup
    return textwrap.fill(" ".join(text.split()), WIDTH)


def _where(function: Any) -> tuple[str, int]:
    """File and line of a function, of a compiled one too."""
    code = inspect.unwrap(getattr(function, "py_func", function)).__code__
    return code.co_filename, code.co_firstlineno


def _place(source: tuple[str, int]) -> str:
    file, line = source
    near = os.path.relpath(file)
    return f"{file if near.startswith('..') else near}:{line}"
