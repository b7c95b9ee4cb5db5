"""Comparisons with peers, side by side in one run: `make bench AREA=…`."""
