"""The examples in the docstrings of services and adapters hold."""

import doctest
import importlib
import pkgutil

import pytest

import tournant.adapters.blobs
import tournant.services

MODULES = [
    f"{package.__name__}.{module.name}"
    for package in (tournant.services, tournant.adapters.blobs)
    for module in pkgutil.iter_modules(package.__path__)
    if not module.ispkg
]


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_in_docstrings_hold(name: str) -> None:
    """Each example gives what it says."""
    assert doctest.testmod(importlib.import_module(name)).failed == 0
