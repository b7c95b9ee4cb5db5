"""Labels: what really happened, one by one or in batches."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tournant.domain.deployment import Deployment
from tournant.domain.predictions import Label
from tournant.errors import Invalid, NotFound
from tournant.services.context import Context

__all__ = ["GivenLabel", "add_labels"]

_LONGEST_REFERENCE = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenLabel:
    """A label as given: of the prediction `prediction_id`, or of those with the user's `key`. No `event_time` means now."""

    value: float
    prediction_id: str | None = None
    key: str | None = None
    event_time: float | None = None


def add_labels(ctx: Context, deployment: str, given: Sequence[GivenLabel]) -> int:
    """Store labels and give how many; all or none.

    A label of a prediction not known (yet) is accepted as pending. A second label of the same reference replaces the
    first (labels get corrected); the same again changes nothing. Invalid names the index of a malformed one, NotFound
    an unknown deployment.
    """
    now = ctx.clock.now()
    labels = {label.reference: label for label in _checked(deployment, given, now)}
    with ctx.transactions.begin() as uow:
        if uow.get(Deployment, deployment) is None:
            names = ", ".join(found.name for found in uow.find(Deployment, order="name", limit=20))
            raise NotFound(f"there is no deployment {deployment!r} (there is: {names or 'none'})", place="deployment")
        known: dict[str, Label] = {}
        references = list(labels)
        for start in range(0, len(references), 400):
            chunk = references[start : start + 400]
            known |= {label.reference: label for label in uow.find(Label, deployment=deployment, reference__in=chunk)}
        changed = [label for label in labels.values() if not _same(known.get(label.reference), label)]
        uow.save(*changed)
    return len(given)


def _same(known: Label | None, label: Label) -> bool:
    return known is not None and (known.value, known.event_time) == (label.value, label.event_time)


def _checked(deployment: str, given: Sequence[GivenLabel], now: float) -> Iterator[Label]:
    for index, label in enumerate(given):
        if bool(label.prediction_id) == bool(label.key):
            raise Invalid(f"label {index} needs a prediction_id or a key, and not both", place=f"labels[{index}]")
        reference = label.prediction_id or f"key:{label.key}"
        if len(reference) > _LONGEST_REFERENCE:
            raise Invalid(f"label {index} has a key of over {_LONGEST_REFERENCE} characters", place=f"labels[{index}]")
        if not math.isfinite(label.value):
            raise Invalid(f"label {index} has the value {label.value}, not a number", place=f"labels[{index}].value")
        time = now if label.event_time is None else label.event_time
        if not math.isfinite(time):
            raise Invalid(f"label {index} has the event time {time}", place=f"labels[{index}].event_time")
        yield Label(
            deployment=deployment, reference=reference, value=float(label.value), event_time=time, received_at=now
        )
