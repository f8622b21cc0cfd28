"""How vectors and numbers are read and written: somewhere in an array, or in part."""

from __future__ import annotations

import operator
from typing import Any

from llvmlite import ir
from numba.core import types
from numba.core.typing.templates import (
    AbstractTemplate,
    AttributeTemplate,
    infer_getattr,
    infer_global,
    signature,
)
from numba.extending import intrinsic, lower_builtin, lower_getattr, models, register_model

from .vector import Vector, call, filled, llvm_type, mask_below, pointer_to, scalar, suffix


@intrinsic  # type: ignore[untyped-decorator]
def load(typing: Any, array: Any, offset: Any) -> Any:
    """Read the vector that begins `offset` elements after the array's first."""
    vector = Vector(array.dtype)

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        read = builder.load(pointer_to(context, builder, array, *arguments, llvm_type(vector)))
        read.align = array.dtype.bitwidth // 8
        return read

    return vector(array, types.intp), code


@intrinsic  # type: ignore[untyped-decorator]
def load_first(typing: Any, array: Any, offset: Any, count: Any, rest: Any) -> Any:
    """Read only the first `count` lanes; the others are `rest`, and their memory is not touched."""
    vector = Vector(array.dtype)

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        values, start, n, fill = arguments
        kind = llvm_type(vector)
        pointer = pointer_to(context, builder, array, values, start, kind)
        align = ir.Constant(ir.IntType(32), array.dtype.bitwidth // 8)
        mask = mask_below(builder, vector, n)
        name = f"llvm.masked.load.{suffix(vector)}.p0"
        return call(builder, name, kind, [pointer, align, mask, filled(builder, kind, fill)])

    return vector(array, types.intp, types.intp, array.dtype), code


@intrinsic  # type: ignore[untyped-decorator]
def load_like(typing: Any, array: Any, offset: Any, like: Any) -> Any:
    """Read a vector as wide as `like`."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        values, start, _ = arguments
        read = builder.load(pointer_to(context, builder, array, values, start, llvm_type(like)))
        read.align = array.dtype.bitwidth // 8
        return read

    return like(array, types.intp, like), code


@intrinsic  # type: ignore[untyped-decorator]
def load_first_like(typing: Any, array: Any, offset: Any, count: Any, rest: Any) -> Any:
    """Read the first `count` lanes of a vector as wide as `rest`, which gives the others."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        values, start, n, fill = arguments
        pointer = pointer_to(context, builder, array, values, start, llvm_type(rest))
        align = ir.Constant(ir.IntType(32), array.dtype.bitwidth // 8)
        name = f"llvm.masked.load.{suffix(rest)}.p0"
        return call(builder, name, fill.type, [pointer, align, mask_below(builder, rest, n), fill])

    return rest(array, types.intp, types.intp, rest), code


@intrinsic  # type: ignore[untyped-decorator]
def prefetch(typing: Any, array: Any, offset: Any) -> Any:
    """Ask for the memory `offset` elements after the array's first, to be written to soon."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = pointer_to(context, builder, array, *arguments, ir.IntType(8))
        word = ir.IntType(32)
        how = [ir.Constant(word, n) for n in (1, 3, 1)]  # to write, to all caches, data
        call(builder, "llvm.prefetch.p0", ir.VoidType(), [pointer, *how])
        return context.get_dummy_value()

    return types.void(array, types.intp), code


@intrinsic  # type: ignore[untyped-decorator]
def store(typing: Any, array: Any, offset: Any, value: Any) -> Any:
    """Write a vector, `offset` elements after the array's first."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        values, start, vector = arguments
        written = builder.store(
            vector, pointer_to(context, builder, array, values, start, vector.type)
        )
        written.align = array.dtype.bitwidth // 8
        return context.get_dummy_value()

    return types.void(array, types.intp, value), code


@intrinsic  # type: ignore[untyped-decorator]
def store_first(typing: Any, array: Any, offset: Any, count: Any, value: Any) -> Any:
    """Write only the first `count` lanes."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        values, start, n, vector = arguments
        pointer = pointer_to(context, builder, array, values, start, vector.type)
        align = ir.Constant(ir.IntType(32), array.dtype.bitwidth // 8)
        name = f"llvm.masked.store.{suffix(value)}.p0"
        call(builder, name, ir.VoidType(), [vector, pointer, align, mask_below(builder, value, n)])
        return context.get_dummy_value()

    return types.void(array, types.intp, types.intp, value), code


class Memory(types.Type):  # type: ignore[misc]
    """The type of the numbers of an array, from its first on: nothing but their address.

    Offsets and strides are the caller's business. One type for all layouts means that what is
    called with it is compiled once, and an address is passed on where an array is seven words.
    """

    def __init__(self, dtype: types.Type) -> None:
        self.dtype = dtype
        super().__init__(name=f"Memory({dtype})")


@register_model(Memory)
class _MemoryModel(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, fe_type: Memory) -> None:
        number = manager.lookup(fe_type.dtype).get_data_type()
        super().__init__(manager, fe_type, number.as_pointer())


@intrinsic  # type: ignore[untyped-decorator]
def memory(typing: Any, array: Any) -> Any:
    """Return the memory of an array, which somebody has to :func:`keep` as long as it is used."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return context.make_array(array)(context, builder, arguments[0]).data

    return Memory(array.dtype)(array), code


@intrinsic  # type: ignore[untyped-decorator]
def memory_from(typing: Any, array: Any, offset: Any) -> Any:
    """Return the memory of a 1-d array from one of its elements on: rooms in one house."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(array)(context, builder, arguments[0]).data
        return builder.gep(data, [arguments[1]])

    return Memory(array.dtype)(array, types.intp), code


@intrinsic  # type: ignore[untyped-decorator]
def keep(typing: Any, array: Any) -> Any:
    """Do nothing: but an array that a kernel made lives until it is last named."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return context.get_dummy_value()

    return types.void(array), code


# memory[i], memory[i] = number and memory.dtype, as of an array. As numba's overloads they would
# be functions, compiled anew before whatever uses them


@infer_global(operator.getitem)
class _Getting(AbstractTemplate):  # type: ignore[misc]
    def generic(self, arguments: Any, keywords: Any) -> Any:
        memory, index = arguments
        if isinstance(memory, Memory) and isinstance(index, types.Integer):
            return signature(memory.dtype, memory, types.intp)
        return None


@infer_global(operator.setitem)
class _Setting(AbstractTemplate):  # type: ignore[misc]
    def generic(self, arguments: Any, keywords: Any) -> Any:
        memory, index, _ = arguments
        if isinstance(memory, Memory) and isinstance(index, types.Integer):
            return signature(types.none, memory, types.intp, memory.dtype)
        return None


@infer_getattr
class _Attributes(AttributeTemplate):  # type: ignore[misc]
    key = Memory

    def resolve_dtype(self, memory: Memory) -> Any:
        return types.DType(memory.dtype)


@lower_builtin(operator.getitem, Memory, types.intp)  # type: ignore[untyped-decorator]
def _get(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    values, index = arguments
    return context.unpack_value(builder, signature.return_type, builder.gep(values, [index]))


@lower_builtin(operator.setitem, Memory, types.intp, types.Any)  # type: ignore[untyped-decorator]
def _set(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    values, index, number = arguments
    context.pack_value(builder, signature.args[2], number, builder.gep(values, [index]))
    return context.get_dummy_value()


@lower_getattr(Memory, "dtype")  # type: ignore[untyped-decorator]
def _dtype(context: Any, builder: Any, kind: Any, value: Any) -> Any:
    return context.get_dummy_value()


@intrinsic  # type: ignore[untyped-decorator]
def read(typing: Any, array: Any, offset: Any) -> Any:
    """Read one number, `offset` elements after the array's first, whatever its strides."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = pointer_to(context, builder, array, *arguments, scalar(array.dtype))
        return builder.load(pointer)

    return array.dtype(array, types.intp), code


def _turned(builder: Any, found: list[Any]) -> list[Any]:
    """Transpose a square of vectors: squares half as large change places, then inside those."""
    lanes, half = len(found), 1
    index = ir.VectorType(ir.IntType(32), lanes)
    while half < lanes:
        low = [c if not c & half else lanes + c - half for c in range(lanes)]
        high = [c + half if not c & half else lanes + c for c in range(lanes)]
        for i in range(lanes):
            if not i & half:
                pair = found[i], found[i + half]
                found[i] = builder.shuffle_vector(*pair, ir.Constant(index, low))
                found[i + half] = builder.shuffle_vector(*pair, ir.Constant(index, high))
        half *= 2
    return found


@intrinsic  # type: ignore[untyped-decorator]
def transpose(typing: Any, x: Any, start: Any, x_row: Any, y: Any, to: Any, y_row: Any) -> Any:
    """Copy a square, as wide as a vector, so that its columns become rows.

    The rows of the square are `x_row` elements apart in x, and `y_row` in y.
    """
    vector = Vector(x.dtype)

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        source, first, step, target, begin, stride = arguments
        found = []
        for _ in range(vector.lanes):
            one = builder.load(pointer_to(context, builder, x, source, first, llvm_type(vector)))
            one.align = x.dtype.bitwidth // 8
            found.append(one)
            first = builder.add(first, step)
        for row in _turned(builder, found):
            pointer = pointer_to(context, builder, y, target, begin, llvm_type(vector))
            builder.store(row, pointer).align = y.dtype.bitwidth // 8
            begin = builder.add(begin, stride)
        return context.get_dummy_value()

    return types.void(x, types.intp, types.intp, y, types.intp, types.intp), code


@intrinsic  # type: ignore[untyped-decorator]
def transpose_corner(
    typing: Any,
    x: Any,
    start: Any,
    x_row: Any,
    y: Any,
    to: Any,
    y_row: Any,
    rows: Any,
    columns: Any,
) -> Any:
    """Copy what :func:`transpose` does, where only `rows` × `columns` of the square of y are there.

    Memory outside of the corner is neither read nor written.
    """
    vector = Vector(x.dtype)

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        source, first, step, target, begin, stride, height, width = arguments
        kind, size = llvm_type(vector), x.dtype.bitwidth // 8
        align = ir.Constant(ir.IntType(32), size)
        tall, wide = mask_below(builder, vector, height), mask_below(builder, vector, width)

        def nth(base: Any, apart: Any, index: int, count: Any) -> Any:
            # beyond the last one stands the last one again
            here, end = ir.Constant(count.type, index), builder.sub(count, count.type(1))
            inside = builder.select(builder.icmp_signed("<", here, end), here, end)
            return builder.add(base, builder.mul(apart, inside))

        found = []
        for c in range(vector.lanes):
            pointer = pointer_to(context, builder, x, source, nth(first, step, c, width), kind)
            name = f"llvm.masked.load.{suffix(vector)}.p0"
            blank = ir.Constant(kind, [0.0] * vector.lanes)
            found.append(call(builder, name, kind, [pointer, align, tall, blank]))
        # from the last row up: what was written in place of a missing one is overwritten
        for r, row in reversed([*enumerate(_turned(builder, found))]):
            pointer = pointer_to(context, builder, y, target, nth(begin, stride, r, height), kind)
            name = f"llvm.masked.store.{suffix(vector)}.p0"
            call(builder, name, ir.VoidType(), [row, pointer, align, wide])
        return context.get_dummy_value()

    return types.void(x, *2 * (types.intp,), y, *4 * (types.intp,)), code
