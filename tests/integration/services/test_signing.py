"""Signatures of model versions and signed statements of verifications; the real model_signing library checks ours, and we its."""

import base64
import json
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from tournant.adapters.environments.uv import UvEnvironments
from tournant.config import Settings
from tournant.domain.deployment import DeploymentConfig, Requirement
from tournant.domain.registry import ModelVersion
from tournant.domain.verification import Cause, Difference, Verdict, Verification
from tournant.errors import Conflict, Invalid, NotFound
from tournant.ports import KeyKind
from tournant.services.context import Context
from tournant.services.deployments import deploy
from tournant.services.model_files import ModelFolder
from tournant.services.registry import register_model
from tournant.services.signing import check_signature, check_statement, sign_statement, sign_version


@pytest.fixture
def version(context: Context, tmp_path: Path) -> ModelVersion:
    """Register a model of two files."""
    folder = tmp_path / "model"
    (folder / "parts").mkdir(parents=True)
    (folder / "model.pkl").write_bytes(b"weights")
    (folder / "parts" / "words.txt").write_text("a b c")
    model = ModelFolder(path=folder, entry="model.pkl", flavor="python", example=({"x": 1.0},))
    return register_model(context, model, name="words", environment=None)


@pytest.fixture
def verification(version: ModelVersion) -> Verification:
    """Give a verification that is not kept yet."""
    return Verification(
        id="v1",
        model_version=version.id,
        verdict=Verdict.DIFFERENT,
        causes=(Difference(cause=Cause.SEED, name="step train"),),
        max_difference=0.5,
        ended_at=1_400_000_000.0,
    )


def write_key(path: Path, key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey) -> Path:
    """Write a private key, and its public half beside it."""
    pem = serialization.Encoding.PEM
    path.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    public = key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
    path.with_suffix(".pub").write_bytes(public)
    return path


def test_a_signature_holds_for_exactly_the_files_signed(
    context: Context, version: ModelVersion, tmp_path: Path
) -> None:
    """Files of the store agree; in a folder a changed, a missing and an added file are each told."""
    signature = sign_version(context, version.id)
    assert (signature.model_version, signature.actor) == ("words@1", "tester")
    assert check_signature(context, version.id).holds
    folder = tmp_path / "elsewhere"
    context.blobs.checkout(version.digest, folder)
    assert check_signature(context, version.id, folder=folder).holds
    (folder / "model.pkl").write_bytes(b"other weights")
    (folder / "parts" / "words.txt").unlink()
    (folder / "extra.txt").touch()
    assert check_signature(context, version.id, folder=folder).problems == (
        "model.pkl was changed",
        "parts/words.txt is missing",
        "extra.txt was not signed",
    )


def test_another_key_does_not_pass(context: Context, version: ModelVersion, tmp_path: Path) -> None:
    """A signature by a key of one's own holds under that key's public half and no other."""
    key = write_key(tmp_path / "own.pem", ec.generate_private_key(ec.SECP384R1()))
    sign_version(context, version.id, key=key)
    assert check_signature(context, version.id, public=key.with_suffix(".pub").read_bytes()).holds
    assert check_signature(context, version.id).problems == ("it was not signed with this key, or was changed since",)


def test_a_changed_bundle_does_not_pass(context: Context, version: ModelVersion) -> None:
    """Neither with other files in its statement, nor without a signature."""
    bundle = json.loads(context.blobs.path(sign_version(context, version.id).bundle).read_bytes())
    statement = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))
    statement["predicate"]["resources"][0]["digest"] = "00" * 32
    forged = {**bundle["dsseEnvelope"], "payload": base64.b64encode(json.dumps(statement).encode()).decode()}
    for envelope in (forged, {**bundle["dsseEnvelope"], "signatures": []}, {}):
        changed = json.dumps({**bundle, "dsseEnvelope": envelope}).encode()
        assert not check_signature(context, version.id, bundle=changed).holds
    with pytest.raises(Invalid, match="no Sigstore bundle"):
        check_signature(context, version.id, bundle=b"nonsense")


def test_keys_that_cannot_sign_models_are_refused(context: Context, version: ModelVersion, tmp_path: Path) -> None:
    """Each with what would do."""
    edwards = write_key(tmp_path / "edwards.pem", ed25519.Ed25519PrivateKey.generate())
    (tmp_path / "nonsense.pem").write_text("nonsense")
    with pytest.raises(Invalid, match="a key for models is of the curve P-256, P-384 or P-521"):
        sign_version(context, version.id, key=edwards)
    with pytest.raises(Invalid, match="no private key in PEM"):
        sign_version(context, version.id, key=tmp_path / "nonsense.pem")
    with pytest.raises(NotFound, match="there is no key"):
        sign_version(context, version.id, key=tmp_path / "missing.pem")
    with pytest.raises(NotFound, match=r"words@1 is not signed. Sign it: tournant models sign words@1"):
        check_signature(context, version.id)


def test_keys_are_private_and_stay(context: Context) -> None:
    """They are made once, for their owner's eyes only, with the public half beside them."""
    public = context.keys.public(KeyKind.STATEMENTS)
    path = context.settings.home / "keys" / "statements.pem"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.with_suffix(".pub").read_bytes() == public == context.keys.public(KeyKind.STATEMENTS)
    assert context.keys.verify(public, b"message", context.keys.sign(KeyKind.STATEMENTS, b"message"))
    assert not context.keys.verify(public, b"other", context.keys.sign(KeyKind.STATEMENTS, b"message"))
    assert public != context.keys.public(KeyKind.MODELS)


def test_a_statement_says_what_was_verified(
    context: Context, version: ModelVersion, verification: Verification
) -> None:
    """It names each file, the verdict and its cause; a record that says otherwise is not proven by it."""
    kept = replace(verification, statement=sign_statement(context, verification, version))
    statement = check_statement(context, kept)
    assert statement
    files = context.blobs.tree(version.digest).files
    assert statement["subject"] == [
        {"name": f"words@1/{path}", "digest": {"blake3": file.digest}} for path, file in files.items()
    ]
    said = statement["predicate"]
    assert (said["verdict"], said["timeVerified"]) == ("different", "2014-05-13T16:53:20Z")
    assert said["causes"] == [{"cause": "seed", "name": "step train", "recorded": "", "found": ""}]
    assert check_statement(context, replace(kept, verdict=Verdict.IDENTICAL)) is None
    assert check_statement(context, replace(kept, statement="")) is None


@pytest.mark.parametrize("require", [(Requirement.SIGNED,), (Requirement.VERIFIED,)])
def test_a_deployment_takes_only_what_it_requires(
    context: Context, version: ModelVersion, verification: Verification, require: tuple[Requirement, ...]
) -> None:
    """The refusal says what is missing and how to come by it; a bad verification is no proof."""
    config = DeploymentConfig(require=require)
    wanted = {Requirement.SIGNED: "models sign words@1", Requirement.VERIFIED: "tournant verify words@1"}
    with pytest.raises(Conflict, match=wanted[require[0]]):
        deploy(context, "words", version.id, config=config)
    with context.transactions.begin() as uow:
        uow.save(replace(verification, verdict=Verdict.IDENTICAL, from_record=False))
        uow.save(replace(verification, id="v2", started_at=1.0))
    with pytest.raises(Conflict, match=wanted[require[0]]):
        deploy(context, "words", version.id, config=config)
    sign_version(context, version.id)
    with context.transactions.begin() as uow:
        uow.save(replace(verification, id="v3", verdict=Verdict.EQUIVALENT, started_at=2.0))
    assert deploy(context, "words", version.id, config=config).model_version == version.id


@pytest.fixture(scope="module")
def model_signing(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the reference implementation, in an environment of its own."""
    settings = Settings.load(home=tmp_path_factory.mktemp("model-signing"))
    environments = UvEnvironments(settings)
    # it imports pyOpenSSL without naming it as a requirement
    python = environments.build(environments.lock(python="", requirements="model-signing==1.1.1\npyopenssl\n"))

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [str(python), "-m", "model_signing", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, check=False, env=settings.child_environ())

    return run


@pytest.mark.slow
def test_the_reference_implementation_takes_our_signatures(
    context: Context,
    version: ModelVersion,
    tmp_path: Path,
    model_signing: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    """It says yes to the files signed and no to changed ones."""
    signature, folder = tmp_path / "model.sig", tmp_path / "elsewhere"
    signature.write_bytes(context.blobs.path(sign_version(context, version.id).bundle).read_bytes())
    context.blobs.checkout(version.digest, folder)
    public = context.settings.home / "keys" / "models.pub"
    arguments = ("verify", "key", folder, "--signature", signature, "--public_key", public)
    done = model_signing(*arguments)
    assert done.returncode == 0, done.stderr
    (folder / "model.pkl").write_bytes(b"other weights")
    assert model_signing(*arguments).returncode != 0


@pytest.mark.slow
def test_we_take_signatures_of_the_reference_implementation(
    context: Context,
    version: ModelVersion,
    tmp_path: Path,
    model_signing: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    """A model that somebody else has signed is checked against the version's files."""
    folder, signature = tmp_path / "elsewhere", tmp_path / "model.sig"
    context.blobs.checkout(version.digest, folder)
    key = write_key(tmp_path / "own.pem", ec.generate_private_key(ec.SECP256R1()))
    done = model_signing("sign", "key", folder, "--private_key", key, "--signature", signature)
    assert done.returncode == 0, done.stderr
    public = key.with_suffix(".pub").read_bytes()
    assert check_signature(context, version.id, public=public, bundle=signature.read_bytes()).problems == ()
