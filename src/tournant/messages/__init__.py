"""Structs that cross a process border: API, gateway, worker."""
