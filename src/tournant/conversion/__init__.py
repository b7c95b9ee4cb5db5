"""Model to ONNX, behind a parity gate."""

from tournant.conversion.onnx_converter import OnnxConverter

__all__ = ["OnnxConverter"]
