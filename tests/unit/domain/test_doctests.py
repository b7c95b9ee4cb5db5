"""The worked numbers in the domain's docstrings are right."""

import doctest
import importlib
import pkgutil

import pytest

import tournant.domain

MODULES = [f"tournant.domain.{module.name}" for module in pkgutil.iter_modules(tournant.domain.__path__)]


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_in_docstrings_hold(name: str) -> None:
    """Each example gives what it says."""
    result = doctest.testmod(importlib.import_module(name))
    assert result.failed == 0
