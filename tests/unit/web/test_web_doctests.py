"""The worked examples in the dashboard's docstrings."""

import doctest
from types import ModuleType

import pytest

from tournant.web.pages import differences, formats, run_columns


@pytest.mark.parametrize("module", [formats, run_columns, differences])
def test_functions_do_as_documented(module: ModuleType) -> None:
    """Numbers, times and orders are written as the examples say."""
    result = doctest.testmod(module)
    assert result.attempted and not result.failed
