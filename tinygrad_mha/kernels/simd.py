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

from collections.abc import Sequence
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from .memory import (
    Memory,
    keep,
    load,
    load_first,
    load_first_like,
    load_like,
    memory,
    memory_from,
    prefetch,
    read,
    store,
    store_first,
    transpose,
    transpose_corner,
)
from .vector import (
    LANES32,
    LANES64,
    REGISTER_BYTES,
    STEPS32,
    STEPS64,
    VECTORS,
    WIDE,
    Vector,
    call,
    filled,
    integers,
    lanes_of,
    llvm_type,
    pointer_to,
    size_of,
    suffix,
)

__all__ = [
    "LANES32",
    "LANES64",
    "REGISTER_BYTES",
    "STEPS32",
    "STEPS64",
    "VECTORS",
    "WIDE",
    "Memory",
    "Vector",
    "absolute",
    "add",
    "div",
    "fma",
    "fma_row",
    "fma_rows",
    "keep",
    "lanes_of",
    "like",
    "load",
    "load_first",
    "load_first_like",
    "load_like",
    "load_row",
    "max_of",
    "memory",
    "memory_from",
    "mul",
    "number",
    "polynomial",
    "prefetch",
    "read",
    "size_of",
    "splat",
    "splat_row",
    "splat_wide",
    "sqrt",
    "store",
    "store_first",
    "store_row",
    "store_rows",
    "sub",
    "sum_of",
    "transpose",
    "transpose_corner",
    "two_to_the",
    "where_less",
]

# -- arithmetic ---------------------------------------------------------------------------


@intrinsic  # type: ignore[untyped-decorator]
def splat(typing: Any, number: Any) -> Any:
    """Return a vector with the same number in every lane."""
    vector = Vector(number)

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return filled(builder, llvm_type(vector), arguments[0])

    return vector(number), code


@intrinsic  # type: ignore[untyped-decorator]
def splat_wide(typing: Any, number: Any) -> Any:
    """Return a wide vector with the same number in every lane."""
    vector = Vector(number, WIDE)

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return filled(builder, llvm_type(vector), arguments[0])

    return vector(number), code


@intrinsic  # type: ignore[untyped-decorator]
def like(typing: Any, number: Any, vector: Any) -> Any:
    """Return a vector as wide as another, with the same number in every lane."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return filled(builder, llvm_type(vector), arguments[0])

    return vector(vector.dtype, vector), code


def _fused(builder: Any, vector: Vector, a: Any, b: Any, c: Any) -> Any:
    # fmuladd: one instruction where the processor has it, and not a library call where not
    return call(builder, f"llvm.fmuladd.{suffix(vector)}", a.type, [a, b, c])


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
        return call(builder, f"llvm.fabs.{suffix(a)}", arguments[0].type, list(arguments))

    return a(a), code


@intrinsic  # type: ignore[untyped-decorator]
def sqrt(typing: Any, a: Any) -> Any:
    """Compute √a."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return call(builder, f"llvm.sqrt.{suffix(a)}", arguments[0].type, list(arguments))

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
        parts.append(call(builder, f"llvm.x86.avx512.permvar.{name}.512", one, [whole, some]))
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
        kind, bits = integers(shifted), 23 if shifted.dtype.bitwidth == 32 else 52
        steps = STEPS32 if bits == 23 else STEPS64
        n, count = builder.bitcast(arguments[0], kind), kind.count

        def all_lanes(value: int) -> Any:
            return ir.Constant(kind, [value] * count)

        if steps == 1:
            moved = builder.add(n, all_lanes(127 if bits == 23 else 1023))
            exponent = builder.shl(moved, all_lanes(bits))
            return builder.bitcast(exponent, arguments[0].type)
        # the steps within a doubling come from a table, the doublings go to the exponent; the
        # steps that are shifted there with them have been taken off the table
        shift = bits - steps.bit_length() + 1
        wide = np.array(
            [2.0 ** (step / steps) for step in range(steps)], "f4" if bits == 23 else "f8"
        )
        less = wide.view(f"i{wide.itemsize}") - (np.arange(steps) << shift)
        table = less.astype(f"i{wide.itemsize}").view(wide.dtype).tolist()
        found = builder.bitcast(_looked_up(builder, arguments[0].type, table, n), kind)
        exponent = builder.shl(n, all_lanes(shift))
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
            return ir.Constant(llvm_type(like), [chosen] * like.lanes)

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
            first, *others = (ir.Constant(llvm_type(x), [c] * x.lanes) for c in coefficients[::-1])
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


def _load_row(context: Any, builder: Any, array: Any, values: Any, start: Any, row: Any) -> Any:
    found = []
    for v in range(row.count):
        here = builder.add(start, ir.Constant(start.type, v * row.dtype.lanes))
        pointer = pointer_to(context, builder, array, values, here, llvm_type(row.dtype))
        one = builder.load(pointer)
        one.align = array.dtype.bitwidth // 8
        found.append(one)
    return found


@intrinsic  # type: ignore[untyped-decorator]
def load_row(typing: Any, array: Any, offset: Any, like: Any) -> Any:
    """Read as many vectors side by side as the row `like` has."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        values, start, _ = arguments
        found = _load_row(context, builder, array, values, start, like)
        return context.make_tuple(builder, like, found)

    return like(array, types.intp, like), code


def _store_row(context: Any, builder: Any, array: Any, values: Any, start: Any, row: Any) -> None:
    for v, one in enumerate(row):
        here = builder.add(start, ir.Constant(start.type, v * one.type.count))
        written = builder.store(one, pointer_to(context, builder, array, values, here, one.type))
        written.align = array.dtype.bitwidth // 8


@intrinsic  # type: ignore[untyped-decorator]
def store_row(typing: Any, array: Any, offset: Any, row: Any) -> Any:
    """Write the vectors of a row side by side."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        values, start, vectors = arguments
        vectors = cgutils.unpack_tuple(builder, vectors, row.count)
        _store_row(context, builder, array, values, start, vectors)
        return context.get_dummy_value()

    return types.void(array, types.intp, row), code


def _fused_row(builder: Any, number: Any, row: Any, sums: Any, kind: Any) -> list[Any]:
    """Compute number · row + sums, vector by vector."""
    wide = filled(builder, llvm_type(kind.dtype), number)
    pairs = (cgutils.unpack_tuple(builder, x, kind.count) for x in (row, sums))
    return [_fused(builder, kind.dtype, wide, b, c) for b, c in zip(*pairs, strict=True)]


@intrinsic  # type: ignore[untyped-decorator]
def fma_row(typing: Any, a: Any, row: Any, sums: Any) -> Any:
    """Compute a · row + sums for a number `a`, vector by vector."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return context.make_tuple(builder, sums, _fused_row(builder, *arguments, row))

    return sums(a, row, sums), code


# -- tiles: tuples of rows below each other -------------------------------------------------


@intrinsic  # type: ignore[untyped-decorator]
def fma_rows(
    typing: Any, array: Any, offset: Any, step: Any, rows: Any, row: Any, tile: Any
) -> Any:
    """Add to each row of a tile its own number times `row`; the numbers lie `step` apart.

    Below the first `rows` there are no numbers: the last one is taken again.
    """

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        values, start, apart, count, factors, before = arguments
        last, found = builder.sub(count, count.type(1)), []
        for i, sums in enumerate(cgutils.unpack_tuple(builder, before, tile.count)):
            here = count.type(i)
            if i:
                here = builder.select(builder.icmp_signed("<", here, last), here, last)
            at = builder.add(start, builder.mul(here, apart))
            kind = llvm_type(tile.dtype.dtype).element
            one = builder.load(pointer_to(context, builder, array, values, at, kind))
            found.append(_fused_row(builder, one, factors, sums, tile.dtype))
        made = [context.make_tuple(builder, tile.dtype, sums) for sums in found]
        return context.make_tuple(builder, tile, made)

    return tile(array, *3 * (types.intp,), row, tile), code


@intrinsic  # type: ignore[untyped-decorator]
def store_rows(
    typing: Any, array: Any, offset: Any, step: Any, rows: Any, tile: Any, more: Any
) -> Any:
    """Write the first `rows` of a tile, `step` apart; or, if there are `more`, add them."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        values, start, apart, count, sums, adding = arguments
        kind = tile.dtype
        for i, one in enumerate(cgutils.unpack_tuple(builder, sums, tile.count)):
            at = builder.add(start, builder.mul(apart, apart.type(i)))
            vectors = cgutils.unpack_tuple(builder, one, kind.count)
            there = builder.icmp_signed("<", count.type(i), count)
            with builder.if_then(there), builder.if_else(adding) as (then, otherwise):
                with then:
                    found = _load_row(context, builder, array, values, at, kind)
                    both = [builder.fadd(a, b) for a, b in zip(found, vectors, strict=True)]
                    _store_row(context, builder, array, values, at, both)
                with otherwise:
                    _store_row(context, builder, array, values, at, vectors)
        return context.get_dummy_value()

    return types.void(array, *3 * (types.intp,), tile, types.boolean), code
