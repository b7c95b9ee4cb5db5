"""Signing model versions in the OpenSSF format, and checking signatures and signed statements."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tournant.config import VERSION
from tournant.domain.attestation import verification_statement
from tournant.domain.data import DatasetVersion
from tournant.domain.dsse import make_bundle, make_envelope, model_statement, open_envelope, signed_files
from tournant.domain.registry import ModelSignature, ModelVersion
from tournant.domain.verification import Verification
from tournant.errors import Invalid, NotFound
from tournant.ports import KeyKind
from tournant.services.context import Context
from tournant.services.registry import get_version

__all__ = ["SignatureCheck", "check_signature", "check_statement", "find_signature", "sign_statement", "sign_version"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SignatureCheck:
    """Whether a model's signature holds; `problems` say what does not."""

    model_version: str
    key: str
    signed_at: float | None = None
    problems: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether the key has signed exactly these files."""
        return not self.problems


def sign_version(ctx: Context, version: str, *, key: Path | None = None) -> ModelSignature:
    """Sign a version's files with the home's key for models, or a key in a PEM file; a new signature replaces the old one."""
    found = get_version(ctx, version)
    public = ctx.keys.public(KeyKind.MODELS, key=key)
    name = _key_id(public)
    envelope = make_envelope(
        model_statement(found.model, _files(ctx, found)),
        lambda message: ctx.keys.sign(KeyKind.MODELS, message, key=key),
        key="",
    )
    bundle = json.dumps(make_bundle(envelope, key=name)).encode()
    signature = ModelSignature(
        model_version=found.id, bundle=ctx.blobs.put(bundle), key=name, signed_at=ctx.clock.now(), actor=ctx.actor
    )
    with ctx.transactions.begin() as uow:
        uow.save(signature)
        summary = f"{found.id} signed with the key {name[:12]}"
        uow.record(ctx.event("model.version_signed", f"model/{found.model}", summary, version=found.id, key=name))
    return signature


def find_signature(ctx: Context, version: str) -> ModelSignature | None:
    """Read a version's signature, if it is signed."""
    with ctx.transactions.begin(write=False) as uow:
        return uow.get(ModelSignature, version)


def check_signature(
    ctx: Context, version: str, *, public: bytes | None = None, bundle: bytes | None = None, folder: Path | None = None
) -> SignatureCheck:
    """Check a version's signature against its files in the content store, or in a folder, file by file.

    `public` is the key that should have signed (the home's own by default), `bundle` the signature (that kept with the
    version by default). NotFound when it is not signed.
    """
    found = get_version(ctx, version)
    kept = find_signature(ctx, found.id)
    if bundle is None:
        if kept is None:
            raise NotFound(f"{found.id} is not signed. Sign it: tournant models sign {found.id}")
        bundle = ctx.blobs.path(kept.bundle).read_bytes()
    public = public or ctx.keys.public(KeyKind.MODELS)
    signed = _read_bundle(ctx, bundle, public)
    if signed is None:
        problems: tuple[str, ...] = ("it was not signed with this key, or was changed since",)
    else:
        problems = tuple(_compare(signed, _hash_folder(folder) if folder else _files(ctx, found)))
    return SignatureCheck(
        model_version=found.id, key=_key_id(public), signed_at=kept.signed_at if kept else None, problems=problems
    )


def sign_statement(ctx: Context, verification: Verification, version: ModelVersion) -> str:
    """Sign what a verification has found as an in-toto statement; give the digest of its DSSE envelope."""
    files = {path: file.digest for path, file in ctx.blobs.tree(version.digest).files.items()}
    with ctx.transactions.begin(write=False) as uow:
        datasets = uow.find(DatasetVersion, id__in=list(version.datasets)) if version.datasets else []
    statement = verification_statement(
        verification,
        version,
        files=files,
        datasets={dataset.id: dataset.digest for dataset in datasets},
        by=f"tournant {VERSION}",
    )
    envelope = make_envelope(
        statement,
        lambda message: ctx.keys.sign(KeyKind.STATEMENTS, message),
        key=_key_id(ctx.keys.public(KeyKind.STATEMENTS)),
    )
    return ctx.blobs.put(json.dumps(envelope, indent=1).encode())


def check_statement(ctx: Context, verification: Verification) -> dict[str, Any] | None:
    """Give the statement of a verification if the home's key has signed it, it is about that one and says the same."""
    public = ctx.keys.public(KeyKind.STATEMENTS)
    envelope = json.loads(ctx.blobs.path(verification.statement).read_bytes()) if verification.statement else {}
    statement = open_envelope(envelope, lambda message, signature: ctx.keys.verify(public, message, signature))
    predicate = (statement or {}).get("predicate", {})
    wanted = (verification.id, verification.model_version, verification.verdict.value, verification.from_record)
    said = tuple(predicate.get(name) for name in ("verification", "modelVersion", "verdict", "fromRecord"))
    return statement if wanted == said else None


def _files(ctx: Context, version: ModelVersion) -> dict[str, str]:
    """Give each of a version's files with its SHA-256."""
    return {path: _sha256(ctx.blobs.path(file.digest)) for path, file in ctx.blobs.tree(version.digest).files.items()}


def _hash_folder(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): _sha256(path) for path in folder.rglob("*") if path.is_file()}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_bundle(ctx: Context, bundle: bytes, public: bytes) -> dict[str, str] | None:
    try:
        envelope = json.loads(bundle)["dsseEnvelope"]
    except (ValueError, KeyError, TypeError) as exc:
        raise Invalid("the signature is no Sigstore bundle in JSON", place="signature") from exc
    statement = open_envelope(envelope, lambda message, signature: ctx.keys.verify(public, message, signature))
    return signed_files(statement) if statement else None


def _compare(signed: dict[str, str], found: dict[str, str]) -> list[str]:
    missing = [f"{path} is missing" for path in sorted(signed.keys() - found.keys())]
    added = [f"{path} was not signed" for path in sorted(found.keys() - signed.keys())]
    changed = [f"{path} was changed" for path in sorted(signed.keys() & found.keys()) if signed[path] != found[path]]
    return [*changed, *missing, *added]


def _key_id(public: bytes) -> str:
    return hashlib.sha256(public).hexdigest()
