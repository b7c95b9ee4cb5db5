"""The worked examples in the dashboard's docstrings."""

import doctest

from tournant.web.pages import formats


def test_formats_are_as_documented() -> None:
    """Numbers and times are written as the examples say."""
    result = doctest.testmod(formats)
    assert result.attempted and not result.failed
