"""Errors as MLflow's clients know them: an `error_code`, a message, and the status that goes with the code."""

import uuid

import msgspec
import structlog

from tournant.errors import Conflict, Denied, Invalid, NotFound, Overloaded, TournantError, Unavailable

__all__ = ["EndpointNotFound", "Refusal", "error_answer", "unexpected_answer"]

_log = structlog.get_logger("tournant.web.mlflow")

_CODES: dict[type[TournantError], tuple[str, int]] = {
    Invalid: ("INVALID_PARAMETER_VALUE", 400),
    NotFound: ("RESOURCE_DOES_NOT_EXIST", 404),
    Conflict: ("RESOURCE_ALREADY_EXISTS", 400),
    Denied: ("PERMISSION_DENIED", 403),
    Overloaded: ("REQUEST_LIMIT_EXCEEDED", 429),
    Unavailable: ("TEMPORARILY_UNAVAILABLE", 503),
}


class EndpointNotFound(NotFound):
    """Nothing is served at an address."""


class Refusal(msgspec.Struct, frozen=True):
    """The body of an answer that says no."""

    error_code: str
    message: str


def error_answer(error: TournantError) -> tuple[int, bytes]:
    """Give status and body for an error."""
    if isinstance(error, EndpointNotFound):
        code, status = "ENDPOINT_NOT_FOUND", 404
    else:
        code, status = _CODES.get(type(error), ("INTERNAL_ERROR", 500))
    return status, msgspec.json.encode(Refusal(code, error.message))


def unexpected_answer(path: str, error: Exception) -> tuple[int, bytes]:
    """Log an error nobody foresaw under an id, and answer with the id alone."""
    number = uuid.uuid4().hex[:7]
    _log.error("unexpected error", id=number, path=path, exc_info=error)
    message = f"something went wrong inside tournant (error {number}); its log has the details under that id"
    return 500, msgspec.json.encode(Refusal("INTERNAL_ERROR", message))
