"""Small ONNX models for the tests, written field by field: the onnx package is not among the dependencies."""

from __future__ import annotations

import struct
from collections.abc import Sequence

FLOAT = 1  # of TensorProto.DataType


def _varint(number: int) -> bytes:
    out = b""
    while number > 0x7F:
        out, number = out + bytes([number & 0x7F | 0x80]), number >> 7
    return out + bytes([number])


def _field(number: int, value: int | bytes | str) -> bytes:
    """A field of a protocol buffer: a number, or bytes with their length."""
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    data = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _tensor(name: str, shape: Sequence[int], values: Sequence[float], more: bytes = b"") -> bytes:
    raw = struct.pack(f"<{len(values)}f", *values)
    dims = b"".join(_field(1, side) for side in shape)
    return dims + _field(2, FLOAT) + _field(8, name) + (more or _field(9, raw))


def _value(name: str, shape: Sequence[int | str]) -> bytes:
    sides = (_field(1, _field(1, one) if isinstance(one, int) else _field(2, one)) for one in shape)
    return _field(1, name) + _field(2, _field(1, _field(1, FLOAT) + _field(2, b"".join(sides))))


def _node(kind: str, inputs: Sequence[str], output: str, more: bytes = b"") -> bytes:
    return b"".join(_field(1, one) for one in inputs) + _field(2, output) + _field(4, kind) + more


def redness(
    shape: Sequence[int | str] = ("n", 16, 16, 3),
    operator: str = "Reshape",
    outside: bool = False,
    reduce: Sequence[int] = (1, 2),
) -> bytes:
    """A model whose two outputs are the means of green and of red over the input's pixels.

    `shape` is its input's; `operator` stands in for one that it needs; `outside` puts weights in a file beside it.
    """
    axes = _field(1, "axes") + b"".join(_field(8, one) for one in reduce) + _field(20, 7)
    flat = _field(1, "keepdims") + _field(3, 0) + _field(20, 2)
    weights = (0.0, 1.0, 1.0, 0.0, 0.0, 0.0)
    beside = _field(13, _field(1, "location") + _field(2, "/etc/hostname")) + _field(14, 1)
    nodes = [
        _node("ReduceMean", ["in"], "mean", _field(5, axes) + _field(5, flat)),
        _node("MatMul", ["mean", "w"], "two"),
        _node("Identity" if operator == "Reshape" else operator, ["two"], "out"),
    ]
    graph = b"".join(_field(1, node) for node in nodes) + _field(2, "redness")
    graph += _field(5, _tensor("w", (3, 2), weights, beside if outside else b""))
    graph += _field(11, _value("in", shape)) + _field(12, _value("out", ("n", 2)))
    return _field(1, 8) + _field(7, graph) + _field(8, _field(2, 13))
