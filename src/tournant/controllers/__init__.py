"""Reconcilers of table state."""
