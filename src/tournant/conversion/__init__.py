"""Model to ONNX, behind a parity gate."""
