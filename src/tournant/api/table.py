"""The table of all operations."""

from typing import Any

from tournant.api import control, deployments, monitoring, notifications, registry, tracking
from tournant.api.operation import Operation

__all__ = ["OPERATIONS"]

OPERATIONS: tuple[Operation[Any, Any], ...] = (
    *control.OPERATIONS,
    *tracking.OPERATIONS,
    *registry.OPERATIONS,
    *deployments.OPERATIONS,
    *monitoring.OPERATIONS,
    *notifications.OPERATIONS,
)
