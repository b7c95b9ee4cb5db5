"""Bundles: one archive with all of a model version that it takes to verify it elsewhere, in an empty home.

A tar file with `bundle.json` (the records), `trees/DIGEST/…` (folders) and `blobs/DIGEST` (single contents). Whoever reads one
stores each content and compares the digest: what was changed on the way does not get in. Packages are not in it: they are
named by version and hash in the lock, and come from wherever uv gets packages there.
"""

import io
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from tournant.domain.data import Dataset, DatasetVersion
from tournant.domain.environment import Environment
from tournant.domain.machine import StepMachine
from tournant.domain.registry import ModelSignature, ModelVersion, RegisteredModel
from tournant.domain.tracking import Metric, Run, StepRun
from tournant.domain.verification import Verification
from tournant.errors import Conflict, Invalid
from tournant.ports import KeyKind, UnitOfWork
from tournant.services.context import Context
from tournant.services.environments import get_environment
from tournant.services.experiments import ensure_experiment
from tournant.services.recipes import recorded_recipe
from tournant.services.registry import get_version
from tournant.services.signing import find_signature
from tournant.services.tracking import get_run
from tournant.services.verification import list_verifications

__all__ = ["Bundle", "export_bundle", "import_bundle"]

FORMAT = 1
_RECORDS = "bundle.json"


class Bundle(msgspec.Struct, frozen=True, kw_only=True):
    """The records in a bundle. `keys` are the public keys, in PEM, of the home that it comes from."""

    format: int
    version: ModelVersion
    run: Run
    steps: list[StepRun]
    machines: list[StepMachine]
    datasets: list[DatasetVersion]
    environments: list[Environment]
    signature: ModelSignature | None
    verifications: list[Verification]
    keys: dict[str, str]


def export_bundle(ctx: Context, version: str, target: Path) -> Bundle:
    """Write a version's bundle to `target`; Invalid when its record does not have what recreating it takes."""
    found = get_version(ctx, version)
    recipe = recorded_recipe(ctx, found)
    bundle = _read_records(ctx, found)
    frozen = {path for step in recipe.project.steps if step.frozen for path in step.products}
    outs = {digest for step in bundle.steps for path, digest in step.outs.items() if path in frozen}
    trees = sorted({found.digest, recipe.code, *recipe.data.values(), *outs})
    blobs = [found.conversion.digest, found.reference, *(v.statement for v in bundle.verifications)]
    blobs += [bundle.signature.bundle] if bundle.signature else []
    partial = target.with_name(f".{target.name}.partial")
    with TemporaryDirectory(prefix="tournant-") as temporary, tarfile.open(partial, "w") as archive:
        content = msgspec.json.format(msgspec.json.encode(bundle), indent=1)
        entry = tarfile.TarInfo(_RECORDS)
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
        for digest in trees:
            folder = Path(temporary) / digest
            ctx.blobs.checkout(digest, folder)
            archive.add(folder, f"trees/{digest}", filter=_anonymous)
        for digest in sorted(set(filter(None, blobs))):
            archive.add(ctx.blobs.path(digest), f"blobs/{digest}", filter=_anonymous)
    partial.replace(target)
    return bundle


def import_bundle(ctx: Context, source: Path) -> Bundle:
    """Take a bundle's version into this home, under its own name; Invalid for a bundle that is damaged or was changed.

    The same bundle again changes nothing. Conflict when the home has another version of the same name.
    """
    with TemporaryDirectory(prefix="tournant-", dir=ctx.settings.home) as temporary:
        folder = Path(temporary)
        try:
            with tarfile.open(source, "r:") as archive:
                archive.extractall(folder, filter="data")
            bundle = msgspec.json.decode((folder / _RECORDS).read_bytes(), type=Bundle)
        except (tarfile.TarError, OSError, msgspec.DecodeError) as exc:
            raise Invalid(f"{source} is no bundle, or not a whole one: {exc}", place=str(source)) from exc
        if bundle.format != FORMAT:
            raise Invalid(f"{source} has the format {bundle.format}; this tournant reads {FORMAT}", place=str(source))
        for name, found in _stored(ctx, folder):
            if name != found:
                raise Invalid(f"{source} was changed: what it has as {name[:12]} is {found[:12]}", place=str(source))
    _keep(ctx, bundle)
    return bundle


def _read_records(ctx: Context, version: ModelVersion) -> Bundle:
    run = get_run(ctx, version.run)
    with ctx.transactions.begin(write=False) as uow:
        steps = uow.find(StepRun, run=run.id, order="position")
        machines = uow.find(StepMachine, run=run.id)
        datasets = uow.find(DatasetVersion, id__in=list(version.datasets)) if version.datasets else []
    digests = dict.fromkeys(filter(None, (version.environment, run.environment)))
    return Bundle(
        format=FORMAT,
        version=version,
        run=run,
        steps=steps,
        machines=machines,
        datasets=datasets,
        environments=[get_environment(ctx, digest) for digest in digests],
        signature=find_signature(ctx, version.id),
        verifications=list_verifications(ctx, version.id),
        keys={kind.value: ctx.keys.public(kind).decode() for kind in KeyKind},
    )


def _stored(ctx: Context, folder: Path) -> Iterator[tuple[str, str]]:
    """Store what a bundle has; give for each content the digest it should have and the one it has."""
    for path in sorted((folder / "trees").iterdir()) if (folder / "trees").is_dir() else ():
        yield path.name, ctx.blobs.put_tree(path).digest
    for path in sorted((folder / "blobs").iterdir()) if (folder / "blobs").is_dir() else ():
        with path.open("rb") as content:
            yield path.name, ctx.blobs.put(content)


def _keep(ctx: Context, bundle: Bundle) -> None:
    version = bundle.version
    now = ctx.clock.now()
    with ctx.transactions.begin() as uow:
        known = uow.get(ModelVersion, version.id)
        if known == version:
            return
        if known:
            raise Conflict(f"this home has another {version.id}; import into a home of its own: --home FOLDER")
        for dataset in bundle.datasets:
            here = uow.get(DatasetVersion, dataset.id)
            if here and here.digest != dataset.digest:
                raise Conflict(f"this home has another {dataset.id}; import into a home of its own: --home FOLDER")
            if uow.get(Dataset, dataset.dataset) is None:
                uow.add(Dataset(name=dataset.dataset, created_at=now))
            uow.save(dataset)
        if uow.get(RegisteredModel, version.model) is None:
            uow.add(RegisteredModel(name=version.model, created_at=now))
        _keep_run(ctx, uow, bundle.run)
        for records in (bundle.steps, bundle.machines, bundle.environments, bundle.verifications):
            uow.save(*records)
        uow.add(version)
        if bundle.signature:
            uow.save(bundle.signature)
        uow.record(
            ctx.event("model.version_imported", f"model/{version.model}", f"{version.id} imported from a bundle")
        )


def _keep_run(ctx: Context, uow: UnitOfWork, run: Run) -> None:
    """Keep an imported run, with the last value of each metric, in the experiment of its name."""
    if uow.runs.get(run.id):
        return
    place = ensure_experiment(ctx, uow, run.experiment)
    uow.runs.add(replace(run, experiment_number=place.number, deleted_at=None))
    measured = [
        Metric(run=run.id, key=key, step=run.measured[key][0], time=run.measured[key][1], value=value)
        for key, value in run.metrics.items()
        if key in run.measured
    ]
    uow.runs.log(run.id, metrics=measured)


def _anonymous(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    """Leave out who made a file and when: the same version gives the same archive."""
    entry.uid = entry.gid = entry.mtime = 0
    entry.uname = entry.gname = ""
    return entry
