"""`/deployments`, one deployment, and one of its rollouts."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tournant.domain.deployment import Deployment, Revision, RevisionState
from tournant.domain.registry import ModelVersion
from tournant.domain.rollout import Observation, Phase, Rollout, RolloutDecision
from tournant.errors import NotFound
from tournant.web.pages.ask import Ask, Crumb, Page, Verdict, View
from tournant.web.pages.charts import Chart, latency_chart, loss_chart, rollout_flags, step_flags, traffic_chart
from tournant.web.pages.episodes import alert_words
from tournant.web.pages.formats import duration, sentence, stamp
from tournant.web.pages.health import Health, describe_quality, read_health
from tournant.web.pages.overview import Change, latest_change
from tournant.web.pages.quality import read_profiles, unit_seconds, units_of
from tournant.web.pages.rollouts import (
    Action,
    GateRow,
    Step,
    actions,
    gate_rows,
    outcome,
    reached,
    rollout_verdict,
    steps,
    why,
)
from tournant.web.pages.traffic import Served, read_traffic, served

__all__ = ["PAGES", "DeploymentPage", "DeploymentsPage", "PastRollout", "RolloutPage", "Share"]

DAY = 86_400.0
PAST = 10
LOSS_UNITS = 14


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """A part of the live split; `x` and `width` are percentages of the bar."""

    role: str
    revision: str
    model_version: str
    percent: float
    x: float
    per_second: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PastRollout:
    """One line of a deployment's history."""

    rollout: Rollout
    model_version: str
    tone: str
    words: str
    why: str
    reached: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentsPage(View):
    """All deployments, worst first."""

    deployments: tuple[Health, ...]
    changes: dict[str, Change]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentPage(View):
    """One deployment: what serves, what rolls out and on which evidence, what was before."""

    deployment: Deployment
    health: Health
    rollout: Rollout | None
    candidate: Revision | None
    stable: Revision | None
    run: str
    dataset: str
    shadows: tuple[Revision, ...]
    steps: tuple[Step, ...]
    split: tuple[Share, ...]
    gates: tuple[GateRow, ...]
    gates_title: str
    actions: tuple[Action, ...]
    charts: tuple[Chart, ...]
    decisions: tuple[RolloutDecision, ...]
    past: tuple[PastRollout, ...]
    revisions: tuple[Revision, ...]
    served: Served


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutPage(View):
    """One rollout from start to end, its charts frozen around it."""

    deployment: Deployment
    rollout: Rollout
    candidate: Revision | None
    stable: Revision | None
    tone: str
    words: str
    steps: tuple[Step, ...]
    gates: tuple[GateRow, ...]
    charts: tuple[Chart, ...]
    decisions: tuple[RolloutDecision, ...]
    observations: tuple[Observation, ...]


def list_deployments(ask: Ask) -> DeploymentsPage:
    """List deployments."""
    found = sorted((read_health(ask, d) for d in ask.uow.find(Deployment)), key=lambda h: h.rank)
    bad = [health for health in found if health.status in ("failing", "warning")]
    rolling = [health for health in found if health.rollout]
    words = ", ".join(health.deployment for health in bad)
    head = (
        f"{len(bad)} of {len(found)} deployments need a look: {words}."
        if bad
        else f"{len(found)} deployments, none with an open alert."
    )
    note = (
        f"Rolling out now: {', '.join(health.rollout.revision for health in rolling if health.rollout)}."
        if rolling
        else ""
    )
    known = all(h.status in ("healthy", "retired") for h in found)
    tone = bad[0].tone if bad else "ok" if known else "idle"
    return DeploymentsPage(
        title="Deployments",
        crumbs=(Crumb(text="Deployments"),),
        command="tournant deployments list",
        verdict=Verdict(tone=tone, head=head, text=note) if found else None,
        now=ask.now,
        deployments=tuple(found),
        changes={health.deployment: latest_change(health, ask.now) for health in found},
    )


def show_deployment(ask: Ask) -> DeploymentPage:
    """Show one deployment."""
    deployment = ask.get(Deployment, ask.path["name"], noun="deployment")
    health = read_health(ask, deployment)
    revisions = {r.id: r for r in ask.uow.find(Revision, deployment=deployment.name, order="-number", limit=200)}
    rollouts = ask.uow.find(Rollout, deployment=deployment.name, order="-started_at", limit=PAST + 1)
    rollout = health.rollout
    focus = rollout or health.last_rollout
    decisions = ask.uow.find(RolloutDecision, rollout=focus.id, order="number") if focus else []
    split = _split(ask, deployment, rollout, revisions)
    past = [r for r in rollouts if r.phase.final]
    start = min(focus.started_at - DAY, ask.now - 2 * DAY) if rollout and focus else ask.now - 7 * DAY
    return DeploymentPage(
        title=deployment.name,
        crumbs=(Crumb(text="Deployments", href="/deployments"), Crumb(text=deployment.name)),
        command=f"tournant rollouts show {deployment.name}"
        if focus
        else f"tournant deployments show {deployment.name}",
        verdict=_verdict(deployment, health, rollout, past, revisions, decisions, ask.now),
        now=ask.now,
        deployment=deployment,
        health=health,
        rollout=rollout,
        candidate=revisions.get(rollout.revision) if rollout else None,
        stable=revisions.get(deployment.stable),
        run=_lineage(ask, revisions, rollout.revision if rollout else deployment.stable)[0],
        dataset=_lineage(ask, revisions, rollout.revision if rollout else deployment.stable)[1],
        shadows=tuple(revisions[s] for s in deployment.shadows if s in revisions),
        steps=steps(rollout, decisions, ask.now) if rollout else (),
        split=split,
        gates=gate_rows(focus.gates) if focus else (),
        gates_title=_gates_title(focus) if focus else "",
        actions=actions(rollout) if rollout else (),
        charts=_charts(ask, deployment, revisions, (start, ask.now), focus, decisions if rollout else (), rollouts),
        decisions=tuple(reversed(decisions)),
        past=_past(ask, past[:PAST], revisions),
        revisions=tuple(revisions.values()),
        served=health.served,
    )


def _lineage(ask: Ask, revisions: dict[str, Revision], revision: str) -> tuple[str, str]:
    found = revisions.get(revision)
    version = ask.uow.get(ModelVersion, found.model_version) if found else None
    return (version.run, version.datasets[0] if version.datasets else "") if version else ("", "")


def _gates_title(rollout: Rollout) -> str:
    if rollout.phase.final:
        return f"Gates of {rollout.revision} when it ended"
    return (
        f"Gates at {rollout.canary_percent:g} %" if rollout.phase is Phase.CANARY else f"Gates in {rollout.phase.value}"
    )


def _split(
    ask: Ask, deployment: Deployment, rollout: Rollout | None, revisions: dict[str, Revision]
) -> tuple[Share, ...]:
    weight = rollout.canary_percent if rollout else 0.0
    rows = read_traffic(ask, deployment.name, ask.now - DAY)
    parts = [
        ("stable", deployment.stable, 100 - weight),
        ("canary", rollout.revision if rollout and weight else "", weight),
    ]
    shares, x = [], 0.0
    for role, revision, percent in parts:
        if revision and percent:
            mine = [row for row in rows if row.revision == revision and row.role == role]
            found = revisions.get(revision)
            shares.append(
                Share(
                    role=role,
                    revision=revision,
                    model_version=found.model_version if found else revision,
                    percent=percent,
                    x=x,
                    per_second=served(mine, DAY).per_second,
                )
            )
            x += percent
    return tuple(shares)


def _past(ask: Ask, rollouts: Sequence[Rollout], revisions: dict[str, Revision]) -> tuple[PastRollout, ...]:
    ids = [rollout.id for rollout in rollouts]
    decisions = ask.uow.find(RolloutDecision, rollout__in=ids) if ids else []
    found = []
    for rollout in rollouts:
        tone, words = outcome(rollout)
        revision = revisions.get(rollout.revision)
        found.append(
            PastRollout(
                rollout=rollout,
                model_version=revision.model_version if revision else rollout.revision,
                tone=tone,
                words=words,
                why=why(rollout),
                reached=reached(rollout, [d for d in decisions if d.rollout == rollout.id]),
            )
        )
    return tuple(found)


def _verdict(
    deployment: Deployment,
    health: Health,
    rollout: Rollout | None,
    past: Sequence[Rollout],
    revisions: dict[str, Revision],
    decisions: Sequence[RolloutDecision],
    now: float,
) -> Verdict:
    if rollout:
        return rollout_verdict(rollout, revisions.get(rollout.revision), decisions, now)
    last = past[0] if past else None
    if last and last.phase is not Phase.PROMOTED and not last.superseded_by and now - (last.ended_at or 0) < 7 * DAY:
        found = rollout_verdict(last, revisions.get(last.revision), decisions, now)
        href = f"/deployments/{deployment.name}/rollouts/{last.id}"
        return Verdict(
            tone=found.tone, head=found.head, text=found.text, note=found.note, href=href, link="That rollout"
        )
    if not deployment.stable:
        return Verdict(tone="idle", head=f"{deployment.name} has no stable revision yet: it answers nobody.")
    since = f"since {stamp(health.stable_since, now)} UTC"
    words = {"healthy": "is healthy", "failing": "is failing", "warning": "has a warning"}.get(
        health.status, health.words.lower()
    )
    text = f"{describe_quality(health.quality)}." if not health.alerts else sentence(alert_words(health.alerts[0]))
    note = ""
    if health.labels_late_seconds:
        note = f"Labels are {duration(health.labels_late_seconds)} late."
    head = f"{health.model_version} answers all requests {since} and {words}."
    if health.status in ("no_labels", "waiting"):
        head = f"{health.model_version} answers all requests {since}; how good it is now is unknown ({words})."
    return Verdict(
        tone=health.tone, head=head, text=text, note=note, href=f"/monitors/{deployment.name}", link="Monitor"
    )


def _charts(
    ask: Ask,
    deployment: Deployment,
    revisions: dict[str, Revision],
    span: tuple[float, float],
    focus: Rollout | None,
    decisions: Sequence[RolloutDecision],
    rollouts: Sequence[Rollout],
) -> tuple[Chart, ...]:
    names = {r.id: r.model_version for r in revisions.values()}
    rows = [row for row in read_traffic(ask, deployment.name, span[0]) if row.bucket <= span[1]]
    flags = step_flags(decisions) if decisions else rollout_flags(rollouts, span[0])
    shown = tuple(flag for flag in flags if span[0] <= flag.time <= span[1])
    metric = deployment.config.monitors.metric
    before = LOSS_UNITS * unit_seconds(deployment.config.monitors)  # quality is slower than latency: show more of it
    profiles = [p for p in read_profiles(ask, deployment.name, span[0] - before) if p.unit_start <= span[1]]
    units = units_of(profiles)
    roles = {deployment.stable: "stable", **dict.fromkeys(deployment.shadows, "shadow")}
    if focus:
        own = "shadow" if focus.phase is Phase.SHADOW else "canary"
        roles |= {focus.stable: "stable", focus.revision: own} if not focus.phase.final or decisions else {}
    units = [u for u in units if u.revision in roles or _served(revisions.get(u.revision))]
    loss = loss_chart(units, roles, names, metric=metric, limit=None, flags=shown)
    latency = replace(latency_chart(deployment, rows, *span, names), flags=shown)
    second = loss if loss.known else replace(traffic_chart(rows, *span, names), flags=shown)
    return latency, second


def _served(revision: Revision | None) -> bool:
    """Whether a revision was stable once: the others only clutter a chart."""
    return revision is not None and revision.state in (RevisionState.STABLE, RevisionState.RETIRED)


def show_rollout(ask: Ask) -> RolloutPage:
    """Show one rollout."""
    deployment = ask.get(Deployment, ask.path["name"], noun="deployment")
    rollout = ask.get(Rollout, ask.path["id"], noun="rollout")
    if rollout.deployment != deployment.name:
        raise NotFound(f"There is no rollout {rollout.id!r} of {deployment.name}.")
    revisions = {r.id: r for r in ask.uow.find(Revision, deployment=deployment.name)}
    decisions = ask.uow.find(RolloutDecision, rollout=rollout.id, order="number")
    end = rollout.ended_at or ask.now
    pad = max(DAY, 0.2 * (end - rollout.started_at))
    span = (rollout.started_at - pad, min(ask.now, end + pad))
    tone, words = outcome(rollout)
    return RolloutPage(
        title=f"Rollout of {rollout.revision}",
        crumbs=(
            Crumb(text="Deployments", href="/deployments"),
            Crumb(text=deployment.name, href=f"/deployments/{deployment.name}"),
            Crumb(text=f"Rollout of {rollout.revision}"),
        ),
        command=f"tournant rollouts show {rollout.id[-7:]}",
        verdict=rollout_verdict(rollout, revisions.get(rollout.revision), decisions, ask.now),
        now=ask.now,
        deployment=deployment,
        rollout=rollout,
        candidate=revisions.get(rollout.revision),
        stable=revisions.get(rollout.stable),
        tone=tone,
        words=words,
        steps=steps(rollout, decisions, ask.now),
        gates=gate_rows(rollout.gates),
        charts=_charts(ask, deployment, revisions, span, rollout, decisions, ()),
        decisions=tuple(reversed(decisions)),
        observations=tuple(ask.uow.find(Observation, rollout=rollout.id, order="epoch,role")),
    )


PAGES = (
    Page(path="/deployments", template="deployments.html", section="deployments", view=list_deployments),
    Page(
        path="/deployments/{name}/rollouts/{id}",
        template="rollout.html",
        section="deployments",
        view=show_rollout,
        charts=True,
    ),
    Page(
        path="/deployments/{name}", template="deployment.html", section="deployments", view=show_deployment, charts=True
    ),
)
