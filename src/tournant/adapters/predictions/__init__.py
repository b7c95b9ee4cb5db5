"""Readers of the prediction log."""
