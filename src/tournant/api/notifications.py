"""Operations on notifiers."""

from typing import Any

from tournant.api.operation import Empty, Operation
from tournant.services import notifications
from tournant.services.context import Context
from tournant.services.notifications import NotifierTest

__all__ = ["OPERATIONS"]


def test_notifiers(ctx: Context, _request: Empty) -> list[NotifierTest]:
    """Send a test message through every notifier, and give what each said."""
    return notifications.test_notifiers(ctx)


OPERATIONS: tuple[Operation[Any, Any], ...] = (
    Operation(
        name="notifiers.test",
        method="POST",
        path="/notifiers/test",
        request=Empty,
        response=list[NotifierTest],
        handler=test_notifiers,
    ),
)
