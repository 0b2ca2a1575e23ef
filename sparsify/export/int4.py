"""Weights of 4 bits, packed two to a byte."""

from __future__ import annotations

from typing import Any


def store_int4(model: Any) -> int:
    """Turn the int8 weights whose DequantizeLinear has no zero point into int4, in place; gives how many.

    torch has no such tensors, so the export form marks them that way: every other pair has its zero point.

    Args:
        model: An ``onnx_ir.Model``; its integers are within -8 to 7.
    """
    import ml_dtypes
    import onnx_ir

    stored = 0
    for node in model.graph.all_nodes():
        weight = node.inputs[0] if node.op_type == "DequantizeLinear" and len(node.inputs) == 2 else None
        if weight is None or weight.const_value is None or weight.dtype != onnx_ir.DataType.INT8:
            continue
        packed = weight.const_value.numpy().astype(ml_dtypes.int4)
        weight.const_value = onnx_ir.tensor(packed, name=weight.name)
        weight.dtype = onnx_ir.DataType.INT4
        stored += 1
    return stored
