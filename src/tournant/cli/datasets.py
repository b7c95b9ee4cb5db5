"""The group `tournant data`, with the verbs of the modules that make it up."""

from tournant.cli import comparisons, transfers
from tournant.cli.data import data

__all__ = ["comparisons", "data", "transfers"]
