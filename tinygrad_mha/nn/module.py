"""Modules: functions with parameters, and a name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, TypeVar

import numpy as np

from ..engine import Frame, Given, Handle, Scope, Tensor, touch
from ..engine.modes import thread
from ..engine.op import plain
from . import torch_layout
from .hooks import HookSet

M = TypeVar("M", bound="Module")


class Parameter(Tensor):
    """A tensor that a module learns: it requires a gradient, and the module lists it.

    Parameters
    ----------
    data : Tensor or array_like
        The first values.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.nn.Parameter(tm.zeros(2)).requires_grad
    True
    """

    __slots__ = ()

    def __init__(self, data: Any, requires_grad: bool = True) -> None:
        super().__init__(data.data if isinstance(data, Tensor) else data, requires_grad)


class StateError(KeyError, RuntimeError):
    """A state that a module cannot load: names are missing or unexpected, or shapes differ.

    A KeyError, for it is about names; and a RuntimeError, for PyTorch's is one.
    """

    __str__ = Exception.__str__  # a KeyError's is the repr, with its line ends as \\n


class Module:
    """Base class of layers and models.

    A subclass makes its parameters and its inner modules in ``__init__``, as plain
    attributes, after ``super().__init__()``; and says in ``forward`` what a call does.
    What it learns is found among its attributes, in the order in which they were made.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> class Twice(tm.nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.inner = tm.nn.Linear(3, 3)
    ...     def forward(self, x):
    ...         return self.inner(self.inner(x))
    >>> [name for name, _ in Twice().named_parameters()]
    ['inner.weight', 'inner.bias']
    """

    training: bool
    _hooks: HookSet | None = None
    #: Names of the buffers, and whether a state holds them.
    _buffers: Mapping[str, bool] = MappingProxyType({})

    def __init__(self) -> None:
        # the tag under which nodes of the graph remember this module, see engine.node.Scope
        object.__setattr__(self, "_scope", Scope(type(self).__name__))
        self.training = True

    def __setattr__(self, name: str, value: Any) -> None:
        if "_scope" not in self.__dict__:
            raise AttributeError(
                f"{type(self).__name__}.{name} is assigned before super().__init__() ran; "
                "call it first"
            )
        if value is not None and not isinstance(value, Parameter):
            self._check_assignment(name, value)
        object.__setattr__(self, name, value)

    def _check_assignment(self, name: str, value: Any) -> None:
        """Refuse what would silently take a parameter, or a buffer, out of the module."""
        where, kind = f"{type(self).__name__}.{name}", type(value).__name__
        if isinstance(vars(self).get(name), Parameter):
            raise TypeError(
                f"{where} is a Parameter and cannot become a {kind}: say "
                f"module.{name}.data[...] = values to change its numbers, or "
                f"module.{name} = tm.nn.Parameter(values) to learn another one, or None for none"
            )
        if name in self._buffers and not isinstance(value, Tensor):
            raise TypeError(f"{where} is a buffer, {kind} given; expected a Tensor or None")

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Say what a call does; every subclass has its own."""
        raise NotImplementedError(f"{type(self).__name__} defines no forward()")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run :meth:`forward`, with this module as the scope of what runs in it."""
        modes = thread.modes
        outer = modes.frame
        modes.frame = frame = Frame(self._scope, outer)  # type: ignore[attr-defined]
        if outer is None and modes.grad_enabled:
            frame.given = Given(
                getattr(self.forward, "__code__", None),
                [(id(x), id(x.data)) if isinstance(x, Tensor) else (0, 0) for x in args],
                {
                    name: (id(x), id(x.data)) if isinstance(x, Tensor) else (0, 0)
                    for name, x in kwargs.items()
                },
            )
        try:
            if self._hooks is not None:
                return self._hooks.call(self, args, kwargs)
            return self.forward(*args, **kwargs)
        finally:
            modes.frame = outer

    # -- hooks ------------------------------------------------------------------------

    def _hook(self, kind: str, hook: Callable[..., Any]) -> Handle:
        if self._hooks is None:
            self._hooks = HookSet()
        return self._hooks.add(kind, hook)

    def register_forward_pre_hook(self, hook: Callable[..., Any]) -> Handle:
        """Have ``hook(module, args)`` called before each forward; it may return other arguments.

        Returns
        -------
        Handle
            Its ``remove()`` takes the hook away.
        """
        return self._hook("before", hook)

    def register_forward_hook(self, hook: Callable[..., Any]) -> Handle:
        """Have ``hook(module, args, output)`` called after each forward.

        It may return what is to take the output's place.

        Returns
        -------
        Handle
            Its ``remove()`` takes the hook away.

        Examples
        --------
        >>> import tinygrad_mha as tm
        >>> layer = tm.nn.Linear(2, 3)
        >>> handle = layer.register_forward_hook(lambda module, args, out: print(out.shape))
        >>> _ = layer(tm.zeros(5, 2))
        (5, 3)
        """
        return self._hook("after", hook)

    def register_full_backward_hook(self, hook: Callable[..., Any]) -> Handle:
        """Have ``hook(module, grad_input, grad_output)`` called when a gradient has passed.

        Both are tuples, with one gradient per tensor among the positional arguments that
        requires one, and per output. The hook may return another `grad_input`.

        Returns
        -------
        Handle
            Its ``remove()`` takes the hook away.
        """
        return self._hook("backward", hook)

    # -- what is inside ---------------------------------------------------------------

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Inner modules, one level down."""
        for name, value in vars(self).items():
            if isinstance(value, Module):
                yield name, value

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """Yield this module and all inner ones by their dotted path; each module once."""
        seen: set[int] = set()
        stack: list[tuple[str, Module]] = [(prefix, self)]
        while stack:
            path, module = stack.pop()
            if id(module) in seen:
                continue
            seen.add(id(module))
            yield path, module
            below = [(f"{path}.{n}" if path else n, child) for n, child in module.named_children()]
            stack.extend(reversed(below))

    def modules(self) -> Iterator[Module]:
        """Yield this module and all inner ones."""
        return (module for _, module in self.named_modules())

    def children(self) -> Iterator[Module]:
        """Inner modules, one level down."""
        return (child for _, child in self.named_children())

    def get_submodule(self, target: str) -> Module:
        """Return the inner module at a dotted path; this one at the empty path.

        Raises
        ------
        AttributeError
            There is none. The message says where the path breaks off.
        """
        module = self
        for name in filter(None, target.split(".")):
            inner = vars(module).get(name)
            if not isinstance(inner, Module):
                known = ", ".join(n for n, _ in module.named_children()) or "none"
                raise AttributeError(
                    f"get_submodule: {target!r}: {type(module).__name__} has no module {name!r}, "
                    f"its modules: {known}"
                )
            module = inner
        return module

    def add_module(self, name: str, module: Module) -> None:
        """Give this module an inner one as the attribute `name`, which may be computed."""
        if not name or "." in name or (hasattr(self, name) and name not in vars(self)):
            raise KeyError(f"add_module: {name!r} is no free name without dots")
        if not isinstance(module, Module):
            raise TypeError(f"add_module: {name!r} is a {type(module).__name__}, expected a Module")
        setattr(self, name, module)

    def named_parameters(self, prefix: str = "") -> Iterator[tuple[str, Parameter]]:
        """All parameters by their dotted path; a shared one under its first name only."""
        seen: set[int] = set()
        for path, module in self.named_modules(prefix):
            for name, value in vars(module).items():
                if isinstance(value, Parameter) and id(value) not in seen:
                    seen.add(id(value))
                    yield (f"{path}.{name}" if path else name), value

    def parameters(self) -> Iterator[Parameter]:
        """Yield every parameter once."""
        return (parameter for _, parameter in self.named_parameters())

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Keep a tensor that is not learnt, such as a running mean, as an attribute.

        Parameters
        ----------
        name : str
            Of the attribute.
        tensor : Tensor or None
            Its value; None for one that there is not, or not yet.
        persistent : bool, default True
            Whether :meth:`state_dict` holds it.

        Raises
        ------
        KeyError
            The name is empty, has a dot, or is taken.
        TypeError
            The value is no tensor.

        Examples
        --------
        >>> import tinygrad_mha as tm
        >>> module = tm.nn.Module()
        >>> module.register_buffer("total", tm.zeros(2))
        >>> module.state_dict()
        {'total': tensor([0., 0.])}
        """
        if not name or "." in name:
            raise KeyError(
                f"register_buffer: {name!r} is no name of a buffer; it has none, or dots"
            )
        if hasattr(self, name) and name not in self._buffers:
            raise KeyError(f"register_buffer: {type(self).__name__} has an attribute {name!r}")
        if tensor is not None and not isinstance(tensor, Tensor):
            raise TypeError(
                f"register_buffer: {name!r} is a {type(tensor).__name__}, expected a Tensor or None"
            )
        setattr(self, name, tensor)
        self._buffers = {**self._buffers, name: persistent}

    def named_buffers(self, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
        """All buffers by their dotted path; a shared one under its first name only."""
        return ((name, value) for name, value, _ in self._walk_buffers(prefix))

    def buffers(self) -> Iterator[Tensor]:
        """Yield every buffer once."""
        return (value for _, value in self.named_buffers())

    def _walk_buffers(self, prefix: str = "") -> Iterator[tuple[str, Tensor, bool]]:
        seen: set[int] = set()
        for path, module in self.named_modules(prefix):
            for name, persistent in module._buffers.items():
                value = vars(module).get(name)
                if isinstance(value, Parameter):
                    continue  # assigned over the buffer: it is learnt now
                if isinstance(value, Tensor) and id(value) not in seen:
                    seen.add(id(value))
                    yield (f"{path}.{name}" if path else name), value, persistent

    def num_parameters(self) -> int:
        """How many numbers it learns."""
        return sum(p.data.size for p in self.parameters())

    # -- state ------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Tensor]:
        """All parameters and persistent buffers by name, sharing memory with the module."""
        return {name: tensor.detach() for name, tensor in self._named_state()}

    def _named_state(self) -> Iterator[tuple[str, Tensor]]:
        yield from self.named_parameters()
        yield from ((name, value) for name, value, kept in self._walk_buffers() if kept)

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True) -> None:
        """Copy values in by name.

        Parameters
        ----------
        state_dict : mapping of str to Tensor or array
            What :meth:`state_dict` gave. Attention also reads PyTorch's names and layouts.
        strict : bool, default True
            Missing and unexpected names are errors.

        Raises
        ------
        StateError
            Names are missing or unexpected, or shapes differ. The message lists all of them,
            and nothing has been changed. It is a KeyError and a RuntimeError.
        """
        own, original = dict(self._named_state()), state_dict
        for path, module in self.named_modules():
            state_dict = module._adapt_state(state_dict, f"{path}." if path else "")
        given = {name: np.asarray(plain(v)) for name, v in state_dict.items()}
        problems = [("missing", n, f"{own[n].shape}") for n in own if n not in given and strict]
        problems += [
            ("unexpected", n, f"{given[n].shape}") for n in given if n not in own and strict
        ]
        problems += [
            ("mismatched", n, f"is {given[n].shape}, the module's is {own[n].shape}")
            for n in own
            if n in given and given[n].shape != own[n].shape
        ]
        if problems:
            raise StateError(
                f"load_state_dict of {type(self).__name__} changed nothing:"
                + "".join(
                    f"\n  {what}: {name} {how}{torch_layout.whence(name, original)}"
                    for what, name, how in problems
                )
            )
        for name, tensor in own.items():
            if name in given:
                tensor.data[...] = given[name]
                touch((tensor.data,))

    def _adapt_state(self, state: Mapping[str, Any], prefix: str) -> Mapping[str, Any]:
        """Bring this module's part of a state, under `prefix`, to its own names and shapes.

        For layers whose checkpoints come in other layouts too; most take them as they are.
        """
        return state

    def train(self: M, mode: bool = True) -> M:
        """Switch to training, as dropout does it; returns the module."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self: M) -> M:
        """Switch to evaluation; returns the module."""
        return self.train(False)

    def zero_grad(self) -> None:
        """Set the gradient of every parameter to None."""
        for parameter in self.parameters():
            parameter.grad = None

    def apply(self: M, function: Callable[[Module], object]) -> M:
        """Call `function` on every inner module and on this one; returns the module."""
        for module in self.modules():
            function(module)
        return self

    def requires_grad_(self: M, requires_grad: bool = True) -> M:
        """Switch the wish for a gradient of every parameter; False freezes the module."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def double(self: M) -> M:
        """Convert every parameter and floating buffer to float64, in place; returns the module."""
        return self._cast(np.float64)

    def float(self: M) -> M:
        """Convert every parameter and floating buffer to float32, in place; returns the module."""
        return self._cast(np.float32)

    def _cast(self: M, dtype: type[np.floating[Any]]) -> M:
        for parameter in self.parameters():
            parameter.data = parameter.data.astype(dtype)
            parameter.grad = None
        for buffer in self.buffers():
            if buffer.is_floating_point():
                buffer.data = buffer.data.astype(dtype)
        return self

    def extra_repr(self) -> str:
        """Sizes and options, for the printed form."""
        return ""

    def __repr__(self) -> str:
        inner = [
            f"  ({name}): " + repr(child).replace("\n", "\n  ")
            for name, child in self.named_children()
        ]
        head = f"{type(self).__name__}({self.extra_repr()}"
        return head + ("\n" + "\n".join(inner) + "\n)" if inner else ")")


class Sequential(Module):
    """Modules one after the other.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> tm.nn.Sequential(tm.nn.Linear(2, 3), tm.nn.ReLU())(tm.zeros(1, 2)).shape
    (1, 3)
    """

    def __init__(self, *modules: Module) -> None:
        super().__init__()
        for i, module in enumerate(modules):
            setattr(self, str(i), module)

    def forward(self, x: Any) -> Any:
        """Pass `x` through all of them."""
        for module in [*vars(self).values()]:
            if isinstance(module, Module):
                x = module(x)
        return x


class ModuleList(Module):
    """A list of modules whose parameters count.

    Examples
    --------
    >>> import tinygrad_mha as tm
    >>> len(tm.nn.ModuleList([tm.nn.Linear(2, 2) for _ in range(3)]))
    3
    """

    def __init__(self, modules: Any = ()) -> None:
        super().__init__()
        for i, module in enumerate(modules):
            setattr(self, str(i), module)

    def __iter__(self) -> Iterator[Module]:
        return self.children()

    def __len__(self) -> int:
        return len(list(self.children()))

    def __getitem__(self, index: int) -> Module:
        return list(self.children())[index]
