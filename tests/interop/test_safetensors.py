"""Checkpoints: whole or not at all."""

import os
from pathlib import Path

import numpy as np
import pytest

import tinygrad_mha as tm
from tinygrad_mha.interop import safetensors


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.safetensors"


def test_round_trip_of_dtypes_and_shapes(path: Path) -> None:
    tensors = {
        "floats": tm.randn(2, 3),
        "doubles": tm.randn(2, dtype="float64"),
        "integers": tm.randint(0, 9, (4,)),
        "booleans": tm.tensor([True, False]),
        "scalar": tm.tensor(3.0),
        "empty": tm.zeros(0, 3),
        "turned": tm.randn(2, 3).T,
        "array": np.ones(2, np.float32),
        "learned": tm.nn.Parameter(tm.ones(2)),
    }
    tm.save(tensors, path)
    loaded = tm.load(path)
    assert loaded.keys() == tensors.keys()
    for name, value in tensors.items():
        expected = np.asarray(value.data) if name == "array" else value.data
        np.testing.assert_array_equal(loaded[name].data, expected, strict=True)


def test_module_round_trip(path: Path) -> None:
    model, other = tm.nn.TransformerBlock(8, 2), tm.nn.TransformerBlock(8, 2)
    tm.save(model.state_dict(), path)
    other.load_state_dict(tm.load(path))
    x = tm.randn(1, 3, 8)
    np.testing.assert_array_equal(model(x).data, other(x).data)


def test_loaded_tensors_can_be_changed(path: Path) -> None:
    tm.save({"w": tm.ones(2)}, path)
    w = tm.load(path)["w"]
    w.data[0] = 5.0
    assert w.tolist() == [5.0, 1.0]


def test_metadata(path: Path) -> None:
    tm.save({"w": tm.ones(1)}, path, {"steps": "100"})
    assert safetensors.load_metadata(path) == {"steps": "100"}
    tm.save({"w": tm.ones(1)}, path)
    assert safetensors.load_metadata(path) == {}


def test_the_same_tensors_give_the_same_file(path: Path) -> None:
    tensors = {name: tm.full((2,), ord(name)) for name in "zäa"}
    metadata = {f"key {i} – ☃": str(i) for i in range(20)}
    tm.save(tensors, path, metadata)
    first = path.read_bytes()
    tm.save(tensors, path, metadata)
    assert path.read_bytes() == first
    assert safetensors.load_metadata(path) == metadata
    assert tm.load(path)["ä"].tolist() == [ord("ä")] * 2


def test_the_file_is_what_others_write_and_read(path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    tm.save({"w": tm.ones(2)}, path)
    np.testing.assert_array_equal(load_file(path)["w"], np.ones(2, np.float32))
    save_file({"v": np.zeros(3, np.float32)}, path)
    assert tm.load(path)["v"].tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("fails", ["fdopen", "chmod", "replace"])
def test_failing_write_leaves_the_old_file_and_no_litter(
    path: Path, fails: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tm.save({"w": tm.ones(2)}, path)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, fails, full)
        with pytest.raises(OSError, match="No space left"):
            tm.save({"w": tm.zeros(2)}, path)
    assert tm.load(path)["w"].tolist() == [1.0, 1.0]
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_interrupted_write_leaves_the_old_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tm.save({"w": tm.ones(2)}, path)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", interrupted)
        with pytest.raises(KeyboardInterrupt):
            tm.save({"w": tm.zeros(2)}, path)
    assert tm.load(path)["w"].tolist() == [1.0, 1.0]
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_missing_folder_and_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no folder .*nowhere for w\.safet.*mkdir"):
        tm.save({"w": tm.ones(1)}, tmp_path / "nowhere" / "w.safetensors")
    with pytest.raises(FileNotFoundError):
        tm.load(tmp_path / "w.safetensors")
    with pytest.raises(FileNotFoundError):
        safetensors.load_metadata(tmp_path / "w.safetensors")


@pytest.mark.parametrize("read", [tm.load, safetensors.load_metadata], ids=["load", "metadata"])
@pytest.mark.parametrize("keep", [0, 4, 8, 20, -1])
def test_truncated_file_says_so(path: Path, keep: int, read) -> None:
    tm.save({"w": tm.ones(100)}, path, {"steps": "1"})
    whole = path.read_bytes()
    path.write_bytes(whole[:keep])
    with pytest.raises(ValueError, match=r"model\.safetensors is not a whole safetensors file"):
        read(path)


@pytest.mark.parametrize("content", [b"not a checkpoint", b"\xff" * 64, b"PK\x03\x04" + b"\0" * 50])
@pytest.mark.parametrize("read", [tm.load, safetensors.load_metadata], ids=["load", "metadata"])
def test_another_kind_of_file_says_so(path: Path, content: bytes, read) -> None:
    path.write_bytes(content)
    with pytest.raises(ValueError, match="not a whole safetensors file"):
        read(path)


def test_saved_files_have_ordinary_permissions(path: Path) -> None:
    mask = os.umask(0o027)
    try:
        tm.save({"w": tm.ones(1)}, path)
    finally:
        os.umask(mask)
    assert path.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("name", ["model.pt", "model.PTH", "a.pkl", "a.bin", "a.npz"])
def test_a_name_that_promises_another_format_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match=r"safetensors, so say .*(model|a)\.safetensors$"):
        tm.save({"w": tm.ones(1)}, tmp_path / name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["model", "epoch.3", "model.st"])
def test_other_names_are_free(tmp_path: Path, name: str) -> None:
    tm.save({"w": tm.ones(1)}, tmp_path / name)
    assert tm.load(tmp_path / name)["w"].tolist() == [1.0]


@pytest.mark.parametrize("read", [tm.load, safetensors.load_metadata], ids=["load", "metadata"])
def test_a_folder_is_no_file(path: Path, read) -> None:
    with pytest.raises(IsADirectoryError, match=r"is a folder.*none is \*\.safetensors"):
        read(path.parent)
    tm.save({"w": tm.ones(1)}, path)
    with pytest.raises(IsADirectoryError, match=r"name a file in it: model\.safetensors$"):
        read(path.parent)
    with pytest.raises(IsADirectoryError, match=r"name a file in it: .*model\.safetensors$"):
        tm.save({"w": tm.ones(1)}, path.parent)
