"""Real MLflow clients, unmodified, against tournant: each file of `client/` runs in MLflow's own environment."""

from collections.abc import Callable

import pytest

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", ["client_tracking.py", "client_registry.py", "client_models.py"])
def test_an_unmodified_client_works(run_client: Callable[[str], None], name: str) -> None:
    """Tracking; the registry; autologging, logging, registering and loading models."""
    run_client(name)
