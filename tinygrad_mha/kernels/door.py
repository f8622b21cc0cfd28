"""How Python calls a kernel: through a function of C that finds arrays where they lie.

The one that numba makes is handed a tuple, asks NumPy about each array, makes an object that
keeps it alive, and gives the interpreter lock away: 0.3 µs for the five arrays of a product. A
door takes the arguments as CPython has them (METH_FASTCALL), reads an array as C does (the
struct PyArrayObject), and keeps the lock while there is little to do: 0.1 µs.

A kernel may have a second door, which makes the array that the kernel writes and returns it. It
declines, with None, whatever does not fit, or what the kernel itself declines: so the way of a
small result needs no checks and no array made in Python, which would take longer than it does.

Arrays need no owner meanwhile: whoever calls holds them until the call returns.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from llvmlite.binding import add_symbol  # type: ignore[import-untyped]
from numba.core import cgutils, types
from numba.core.compiler import Compiler

#: Numbers in all arrays together from which on other Python threads may run meanwhile: what is
#: done with fewer takes some microseconds, and to give the lock away and back a tenth of one.
LOCKED = 2**14

#: For the parameter that a door makes: for each of its axes, the parameter and axis it is like.
Made = Mapping[str, tuple[tuple[str, int], ...]]

_CHARACTER, _INT, _BIT = ir.IntType(8), ir.IntType(32), ir.IntType(1)
_POINTER, _WORD = _CHARACTER.as_pointer(), ir.IntType(8 * np.intp().itemsize)

# Where things stand, in bytes; every object begins with its reference count and its type:
# https://numpy.org/doc/stable/reference/c-api/types-and-structures.html
_HEAD, _STEP = object.__basicsize__, ctypes.sizeof(ctypes.c_void_p)
_TYPE = _HEAD - _STEP
_DATA, _AXES, _SHAPE, _STRIDES, _DTYPE, _FLAGS = (_HEAD + n * _STEP for n in (0, 1, 2, 3, 5, 6))
_KIND, _ORDER, _SIZE = (_HEAD + n for n in (_STEP, _STEP + 2, _STEP + 16))  # of a dtype
_CONSECUTIVE, _WRITEABLE = 0x1, 0x400

#: The last two parameters of a kernel that threads can share.
RANGE = ("first", "last")
#: How a range of a kernel is run: with what it is given, from where to where; 1 if it failed.
TASK = ir.FunctionType(_WORD, [_POINTER, _WORD, _WORD])
#: The function that has it run by several threads; the types of its board, of how much each takes,
#: of how much there is, of the task and of what that is given.
WORK_TOGETHER = "tinygrad_mha.work_together"
WORK_TAKES = (types.Array(types.int64, 1, "C"), *2 * (types.intp,), *2 * (types.voidptr,))

_FASTCALL = 0x80
_ARRAY, _NEW_ARRAY, _NEW_ARRAY_AT = "tinygrad_mha.ndarray", "tinygrad_mha.new_array", 93


class _Method(ctypes.Structure):
    """CPython's PyMethodDef."""

    _fields_ = (
        ("name", ctypes.c_char_p), ("address", ctypes.c_void_p), ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    )  # fmt: skip


# prototypes of our own: those of ctypes.pythonapi are everybody's
_new_function = ctypes.PYFUNCTYPE(ctypes.py_object, *3 * (ctypes.c_void_p,))(
    ("PyCFunction_NewEx", ctypes.pythonapi)
)
_pointer_of = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(
    ("PyCapsule_GetPointer", ctypes.pythonapi)
)


def _check_layout() -> None:
    """Look whether an array is laid out as doors read it; else nothing compiled can run."""
    x = np.zeros((2, 3), np.float32).T
    kind = x.dtype

    def read(owner: object, offset: int, kind: Any) -> Any:
        return kind.from_address(id(owner) + offset).value

    word, pointer, byte = ctypes.c_ssize_t, ctypes.c_void_p, ctypes.c_char
    found = [
        read(x, _TYPE, pointer), read(x, _DATA, pointer), read(x, _AXES, ctypes.c_int),
        *((2 * word).from_address(read(x, offset, pointer))[:] for offset in (_SHAPE, _STRIDES)),
        read(x, _DTYPE, pointer), read(x, _FLAGS, ctypes.c_int) & (_CONSECUTIVE | _WRITEABLE),
        read(kind, _KIND, byte), read(kind, _ORDER, byte), read(kind, _SIZE, word),
    ]  # fmt: skip
    expected = [
        id(np.ndarray), x.__array_interface__["data"][0], 2, [3, 2], [4, 12],
        id(kind), _WRITEABLE, b"f", b"=", 4,
    ]  # fmt: skip
    if found != expected:
        raise ImportError(f"arrays of NumPy {np.__version__} are not laid out as kernels read them")


_check_layout()

_kept: list[Any] = []  # what functions of C refer to; kernels stay until the process ends


def open_door(code: Any, way: str = "") -> Callable[..., Any]:
    """Return what calls a kernel, given the code that numba compiled or loaded.

    Parameters
    ----------
    code : CompileResult
        Numba's.
    way : {"", "making", "together"}
        Which door: the plain one; the one that makes what the kernel writes; the one that shares
        the range ``first … last`` among threads, which is called with a board, with how much each
        takes, with how much there is, and with the arguments before that range.
    """
    name = _name_of(code.fndesc, way)
    address = code.library.get_pointer_to_function(name)
    if not address:
        raise LookupError(f"{name}: there is no such door")
    method = _Method(code.fndesc.qualname.rpartition(".")[-1].encode(), address, _FASTCALL, None)
    _kept.append((method, code.library))
    function: Callable[..., Any] = _new_function(ctypes.addressof(method), None, None)
    return function


def _name_of(kernel: Any, way: str) -> str:
    name: str = kernel.llvm_cfunc_wrapper_name
    return f"{name}.{way}" if way else name


def name_what_numpy_has() -> None:
    """Tell the linker where NumPy's things are that doors refer to."""
    functions = _pointer_of(np._core._multiarray_umath._ARRAY_API, None)  # type: ignore[attr-defined]
    add_symbol(_ARRAY, id(np.ndarray))
    add_symbol(_NEW_ARRAY, ctypes.c_void_p.from_address(functions + _NEW_ARRAY_AT * _STEP).value)


def compiler(made: Made, nogil: bool) -> type[Compiler]:
    """Return numba's compiler, which gives a kernel doors where others get a function for C."""
    ways: dict[str, dict[str, Any]] = {"": {"locked": 0 if nogil else LOCKED}}
    if made:
        ways["making"] = {"made": made}

    class DoorCompiler(Compiler):  # type: ignore[misc]
        def define_pipelines(self) -> Any:
            whole = self.state.targetctx

            def build(library: Any, kernel: Any, environment: Any, helper: Any) -> None:
                for way, how in ways.items():
                    _Door(whole, library, kernel, way, **how).build()
                if kernel.args[-2:] == RANGE:
                    _SharedDoor(whole, library, kernel, "together", locked=0).build()

            self.state.targetctx = whole.subtarget(create_cfunc_wrapper=build)
            return super().define_pipelines()

    return DoorCompiler


class _Door:
    """The machine code of one door."""

    def __init__(
        self, context: Any, library: Any, kernel: Any, way: str, *,
        made: Made | None = None, locked: int = LOCKED,
    ) -> None:  # fmt: skip
        self.context, self.library, self.kernel = context, library, kernel
        self.made, self.locked = made or {}, locked
        self.parameters = dict(zip(kernel.args, kernel.argtypes, strict=True))
        self.module = context.create_module("door")
        kind = ir.FunctionType(_POINTER, [_POINTER, _POINTER.as_pointer(), _WORD])
        self.function = ir.Function(self.module, kind, _name_of(kernel, way))
        self.builder = ir.IRBuilder(self.function.append_basic_block())
        self.python = context.get_python_api(self.builder)
        kind = context.call_conv.get_function_type(kernel.restype, kernel.argtypes)
        self.callee = ir.Function(self.module, kind, kernel.llvm_func_name)

    def build(self) -> None:
        """Take the arguments, call the kernel, return what it returns or wrote."""
        kernel, builder, python = self.kernel, self.builder, self.python
        values = self._take({k: v for k, v in self.parameters.items() if k not in self.made})
        result = None
        for name, axes in self.made.items():
            sizes = [self._sizes(values[like])[axis] for like, axis in axes]
            result = self._new_array(sizes, self.parameters[name])
            values[name] = self._array(result, self.parameters[name], name)
        numbers = _WORD(0)
        for name, kind in self.parameters.items():
            if isinstance(kind, types.Array):
                numbers = builder.add(numbers, values[name].nitems)
        arguments = [_bare(values[name]) for name in self.parameters]
        lock = self._give_lock(numbers)
        status, returned = self._call_kernel(builder, arguments)
        self._take_lock(lock)
        with builder.if_then(status.is_error, likely=False):
            self.context.call_conv.raise_error(builder, python, status)
            self._drop(result)
            builder.ret(python.get_null_object())
        if result is not None:
            if kernel.restype == types.boolean:
                with builder.if_then(builder.not_(returned), likely=False):
                    self._drop(result)
                    python.return_none()
            builder.ret(result)
        elif kernel.restype == types.none:
            python.return_none()
        else:
            builder.ret(python.from_native_return(kernel.restype, returned, None))
        self.library.add_ir_module(self.module)

    def _call_kernel(self, builder: Any, arguments: list[Any]) -> tuple[Any, Any]:
        kernel, convention = self.kernel, self.context.call_conv
        found: tuple[Any, Any] = convention.call_function(
            builder, self.callee, kernel.restype, kernel.argtypes, arguments, attrs=("noinline",)
        )
        return found

    def _give_lock(self, numbers: Any) -> Any:
        """Give the interpreter lock away if there is much to do; return what remembers it."""
        builder = self.builder
        lock = cgutils.alloca_once_value(builder, _POINTER(None))
        much = builder.icmp_signed(">=", numbers, _WORD(self.locked))
        with builder.if_then(much, likely=not self.locked):
            builder.store(self.python.save_thread(), lock)
        return lock

    def _take_lock(self, lock: Any) -> None:
        away = self.builder.load(lock)
        with self.builder.if_then(cgutils.is_not_null(self.builder, away)):
            self.python.restore_thread(away)

    # -- what it takes ------------------------------------------------------------------------

    def _take(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Take the arguments, one after the other."""
        builder = self.builder
        _, given, count = self.function.args
        right = builder.icmp_signed("==", count, _WORD(len(parameters)))
        self._demand(right, "number of arguments")
        values: dict[str, Any] = {}
        for i, (name, kind) in enumerate(parameters.items()):
            found = builder.load(builder.gep(given, [_WORD(i)]))
            if isinstance(kind, types.Array):
                values[name] = self._array(found, kind, name)
            else:
                values[name] = self._number(found, kind)
        return values

    def _demand(self, condition: Any, what: str) -> None:
        """Unless a condition holds, raise a TypeError; or decline, if a result is to be made."""
        python, builder = self.python, self.builder
        with builder.if_then(builder.not_(condition), likely=False):
            if self.made:
                python.return_none()
            else:
                python.err_set_string("PyExc_TypeError", f"{self.kernel.qualname}: wrong {what}")
                builder.ret(python.get_null_object())

    def _number(self, found: Any, kind: Any) -> Any:
        """Take what is no array; but for whole numbers as numba does."""
        python, builder = self.python, self.builder
        if kind == types.intp:
            shape = ir.FunctionType(_WORD, [_POINTER, _POINTER])
            take = cgutils.get_or_insert_function(self.module, shape, "PyNumber_AsSsize_t")
            number = builder.call(take, [found, python.get_c_object("PyExc_OverflowError")])
            doubtful = builder.icmp_signed("==", number, _WORD(-1))
            failed = cgutils.alloca_once_value(builder, _BIT(0))
            with builder.if_then(doubtful, likely=False):
                builder.store(cgutils.is_not_null(builder, python.err_occurred()), failed)
            with builder.if_then(builder.load(failed), likely=False):
                builder.ret(python.get_null_object())
            return number
        native = self.python.to_native_value(kind, found)
        with self.builder.if_then(native.is_error, likely=False):
            self.builder.ret(self.python.get_null_object())
        return native.value

    def _array(self, found: Any, kind: types.Array, name: str) -> Any:
        """Make what numba knows an array by, out of an object of Python's."""
        builder, dtype = self.builder, np.dtype(str(kind.dtype))
        self._demand(self._is_array(found), f"type of {name}")
        its_dtype = self._field(found, _DTYPE, _POINTER)
        letters = "ub" if dtype.kind == "u" else dtype.kind  # a truth is a byte
        right = self._one_of(found, _AXES, _INT, kind.ndim)
        for offset, width, values in (
            (_KIND, _CHARACTER, map(ord, letters)), (_ORDER, _CHARACTER, map(ord, "=|")),
            (_SIZE, _WORD, [dtype.itemsize]),
        ):  # fmt: skip
            right = builder.and_(right, self._one_of(its_dtype, offset, width, *values))
        needed = (_CONSECUTIVE if kind.layout == "C" else 0) | (_WRITEABLE if kind.mutable else 0)
        both = builder.and_(self._field(found, _FLAGS, _INT), _INT(needed))
        right = builder.and_(right, builder.icmp_unsigned("==", both, _INT(needed)))
        self._demand(right, f"array {name}")
        array = self.context.make_array(kind)(self.context, builder)
        sizes, strides = (
            [self._item(found, offset, axis) for axis in range(kind.ndim)]
            for offset in (_SHAPE, _STRIDES)
        )
        array.nitems = _WORD(1)
        for size in sizes:
            array.nitems = builder.mul(array.nitems, size)
        array.data = builder.bitcast(self._field(found, _DATA, _POINTER), array.data.type)
        array.shape = cgutils.pack_array(builder, sizes, _WORD)
        array.strides = cgutils.pack_array(builder, strides, _WORD)
        array.itemsize = _WORD(dtype.itemsize)
        array.meminfo = cgutils.get_null_value(array.meminfo.type)
        array.parent = cgutils.get_null_value(array.parent.type)
        return array

    def _is_array(self, found: Any) -> Any:
        builder, module = self.builder, self.module
        wanted = module.globals.get(_ARRAY) or ir.GlobalVariable(module, _CHARACTER, _ARRAY)
        kind = self._field(found, _TYPE, _POINTER)
        exact = builder.icmp_unsigned("==", kind, wanted)
        if self.made:  # the result of another kind of array is for its own class to make
            return exact
        answer = cgutils.alloca_once_value(builder, exact)
        with builder.if_then(builder.not_(exact), likely=False):
            shape = ir.FunctionType(_INT, [_POINTER, _POINTER])
            ask = cgutils.get_or_insert_function(module, shape, "PyType_IsSubtype")
            derived = builder.call(ask, [kind, wanted])
            builder.store(builder.icmp_signed("!=", derived, _INT(0)), answer)
        return builder.load(answer)

    def _sizes(self, array: Any) -> list[Any]:
        return cgutils.unpack_tuple(self.builder, array.shape)

    def _field(self, owner: Any, offset: int, kind: Any) -> Any:
        """Read what stands so many bytes behind the beginning of an object."""
        place = self.builder.gep(owner, [_WORD(offset)])
        return self.builder.load(self.builder.bitcast(place, kind.as_pointer()))

    def _item(self, owner: Any, offset: int, i: int) -> Any:
        first = self._field(owner, offset, _WORD.as_pointer())
        return self.builder.load(self.builder.gep(first, [_WORD(i)]))

    def _one_of(self, owner: Any, offset: int, kind: Any, *values: int) -> Any:
        field, found = self._field(owner, offset, kind), _BIT(0)
        for value in values:
            found = self.builder.or_(found, self.builder.icmp_unsigned("==", field, kind(value)))
        return found

    # -- what it makes ------------------------------------------------------------------------

    def _new_array(self, sizes: list[Any], kind: types.Array) -> Any:
        """Make an array of NumPy's, of which nothing is written yet."""
        builder, word = self.builder, np.dtype(str(kind.dtype)).num
        shape = builder.alloca(_WORD, len(sizes))
        for axis, size in enumerate(sizes):
            builder.store(size, builder.gep(shape, [_WORD(axis)]))
        # PyArray_New(type, axes, shape, dtype, strides, data, itemsize, flags, owner)
        parameters = (
            _POINTER, _INT, shape.type, _INT, shape.type, _POINTER, _INT, _INT, _POINTER
        )  # fmt: skip
        new = cgutils.get_or_insert_function(
            self.module, ir.FunctionType(_POINTER, parameters), _NEW_ARRAY
        )
        nothing, zero = _POINTER(None), _INT(0)
        made = builder.call(
            new,
            [
                self.module.globals[_ARRAY], _INT(len(sizes)), shape, _INT(word),
                shape.type(None), nothing, zero, zero, nothing,
            ],
        )  # fmt: skip
        with builder.if_then(cgutils.is_null(builder, made), likely=False):
            builder.ret(self.python.get_null_object())
        return made

    def _drop(self, result: Any) -> None:
        if result is not None:
            self.python.decref(result)


class _SharedDoor(_Door):
    """A door behind which threads share the kernel's range, see :mod:`.together`."""

    def build(self) -> None:
        """Take the arguments, write them where the others find them, work together."""
        builder, python = self.builder, self.python
        given = {k: v for k, v in self.parameters.items() if k not in RANGE}
        ours = dict(zip(("board", "share", "count"), WORK_TAKES, strict=False))
        values = self._take({**ours, **given})
        arguments = [_bare(values[name]) for name in given]
        kind = ir.LiteralStructType([x.type for x in arguments])
        frame = builder.alloca(kind)
        for i, value in enumerate(arguments):
            builder.store(value, builder.gep(frame, [_INT(0), _INT(i)]))
        task = self._task(kind)
        board, share, count = (_bare(values[name]) for name in ours)
        convention = self.context.call_conv
        shape = convention.get_function_type(types.int64, WORK_TAKES)
        work = cgutils.get_or_insert_function(self.module, shape, WORK_TOGETHER)
        pointers = [builder.bitcast(x, _POINTER) for x in (task, frame)]
        lock = self._give_lock(_WORD(0))
        _, failed = convention.call_function(
            builder, work, types.int64, WORK_TAKES, [board, share, count, *pointers]
        )
        self._take_lock(lock)
        with builder.if_then(builder.icmp_signed(">", failed, _WORD(0)), likely=False):
            python.err_set_string(
                "PyExc_MemoryError", f"{self.kernel.qualname}: no room to work in"
            )
            builder.ret(python.get_null_object())
        done = builder.icmp_signed("==", failed, _WORD(0))
        builder.ret(python.bool_from_bool(done))
        self.library.add_ir_module(self.module)

    def _task(self, frame: Any) -> Any:
        """Write the function that runs a range of the kernel with what stands in a frame."""
        function = ir.Function(self.module, TASK, f"{self.function.name}.task")
        function.linkage = "internal"
        builder = ir.IRBuilder(function.append_basic_block())
        given, first, last = function.args
        values = builder.bitcast(given, frame.as_pointer())
        arguments = [
            builder.load(builder.gep(values, [_INT(0), _INT(i)]))
            for i in range(len(frame.elements))
        ]
        status, returned = self._call_kernel(builder, [*arguments, first, last])
        failed = status.is_error
        if self.kernel.restype == types.boolean:  # it declined what others have begun
            failed = builder.or_(failed, builder.not_(returned))
        builder.ret(builder.zext(failed, _WORD))
        return function


def _bare(value: Any) -> Any:
    """Return the value of LLVM's behind an array."""
    return value._getvalue() if hasattr(value, "_getvalue") else value
