"""The errors tournant raises.

    TournantError
    ├── Invalid        the request or file is wrong; says which place
    ├── NotFound       the thing named does not exist; says what does
    ├── Conflict       it exists already, or its state forbids the change
    ├── Denied         no token, or the wrong one
    ├── Damaged        stored content is not what it was
    ├── Overloaded     a bound is reached; try again later
    └── Unavailable    something tournant needs does not answer

Each message says what is wrong, which thing it is, and what to do next. HTTP status codes live in `tournant.web`.
"""

__all__ = ["Conflict", "Damaged", "Denied", "Invalid", "NotFound", "Overloaded", "TournantError", "Unavailable"]


class TournantError(Exception):
    """Something tournant can explain went wrong."""

    code = "internal"

    def __init__(self, message: str, *, place: str = "") -> None:
        """Keep `message` for people and `place` (a field, a column, `file:line`) for programs."""
        super().__init__(message)
        self.message = message
        self.place = place


class Invalid(TournantError):
    """The request or file is wrong."""

    code = "invalid"


class NotFound(TournantError):
    """The thing named does not exist."""

    code = "not_found"


class Conflict(TournantError):
    """It exists already, or its state forbids the change."""

    code = "conflict"


class Denied(TournantError):
    """No token, or the wrong one."""

    code = "denied"


class Damaged(TournantError):
    """Stored content is not what it was: a disk or a network has changed it."""

    code = "damaged"


class Overloaded(TournantError):
    """A bound is reached; the same call may succeed later."""

    code = "overloaded"


class Pruned(TournantError):
    """A trial that was stopped because others are better."""

    code = "pruned"


class Unavailable(TournantError):
    """Something tournant needs does not answer."""

    code = "unavailable"
