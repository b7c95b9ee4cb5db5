"""Loads what `torch.jit.save` (TorchScript) or `torch.export.save` wrote beside this file: a module from rows of numbers to scores."""

import pathlib

import numpy
import torch

torch.set_num_threads(1)
path = next(p for p in pathlib.Path(__file__).parent.iterdir() if p.suffix in (".pt", ".pt2", ".pth"))
try:
    program = None
    module = torch.jit.load(str(path), map_location="cpu").eval()
except RuntimeError:
    program = torch.export.load(str(path))
    module = program.module()


class Model:
    """A module of PyTorch behind a table."""

    def predict(self, table):
        """Give one number a row, or several."""
        block = torch.from_numpy(numpy.ascontiguousarray(numpy.asarray(table, dtype=numpy.float32)))
        with torch.no_grad():
            try:
                scores = module(block)
            except Exception:  # exported for one row at a time
                if len(block) < 2:
                    raise
                scores = torch.cat([module(block[index : index + 1]) for index in range(len(block))])
        scores = scores.detach().numpy().reshape(len(block), -1)
        return scores[:, 0] if scores.shape[1] == 1 else scores

    def to_onnx(self, columns):
        """Convert."""
        import io

        import onnx

        written = io.BytesIO()
        names = {"input_names": ["X"], "output_names": ["scores"]}
        rows = torch.zeros((2, len(columns)), dtype=torch.float32)
        if program is None:
            varying = {"X": {0: "N"}, "scores": {0: "N"}}
            torch.onnx.export(module, (rows,), written, dynamic_axes=varying, opset_version=17, dynamo=False, **names)
        else:
            torch.onnx.export(program, (rows,), **names).save(written)
        return onnx.load_model_from_string(written.getvalue())


model = Model()
