"""Checkpoints as safetensors files: data with names, never code."""

from __future__ import annotations

import contextlib
import json
import os
import struct
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file
from safetensors.numpy import save as to_bytes

from ..engine import Tensor
from ..engine.op import plain

#: Suffixes that promise a file of another kind.
FOREIGN = (".bin", ".ckpt", ".h5", ".npy", ".npz", ".onnx", ".pickle", ".pkl", ".pt", ".pth")


def save(
    tensors: Mapping[str, Any],
    path: str | os.PathLike[str],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write named tensors to a file; either the whole file appears or nothing does.

    Parameters
    ----------
    tensors : mapping of str to Tensor or array
        For example ``model.state_dict()``.
    path : path
        Where; an existing file is replaced. The suffix is free, ``.safetensors`` by custom, but
        for those of files of another kind, such as PyTorch's ``.pt``.
    metadata : mapping of str to str, optional
        What else is to be known, for example how the model was made.

    Raises
    ------
    ValueError
        The suffix promises another format.
    OSError
        The file cannot be written: there is no such folder, for example.

    Examples
    --------
    >>> import tempfile, tinygrad_mha as tm
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     tm.save({"w": tm.ones(2)}, folder + "/w.safetensors")
    ...     tm.load(folder + "/w.safetensors")
    {'w': tensor([1., 1.])}
    """
    path = Path(path)
    if path.suffix.lower() in FOREIGN:
        raise ValueError(
            f"save: {path} is named as a file of another format; what is written is safetensors, "
            f"so say {path.with_suffix('.safetensors')}"
        )
    if not path.parent.is_dir():
        raise FileNotFoundError(
            f"save: there is no folder {path.parent} for {path.name}; make it first: "
            f"pathlib.Path({str(path.parent)!r}).mkdir(parents=True)"
        )
    if path.is_dir():
        raise IsADirectoryError(
            f"save: {path} is a folder; name a file in it: {path / 'model.safetensors'}"
        )
    arrays = {k: np.asarray(plain(v), order="C") for k, v in tensors.items()}
    header, content = _header_first(to_bytes(arrays, None if metadata is None else dict(metadata)))
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(header)
            file.write(content)
        os.chmod(temporary, 0o666 & ~_umask())  # mkstemp's files are private
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def load(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """Read what :func:`save` wrote.

    Parameters
    ----------
    path : path
        A safetensors file.

    Returns
    -------
    dict of str to Tensor

    Raises
    ------
    FileNotFoundError
        There is no such file.
    IsADirectoryError
        It is a folder.
    ValueError
        It is not a safetensors file, or is cut short.
    """
    with _whole(path):
        return {name: Tensor(array) for name, array in load_file(path).items()}


def load_metadata(path: str | os.PathLike[str]) -> dict[str, str]:
    """Read the metadata that :func:`save` was given.

    Parameters
    ----------
    path : path
        A safetensors file.

    Returns
    -------
    dict of str to str
        Empty where there was none.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    IsADirectoryError
        It is a folder.
    ValueError
        It is not a safetensors file, or is cut short.
    """
    with _whole(path), safe_open(path, "np") as file:
        return dict(file.metadata() or {})


def _header_first(file: bytes) -> tuple[bytes, memoryview]:
    """Split a file into header and tensors, with the metadata in order.

    The library writes metadata in an order that changes from call to call; the same model is to
    give the same file.
    """
    (length,) = struct.unpack_from("<Q", file)
    header = json.loads(file[8 : 8 + length])
    if "__metadata__" in header:
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the format aligns what follows
    return struct.pack("<Q", len(text)) + text, memoryview(file)[8 + length :]


@contextlib.contextmanager
def _whole(path: str | os.PathLike[str]) -> Iterator[None]:
    """Say of an unreadable file what it is."""
    if os.path.isdir(path):
        inside = sorted(found.name for found in Path(path).glob("*.safetensors"))
        raise IsADirectoryError(
            f"load: {os.fspath(path)} is a folder; name a file in it"
            + (f": {', '.join(inside[:5])}" if inside else ", of which none is *.safetensors")
        )
    try:
        yield
    except SafetensorError as error:
        raise ValueError(
            f"load: {os.fspath(path)} is not a whole safetensors file: {error}"
        ) from error


def _umask() -> int:
    """Ask for the process's umask, which can only be read by setting it."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
