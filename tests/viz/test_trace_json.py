"""The trace as JSON: what its schema says, and that nothing is lost on the way."""

from __future__ import annotations

import dataclasses
import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_mha as tm
from tests.support import require
from tinygrad_mha.viz import data as data_module

from .test_trace import small_model

SCHEMA = json.loads((files("tinygrad_mha.viz") / "schema.json").read_text("utf-8"))


def several() -> dict[str, tm.viz.Graph]:
    loss, model = small_model()
    x = tm.tensor([1.0, np.inf, np.nan], requires_grad=True)
    pair = tm.nn.MultiHeadAttention(8, 4, num_kv_heads=2, add_bias_kv=True, attention="additive")
    return {
        "loss": tm.viz.trace(loss, model=model, tokens=list("abcde"), record_time=True),
        "no gradient": tm.viz.trace(pair, tm.randn(2, 3, 8)),
        "nan": tm.viz.trace((x * x).sum()),
        "no elements": tm.viz.trace(tm.zeros(0, 3, requires_grad=True) * 2.0),
        "fused": tm.viz.trace(
            tm.nn.MultiHeadAttention(8, 2), (tm.randn(1, 3, 8), tm.randn(1, 2, 8))
        ),
        "two outputs": tm.viz.trace([x.sum(), x * 2.0]),
        "hostile": tm.viz.trace(x * 1.0, title="\ud800</script>\x00", tokens=["\u202e"] * 3),
    }


@pytest.mark.parametrize("name", several())
def test_a_trace_keeps_to_the_schema_and_can_be_read_back(name: str, tmp_path: Path) -> None:
    validator = require.module("jsonschema").Draft202012Validator
    graph = several()[name]
    text = graph.to_json()
    validator(SCHEMA).validate(json.loads(text))
    assert tm.viz.Graph.from_json(text).to_json() == text
    again = tm.viz.load(graph.save(tmp_path / "g.json"))
    if "nan" not in text:  # which is not equal to itself
        assert again.data == graph.data
    assert again.to_dot() == graph.to_dot()
    assert again.to_dot(heads="fused") == graph.to_dot(heads="fused")
    assert (again.data.fused is None) == (graph.data.fused is None) == (again.fused is again.data)


def test_the_schema_knows_every_field_and_no_other() -> None:
    require.module("jsonschema").Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["properties"]["version"]["const"] == data_module.VERSION
    for name, found in {**SCHEMA["$defs"], "Trace": SCHEMA}.items():
        if name != "number":
            names = {field.name for field in dataclasses.fields(getattr(data_module, name))}
            assert found["properties"].keys() == names, name
            assert set(found["required"]) == names, name
            assert all(p.get("description") or "$ref" in p for p in found["properties"].values())


def broken(*path: Any, value: Any) -> str:
    """A good trace with one thing in it replaced."""
    found = json.loads(tm.viz.trace(small_model()[0]).to_json())
    at = found
    for step in path[:-1]:
        at = at[step]
    at[path[-1]] = value
    return json.dumps(found)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "this is no trace: Expecting"),
        ("[]", "version is None"),
        (lambda: broken("version", value=1), "its version is 1"),
        (lambda: broken("vertices", 3, "shape", value="2"), r"trace.vertices\[3\].shape is '2'"),
        (lambda: broken("vertices", 3, "value", value=7), r"vertices\[3\].value is 7"),
        (lambda: broken("vertices", 3, "colour", value=7), r"vertices\[3\] has \['colour'\]"),
        (lambda: broken("edges", 0, value={"source": 1}), r"edges\[0\] lacks"),
        (lambda: broken("edges", 0, "target", value=10**6), "a vertex that it does not have"),
        (lambda: broken("vertices", 3, "module", value=99), r"vertices\[3\] has a wrong"),
        (lambda: broken("fused", "edges", 0, "target", value=10**6), "a vertex that it does not"),
        (lambda: broken("attentions", 0, "proof", "output", value=None), "proof.output is None"),
    ],
)
def test_what_is_no_trace_is_refused_with_the_place(text: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        tm.viz.Graph.from_json(text if isinstance(text, str) else text())
