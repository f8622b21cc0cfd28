"""Functions that several kernels call, compiled once: beside the kernels, not in each of them.

A kernel refers to such a function by a name, which the linker resolves when the kernel's machine
code is loaded, just as it does for what numba itself is called for from compiled code.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite.binding import add_symbol  # type: ignore[import-untyped]
from numba.core import cgutils, types
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import lower_builtin

from .jit import stored

Signature = Callable[[Any], tuple[Any, ...]]


def shared(arguments: Signature) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Compile a function once per dtype, for all kernels that say that they use it; a decorator.

    Parameters
    ----------
    arguments : callable
        The types of its arguments, by the number type of the first.
    """

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        dispatcher = stored(function, no_cpython_wrapper=True, no_cfunc_wrapper=True)
        ready: set[Any] = set()

        def name_of(number: Any) -> str:
            return f"tinygrad_mha.{function.__name__}.{number}"

        def provide(number: Any) -> None:
            if number in ready:
                return
            wanted = arguments(number)
            dispatcher.compile(wanted)
            code = dispatcher.overloads[wanted]
            address = code.library.get_pointer_to_function(code.fndesc.llvm_func_name)
            add_symbol(name_of(number), address)
            ready.add(number)

        class Called(AbstractTemplate):  # type: ignore[misc]
            key = function

            def generic(self, given: Any, keywords: Any) -> Any:
                provide(given[0].dtype)
                return signature(types.none, *arguments(given[0].dtype))

        infer_global(function, types.Function(Called))

        @lower_builtin(function, types.VarArg(types.Any))  # type: ignore[attr-defined, untyped-decorator]
        def call(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            kinds, convention = signature.args, context.call_conv
            kind = convention.get_function_type(types.none, kinds)
            callee = cgutils.get_or_insert_function(builder.module, kind, name_of(kinds[0].dtype))
            convention.call_function(builder, callee, types.none, kinds, values)
            return context.get_dummy_value()

        vars(function).update(provide=provide, dispatcher=dispatcher)
        return function

    return decorate
