"""What a replay got for its requests, kept compactly."""

import math
from array import array
from collections.abc import Iterable
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

__all__ = ["ReplayAnswers", "Reply"]


class _Prediction(msgspec.Struct):
    id: str
    score: float | None = None
    scores: list[float] | None = None


class _Answer(msgspec.Struct):
    predictions: list[_Prediction]
    model_version: str
    revision: str


_decode = msgspec.json.Decoder(_Answer).decode


class Reply(NamedTuple):
    """One request's answer. `failure` says why there is none; `score` is NaN then (and where the model gives several)."""

    key: str
    latency_ms: float
    prediction_id: str = ""
    score: float = math.nan
    version: str = ""
    revision: str = ""
    failure: str = ""

    @classmethod
    def read(cls, key: str, status: int, body: bytes, latency_ms: float) -> "Reply":
        """Read the gateway's answer to a request of one row."""
        if status != 200:
            return cls.failed(key, f"{status}: {body[:300].decode(errors='replace')}", latency_ms)
        try:
            answer = _decode(body)
        except msgspec.DecodeError as exc:
            return cls.failed(key, f"200, but not an answer ({exc}): {body[:300].decode(errors='replace')}", latency_ms)
        if len(answer.predictions) != 1 or _empty(answer.predictions[0]):
            return cls.failed(key, f"200, but not one prediction: {body[:300].decode(errors='replace')}", latency_ms)
        one = answer.predictions[0]
        score = math.nan if one.score is None else one.score
        return cls(key, latency_ms, one.id, score, answer.model_version, answer.revision)

    @classmethod
    def failed(cls, key: str, failure: str, latency_ms: float) -> "Reply":
        """A request without an answer."""
        return cls(key, latency_ms, failure=failure)


class ReplayAnswers:
    """All answers of a replay, in columns; about 150 bytes each."""

    def __init__(self) -> None:
        """Start empty."""
        self._keys: list[str] = []
        self._ids: list[str] = []
        self._scores = array("d")
        self._latencies = array("d")
        self._versions = array("i")
        self._revisions = array("i")
        self._names: dict[str, int] = {}

    def __len__(self) -> int:
        """Count requests."""
        return len(self._keys)

    def add(self, replies: Iterable[Reply]) -> None:
        """Take in the answers of a day."""
        for reply in replies:
            self._keys.append(reply.key)
            self._ids.append(reply.prediction_id)
            self._scores.append(reply.score)
            self._latencies.append(reply.latency_ms)
            self._versions.append(self._names.setdefault(reply.version, len(self._names)))
            self._revisions.append(self._names.setdefault(reply.revision, len(self._names)))

    def columns(self) -> dict[str, npt.NDArray[np.generic]]:
        """Give `key`, `prediction_id`, `score`, `version`, `revision` and `latency_ms`, one value a request.

        A failed request has no prediction id, version and revision (""), and the score NaN.
        """
        names = np.array(list(self._names), dtype=np.str_)
        versions, revisions = np.array(self._versions, dtype=np.intp), np.array(self._revisions, dtype=np.intp)
        return {
            "key": np.array(self._keys, dtype=np.str_),
            "prediction_id": np.array(self._ids, dtype=np.str_),
            "score": np.array(self._scores, dtype=np.float64),
            "version": names[versions] if len(self) else names,
            "revision": names[revisions] if len(self) else names,
            "latency_ms": np.array(self._latencies, dtype=np.float64),
        }


def _empty(prediction: _Prediction) -> bool:
    return prediction.score is None and not prediction.scores
