"""Maps a deployment's section of `tournant.yaml` onto the settings it is served, judged and renewed under."""

from collections.abc import Mapping, Sequence
from typing import Any

from tournant.domain.checks import MetricCheck
from tournant.domain.deployment import DeploymentConfig, LabelConfig, LogConfig, MonitorConfig, Requirement
from tournant.domain.freeze import FreezeWindow
from tournant.domain.pipeline import ModelSpec
from tournant.domain.retraining import RetrainingPolicy
from tournant.domain.rollout import CostModel, RolloutStrategy
from tournant.services.durations import seconds_of
from tournant.services.yaml_document import Document, Problem, suggest

__all__ = ["read_deployment"]

Section = Mapping[str, Any]

# from the file's keys to the records' fields; a field that ends in _seconds takes a duration
_LABELS = {"column": "column", "delay": "delay_seconds", "maturity": "maturity_seconds"}
_LOG = {name: name for name in ("sample", "drop", "hash")}
_ROLLOUT = {
    "shadow": "shadow",
    "shadow_hold": "shadow_hold_seconds",
    "canary": "canary_percents",
    "hold": "hold_seconds",
    "limit": "limit_seconds",
    "minimum_requests": "minimum_requests",
    "minimum_labels": "minimum_labels",
    "alpha": "alpha",
    "max_error_increase": "max_error_increase",
    "max_loss_increase": "max_loss_increase",
    "max_score_shift": "max_score_shift",
    "max_score_distance": "max_score_distance",
    "max_slower_share": "max_slower_share",
    "warmup_requests": "warmup_requests",
    "strict": "strict",
    "evidence": "evidence",
    "slices": "slices",
    "approval": "approval",
}
_COSTS = {name: name for name in ("false_positive", "false_negative", "threshold", "max_increase")}
_CHECKS = {name: name for name in ("name", "url", "query", "maximum", "minimum", "failures")} | {
    "every": "every_seconds"
}
_FREEZE = {"from": "start", "until": "end", "zone": "zone", "reason": "reason"}
_MONITORS = {
    name: name
    for name in (
        *("unit", "window", "metric", "average_run_length", "minimum_increase", "drift_alpha", "drift_psi"),
        "liveness_units",
    )
}
_RETRAINING = {
    "dataset": "dataset",
    "triggers": "triggers",
    "schedule": "schedule_seconds",
    "new_rows": "new_rows",
    "cooldown": "cooldown_seconds",
    "approval": "approval",
    "window": "window",
    "window_length": "window_seconds",
}
_BUDGET = {"retrainings": "budget", "every": "budget_seconds"}
_GATE = {"units": "gate_units", "rule": "gate_rule", "margin": "gate_margin", "alpha": "gate_alpha"}


def read_deployment(
    document: Document, name: str, given: Section, *, data: Sequence[str], model: ModelSpec | None
) -> tuple[DeploymentConfig, list[Problem]]:
    """Map one deployment's section, which fits the schema; give what is wrong with it all the same."""
    problems: list[Problem] = []
    place = ("deployments", name)
    labels = _fields(given.get("labels"), _LABELS, LabelConfig())
    if model and model.label:
        labels.setdefault("column", model.label)
    try:
        rollout = _strategy(given.get("rollout") or {})
    except ValueError as exc:
        parts = {"freeze window": "freeze", "metric check": "checks", "alpha": "alpha"}
        part = next((key for words, key in parts.items() if words in str(exc)), "canary")
        problems.append(Problem(document.line(*place, "rollout", part), f"deployments.{name}.rollout: {exc}"))
        rollout = RolloutStrategy()
    retraining, found = _retraining(document, name, given, data)
    slo = given.get("slo") or {}
    config = DeploymentConfig(
        **({"slo_p99_ms": float(slo["p99_ms"])} if "p99_ms" in slo else {}),
        entity=given.get("entity", ""),
        standby=given.get("standby", True),
        log=LogConfig(**_fields(given.get("log"), _LOG, LogConfig())),
        labels=LabelConfig(**labels),
        rollout=rollout,
        monitors=MonitorConfig(**_fields(given.get("monitors"), _MONITORS, MonitorConfig())),
        retraining=retraining,
        require=tuple(map(Requirement, given.get("require", ()))),
    )
    return config, [*problems, *found, *_hidden_but_needed(document, name, config)]


def _hidden_but_needed(document: Document, name: str, config: DeploymentConfig) -> list[Problem]:
    """Tell of columns that the prediction log hides from what reads it."""
    line = document.line("deployments", name, "log")
    problems = []
    twice = sorted(set(config.log.drop) & set(config.log.hash))
    if twice:
        problems.append(f"{twice[0]!r} is in both 'drop' and 'hash'")
    if config.retraining and config.log.hidden:
        hidden = ", ".join(sorted(config.log.hidden))
        problems.append(f"retraining learns from the log, which would lack {hidden}: hide none, or do not retrain")
    lost = sorted(set(config.rollout.slices) & set(config.log.drop))
    if lost:
        problems.append(f"rollout.slices judges by {lost[0]!r}, which 'drop' leaves out: 'hash' keeps it apart")
    return [Problem(line, f"deployments.{name}.log: {problem}") for problem in problems]


def _strategy(section: Section) -> RolloutStrategy:
    fields = _fields(section, _ROLLOUT, RolloutStrategy())
    if section.get("costs") is not None:
        fields["costs"] = CostModel(**_fields(section["costs"], _COSTS, CostModel()))
    if section.get("freeze"):
        windows = [{_FREEZE[key]: str(value) for key, value in window.items()} for window in section["freeze"]]
        fields["freeze"] = tuple(FreezeWindow(**window) for window in windows)
    if section.get("checks"):
        default = MetricCheck(name="_", url="http://_", query="_", maximum=0.0)
        fields["checks"] = tuple(
            MetricCheck(**{"maximum": None, **_fields(check, _CHECKS, default)}) for check in section["checks"]
        )
    return RolloutStrategy(**fields)


def _retraining(
    document: Document, name: str, given: Section, data: Sequence[str]
) -> tuple[RetrainingPolicy | None, list[Problem]]:
    if "retraining" not in given:
        return None, []
    section = given["retraining"] or {}
    default = RetrainingPolicy(dataset="")
    fields = {
        **_fields(section, _RETRAINING, default),
        **_fields(section.get("budget"), _BUDGET, default),
        **_fields(section.get("gate"), _GATE, default),
    }
    fields.setdefault("dataset", data[0] if len(data) == 1 else "")
    where, place = f"deployments.{name}.retraining", ("deployments", name, "retraining")
    problems = []
    if fields["dataset"] not in data:
        known = ", ".join(data) or "none: add a section 'data'"
        hint = suggest(fields["dataset"], data) or f" (datasets: {known})"
        what = f"unknown dataset '{fields['dataset']}'" if fields["dataset"] else "'dataset' is missing"
        problems.append(Problem(document.line(*place, "dataset"), f"{where}: {what}{hint}"))
    if fields.get("window") == "sliding" and not fields.get("window_seconds"):
        problems.append(Problem(document.line(*place, "window"), f"{where}: a sliding window needs 'window_length'"))
    return RetrainingPolicy(**fields), problems


def _fields(section: Section | None, names: Mapping[str, str], default: object) -> dict[str, Any]:
    """Rename a section's keys to a record's fields, and give the values the types the record's defaults have."""
    return {
        field: _value(section[key], field, getattr(default, field))
        for key, field in names.items()
        if section is not None and key in section
    }


def _value(value: Any, field: str, default: object) -> Any:
    if field.endswith("_seconds"):
        return seconds_of(value)
    if isinstance(value, list):
        return tuple(float(item) if isinstance(item, int) else item for item in value)
    return float(value) if isinstance(default, float) else value
