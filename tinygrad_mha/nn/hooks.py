"""Functions of the user's that see what goes into a module and what comes out, both ways."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..engine import Function, Handle, Tensor, is_grad_enabled
from ..engine.hooks import register

if TYPE_CHECKING:
    from .module import Module

Hook = Callable[..., Any]


class HookSet:
    """The hooks of one module."""

    def __init__(self) -> None:
        self.before, self.after, self.backward = _List(), _List(), _List()

    def add(self, kind: str, hook: Hook) -> Handle:
        """Register a hook of one kind."""
        return register(getattr(self, kind), hook)

    def call(self, module: Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run a module's forward among its hooks."""
        for hook in self.before:
            changed = hook(module, args)
            if changed is not None:
                args = changed if isinstance(changed, tuple) else (changed,)
        watch = _Watch(module, self.backward) if self.backward and is_grad_enabled() else None
        if watch is not None:
            args = watch.enter(args)
        out = module.forward(*args, **kwargs)
        for hook in self.after:
            changed = hook(module, args, out)
            out = out if changed is None else changed
        return out if watch is None else watch.leave(out)


class _List:
    def __init__(self) -> None:
        self.hooks: dict[int, Hook] | None = None

    def __iter__(self) -> Any:
        return iter(list((self.hooks or {}).values()))

    def __bool__(self) -> bool:
        return bool(self.hooks)


class _Watch:
    """Catches the gradients at the ends of one call of a module."""

    def __init__(self, module: Module, hooks: _List) -> None:
        self.module, self.hooks = module, hooks
        self.grad_output: tuple[Tensor, ...] = ()
        self.has_inputs = False

    def enter(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """Let the tensors among the arguments pass through :class:`ModuleInput`."""
        where = [i for i, a in enumerate(args) if isinstance(a, Tensor) and a.requires_grad]
        if not where:
            return args
        self.has_inputs = True
        passed = ModuleInput.apply(self, *(args[i] for i in where))
        passed = passed if isinstance(passed, tuple) else (passed,)
        entered = list(args)
        for i, tensor in zip(where, passed, strict=True):
            entered[i] = tensor
        return tuple(entered)

    def leave(self, out: Any) -> Any:
        """Let the result pass through :class:`ModuleOutput`."""
        outs = out if isinstance(out, tuple) else (out,)
        if not all(isinstance(o, Tensor) for o in outs) or not any(o.requires_grad for o in outs):
            return out
        return ModuleOutput.apply(self, *outs)

    def tell(self, grad_input: tuple[Any, ...]) -> tuple[Any, ...]:
        """Call the hooks; they may return other gradients of the inputs."""
        for hook in self.hooks:
            changed = hook(self.module, grad_input, self.grad_output)
            if changed is not None:
                grad_input = changed if isinstance(changed, tuple) else (changed,)
        return grad_input


class ModuleInput(Function):
    """y = x, where a module with backward hooks begins."""

    @staticmethod
    def forward(ctx: Any, watch: _Watch, *args: Tensor) -> Any:
        """Pass the arguments on."""
        ctx.watch = watch
        passed = tuple(a.detach() for a in args)
        return passed if len(passed) > 1 else passed[0]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        """Both ends are known now."""
        return None, *ctx.watch.tell(grads)


class ModuleOutput(Function):
    """y = x, where a module with backward hooks ends."""

    @staticmethod
    def forward(ctx: Any, watch: _Watch, *outs: Tensor) -> Any:
        """Pass the results on."""
        ctx.watch = watch
        passed = tuple(o.detach() for o in outs)
        return passed if len(passed) > 1 else passed[0]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        """Note the gradients; where no input wants one, this is the last that is seen of them."""
        ctx.watch.grad_output = grads
        if not ctx.watch.has_inputs:
            ctx.watch.tell((None,))
        return None, *grads
