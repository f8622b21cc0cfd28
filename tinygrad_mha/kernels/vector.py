"""What a SIMD vector is to numba, and the few turns of LLVM that everything on it is made of."""

from __future__ import annotations

from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba.core import cgutils, config, types
from numba.extending import intrinsic, models, register_model


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
        super().__init__(manager, fe_type, llvm_type(fe_type))


def scalar(dtype: types.Float) -> Any:
    """Return LLVM's type of a number."""
    return ir.FloatType() if dtype.bitwidth == 32 else ir.DoubleType()


def llvm_type(vector: Vector) -> Any:
    """Return LLVM's type of a vector."""
    return ir.VectorType(scalar(vector.dtype), vector.lanes)


def integers(vector: Vector) -> Any:
    """Return LLVM's type of as many integers, as wide as the numbers."""
    return ir.VectorType(ir.IntType(vector.dtype.bitwidth), vector.lanes)


def filled(builder: Any, kind: Any, value: Any) -> Any:
    """Broadcast a scalar value of LLVM to all lanes."""
    empty = ir.Constant(kind, ir.Undefined)
    first = builder.insert_element(empty, value, ir.Constant(ir.IntType(32), 0))
    lanes = ir.Constant(ir.VectorType(ir.IntType(32), kind.count), [0] * kind.count)
    return builder.shuffle_vector(first, empty, lanes)


def pointer_to(context: Any, builder: Any, kind: Any, array: Any, offset: Any, target: Any) -> Any:
    """Point at an element, counted from the array's first; no integer ever becomes a pointer."""
    whole = isinstance(kind, types.Array)
    data = context.make_array(kind)(context, builder, array).data if whole else array
    return builder.bitcast(builder.gep(data, [offset]), ir.PointerType(target))


def call(builder: Any, name: str, result: Any, arguments: list[Any]) -> Any:
    """Call one of LLVM's own functions."""
    kind = ir.FunctionType(result, [a.type for a in arguments])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), arguments)


def suffix(vector: Vector) -> str:
    """Return how LLVM names a vector in the names of its functions."""
    return f"v{vector.lanes}f{vector.dtype.bitwidth}"


def mask_below(builder: Any, vector: Vector, count: Any) -> Any:
    """Return one bit per lane: whether its number is below `count`, which is small or negative."""
    kind = ir.VectorType(ir.IntType(32), vector.lanes)
    numbers = ir.Constant(kind, list(range(vector.lanes)))
    few = builder.trunc(count, ir.IntType(32))
    return builder.icmp_signed("<", numbers, filled(builder, kind, few))


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
