"""Asking a gateway for predictions."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from tournant.errors import Conflict, Invalid, NotFound, Overloaded, TournantError, Unavailable
from tournant.sdk.tables import read_rows

__all__ = ["Predictions", "score_file"]

BATCH_ROWS = 1000
_ERRORS: dict[str, type[TournantError]] = {kind.code: kind for kind in (Conflict, Invalid, NotFound, Overloaded)}


class Predictions:
    """A gateway's predictions."""

    def __init__(self, url: str, *, token: str = "") -> None:
        """Ask the gateway at `url`."""
        import httpx  # 160 ms of CPU

        self._transport_error = httpx.TransportError
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._http = httpx.Client(base_url=url, headers=headers, timeout=60.0)

    def predict(
        self,
        deployment: str,
        inputs: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        *,
        key: str | Sequence[str] | None = None,
    ) -> dict[str, Any]:
        """Predict for one row or several, each a mapping of input columns; `key` names them for labels."""
        body = {"inputs": inputs} if key is None else {"inputs": inputs, "key": key}
        try:
            answer = self._http.post(f"/predict/{deployment}", content=msgspec.json.encode(body))
        except self._transport_error as exc:
            raise Unavailable(f"no gateway answers at {self._http.base_url} ({exc}). Start it: tournant up") from exc
        decoded: dict[str, Any] = msgspec.json.decode(answer.content)
        if answer.is_success:
            return decoded
        error = decoded["error"]
        raise _ERRORS.get(error["code"], TournantError)(error["message"], place=error.get("place", ""))

    def close(self) -> None:
        """Close the connection."""
        self._http.close()


def score_file(
    predictions: Predictions, deployment: str, source: Path, columns: Sequence[str]
) -> Iterator[list[dict[str, Any]]]:
    """Predict every row of a table, in batches; give the rows with their score, prediction id and model version added."""
    for rows in read_rows(source, size=BATCH_ROWS):
        missing = [name for name in columns if name not in rows[0]]
        if missing:
            raise Invalid(f"{source} lacks the columns {', '.join(missing)} that the model takes", place=missing[0])
        answer = predictions.predict(deployment, [{name: row[name] for name in columns} for row in rows])
        yield [
            {**row, **_flat(prediction), "model_version": answer["model_version"]}
            for row, prediction in zip(rows, answer["predictions"], strict=True)
        ]


def _flat(prediction: Mapping[str, Any]) -> dict[str, Any]:
    return {"prediction_id" if name == "id" else name: value for name, value in prediction.items()}
