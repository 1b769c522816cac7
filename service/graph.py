"""A policy's graph behind ONNX Runtime, cut in two where it can be.

Most of a network's work does not depend on stock and costs: what history, plans and attributes say of a series is the same all
day. A graph with a tensor `context` between that and the rest is cut there. `read` makes the contexts, which are kept beside the
feature rows; `choose` makes answers of them at a small part of the work. For the same batch they are those of the whole to the last bit;
how many are read at once moves last digits, as it does where a graph is run whole.
"""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
from onnx.utils import Extractor

from simulator.contract import CONTEXT, OUTPUTS
from simulator.observation import FIELDS, HISTORY_FIELDS, Observation
from simulator.panel import F32

MOST_CUT = 64 * 2**20  # bytes of a graph: while it is cut it is in memory several times
TOLERANCE = 1e-3  # between a row alone and among others, and between the halves and the whole


class Graph:
    """Sessions of one graph; safe to share between threads."""

    def __init__(self, choose: onnxruntime.InferenceSession, read: onnxruntime.InferenceSession | None = None) -> None:
        """A graph in two halves, or in one piece where there is nothing to read first.

        Args:
            choose: from contexts and some fields to the answers.
            read: from some fields to contexts.
        """
        self._choose, self._read = choose, read
        self.reading = () if read is None else tuple(one.name for one in read.get_inputs())  # fields for `read`
        told = tuple(one.name for one in choose.get_inputs())
        self.choosing = tuple(name for name in told if read is None or name != CONTEXT)  # fields for `choose`
        self.width = 0 if read is None else int(read.get_outputs()[0].shape[1])  # floats of a context

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
        told = {name: fields[name] for name in self.choosing} | ({} if self._read is None else {CONTEXT: context})
        answers: list[np.ndarray] = self._choose.run(None, told)
        return answers


def load(content: bytes) -> Graph:
    """The graph of an ONNX file, in one piece.

    Raises:
        Exception: of another class for every kind of broken file.
    """
    return Graph(_session(content))


def cut(whole: Graph, content: bytes, cases: Observation) -> Graph:
    """The graph in two halves, if it can be cut and they answer as the whole does; else as it is.

    Args:
        whole: the graph.
        content: of its file.
        cases: all fields of some decisions to try the halves on.
    """
    if len(content) > MOST_CUT:
        return whole
    try:
        choose, read = (_session(half) for half in _halves(content))
        halves = Graph(choose, read)
        return halves if _sound(halves, whole, cases) else whole
    except Exception:  # any graph that has its context elsewhere or nowhere
        return whole


def _sound(halves: Graph, whole: Graph, cases: Observation) -> bool:
    """Whether contexts belong to one row each, and the answers are the same."""
    context, alone = halves.read(cases), halves.read({name: column[:1] for name, column in cases.items()})
    if (context.shape, alone.shape) != ((len(cases["as_of_day"]), halves.width), (1, halves.width)):
        return False
    told = zip(halves.choose(context, cases), whole.choose(context, cases), strict=True)
    pairs = [(alone, context[:1]), *told]
    return context.dtype == np.float32 and all(np.allclose(one, other, TOLERANCE, TOLERANCE) for one, other in pairs)


def _session(content: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def _halves(content: bytes) -> tuple[bytes, bytes]:
    """The half that chooses and the half that reads, each with the inputs that it looks at and no others."""
    cutting = Extractor(onnx.load_model_from_string(content))
    choosing = cutting.extract_model([CONTEXT, *(field.name for field in FIELDS)], [name for name, *_ in OUTPUTS])
    reading = cutting.extract_model([field.name for field in HISTORY_FIELDS], [CONTEXT])
    for half in (choosing, reading):
        used = {name for node in half.graph.node for name in node.input}
        for unused in [told for told in half.graph.input if told.name not in used]:
            half.graph.input.remove(unused)
    return choosing.SerializeToString(), reading.SerializeToString()
