"""Signing keys in the home, made when they are first used."""

import contextlib
import os
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from tournant.errors import Invalid, NotFound
from tournant.ports import KeyKind

__all__ = ["HomeKeys"]

PRIVATE = 0o600
# by size of the curve, as Sigstore's bundles have it
_HASHES: dict[int, type[hashes.HashAlgorithm]] = {256: hashes.SHA256, 384: hashes.SHA384, 521: hashes.SHA512}
_Private = ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey


class HomeKeys:
    """Keeps `statements.pem` (Ed25519) and `models.pem` (ECDSA P-256, which OpenSSF tools take) with their `.pub` beside them."""

    def __init__(self, root: Path) -> None:
        """Keep keys under `root`."""
        self._root = root

    def sign(self, kind: KeyKind, message: bytes, *, key: Path | None = None) -> bytes:
        """Sign with the home's key of a kind, or with a key in a PEM file."""
        private = _read_private(key, kind) if key else self._own(kind)
        if isinstance(private, ed25519.Ed25519PrivateKey):
            return private.sign(message)
        return private.sign(message, ec.ECDSA(_HASHES[private.curve.key_size]()))

    def public(self, kind: KeyKind, *, key: Path | None = None) -> bytes:
        """Give the public half, in PEM."""
        private = _read_private(key, kind) if key else self._own(kind)
        return private.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    def verify(self, public: bytes, message: bytes, signature: bytes) -> bool:
        """Tell whether a signature of a message holds under a public key in PEM."""
        try:
            key = serialization.load_pem_public_key(public)
        except (ValueError, UnsupportedAlgorithm) as exc:
            raise Invalid(f"this is no public key in PEM: {exc}", place="key") from exc
        try:
            if isinstance(key, ed25519.Ed25519PublicKey):
                key.verify(signature, message)
            elif isinstance(key, ec.EllipticCurvePublicKey) and key.curve.key_size in _HASHES:
                key.verify(signature, message, ec.ECDSA(_HASHES[key.curve.key_size]()))
            else:
                raise Invalid("a key is Ed25519, or of the curve P-256, P-384 or P-521", place="key")
        except InvalidSignature:
            return False
        return True

    def _own(self, kind: KeyKind) -> _Private:
        path = self._root / f"{kind.value}.pem"
        if not path.is_file():
            self._make(kind, path)
        return _read_private(path, kind)

    def _make(self, kind: KeyKind, path: Path) -> None:
        """Make a key; of two processes that do so at once, the first one's stays."""
        private: _Private = (
            ed25519.Ed25519PrivateKey.generate()
            if kind is KeyKind.STATEMENTS
            else ec.generate_private_key(ec.SECP256R1())
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.{os.getpid()}")
        pem = private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE), "wb") as file:
            file.write(pem)
        with contextlib.suppress(FileExistsError):
            os.link(partial, path)
        partial.unlink()
        path.with_suffix(".pub").write_bytes(self.public(kind))


def _read_private(path: Path, kind: KeyKind) -> _Private:
    try:
        private = serialization.load_pem_private_key(path.read_bytes(), None)
    except FileNotFoundError:
        raise NotFound(f"there is no key {path}") from None
    except (ValueError, TypeError, UnsupportedAlgorithm) as exc:
        raise Invalid(f"{path} is no private key in PEM without a password: {exc}", place="key") from exc
    if isinstance(private, ed25519.Ed25519PrivateKey) and kind is KeyKind.STATEMENTS:
        return private
    if isinstance(private, ec.EllipticCurvePrivateKey) and private.curve.key_size in _HASHES:
        return private
    allowed = "of the curve P-256, P-384 or P-521" + (", or Ed25519" if kind is KeyKind.STATEMENTS else "")
    raise Invalid(f"{path}: a key for {kind.value} is {allowed}", place="key")
