"""The one place where an error meets an HTTP status code."""

import uuid

import msgspec
import structlog
from starlette.requests import Request
from starlette.responses import Response

from tournant.errors import TournantError

__all__ = ["STATUS", "error_response", "unexpected_response"]

STATUS = {
    "invalid": 400,
    "denied": 401,
    "not_found": 404,
    "conflict": 409,
    "damaged": 500,
    "overloaded": 503,
    "unavailable": 503,
    "internal": 500,
}

_log = structlog.get_logger("tournant.web")


def error_response(error: TournantError) -> Response:
    """Answer with an error as JSON: code, message, place."""
    body = {"error": {"code": error.code, "message": error.message, "place": error.place}}
    headers = {"WWW-Authenticate": "Bearer"} if error.code == "denied" else {}
    return Response(msgspec.json.encode(body), STATUS[error.code], headers, "application/json")


def unexpected_response(request: Request, error: Exception) -> Response:
    """Log an error nobody foresaw under an id, and answer with the id alone."""
    number = uuid.uuid4().hex[:7]
    _log.error("unexpected error", id=number, path=request.url.path, exc_info=error)
    message = f"something went wrong inside tournant (error {number}); its log has the details under that id"
    return error_response(TournantError(message))
