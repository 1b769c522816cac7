"""Bundles for tests: real ones, made of a shipped one by another taste for stock."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper

from service.bundle import BUNDLES, FILES, GOLDEN, GRAPH, MANIFEST
from simulator.contract import OUTPUTS
from simulator.observation import FIELDS


def make_bundle(folder: Path, version: str, days: float = 20.0, shipped: str = "daily-6.1") -> Path:
    """A bundle that holds, and decides for about `days` days whatever it sees: it has another bias over the grid, its golden
    answers are its own, and its manifest names its files."""
    bundle = folder / version
    bundle.mkdir(parents=True)
    model = onnx.load(BUNDLES / shipped / GRAPH)
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    grid, bias = (weights[name] for name in ("network.grid", "network.to_logits.bias"))
    moved = numpy_helper.to_array(bias) - 40 * np.abs(numpy_helper.to_array(grid) - days).astype(np.float32)
    bias.CopyFrom(numpy_helper.from_array(moved.astype(np.float32), bias.name))
    (bundle / GRAPH).write_bytes(model.SerializeToString())
    with np.load(BUNDLES / shipped / GOLDEN) as golden:
        cases = dict(golden)
    session = onnxruntime.InferenceSession(str(bundle / GRAPH))
    answers = session.run(None, {field.name: cases[f"input.{field.name}"] for field in FIELDS})
    cases |= {f"output.{name}": answer for (name, *_), answer in zip(OUTPUTS, answers, strict=True)}
    np.savez_compressed(bundle / GOLDEN, **cases)
    manifest = json.loads((BUNDLES / shipped / MANIFEST).read_text()) | {"version": version}
    (bundle / MANIFEST).write_text(json.dumps(manifest))
    rehash(bundle)
    return bundle


def make_failing(bundle: Path, above: float, how: str) -> None:
    """Let a bundle fail for series that have more than so many units on hand: the whole run ("raise"), or their days ("nan")."""
    model = onnx.load(bundle / GRAPH)
    graph = model.graph
    for node in graph.node:
        node.output[:] = ["days" if name == "inventory_days" else name for name in node.output]
        node.input[:] = ["days" if name == "inventory_days" else name for name in node.input]
    told = {"limit": np.float32(above), "none": np.float32(np.nan), "only": np.zeros(1, np.float32)}
    graph.initializer.extend(
        numpy_helper.from_array(np.asarray(value), f"failing.{name}") for name, value in told.items()
    )
    graph.node.append(helper.make_node("Greater", ["on_hand", "failing.limit"], ["failing.over"]))
    if how == "nan":
        graph.node.append(helper.make_node("Where", ["failing.over", "failing.none", "days"], ["inventory_days"]))
    else:
        graph.node.append(helper.make_node("Cast", ["failing.over"], ["failing.at"], to=onnx.TensorProto.INT64))
        graph.node.append(
            helper.make_node("Gather", ["failing.only", "failing.at"], ["failing.zero"])
        )  # 1 lies outside
        graph.node.append(helper.make_node("Add", ["days", "failing.zero"], ["inventory_days"]))
    (bundle / GRAPH).write_bytes(model.SerializeToString())
    rehash(bundle)


def rehash(bundle: Path) -> None:
    """Make the manifest name the files as they are now: a careful forger."""
    manifest = json.loads((bundle / MANIFEST).read_text())
    manifest["sha256"] = {
        name: hashlib.sha256((bundle / name).read_bytes()).hexdigest() for name in FILES if name != MANIFEST
    }
    (bundle / MANIFEST).write_text(json.dumps(manifest))
