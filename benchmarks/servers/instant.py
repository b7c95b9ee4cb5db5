"""Answers every request at once with the same JSON: what a client can do at all where the server costs nothing.

python instant.py PORT
"""

import asyncio
import json
import sys

RUN = {
    "info": {
        "run_id": "0" * 32,
        "experiment_id": "0",
        "status": "RUNNING",
        "artifact_uri": "",
        "lifecycle_stage": "active",
    }
}
BODY = json.dumps({"run": {**RUN, "data": {}}, "metrics": []}).encode()
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(BODY), BODY)


class Instant(asyncio.Protocol):
    """Counts a request's bytes, and answers behind the last."""

    def __init__(self) -> None:
        """Wait for a head."""
        self._seen = b""
        self._left = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way back."""
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        """Look for the end."""
        if self._left:
            self._left -= len(data)
        else:
            self._seen += data
            head, end, body = self._seen.partition(b"\r\n\r\n")
            if not end:
                return
            length = next(
                (int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0
            )
            self._seen, self._left = b"", length - len(body)
        if not self._left:
            self._transport.write(ANSWER)


async def main(port: int) -> None:
    """Serve."""
    server = await asyncio.get_running_loop().create_server(Instant, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
