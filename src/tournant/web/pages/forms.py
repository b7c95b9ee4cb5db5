"""Reading a small form."""

from urllib.parse import parse_qsl

from starlette.requests import Request

from tournant.errors import Invalid

__all__ = ["read_form"]

LIMIT = 16_384


async def read_form(request: Request) -> dict[str, str]:
    """Read an URL-encoded body; Invalid when it is too large or not text."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > LIMIT:
            raise Invalid("The form is too large.")
    try:
        return dict(parse_qsl(body.decode(), keep_blank_values=True))
    except UnicodeDecodeError:
        raise Invalid("The form is not text.") from None
