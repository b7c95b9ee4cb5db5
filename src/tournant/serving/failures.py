"""What can go wrong with a prediction, and the one table of HTTP status codes of the data plane."""

import msgspec

from tournant.errors import Denied, Invalid, NotFound, Overloaded, TournantError, Unavailable

__all__ = [
    "DeadlinePassed",
    "Malformed",
    "ModelFailed",
    "NotAllowed",
    "SlowClient",
    "TooLarge",
    "WorkerLost",
    "error_body",
    "status_of",
]


class Malformed(Invalid):
    """The body is not JSON."""

    code = "malformed"


class TooLarge(Invalid):
    """The body is over its limit."""

    code = "too_large"


class SlowClient(Invalid):
    """The body did not arrive in time."""

    code = "slow_client"


class NotAllowed(Invalid):
    """The path exists, but not for this method."""

    code = "not_allowed"


class ModelFailed(TournantError):
    """A model raised, was too slow, or gave what is no prediction."""

    code = "model_failed"


class DeadlinePassed(ModelFailed):
    """A model did not answer in the time it had."""

    code = "deadline_passed"


class WorkerLost(ModelFailed):
    """A worker process died or hung while it held the request; another try may succeed."""

    code = "worker_lost"


_STATUS: tuple[tuple[type[TournantError], int], ...] = (
    (Malformed, 400),
    (Denied, 401),
    (NotFound, 404),
    (NotAllowed, 405),
    (SlowClient, 408),
    (TooLarge, 413),
    (Invalid, 422),
    (DeadlinePassed, 504),
    (WorkerLost, 503),
    (Overloaded, 503),
    (Unavailable, 503),
)


def status_of(error: TournantError) -> int:
    """Give the HTTP status of an error; a model's failure that nobody could answer for is a 500.

    >>> status_of(Malformed("…")), status_of(Invalid("…")), status_of(ModelFailed("…"))
    (400, 422, 500)
    """
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 500)


def error_body(error: TournantError) -> bytes:
    """Give the JSON body that explains an error."""
    return msgspec.json.encode({"error": {"code": error.code, "message": error.message, "place": error.place}})
