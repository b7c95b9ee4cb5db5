"""DSSE envelopes around in-toto statements, and the OpenSSF model signature, which is one in a Sigstore bundle.

Formats: DSSE 1.0 (secure-systems-lab/dsse, protocol.md), in-toto Statement 1, Sigstore bundle 0.3, and model_signing's predicate
https://model_signing/signature/v1.0 (sigstore/model-transparency).
"""

import base64
import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

__all__ = [
    "PAYLOAD_TYPE",
    "STATEMENT_TYPE",
    "make_bundle",
    "make_envelope",
    "model_statement",
    "open_envelope",
    "pre_authentication",
    "signed_files",
]

PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
SIGNATURE_TYPE = "https://model_signing/signature/v1.0"
BUNDLE_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"

Sign = Callable[[bytes], bytes]
Check = Callable[[bytes, bytes], bool]  # message and signature


def pre_authentication(payload: bytes) -> bytes:
    """Give what is really signed: the payload with its type and both their lengths.

    >>> pre_authentication(b"{}")
    b'DSSEv1 28 application/vnd.in-toto+json 2 {}'
    """
    return f"DSSEv1 {len(PAYLOAD_TYPE)} {PAYLOAD_TYPE} {len(payload)} ".encode() + payload


def make_envelope(statement: Mapping[str, Any], sign: Sign, *, key: str) -> dict[str, Any]:
    """Sign an in-toto statement; `key` names the key that signs."""
    payload = json.dumps(statement, sort_keys=True).encode()
    signature = base64.b64encode(sign(pre_authentication(payload))).decode()
    return {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": PAYLOAD_TYPE,
        "signatures": [{"keyid": key, "sig": signature}],
    }


def open_envelope(envelope: Mapping[str, Any], check: Check) -> dict[str, Any] | None:
    """Give the statement of an envelope, or None when no signature of it holds."""
    try:
        if envelope["payloadType"] != PAYLOAD_TYPE:
            return None
        payload = base64.b64decode(envelope["payload"], validate=True)
        signatures = [base64.b64decode(signature["sig"], validate=True) for signature in envelope["signatures"]]
        if not any(check(pre_authentication(payload), signature) for signature in signatures):
            return None
        statement: dict[str, Any] = json.loads(payload)
    except (KeyError, TypeError, ValueError):
        return None
    return statement


def model_statement(name: str, files: Mapping[str, str]) -> dict[str, Any]:
    """State what files a model has: relative path to SHA-256 in hexadecimal digits.

    >>> model_statement("m", {"a": "00"})["subject"][0]["digest"]["sha256"][:8]
    '6e340b9c'
    """
    ordered = sorted(files.items())
    root = hashlib.sha256(b"".join(bytes.fromhex(digest) for _, digest in ordered)).hexdigest()
    return {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": name, "digest": {"sha256": root}}],
        "predicateType": SIGNATURE_TYPE,
        "predicate": {
            "serialization": {"method": "files", "hash_type": "sha256", "allow_symlinks": False, "ignore_paths": []},
            "resources": [{"name": path, "algorithm": "sha256", "digest": digest} for path, digest in ordered],
        },
    }


def signed_files(statement: Mapping[str, Any]) -> dict[str, str] | None:
    """Give the files that a model's statement names, or None when it is none or does not agree with itself."""
    try:
        files = {resource["name"]: resource["digest"] for resource in statement["predicate"]["resources"]}
        name = statement["subject"][0]["name"]
        again = model_statement(name, files)
    except (KeyError, IndexError, TypeError, ValueError):
        return None
    same = statement.get("predicateType") == SIGNATURE_TYPE and statement["subject"] == again["subject"]
    return files if same else None


def make_bundle(envelope: Mapping[str, Any], *, key: str) -> dict[str, Any]:
    """Put an envelope into a Sigstore bundle, signed with a key that is handed over some other way."""
    return {
        "mediaType": BUNDLE_TYPE,
        "verificationMaterial": {"publicKey": {"hint": key}, "tlogEntries": []},
        "dsseEnvelope": envelope,
    }
