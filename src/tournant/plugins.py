"""Entry points by which other packages add flavors, executors, blob stores and notifiers."""

from importlib.metadata import entry_points

__all__ = ["load_plugins"]


def load_plugins(family: str) -> dict[str, object]:
    """Load the entry points of the group `tournant.<family>`, by name (`flavors`, `executors`, `blob_stores`, `notifiers`)."""
    return {point.name: point.load() for point in entry_points(group=f"tournant.{family}")}
