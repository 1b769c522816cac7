"""A policy's graph behind ONNX Runtime, cut in two where it can be.

Most of a network's work does not depend on stock and costs: what history, plans and attributes say of a series is the same all
day. A graph with a tensor `context` between that and the rest is cut there. `read` makes the contexts, which are kept beside the
feature rows; `choose` makes answers of them at a tenth of the work. For the same batch they are those of the whole to the last bit;
how many are read at once moves last digits, as it does where a graph is run whole.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx.utils import Extractor

from simulator.contract import CONTEXT, OUTPUTS
from simulator.observation import FIELDS, HISTORY_FIELDS, Observation
from simulator.panel import F32

FLOATS = "tensor(float)"


class Graph:
    """Sessions of one graph; safe to share between threads."""

    def __init__(self, content: bytes) -> None:
        """Load it, in one piece.

        Args:
            content: of the ONNX file.

        Raises:
            Exception: of another class for every kind of broken file.
        """
        self._choose, self._read = _session(content), None
        self.choosing = tuple(one.name for one in self._choose.get_inputs())  # fields that `choose` looks at
        self.reading: tuple[str, ...] = ()  # fields that `read` looks at
        self.width = 0  # floats of a context; 0: the graph is in one piece, and `choose` is all of it

    @property
    def outputs(self) -> list[tuple[str, str]]:
        """Names and types of the answers."""
        return [(one.name, one.type) for one in self._choose.get_outputs()]

    @property
    def metadata(self) -> dict[str, str]:
        """What stands in the graph's metadata.

        Raises:
            UnicodeDecodeError: where it is no text.
        """
        found: dict[str, str] = self._choose.get_modelmeta().custom_metadata_map
        return found

    def cut(self, content: bytes) -> None:
        """Put two halves in the place of the whole, if the graph can be cut.

        Args:
            content: the same as before.
        """
        try:
            first, second = (_session(half) for half in _halves(content))
            (context,) = first.get_outputs()
            width = context.shape[1] if len(context.shape) == 2 and context.type == FLOATS else None
        except Exception:  # any graph that is cut elsewhere or nowhere; it serves as it is
            return
        if isinstance(width, int) and width > 0:
            self._read, self._choose, self.width = first, second, width
            self.reading = tuple(one.name for one in first.get_inputs())
            self.choosing = tuple(one.name for one in second.get_inputs() if one.name != CONTEXT)

    def read(self, fields: Observation) -> F32:
        """(B, width) contexts of the B rows whose `reading` fields these are."""
        if self._read is None:
            return np.empty((len(fields["as_of_day"]), 0), dtype=np.float32)
        context: F32 = self._read.run(None, {name: fields[name] for name in self.reading})[0]
        return context

    def choose(self, context: F32, fields: Observation) -> list[np.ndarray]:
        """The answers of the contract.

        Args:
            context: (B, width) of the rows.
            fields: of the same rows, those of `choosing`.
        """
        told: dict[str, Any] = {name: fields[name] for name in self.choosing}
        answers: list[np.ndarray] = self._choose.run(None, told if self._read is None else told | {CONTEXT: context})
        return answers


def _session(content: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def _halves(content: bytes) -> tuple[bytes, bytes]:
    cutting = Extractor(onnx.load_model_from_string(content))
    first = cutting.extract_model([field.name for field in HISTORY_FIELDS], [CONTEXT])
    second = cutting.extract_model([CONTEXT, *(field.name for field in FIELDS)], [name for name, *_ in OUTPUTS])
    for half in (first, second):
        used = {name for node in half.graph.node for name in node.input}
        for unused in [told for told in half.graph.input if told.name not in used]:
            half.graph.input.remove(unused)
    return first.SerializeToString(), second.SerializeToString()
