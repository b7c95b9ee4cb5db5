"""What a deployment requires of a version before it is rolled out: that it is signed, that it is verified."""

from collections.abc import Callable, Sequence

from tournant.domain.deployment import Requirement
from tournant.domain.registry import ModelSignature, ModelVersion
from tournant.domain.verification import Verification
from tournant.errors import Conflict
from tournant.ports import UnitOfWork
from tournant.services.context import Context
from tournant.services.signing import check_signature, check_statement, find_signature, sign_version
from tournant.services.verification import list_verifications, verify_version

__all__ = ["find_proof", "newest_verifications", "refuse_unvouched", "vouch_for"]


def refuse_unvouched(uow: UnitOfWork, deployment: str, require: tuple[Requirement, ...], version: str) -> None:
    """Conflict when a version lacks what a deployment requires, with what to do about it."""
    if Requirement.SIGNED in require and uow.get(ModelSignature, version) is None:
        raise Conflict(
            f"deployment {deployment!r} takes signed versions only, and {version} is not signed. "
            f"Sign it: tournant models sign {version}"
        )
    if Requirement.VERIFIED in require and find_proof(uow, version) is None:
        newest = uow.find(Verification, model_version=version, order="-started_at,-id", limit=1)
        found = f"it is {newest[0].summary}" if newest and newest[0].from_record else "it is not verified"
        raise Conflict(
            f"deployment {deployment!r} takes verified versions only, and {version} has no proof: {found}. "
            f"Verify it: tournant verify {version}"
        )


def find_proof(uow: UnitOfWork, version: str) -> Verification | None:
    """Give the newest verification from a version's record, if it shows that the record recreates it."""
    found = newest_verifications(uow, [version]).get(version)
    return found if found and found.proves else None


def newest_verifications(uow: UnitOfWork, versions: Sequence[str]) -> dict[str, Verification]:
    """Give the newest verification that was made from the record of each version, by version."""
    if not versions:
        return {}
    found = uow.find(Verification, model_version__in=list(versions), from_record=True, order="started_at,id")
    return {verification.model_version: verification for verification in found}


def vouch_for(
    ctx: Context, version: ModelVersion, require: tuple[Requirement, ...], *, say: Callable[[str], None] | None
) -> str:
    """Sign and verify a version as required, where that is not done; give why it may not be deployed, or nothing."""
    if Requirement.SIGNED in require:
        if find_signature(ctx, version.id) is None:
            sign_version(ctx, version.id)
        check = check_signature(ctx, version.id)
        if not check.holds:
            return f"its signature does not hold: {'; '.join(check.problems)}"
    if Requirement.VERIFIED in require:
        known = [found for found in list_verifications(ctx, version.id) if found.from_record]
        verification = known[0] if known else verify_version(ctx, version.id, jobs=1, on_progress=say)
        if not verification.proves or check_statement(ctx, verification) is None:
            return f"it cannot be recreated from its record: {verification.summary}"
    return ""
