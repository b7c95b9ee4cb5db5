"""What a signed statement says of a verification: an in-toto statement about the version's files."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from tournant.domain.dsse import STATEMENT_TYPE
from tournant.domain.registry import ModelVersion
from tournant.domain.verification import Difference, Verification

__all__ = ["PREDICATE_TYPE", "verification_statement"]

PREDICATE_TYPE = "urn:tournant:predicate:verification:v1"


def verification_statement(
    verification: Verification, version: ModelVersion, *, files: Mapping[str, str], datasets: Mapping[str, str], by: str
) -> dict[str, Any]:
    """State a verification: of which files (path to BLAKE3 digest), from what, compared how, with which verdict.

    `datasets` are those of the version, id to tree digest; `by` is the name and version of what has verified.
    """
    return {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": f"{version.id}/{path}", "digest": {"blake3": digest}} for path, digest in files.items()],
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "verification": verification.id,
            "modelVersion": version.id,
            "modelTree": version.digest,
            "verifier": by,
            "actor": verification.actor,
            "timeVerified": _written(verification.ended_at),
            "verdict": verification.verdict.value,
            "fromRecord": verification.from_record,
            "causes": [_stated(difference) for difference in verification.causes],
            "changedWithoutEffect": [_stated(difference) for difference in verification.changed],
            "comparison": {
                "maxDifference": verification.max_difference,
                "relative": verification.relative,
                "tolerance": verification.tolerance,
                "rows": verification.rows,
                "probe": verification.probe,
                "metrics": {name: list(pair) for name, pair in verification.metrics.items()},
            },
            "materials": {"code": version.code, "environment": version.environment, "datasets": dict(datasets)},
        },
    }


def _stated(difference: Difference) -> dict[str, str]:
    return {
        "cause": difference.cause.value,
        "name": difference.name,
        "recorded": difference.recorded,
        "found": difference.found,
    }


def _written(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
