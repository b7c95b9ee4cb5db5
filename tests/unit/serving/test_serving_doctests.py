"""The examples in the data plane's docstrings hold."""

import doctest
import importlib
import pkgutil

import pytest

import tournant.serving

MODULES = [module.name for module in pkgutil.iter_modules(tournant.serving.__path__) if module.name != "worker"]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    """Each module's."""
    pytest.importorskip("grpc" if "grpc" in name or name == "open_inference_messages" else "msgspec")
    module = importlib.import_module(f"tournant.serving.{name}")
    assert doctest.testmod(module).failed == 0
