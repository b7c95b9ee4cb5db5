"""Use cases: sync, one transaction and one event each."""
