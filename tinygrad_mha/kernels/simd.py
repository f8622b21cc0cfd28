"""A SIMD vector as a type of numba's, and what one can do with it.

Inside a kernel, ``load(array, i)`` gives as many consecutive numbers as a register
of this processor holds, and the functions below work on all of them at once. They
are translated into one instruction each. A *row* is a tuple of vectors that stand
side by side. A *wide* vector fills several registers: what is done with it becomes
several instructions that do not wait for each other.

LLVM's vectors are portable: on a processor without such registers the same source
is compiled into several instructions.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba.core import cgutils, config, types
from numba.extending import intrinsic, models, overload, overload_attribute, register_model


def _register_bytes() -> int:
    """Return the size of a vector register: 64 with AVX-512, 32 with AVX2, else 16."""
    if config.CPU_NAME:  # set from outside: compile for that processor, not for this one
        named = config.CPU_NAME
        if named == "generic":
            return 16
        if any(word in named for word in ("skylake-avx512", "icelake", "znver4", "znver5")):
            return 64
        return 32
    features = llvm.get_host_cpu_features()
    if features.get("avx512f"):
        return 64
    return 32 if features.get("avx2") else 16


REGISTER_BYTES = _register_bytes()
LANES32 = REGISTER_BYTES // 4
LANES64 = REGISTER_BYTES // 8
#: Registers of a wide vector: as many operations that do not wait for each other. With AVX-512
#: there are 32 registers, else 16 or so.
WIDE = 4 if REGISTER_BYTES == 64 else 2
#: Vectors of a row of :func:`splat_row`: six rows of sums fill the registers, but for what is read.
VECTORS = 4 if REGISTER_BYTES == 64 else 2
#: Steps of :func:`two_to_the` to a doubling: AVX-512 looks them up in a register, others have none.
STEPS32, STEPS64 = (16, 8) if REGISTER_BYTES == 64 else (1, 1)


class Vector(types.Type):  # type: ignore[misc]
    """The type of one register full of numbers, or of several."""

    def __init__(self, dtype: types.Float, registers: int = 1) -> None:
        self.dtype = dtype
        self.lanes = REGISTER_BYTES * 8 // dtype.bitwidth * registers
        super().__init__(name=f"Vector({dtype} x {self.lanes})")


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, fe_type: Vector) -> None:
        super().__init__(manager, fe_type, _llvm(fe_type))


def _scalar(dtype: types.Float) -> Any:
    return ir.FloatType() if dtype.bitwidth == 32 else ir.DoubleType()


def _llvm(vector: Vector) -> Any:
    return ir.VectorType(_scalar(vector.dtype), vector.lanes)


def _integers(vector: Vector) -> Any:
    return ir.VectorType(ir.IntType(vector.dtype.bitwidth), vector.lanes)


def _fill(builder: Any, kind: Any, value: Any) -> Any:
    """Broadcast a scalar value of LLVM to all lanes."""
    empty = ir.Constant(kind, ir.Undefined)
    first = builder.insert_element(empty, value, ir.Constant(ir.IntType(32), 0))
    lanes = ir.Constant(ir.VectorType(ir.IntType(32), kind.count), [0] * kind.count)
    return builder.shuffle_vector(first, empty, lanes)


def _pointer(context: Any, builder: Any, kind: Any, array: Any, offset: Any, target: Any) -> Any:
    """Point at an element, counted from the array's first; no integer ever becomes a pointer."""
    whole = isinstance(kind, types.Array)
    data = context.make_array(kind)(context, builder, array).data if whole else array
    return builder.bitcast(builder.gep(data, [offset]), ir.PointerType(target))


def _call(builder: Any, name: str, result: Any, arguments: list[Any]) -> Any:
    kind = ir.FunctionType(result, [a.type for a in arguments])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), arguments)


def _suffix(vector: Vector) -> str:
    return f"v{vector.lanes}f{vector.dtype.bitwidth}"


def _mask(builder: Any, vector: Vector, count: Any) -> Any:
    """Return one bit per lane: whether its number is below `count`, which is small or negative."""
    kind = ir.VectorType(ir.IntType(32), vector.lanes)
    numbers = ir.Constant(kind, list(range(vector.lanes)))
    few = builder.trunc(count, ir.IntType(32))
    return builder.icmp_signed("<", numbers, _fill(builder, kind, few))


@intrinsic  # type: ignore[untyped-decorator]
def size_of(typing: Any, array: Any) -> Any:
    """Return the bytes of one element, which the compiler then knows."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return ir.Constant(ir.IntType(64), array.dtype.bitwidth // 8)

    return types.intp(array), code


@intrinsic  # type: ignore[untyped-decorator]
def lanes_of(typing: Any, array: Any) -> Any:
    """Return how many of an array's numbers fill a vector."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return ir.Constant(ir.IntType(64), Vector(array.dtype).lanes)

    return types.intp(array), code


# -- memory -----------------------------------------------------------------------------


@intrinsic  # type: ignore[untyped-decorator]
def load(typing: Any, array: Any, offset: Any) -> Any:
    """Read the vector that begins `offset` elements after the array's first."""
    vector = Vector(array.dtype)

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        read = builder.load(_pointer(context, builder, array, *arguments, _llvm(vector)))
        read.align = array.dtype.bitwidth // 8
        return read

    return vector(array, types.intp), code


@intrinsic  # type: ignore[untyped-decorator]
def load_first(typing: Any, array: Any, offset: Any, count: Any, rest: Any) -> Any:
    """Read only the first `count` lanes; the others are `rest`, and their memory is not touched."""
    vector = Vector(array.dtype)

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        values, start, n, fill = arguments
        kind = _llvm(vector)
        pointer = _pointer(context, builder, array, values, start, kind)
        align = ir.Constant(ir.IntType(32), array.dtype.bitwidth // 8)
        mask = _mask(builder, vector, n)
        name = f"llvm.masked.load.{_suffix(vector)}.p0"
        return _call(builder, name, kind, [pointer, align, mask, _fill(builder, kind, fill)])

    return vector(array, types.intp, types.intp, array.dtype), code


@intrinsic  # type: ignore[untyped-decorator]
def load_like(typing: Any, array: Any, offset: Any, like: Any) -> Any:
    """Read a vector as wide as `like`."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        values, start, _ = arguments
        read = builder.load(_pointer(context, builder, array, values, start, _llvm(like)))
        read.align = array.dtype.bitwidth // 8
        return read

    return like(array, types.intp, like), code


@intrinsic  # type: ignore[untyped-decorator]
def load_first_like(typing: Any, array: Any, offset: Any, count: Any, rest: Any) -> Any:
    """Read the first `count` lanes of a vector as wide as `rest`, which gives the others."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        values, start, n, fill = arguments
        pointer = _pointer(context, builder, array, values, start, _llvm(rest))
        align = ir.Constant(ir.IntType(32), array.dtype.bitwidth // 8)
        name = f"llvm.masked.load.{_suffix(rest)}.p0"
        return _call(builder, name, fill.type, [pointer, align, _mask(builder, rest, n), fill])

    return rest(array, types.intp, types.intp, rest), code


@intrinsic  # type: ignore[untyped-decorator]
def store(typing: Any, array: Any, offset: Any, value: Any) -> Any:
    """Write a vector, `offset` elements after the array's first."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        values, start, vector = arguments
        written = builder.store(
            vector, _pointer(context, builder, array, values, start, vector.type)
        )
        written.align = array.dtype.bitwidth // 8
        return context.get_dummy_value()

    return types.void(array, types.intp, value), code


@intrinsic  # type: ignore[untyped-decorator]
def store_first(typing: Any, array: Any, offset: Any, count: Any, value: Any) -> Any:
    """Write only the first `count` lanes."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        values, start, n, vector = arguments
        pointer = _pointer(context, builder, array, values, start, vector.type)
        align = ir.Constant(ir.IntType(32), array.dtype.bitwidth // 8)
        name = f"llvm.masked.store.{_suffix(value)}.p0"
        _call(builder, name, ir.VoidType(), [vector, pointer, align, _mask(builder, value, n)])
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


@intrinsic  # type: ignore[untyped-decorator]
def _get(typing: Any, memory: Any, index: Any) -> Any:
    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = builder.gep(arguments[0], [arguments[1]])
        return context.unpack_value(builder, memory.dtype, pointer)

    return memory.dtype(memory, types.intp), code


@intrinsic  # type: ignore[untyped-decorator]
def _set(typing: Any, memory: Any, index: Any, value: Any) -> Any:
    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        target, at, number = arguments
        context.pack_value(builder, memory.dtype, number, builder.gep(target, [at]))
        return context.get_dummy_value()

    return types.void(memory, types.intp, memory.dtype), code


@overload(operator.getitem)  # type: ignore[untyped-decorator]
def _getitem(memory, index):  # type: ignore[no-untyped-def]
    """Make ``memory[i]`` a number."""
    if isinstance(memory, Memory) and isinstance(index, types.Integer):
        return lambda memory, index: _get(memory, index)  # noqa: PLW0108  (numba wants one)
    return None


@overload(operator.setitem)  # type: ignore[untyped-decorator]
def _setitem(memory, index, value):  # type: ignore[no-untyped-def]
    """Make ``memory[i] = number`` write it."""
    if isinstance(memory, Memory) and isinstance(index, types.Integer):
        return lambda memory, index, value: _set(memory, index, value)  # noqa: PLW0108
    return None


@intrinsic  # type: ignore[untyped-decorator]
def _dtype_of(typing: Any, memory: Any) -> Any:
    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return context.get_dummy_value()

    return types.DType(memory.dtype)(memory), code


@overload_attribute(Memory, "dtype")  # type: ignore[untyped-decorator]
def _dtype(memory):  # type: ignore[no-untyped-def]
    """Make ``memory.dtype`` what it is of an array."""
    return lambda memory: _dtype_of(memory)  # noqa: PLW0108


@intrinsic  # type: ignore[untyped-decorator]
def read(typing: Any, array: Any, offset: Any) -> Any:
    """Read one number, `offset` elements after the array's first, whatever its strides."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = _pointer(context, builder, array, *arguments, _scalar(array.dtype))
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
            one = builder.load(_pointer(context, builder, x, source, first, _llvm(vector)))
            one.align = x.dtype.bitwidth // 8
            found.append(one)
            first = builder.add(first, step)
        for row in _turned(builder, found):
            pointer = _pointer(context, builder, y, target, begin, _llvm(vector))
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
        kind, size = _llvm(vector), x.dtype.bitwidth // 8
        align = ir.Constant(ir.IntType(32), size)
        tall, wide = _mask(builder, vector, height), _mask(builder, vector, width)

        def nth(base: Any, apart: Any, index: int, count: Any) -> Any:
            # beyond the last one stands the last one again
            here, end = ir.Constant(count.type, index), builder.sub(count, count.type(1))
            inside = builder.select(builder.icmp_signed("<", here, end), here, end)
            return builder.add(base, builder.mul(apart, inside))

        found = []
        for c in range(vector.lanes):
            pointer = _pointer(context, builder, x, source, nth(first, step, c, width), kind)
            name = f"llvm.masked.load.{_suffix(vector)}.p0"
            blank = ir.Constant(kind, [0.0] * vector.lanes)
            found.append(_call(builder, name, kind, [pointer, align, tall, blank]))
        # from the last row up: what was written in place of a missing one is overwritten
        for r, row in reversed([*enumerate(_turned(builder, found))]):
            pointer = _pointer(context, builder, y, target, nth(begin, stride, r, height), kind)
            name = f"llvm.masked.store.{_suffix(vector)}.p0"
            _call(builder, name, ir.VoidType(), [row, pointer, align, wide])
        return context.get_dummy_value()

    return types.void(x, *2 * (types.intp,), y, *4 * (types.intp,)), code


# -- arithmetic ---------------------------------------------------------------------------


@intrinsic  # type: ignore[untyped-decorator]
def splat(typing: Any, number: Any) -> Any:
    """Return a vector with the same number in every lane."""
    vector = Vector(number)

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _fill(builder, _llvm(vector), arguments[0])

    return vector(number), code


@intrinsic  # type: ignore[untyped-decorator]
def splat_wide(typing: Any, number: Any) -> Any:
    """Return a wide vector with the same number in every lane."""
    vector = Vector(number, WIDE)

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _fill(builder, _llvm(vector), arguments[0])

    return vector(number), code


@intrinsic  # type: ignore[untyped-decorator]
def like(typing: Any, number: Any, vector: Any) -> Any:
    """Return a vector as wide as another, with the same number in every lane."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _fill(builder, _llvm(vector), arguments[0])

    return vector(vector.dtype, vector), code


def _fused(builder: Any, vector: Vector, a: Any, b: Any, c: Any) -> Any:
    # fmuladd: one instruction where the processor has it, and not a library call where not
    return _call(builder, f"llvm.fmuladd.{_suffix(vector)}", a.type, [a, b, c])


@intrinsic  # type: ignore[untyped-decorator]
def fma(typing: Any, a: Any, b: Any, c: Any) -> Any:
    """Compute a · b + c."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _fused(builder, a, *arguments)

    return a(a, a, a), code


def _binary(instruction: str, what: str) -> Any:
    @intrinsic  # type: ignore[untyped-decorator]
    def operation(typing: Any, a: Any, b: Any) -> Any:
        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return getattr(builder, instruction)(*arguments)

        return a(a, a), code

    operation.__doc__ = what
    return operation


add = _binary("fadd", "Compute a + b.")
sub = _binary("fsub", "Compute a − b.")
mul = _binary("fmul", "Compute a · b.")
div = _binary("fdiv", "Compute a / b.")


def _choice(comparison: str, what: str) -> Any:
    @intrinsic  # type: ignore[untyped-decorator]
    def operation(typing: Any, a: Any, b: Any, then: Any, otherwise: Any) -> Any:
        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            left, right, yes, no = arguments
            return builder.select(builder.fcmp_ordered(comparison, left, right), yes, no)

        return a(a, a, a, a), code

    operation.__doc__ = what
    return operation


where_less = _choice("<", "Take `then` where a < b, else `otherwise`; a nan is not less.")


@intrinsic  # type: ignore[untyped-decorator]
def absolute(typing: Any, a: Any) -> Any:
    """Compute |a|."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _call(builder, f"llvm.fabs.{_suffix(a)}", arguments[0].type, list(arguments))

    return a(a), code


@intrinsic  # type: ignore[untyped-decorator]
def sqrt(typing: Any, a: Any) -> Any:
    """Compute √a."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _call(builder, f"llvm.sqrt.{_suffix(a)}", arguments[0].type, list(arguments))

    return a(a), code


def _across(combine: str) -> Any:
    """Halve a vector again and again: the same order of operations every time."""

    @intrinsic  # type: ignore[untyped-decorator]
    def operation(typing: Any, a: Any) -> Any:
        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            value, lanes = arguments[0], a.lanes
            while lanes > 1:
                lanes //= 2
                index = ir.VectorType(ir.IntType(32), lanes)
                low, high = (
                    builder.shuffle_vector(
                        value,
                        ir.Constant(value.type, ir.Undefined),
                        ir.Constant(index, list(range(first, first + lanes))),
                    )
                    for first in (0, lanes)
                )
                if combine == "sum":
                    value = builder.fadd(low, high)
                else:
                    # one instruction; of a nan and a number it may be either
                    value = builder.select(builder.fcmp_ordered(">", low, high), low, high)
            return builder.extract_element(value, ir.Constant(ir.IntType(32), 0))

        return a.dtype(a), code

    return operation


sum_of = _across("sum")
max_of = _across("max")


def _looked_up(builder: Any, kind: Any, table: list[float], index: Any) -> Any:
    """Look each lane's number up in a table as long as one register of AVX-512 has lanes."""
    lanes, bits = len(table), 32 if isinstance(kind.element, ir.FloatType) else 64
    one, name = ir.VectorType(kind.element, lanes), "sf" if bits == 32 else "df"
    whole = ir.Constant(one, table)
    parts = []
    for first in range(0, kind.count, lanes):
        numbers = ir.Constant(ir.VectorType(ir.IntType(32), lanes), [*range(first, first + lanes)])
        some = builder.shuffle_vector(index, ir.Constant(index.type, ir.Undefined), numbers)
        parts.append(_call(builder, f"llvm.x86.avx512.permvar.{name}.512", one, [whole, some]))
    while len(parts) > 1:
        pairs = zip(parts[::2], parts[1::2], strict=True)
        size = 2 * parts[0].type.count
        together = ir.Constant(ir.VectorType(ir.IntType(32), size), [*range(size)])
        parts = [builder.shuffle_vector(a, b, together) for a, b in pairs]
    return parts[0]


@intrinsic  # type: ignore[untyped-decorator]
def two_to_the(typing: Any, shifted: Any) -> Any:
    """Compute 2^(n / STEPS) for whole n, given as n + 1.5 · 2²³ (2⁵²): n sits in the low bits."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind, bits = _integers(shifted), 23 if shifted.dtype.bitwidth == 32 else 52
        steps = STEPS32 if bits == 23 else STEPS64
        n, count = builder.bitcast(arguments[0], kind), kind.count

        def all_lanes(value: int) -> Any:
            return ir.Constant(kind, [value] * count)

        if steps == 1:
            moved = builder.add(n, all_lanes(127 if bits == 23 else 1023))
            exponent = builder.shl(moved, all_lanes(bits))
            return builder.bitcast(exponent, arguments[0].type)
        # the steps within a doubling come from a table, the doublings go to the exponent
        table = [2.0 ** (step / steps) for step in range(steps)]
        found = builder.bitcast(_looked_up(builder, arguments[0].type, table, n), kind)
        doublings = builder.and_(n, all_lanes(-steps))
        exponent = builder.shl(doublings, all_lanes(bits - steps.bit_length() + 1))
        return builder.bitcast(builder.add(found, exponent), arguments[0].type)

    return shifted(shifted), code


def number(value: float, double: float | None = None) -> Any:
    """Make a function that gives a constant as a vector like its argument.

    Parameters
    ----------
    value : float
        The number.
    double : float, optional
        Instead of it, where the argument is of float64.
    """

    @intrinsic  # type: ignore[untyped-decorator]
    def constant(typing: Any, like: Any) -> Any:
        chosen = value if double is None or like.dtype.bitwidth == 32 else double

        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return ir.Constant(_llvm(like), [chosen] * like.lanes)

        return like(like), code

    return constant


def polynomial(single: Sequence[float], double: Sequence[float]) -> Any:
    """Make a function that evaluates a polynomial, lane by lane, by Horner's rule.

    Parameters
    ----------
    single, double : sequence of float
        Coefficients for float32 and for float64, constant first: each pays for its own digits.
    """

    @intrinsic  # type: ignore[untyped-decorator]
    def evaluate(typing: Any, x: Any) -> Any:
        coefficients = single if x.dtype.bitwidth == 32 else double

        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            first, *others = (ir.Constant(_llvm(x), [c] * x.lanes) for c in coefficients[::-1])
            for other in others:
                first = _fused(builder, x, first, arguments[0], other)
            return first

        return x(x), code

    return evaluate


# -- rows: tuples of vectors side by side ---------------------------------------------------


@intrinsic  # type: ignore[untyped-decorator]
def splat_row(typing: Any, vector: Any) -> Any:
    """Return a row that is as wide as a tile can be, of the same vector again and again."""
    row = types.UniTuple(vector, VECTORS)

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return context.make_tuple(builder, row, list(arguments) * VECTORS)

    return row(vector), code


@intrinsic  # type: ignore[untyped-decorator]
def load_row(typing: Any, array: Any, offset: Any, like: Any) -> Any:
    """Read as many vectors side by side as the row `like` has."""
    vector = like.dtype

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        values, start, _ = arguments
        found = []
        for v in range(like.count):
            here = builder.add(start, ir.Constant(start.type, v * vector.lanes))
            one = builder.load(_pointer(context, builder, array, values, here, _llvm(vector)))
            one.align = array.dtype.bitwidth // 8
            found.append(one)
        return context.make_tuple(builder, like, found)

    return like(array, types.intp, like), code


@intrinsic  # type: ignore[untyped-decorator]
def store_row(typing: Any, array: Any, offset: Any, row: Any) -> Any:
    """Write the vectors of a row side by side."""
    vector = row.dtype

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        values, start, vectors = arguments
        for v, one in enumerate(cgutils.unpack_tuple(builder, vectors, row.count)):
            here = builder.add(start, ir.Constant(start.type, v * vector.lanes))
            written = builder.store(
                one, _pointer(context, builder, array, values, here, _llvm(vector))
            )
            written.align = array.dtype.bitwidth // 8
        return context.get_dummy_value()

    return types.void(array, types.intp, row), code


@intrinsic  # type: ignore[untyped-decorator]
def fma_row(typing: Any, a: Any, row: Any, sums: Any) -> Any:
    """Compute a · row + sums for a number `a`, vector by vector."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        number, factors, before = arguments
        wide = _fill(builder, _llvm(row.dtype), number)
        pairs = zip(
            cgutils.unpack_tuple(builder, factors, row.count),
            cgutils.unpack_tuple(builder, before, row.count),
            strict=True,
        )
        found = [_fused(builder, row.dtype, wide, b, c) for b, c in pairs]
        return context.make_tuple(builder, sums, found)

    return sums(a, row, sums), code
