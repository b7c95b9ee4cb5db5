"""`/retrainings`: every renewal from trigger to promotion or rejection."""

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from tournant.domain.deployment import Deployment
from tournant.domain.retraining import GateResult, Retraining, RetrainingPolicy, RetrainingState
from tournant.web.pages.ask import Ask, Crumb, Page, Verdict, View
from tournant.web.pages.formats import duration, label, sentence, signed, stamp
from tournant.web.pages.marks import IntervalMark, interval_mark
from tournant.web.pages.rollouts import Action

__all__ = ["PAGES", "RetrainingRow", "RetrainingsPage"]

PAGE = 50
TONES = {
    RetrainingState.PROMOTED: "ok",
    RetrainingState.REJECTED: "warn",
    RetrainingState.FAILED: "crit",
    RetrainingState.PENDING: "idle",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrainingRow:
    """A retraining with its gate's interval (challenger minus champion) and what may be decided."""

    retraining: Retraining
    tone: str
    words: str
    gate: str
    mark: IntervalMark | None
    actions: tuple[Action, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrainingsPage(View):
    """Retrainings, newest first, and when the next may come."""

    rows: tuple[RetrainingRow, ...]
    policies: tuple[Deployment, ...]
    deployment: str
    filtered: bool
    older: str


def list_retrainings(ask: Ask) -> RetrainingsPage:
    """List retrainings, 50 a page."""
    deployment = ask.query.get("deployment", "")
    where: dict[str, object] = {"deployment": deployment} if deployment else {}
    before = ask.number("before")
    if before is not None:
        where["started_at__lt"] = before
    order, limit = "-started_at", PAGE + 1
    found = ask.uow.find(Retraining, order=order, limit=limit, **where)
    query = {"deployment": deployment} if deployment else {}
    more = len(found) > PAGE
    policies = tuple(d for d in ask.uow.find(Deployment, order="name") if d.config.retraining)
    margins = {d.name: _margin(d.config.retraining) for d in policies}
    return RetrainingsPage(
        title="Retraining",
        crumbs=(Crumb(text="Retraining"),),
        command="tournant retrainings list" + (f" --deployment {deployment}" if deployment else ""),
        verdict=_verdict(found, ask.now) if found else None,
        now=ask.now,
        rows=tuple(_row(retraining, margins.get(retraining.deployment, 0.0)) for retraining in found[:PAGE]),
        policies=policies,
        deployment=deployment,
        filtered=bool(deployment or before),
        older="/retrainings?" + urlencode({**query, "before": repr(found[PAGE - 1].started_at)}) if more else "",
    )


def _verdict(found: Sequence[Retraining], now: float) -> Verdict:
    waiting = [r for r in found if r.state is RetrainingState.AWAITING_APPROVAL]
    active = [r for r in found if not r.state.final]
    promoted = sum(r.state is RetrainingState.PROMOTED for r in found)
    rejected = sum(r.state is RetrainingState.REJECTED for r in found)
    failed = sum(r.state is RetrainingState.FAILED for r in found)
    tally = f"{promoted} promoted, {rejected} rejected, {failed} failed of the {len(found)} shown."
    if waiting:
        head = f"{waiting[0].challenger} of {waiting[0].deployment} waits for approval."
        return Verdict(
            tone="prog", head=head, text=sentence(waiting[0].gate.reason) if waiting[0].gate else "", note=tally
        )
    if active:
        head = f"{active[0].deployment} is retraining: {label(active[0].state)} for {duration(now - active[0].started_at)}."
        return Verdict(tone="prog", head=head, text=sentence(active[0].reason), note=tally)
    last = found[0]
    head = f"The last retraining, of {last.deployment}, was {label(last.state)} {stamp(last.ended_at, now)} UTC."
    return Verdict(
        tone=TONES.get(last.state, "idle"),
        head=head,
        text=sentence(last.gate.reason if last.gate else last.reason),
        note=tally,
    )


def _margin(policy: RetrainingPolicy | None) -> float:
    """Where the gate's bad side begins."""
    return policy.gate_margin if policy and policy.gate_rule == "non_inferior" else 0.0


def _row(retraining: Retraining, margin: float) -> RetrainingRow:
    gate = retraining.gate
    return RetrainingRow(
        retraining=retraining,
        tone=TONES.get(retraining.state, "prog"),
        words=label(retraining.state).capitalize(),
        gate=_gate(gate) if gate else "",
        mark=interval_mark(gate.difference, gate.lower, gate.upper, margin)
        if gate and gate.difference is not None
        else None,
        actions=_actions(retraining),
    )


def _gate(gate: GateResult) -> str:
    if gate.difference is None:
        return gate.reason
    interval = f" ({signed(gate.lower)} to {signed(gate.upper)})" if gate.lower is not None else ""
    return f"{label(gate.metric)} {signed(gate.difference)}{interval} on {gate.rows:,} rows"


def _actions(retraining: Retraining) -> tuple[Action, ...]:
    if retraining.state is not RetrainingState.AWAITING_APPROVAL:
        return ()
    base = f"/retrainings/{retraining.id}"
    challenger, deployment = retraining.challenger, retraining.deployment
    return (
        Action(
            verb="reject",
            text="Reject…",
            post=f"{base}/reject",
            effect=f"{challenger} is not rolled out; {deployment} keeps its champion.",
            seen="",
            danger=True,
        ),
        Action(
            verb="approve",
            text="Approve…",
            post=f"{base}/approve",
            effect=f"{challenger} starts its rollout on {deployment}: shadow first, then canary.",
            seen="",
            primary=True,
        ),
    )


PAGES = (Page(path="/retrainings", template="retrainings.html", section="retrainings", view=list_retrainings),)
