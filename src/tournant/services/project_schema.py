"""The JSON Schema of `tournant.yaml`: what editors complete, what the reference page shows, and what a file is checked against.

`expects` (which JSON Schema ignores) is what an error says was expected. Defaults are read off the records they end up in.
"""

from collections.abc import Mapping

from tournant.domain.deployment import DeploymentConfig, LabelConfig, LogConfig, MonitorConfig, Requirement
from tournant.domain.performance import METRICS
from tournant.domain.pipeline import ModelSpec, Step
from tournant.domain.retraining import RetrainingPolicy
from tournant.domain.rollout import APPROVALS, EVIDENCE, CostModel, RolloutStrategy

__all__ = ["project_schema"]

Schema = dict[str, object]

_DURATION = r"^\d+(\.\d+)?(ms|s|m|h|d|w)$"
_MODEL, _DEPLOYMENT, _LABELS, _MONITORS = ModelSpec(name=""), DeploymentConfig(), LabelConfig(), MonitorConfig()
_LOG = LogConfig()
_ROLLOUT, _COSTS, _RETRAINING = RolloutStrategy(), CostModel(), RetrainingPolicy(dataset="")


def project_schema() -> Schema:
    """Give the JSON Schema (draft 2020-12) of `tournant.yaml`."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "tournant.yaml",
        **_section(
            "A project: the whole loop from data to a model in production that renews itself.",
            required=["project"],
            project=_name("The project's name; its runs are the experiment of this name"),
            environment=_environment(),
            data=_named(_path("A file or folder"), "Datasets: name and path. Each run keeps their content as versions"),
            params=_named(
                {}, "What steps may be told: any value by name; in texts of steps as `${name}`, nested as `${a.b}`"
            ),
            params_files=_list(_path("A file"), "YAML, JSON or TOML files with more params, under those given here"),
            step_cache=_name(
                "The remote at which steps are shared: what a colleague's run has made is fetched, not made again"
            ),
            pipeline=_named(_step(), "Steps by name; each waits for those that make what it depends on"),
            model=_model(),
            tests=_list(_test(), "Commands that a model must pass"),
            deployments=_named(_deployment(), "Endpoints by name"),
        ),
    }


def _environment() -> Schema:
    return _section(
        "What the project runs in, locked with hashes at the first run. Without it, the Python that runs tournant",
        python={
            **_text('Python `major.minor`, such as "3.11"; default: that of tournant'),
            "type": ["string", "number"],
            "pattern": r"^3\.\d+$",
            "expects": 'a Python version such as "3.11"',
        },
        requirements=_path(
            "A requirements file as for pip, a pyproject.toml, a uv.lock, or a conda file (its pip part)"
        ),
    )


def _step() -> Schema:
    return _section(
        "One command.",
        required=["run"],
        run=_text("The command, run by the shell in the project's folder; `python` is that of the environment"),
        deps=_list(_path("A path"), "What it reads. Files of the project that the command names are added"),
        params=_list(_text("A param"), "The params it reads, from the JSON file that TOURNANT_PARAMS names"),
        outs=_list(_path("A path"), "Files and folders it makes; removed before it runs, restored when it need not"),
        metrics=_list(_path("A path"), "JSON files of numbers it makes; they become the run's metrics"),
        plots=_list(
            _path("A path"),
            "CSV or JSON files of rows it makes, which `tournant plots` draws: first column against others",
        ),
        env=_named(_scalar(), "Environment variables"),
        resources=_section(
            "What it may use.", threads=_whole("Threads of numeric libraries", default=Step(name="", run="").threads)
        ),
        foreach={
            "type": ["array", "object", "string"],
            "description": "Repeat the step for each item (`${item}`, in a section also `${key}`), as STEP.ITEM; or a param's name",
            "expects": "a list, a section, or a param such as ${regions}",
        },
        matrix=_named(
            {"type": ["array", "string"], "expects": "a list, or a param such as ${depths}"},
            "Repeat the step for each combination of these lists' values (`${item.NAME}`)",
        ),
        frozen=_flag("Whether it is not run any more: what it made last is taken", default=False),
        retries=_whole("How many times it is run again when it fails", default=0),
        timeout=_duration("It fails when it takes longer; 0: no bound", 0.0),
    )


def _model() -> Schema:
    return _section(
        "What the pipeline registers after its last step.",
        name=_name("The registered model's name; default: the project's"),
        path=_path(f"The model's folder (or file); default: {_MODEL.path}", default=_MODEL.path),
        flavor=_text("`sklearn`, `onnx`, `python`, …; default: by the entry"),
        entry=_path("The model file in the folder; default: the only one, or model.*"),
        predict=_text("The method that predicts; default: predict_proba if the model has it, else predict"),
        input_example=_path("A JSON list of input rows; default: input_example.json in the folder"),
        reference=_path("A Parquet file of rows that the model did not learn from, with their labels"),
        label=_text("The label's column in `reference`"),
        time=_text("The event time's column in `reference`"),
        tolerance={
            **_number(
                "Largest difference allowed between converted and original (of a number, relative to the predictions' size)"
            ),
            "default": _MODEL.tolerance,
        },
        protected_aliases=_list(_name("An alias"), "Aliases that move only after somebody else's approval"),
    )


def _test() -> Schema:
    return _section(
        "One command; exit code 0 is a pass. TOURNANT_MODEL names the model's folder.",
        required=["name", "run"],
        name=_name("What it shows"),
        run=_text("The command"),
    )


def _deployment() -> Schema:
    return _section(
        "One endpoint: what it promises, how a new model comes in, what is watched, and when it is renewed.",
        slo=_section(
            "What is promised.", p99_ms=_positive("99 % of answers take at most this", default=_DEPLOYMENT.slo_p99_ms)
        ),
        entity=_text(
            "The input column whose value keeps to one side of a split, or `header:NAME` for a request's header; default: requests are split at random"
        ),
        standby=_flag(
            "Whether gateways keep the revision before loaded, so that a rollback takes effect at once",
            default=_DEPLOYMENT.standby,
        ),
        log=_section(
            "What the prediction log keeps; what is not in it cannot be labelled, watched or learned from.",
            sample={**_positive("The share of predictions", default=_LOG.sample), "maximum": 1},
            drop=_list(_text("An input column"), "Columns that are left out (personal data)"),
            hash=_list(_text("An input column"), "Columns of which a digest is kept, keyed by the deployment"),
        ),
        labels=_section(
            "How what really happened comes to be known.",
            column=_text(f"The label's name; default: the model's `label`, else {_LABELS.column}"),
            delay=_duration("How long after a prediction its label is expected", _LABELS.delay_seconds),
            maturity=_duration("How long after a unit of evidence its labels are complete", _LABELS.maturity_seconds),
        ),
        require=_list(
            _option("A proof", [requirement.value for requirement in Requirement]),
            "What a version must have to be rolled out: `signed` (tournant models sign), `verified` (tournant verify)",
        ),
        rollout=_rollout(),
        monitors=_monitors(),
        retraining=_retraining(),
    )


def _rollout() -> Schema:
    s = _ROLLOUT
    weight = {**_number("A share in percent"), "exclusiveMinimum": 0, "maximum": 100}
    return _section(
        "How a candidate becomes stable.",
        shadow=_flag("Whether it first sees copies of requests, answering none", default=s.shadow),
        shadow_hold=_duration("How long at least it is a shadow", s.shadow_hold_seconds),
        canary={**_list(weight, "Its rising shares of requests, in percent"), "default": list(s.canary_percents)},
        hold=_duration("How long at least each share is held", s.hold_seconds),
        limit=_duration("After this long in one step with no verdict it is inconclusive", s.limit_seconds),
        minimum_requests=_whole("Requests to see in each step", default=s.minimum_requests),
        minimum_labels=_whole("Labels to see in each step; 0: loss is not judged", default=s.minimum_labels),
        alpha=_level("Chance that a good candidate is stopped", default=s.alpha),
        max_error_increase=_number("Allowed increase of the share of errors", default=s.max_error_increase),
        max_loss_increase=_number("Allowed increase of the mean loss", default=s.max_loss_increase),
        max_score_shift=_number("Allowed difference of the mean score", default=s.max_score_shift),
        max_score_distance=_number(
            "Allowed distance of the distributions of probabilities (Kolmogorov-Smirnov)", default=s.max_score_distance
        ),
        max_slower_share={
            **_number(
                "Allowed part of its answers slower than stable's, at any one time of the distribution; default: only the SLO counts"
            ),
            "exclusiveMaximum": 1,
        },
        warmup_requests=_whole("Requests replayed before it gets any", default=s.warmup_requests),
        strict=_flag("Whether a step succeeds only once whole intervals are within their limits", default=s.strict),
        evidence=_option(
            "What is independent of each other: `unit` (the monitors' unit of evidence) or `row` (each labelled request)",
            list(EVIDENCE),
            s.evidence,
        ),
        slices=_list(
            _text("An input column"), "Columns whose every value is judged on its own: one that loses more stops it"
        ),
        costs=_section(
            "What wrong decisions cost; a candidate may not cost more than stable.",
            false_positive=_number("Acting on what was not so", default=_COSTS.false_positive),
            false_negative=_number("Not acting on what was so", default=_COSTS.false_negative),
            threshold=_number("From which prediction on it is acted", default=_COSTS.threshold),
            max_increase=_number("Allowed increase of the cost a request", default=_COSTS.max_increase),
        ),
        checks=_list(
            _section(
                "A query of Prometheus; `$deployment` and `$revision` stand for those of the rollout.",
                required=["name", "url", "query"],
                name=_text("What it is called among the gates"),
                url=_text("Prometheus's address"),
                query=_text("An instant query that gives one number"),
                maximum={"type": "number", "description": "Above it the check fails"},
                minimum={"type": "number", "description": "Below it the check fails"},
                failures={**_whole("Readings in a row beyond a limit that fail it", default=3), "minimum": 1},
                every=_duration("How long at least between readings (real time)", 15.0),
            ),
            "Metrics that decide too",
        ),
        approval=_option(
            "What waits for `tournant rollouts promote`: `none`, `promotion` (to stable) or `steps` (each rise of its share)",
            list(APPROVALS),
            s.approval,
        ),
        freeze=_list(
            _section(
                "A time in which no share rises; what fails is rolled back all the same.",
                required=["from", "until"],
                **{
                    "from": _text("Weekly (`Fri 17:00`) or by date (`2026-12-24`)"),
                    "until": _text("Its end, of the same kind"),
                    "zone": _text("Whose time it is, such as Europe/Berlin; default: UTC"),
                    "reason": _text("Why, for those who wait"),
                },
            ),
            "Times in which nothing goes forward",
        ),
    )


def _monitors() -> Schema:
    m = _MONITORS
    metrics = list(METRICS)
    return _section(
        "What is watched, and how often a false alarm is acceptable.",
        unit=_option("The unit of evidence: rows within one are not independent", ["hour", "day"], m.unit),
        window={**_whole("The current window's length in units", default=m.window), "minimum": 1},
        metric=_option("The loss", metrics, m.metric),
        average_run_length=_positive("Expected units between false performance alerts", default=m.average_run_length),
        minimum_increase=_number("Increase of the mean loss that matters", default=m.minimum_increase),
        drift_alpha=_level("False discovery rate over columns", default=m.drift_alpha),
        drift_psi=_number("Smallest population stability index that counts as drift", default=m.drift_psi),
        liveness_units=_positive("Units without labels or requests that raise an alert", default=m.liveness_units),
    )


def _retraining() -> Schema:
    r = _RETRAINING
    kinds = ["performance", "estimated_performance", "drift", "data_quality", "liveness"]
    return _section(
        "When the model is trained again, on what, and what a challenger must show.",
        dataset=_text("The dataset that labelled predictions are added to; default: the only one"),
        triggers={**_list(_option("An alert's kind", kinds), "Alerts that start it"), "default": list(r.triggers)},
        schedule=_duration("Also this often; 0: never", r.schedule_seconds),
        new_rows=_whole("Also after this many new labelled rows; 0: never", default=r.new_rows),
        cooldown=_duration("How long after one the next may start", r.cooldown_seconds),
        budget=_section(
            "How many there may be.",
            retrainings=_whole("At most this many; 0: no bound", default=r.budget),
            every=_duration("In this time", r.budget_seconds),
        ),
        approval=_option("Whether a person must agree before the rollout", ["auto", "manual"], r.approval),
        window=_option("All rows so far, or only the last `window_length`", ["expanding", "sliding"], r.window),
        window_length=_duration("The length of a sliding window", r.window_seconds),
        gate=_section(
            "Champion against challenger on the same later rows.",
            units={**_whole("Units of evidence held back for it", default=r.gate_units), "minimum": 1},
            rule=_option("What it must show", ["superior", "non_inferior", "better_mean"], r.gate_rule),
            margin=_number("How much worse `non_inferior` allows", default=r.gate_margin),
            alpha=_level("Level of the interval", default=r.gate_alpha),
        ),
    )


def _section(description: str, *, required: list[str] | None = None, **properties: Schema) -> Schema:
    schema: Schema = {"type": "object", "description": description, "properties": properties}
    return {**schema, **({"required": required} if required else {}), "additionalProperties": False}


def _named(of: Schema, description: str) -> Schema:
    names = {"pattern": r"^[A-Za-z0-9][\w.-]{0,99}$", "description": "a name is letters, digits, '_', '-' and '.'"}
    return {"type": "object", "description": description, "additionalProperties": of, "propertyNames": names}


def _list(of: Schema, description: str) -> Schema:
    return {"type": "array", "description": description, "items": of}


def _text(description: str, **more: object) -> Schema:
    return {"type": "string", "description": description, "pattern": r"\S", "expects": "text", **more}


def _name(description: str) -> Schema:
    return _text(
        description, pattern=r"^[A-Za-z0-9][\w.-]{0,99}$", expects="a name of letters, digits, '_', '-' and '.'"
    )


def _path(description: str, **more: object) -> Schema:
    pattern = r"^(?!/)(?!.*(^|/)\.\.(/|$))(?!.*\\)(?!\s*$).+$"
    return _text(
        description, pattern=pattern, expects="a path inside the project's folder, such as data/train.csv", **more
    )


def _scalar() -> Schema:
    return {"type": ["string", "number", "boolean"]}


def _flag(description: str, *, default: bool) -> Schema:
    return {"type": "boolean", "description": description, "default": default}


def _whole(description: str, *, default: int) -> Schema:
    return {"type": "integer", "description": description, "minimum": 0, "default": default}


def _number(description: str, **more: object) -> Schema:
    return {"type": "number", "description": description, "minimum": 0, **more}


def _positive(description: str, *, default: float) -> Schema:
    return {"type": "number", "description": description, "exclusiveMinimum": 0, "default": default}


def _level(description: str, *, default: float) -> Schema:
    limits = {"exclusiveMinimum": 0, "exclusiveMaximum": 1}
    return {"type": "number", "description": description, **limits, "default": default}


def _option(description: str, options: list[str], default: str = "") -> Schema:
    return {"description": description, "enum": options, **({"default": default} if default else {})}


def _duration(description: str, default_seconds: float) -> Schema:
    text = (
        0
        if not default_seconds
        else f"{default_seconds / 86_400:g}d"
        if default_seconds >= 3_600
        else f"{default_seconds:g}s"
    )
    limits: Mapping[str, object] = {"pattern": _DURATION, "minimum": 0, "maximum": 0, "default": text}
    expects = "a duration such as 90s, 15m, 6h, 1d or 2w"
    return {"type": ["string", "integer"], "description": description, **limits, "expects": expects}
