"""One operation, one place: its formula, its forward, its gradient, side by side.

An operation is defined like this, and the definition registers it::

    @op("C = A · B", symbol="@")
    def matmul(a, b):
        '''Matrix product …'''
        return kernels.matmul(a, b)

    @matmul.gradient("a", "dA = dC · Bᵀ")
    def matmul_da(dy, b):
        return matmul(dy, b.mT)

    @matmul.gradient("b", "dB = Aᵀ · dC")
    def matmul_db(dy, a):
        return matmul(a.mT, dy)

**The names of a rule's parameters say what the operation must save.** Beside the
incoming gradient (always first) a rule may ask for

* an input by its name (``a``), or only its shape (``a_shape``);
* the output: ``out``;
* any other argument of the forward by its name (``dim``).

**One rule, two uses.** A rule is written with operations and operators that
exist on arrays and on tensors alike. An ordinary backward calls it with arrays:
no graph, no tensors, fast. With ``create_graph=True`` it is called with tensors,
so the backward pass is itself a graph and gradients have gradients.

Where one pass over the data gives the gradients of several inputs at once, a
``fused_gradient`` may stand beside the rules. It is used on arrays only, and may
also ask for what the forward computed on the way (``extras``). The generic
checks hold it to the rules.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from types import FunctionType
from typing import Any, Generic, ParamSpec, TypeAlias, TypeVar

import numpy as np

from .messages import apart, explained
from .modes import thread
from .node import Node
from .promotion import promote as _promote
from .tensor import UFUNCS, Tensor, View

P = ParamSpec("P")
Fn = TypeVar("Fn", bound=Callable[..., Any])

#: What a forward or a rule works on: an ndarray, a Tensor (rules only), or a Python number.
Value: TypeAlias = Any

#: Follows one axis through an operation:
#: (axis, which input, shapes of the inputs, shape of the output, params by name)
#: -> the axis of the output that it became, or None where it ends.
AxisRule: TypeAlias = Callable[
    [int, int, list[tuple[int, ...]], tuple[int, ...], dict[str, Any]], int | None
]

#: Every operation by its name, in the order of definition.
REGISTRY: dict[str, Op[Any]] = {}

_REQUIRED = inspect.Parameter.empty
_FLOAT32, _FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)
_ALIASES = {"input": 0, "self": 0, "other": 1}


@dataclass(frozen=True)
class Sample:
    """Arguments on which the generic checks try an operation.

    Parameters
    ----------
    inputs : tuple
        For each input a shape, filled with random numbers from `domain`; or an
        array, passed as it is (indices, masks); or None.
    params : dict
        The other arguments.
    domain : (float, float)
        Bounds of the random numbers.
    """

    inputs: tuple[Any, ...]
    params: Mapping[str, Any] = field(default_factory=dict)
    domain: tuple[float, float] = (-2.0, 2.0)

    def arrays(self, rng: np.random.Generator, dtype: Any = np.float64) -> list[Any]:
        """Draw the inputs."""
        low, high = self.domain
        return [
            np.asarray(rng.uniform(low, high, x), dtype=dtype) if isinstance(x, tuple) else x
            for x in self.inputs
        ]


@dataclass(frozen=True)
class Rule:
    """The gradient of one operation with respect to one of its inputs."""

    of: str
    text: str
    function: Callable[..., Value]
    takes: tuple[str, ...]

    @property
    def source(self) -> tuple[str, int]:
        """File and line where the rule is written."""
        return _where(self.function)


class Op(Generic[P]):
    """A registered operation; calling it runs it and, where needed, records it.

    Arrays in, array out: an operation called without any tensor computes and
    returns a plain array. That is how gradient rules run when nobody asks for
    gradients of gradients.

    Attributes
    ----------
    name, formula, symbol : str
        How it is called, in code, in mathematics, in a picture.
    forward : callable
        Arrays in, array out.
    rules : dict of str to Rule
        Its gradient, one rule per differentiable input.
    steps : callable or None
        The same on tensors, made of other operations: what is fused, unfolded.
    samples : tuple of Sample
        What the generic checks run it on.
    derivation : str
        In some sentences, why the gradient is what it is.
    """

    def __init__(
        self,
        forward: Callable[P, Value],
        formula: str,
        *,
        symbol: str | None = None,
        inputs: int | None = None,
        reduce: Callable[[Value, tuple[int, ...]], Value] | None = None,
        axis: AxisRule | None = None,
        ufunc: np.ufunc | None = None,
        extras: tuple[str, ...] = (),
        samples: tuple[Sample, ...] = (),
        method: bool = True,
        torch: str | None = None,
        promote: bool | tuple[int, ...] = False,
        floating: bool = False,
        view: bool = False,
        inplace: bool = False,
        derivation: str = "",
    ) -> None:
        assert isinstance(forward, FunctionType)
        self.forward = forward
        self.name = forward.__name__
        self.formula = formula
        self.symbol = symbol or self.name
        self.reduce = reduce
        self.axis = axis
        self.extras = extras
        self.samples = samples
        self.torch = torch
        self.derivation = derivation
        self.floating = floating
        self.view = view
        self.rules: dict[str, Rule] = {}
        self.fused: Rule | None = None
        self.steps: Callable[..., Any] | None = None
        self.saved_names: tuple[str, ...] = ()
        self.saves_values = False
        self._read_signature(inputs)
        every = tuple(range(self._count)) if promote is True or floating else ()
        self._promoted = promote if isinstance(promote, tuple) else every
        self.__doc__ = forward.__doc__
        self.__name__ = self.name
        self.__qualname__ = forward.__qualname__
        self.__module__ = forward.__module__
        self.__wrapped__ = forward
        #: (arrays, params, out, extras) of a call -> what the rules asked for.
        self.save: Callable[..., tuple[Any, ...]] = _nothing
        self.plan: tuple[Any, ...] = ()  # per input: its name, its rule, what the rule is given
        self._pick_fused: Callable[..., tuple[Any, ...]] = _nothing
        if self.name in REGISTRY:
            raise ValueError(f"op: an operation named {self.name!r} is registered already")
        REGISTRY[self.name] = self
        if ufunc is not None:
            UFUNCS[ufunc] = self
        if method:
            setattr(Tensor, self.name, _as_method(self))
        if inplace:
            setattr(Tensor, f"{self.name}_", _as_inplace(self))

    def _read_signature(self, inputs: int | None) -> None:
        """Split the forward's parameters into inputs and the rest."""
        parameters = list(inspect.signature(self.forward).parameters.values())
        self.variadic = parameters[0].kind is inspect.Parameter.VAR_POSITIONAL
        count = 1 if self.variadic else inputs
        if count is None:
            count = sum(p.annotation in ("Value", "Value | None") for p in parameters)
        self.input_names = tuple(p.name for p in parameters[:count])
        self.param_names = tuple(p.name for p in parameters[count:])
        self._input_defaults = tuple(p.default for p in parameters[:count])
        self._param_defaults = tuple(p.default for p in parameters[count:])
        self._count = len(self.input_names)
        # so many arguments beside the inputs can stand in their places; of *inputs none can
        required = self._param_defaults.count(_REQUIRED)
        self._fewest, self._most = (1, 0) if self.variadic else (required, len(self.param_names))
        self._parameters = {p.name for p in parameters}

    # -- definition -----------------------------------------------------------------

    def gradient(self, of: str, text: str) -> Callable[[Fn], Fn]:
        """Register the rule of one input; decorates the function that is the rule.

        Parameters
        ----------
        of : str
            Name of the input.
        text : str
            The rule as mathematics, for pictures and ``explain``.
        """
        if of not in self.input_names:
            raise ValueError(f"{self.name}.gradient: no input {of!r}, only {self.input_names}")

        def register(function: Fn) -> Fn:
            takes = self._check_takes(function)
            if extra := set(takes) & set(self.extras):
                raise ValueError(
                    f"{function.__name__}: a rule cannot ask for {sorted(extra)}, which the "
                    "forward computed from its inputs: the gradient of the gradient would miss them"
                )
            self.rules[of] = Rule(of, text, function, takes)
            self._plan()
            return function

        return register

    def fused_gradient(self, function: Fn) -> Fn:
        """Register a fast path for arrays; it returns one gradient per input.

        Its second parameter, ``wanted``, lists the positions of the inputs that want theirs;
        for another it may return None.
        """
        self.fused = Rule("*", "", function, self._check_takes(function, skip=2))
        self._plan()
        return function

    def as_steps(self, function: Fn) -> Fn:
        """Register how a fused operation is made of others; decorates a function of tensors.

        It takes what the operation takes. Pictures show these steps instead, and the generic
        checks hold the two together.
        """
        self.steps = function
        return function

    def _check_takes(self, function: Callable[..., Any], skip: int = 1) -> tuple[str, ...]:
        takes = tuple(inspect.signature(function).parameters)[skip + self.variadic :]
        unknown = set(takes) - set(self._all_names())
        if unknown:
            raise ValueError(
                f"{function.__name__}: {sorted(unknown)} name nothing that {self.name} can save; "
                f"there are {self._all_names()}"
            )
        return takes

    def _all_names(self) -> tuple[str, ...]:
        """Everything that can be saved."""
        shapes = tuple(f"{name}_shape" for name in self.input_names)
        return (*self.input_names, *self.param_names, "out", *self.extras, *shapes)

    def _plan(self) -> None:
        """Decide once what a call saves, and where each rule finds its share of it."""
        rules = [*self.rules.values(), *([self.fused] if self.fused else [])]
        wanted = {name for rule in rules for name in rule.takes}
        self.saved_names = tuple(name for name in self._all_names() if name in wanted)
        self.save = self._saver()
        pickers = {rule.of: _picker(self.saved_names, rule.takes) for rule in rules}
        self.plan = tuple(
            (name, self.rules.get(name), pickers.get(name, _nothing)) for name in self.input_names
        )
        self._pick_fused = pickers.get("*", _nothing)
        # shapes and plain arguments need not be freed: without values a second backward is legal
        self.saves_values = any(
            name in (*self.input_names, "out", *self.extras) for name in self.saved_names
        )

    def _saver(self) -> Callable[..., tuple[Any, ...]]:
        """Write the function that picks what the rules asked for, out of all that a call knows.

        Written out, ``(arrays[0], out)``, it takes as long as making the tuple does.
        """
        if self.variadic:
            places = {self.input_names[0]: "tuple(arrays)"}
            places[f"{self.input_names[0]}_shape"] = "tuple(map(shape, arrays))"
        else:
            places = {name: f"arrays[{i}]" for i, name in enumerate(self.input_names)}
            places |= {f"{name}_shape": f"shape({x})" for name, x in places.items()}
        places |= {name: f"params[{i}]" for i, name in enumerate(self.param_names)}
        places |= {name: f"extras[{i}]" for i, name in enumerate(self.extras)}
        picked = "".join(f"{places.get(name, name)}, " for name in self.saved_names)
        source = f"lambda arrays, params, out, extras: ({picked})"
        saver: Callable[..., tuple[Any, ...]] = eval(source, {"shape": np.shape})
        return saver

    @property
    def differentiable(self) -> bool:
        """Whether it has a gradient at all."""
        return bool(self.rules)

    @property
    def source(self) -> tuple[str, int]:
        """File and line where the operation is written."""
        return _where(self.forward)

    def __repr__(self) -> str:
        return f"<op {self.name}: {self.formula}>"

    # -- use ------------------------------------------------------------------------

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Any:
        """Run the operation; see ``help`` of its name for the arguments."""
        given = len(args) - self._count
        if kwargs or not self._fewest <= given <= self._most:
            inputs, params = self._bind(args, kwargs)
        elif given:
            inputs = args[: self._count]
            params = args[self._count :] + self._param_defaults[given:]
        else:
            inputs, params = args, self._param_defaults
        arrays: list[Any] = []  # what is computed with
        sources: list[Any] = []  # where the gradient goes
        wanted: list[int] = []  # positions of the inputs that want one
        lifted = False
        for value in inputs:
            if isinstance(value, Tensor):
                lifted = True
                array = value.data
                if value._view is not None:
                    value.refresh()
                if value._requires_grad:
                    wanted.append(len(arrays))
                    sources.append(value._grad_fn or value)
                else:
                    sources.append(array)
                arrays.append(array)
            else:
                arrays.append(value)
                sources.append(value)
        try:
            if self._promoted and (len(arrays) > 2 or not _alike(arrays[0], arrays[-1])):
                _promote(arrays, self._promoted, self.floating)
            if self.variadic:  # what follows *inputs can only be given by name
                out = self.forward(*arrays, **dict(zip(self.param_names, params, strict=True)))
            elif params:
                out = self.forward(*arrays, *params)
            else:
                out = self.forward(*arrays)
        except (TypeError, ValueError, IndexError, AttributeError, OverflowError) as error:
            raise self._explain(error, inputs) from error
        extras: tuple[Any, ...] = ()
        if self.extras:
            out, *rest = out
            extras = tuple(rest)
        if not lifted:
            return out
        if type(out) is not np.ndarray:  # NumPy reductions of a 0-d array give scalars
            out = np.asarray(out)
        modes = thread.modes
        if wanted and self.rules and out.dtype.kind == "f" and modes.grad_enabled:
            saved = self.save(arrays, params, out, extras)
            result = Tensor(out, True, Node(self, sources, wanted, params, saved, out, modes))
        else:
            result = Tensor(out)
        if self.view and out.base is not None:
            result._view = View.of(inputs[0], self, params, out)
        return result

    def known(self, found: Any, *args: Any) -> Tensor:
        """Record the operation with what its forward would return: one pass gave it to several.

        Parameters
        ----------
        found
            The output, and the extras where there are such.
        *args
            All that the forward takes, in its order.
        """
        inputs, params, modes = args[: self._count], args[self._count :], thread.modes
        out, *extras = found if self.extras else (found,)
        sources: list[Any] = []
        wanted: list[int] = []
        for i, value in enumerate(inputs):
            if isinstance(value, Tensor) and value._view is not None:
                value.refresh()
            if isinstance(value, Tensor) and value._requires_grad:
                wanted.append(i)
                sources.append(value._grad_fn or value)
            else:
                sources.append(plain(value))
        if not wanted or not modes.grad_enabled:
            return Tensor(out)
        arrays = [plain(value) for value in inputs]
        saved = self.save(arrays, params, out, tuple(extras))
        return Tensor(out, True, Node(self, sources, wanted, params, saved, out, modes))

    def _bind(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """Sort the arguments into inputs and params, as Python itself would."""
        for alias, position in _ALIASES.items():  # PyTorch's names of the first two inputs
            if alias in kwargs and position < self._count and alias not in self._parameters:
                kwargs[self.input_names[position]] = kwargs.pop(alias)
        count = len(args) if self.variadic else len(self.input_names)
        inputs, params = list(args[:count]), list(args[count:])
        names = () if self.variadic else self.input_names
        for group, group_names, defaults in (
            (inputs, names, self._input_defaults),
            (params, self.param_names, self._param_defaults),
        ):
            for name, default in list(zip(group_names, defaults, strict=False))[len(group) :]:
                value = kwargs.pop(name, default)
                if value is _REQUIRED:
                    raise TypeError(f"{self.name}: the argument {name!r} is missing")
                group.append(value)
        if kwargs or len(params) > len(self.param_names):
            signature = f"{self.name}{inspect.signature(self.forward)}"
            what = ", ".join(kwargs) if kwargs else f"{len(args)} positional arguments"
            raise TypeError(f"{self.name}: {what} not understood; the signature is {signature}")
        return tuple(inputs), tuple(params)

    def _explain(self, error: Exception, inputs: tuple[Any, ...]) -> Exception:
        """Build the same kind of error, naming the operation and its inputs in the user's order."""
        names = self.input_names if not self.variadic else [f"#{i}" for i in range(len(inputs))]
        if str(error).startswith("operands could not be broadcast"):  # NumPy's words
            error = ValueError(apart([np.shape(plain(value)) for value in inputs]))
        return explained(error, self.name, zip(names, inputs, strict=False))

    # -- backward -------------------------------------------------------------------

    def needed(self, wanted: list[int], saved: tuple[Any, ...]) -> tuple[Any, ...]:
        """Those of the saved values that the rules of the inputs at positions `wanted` take."""
        picks = [self.plan[0 if self.variadic else i][2] for i in wanted]
        return tuple(value for pick in picks for value in pick(saved))

    def gradients(
        self, dy: Value, wanted: list[int], saved: tuple[Any, ...], fused: bool
    ) -> Sequence[Value]:
        """Gradients of the inputs at the positions `wanted`, from that of the output.

        Parameters
        ----------
        dy : ndarray or Tensor
            The incoming gradient.
        wanted : list of int
            Positions of inputs.
        saved : tuple
            ``node.saved``, as arrays or as tensors like `dy`.
        fused : bool
            Whether the fast path may run, if there is one; it takes arrays only.
        """
        if fused and self.fused is not None:
            every = self.fused.function(dy, wanted, *self._pick_fused(saved))
            return every if len(wanted) == len(every) else [every[i] for i in wanted]
        if len(wanted) == 1 and not self.variadic:  # most have one rule to run
            _, rule, pick = self.plan[wanted[0]]
            if rule is not None:
                return [rule.function(dy, *pick(saved))]
        found = []
        for i in wanted:
            name, rule, pick = self.plan[0 if self.variadic else i]
            if rule is None:
                raise RuntimeError(
                    f"{self.name} has no gradient with respect to its input {name!r}; "
                    "detach() that tensor"
                )
            values = pick(saved)
            found.append(
                rule.function(dy, i, *values) if self.variadic else rule.function(dy, *values)
            )
        return found


def op(
    formula: str, kind: type[Op[Any]] = Op, **options: Any
) -> Callable[[Callable[P, Value]], Op[P]]:
    """Define and register an operation; decorates its forward.

    Parameters
    ----------
    formula : str
        What it computes, as mathematics.
    kind : type, default Op
        A class of its own, for an operation that is called in another way too.
    **options
        ``symbol`` short sign for pictures; ``inputs`` how many leading parameters are
        arrays (default: those annotated ``Value``); ``reduce`` how a gradient is brought
        back to a broadcast input's shape; ``axis`` what happens to an axis; ``ufunc`` the
        NumPy function that means the same; ``promote`` whether inputs (or which, by
        position) are brought to one dtype first, ``floating`` whether integers become
        floats; ``view`` whether the result may share the input's memory; ``inplace``
        whether there is a method ``name_``; ``extras`` names of what the forward returns
        besides its output; ``samples`` for the generic checks; ``method`` whether it is a
        method of Tensor too; ``torch`` its counterpart, where the name differs;
        ``derivation`` why the gradient is what it is, in words.

    Returns
    -------
    callable
        A decorator that turns the function into an :class:`Op`.
    """

    def define(forward: Callable[P, Value]) -> Op[P]:
        return kind(forward, formula, **options)

    return define


def plain(value: Value) -> Any:
    """Return the array of a tensor, and anything else as it is."""
    return value.data if isinstance(value, Tensor) else value


def _as_method(operation: Op[Any]) -> Callable[..., Any]:
    def method(self: Tensor, *args: Any, **kwargs: Any) -> Any:
        return operation(self, *args, **kwargs)

    method.__name__ = operation.name
    method.__doc__ = operation.__doc__
    method.__wrapped__ = operation.forward  # type: ignore[attr-defined]
    return method


def _as_inplace(operation: Op[Any]) -> Callable[..., Any]:
    def method(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        from .inplace import apply_

        return apply_(operation, self, args, kwargs)

    method.__name__ = f"{operation.name}_"
    method.__doc__ = f"In-place version of :meth:`{operation.name}`; returns the tensor itself."
    return method


def _alike(first: Any, last: Any) -> bool:
    """Whether nothing has to be promoted: the usual case, told without looking closely."""
    if type(first) is not np.ndarray:
        return False
    dtype = first.dtype
    if dtype is not _FLOAT32 and dtype is not _FLOAT64:
        return False
    if type(last) is np.ndarray:
        return last.dtype is dtype
    return type(last) is float or type(last) is int


def _picker(
    have: tuple[str, ...], want: tuple[str, ...]
) -> Callable[[tuple[Any, ...]], tuple[Any, ...]]:
    """Return the fastest function that takes `want` out of a tuple laid out as `have`."""
    if have == want:
        return _everything
    where = [have.index(name) for name in want]
    if not where:
        return _nothing
    if len(where) == 1:
        only = where[0]
        return lambda values: (values[only],)
    return itemgetter(*where)


def _nothing(*_: Any) -> tuple[Any, ...]:
    return ()


def _everything(values: tuple[Any, ...]) -> tuple[Any, ...]:
    return values


def _where(function: Callable[..., Any]) -> tuple[str, int]:
    code = inspect.unwrap(function).__code__
    return code.co_filename, code.co_firstlineno
