"""A state machine drives rollouts through traffic, time, steering and restarts."""

import hypothesis.strategies as st
from hypothesis import HealthCheck, seed, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from tournant.controllers.rollout import RolloutController
from tournant.domain.deployment import DeploymentConfig, TrafficSplit
from tournant.domain.predictions import Traffic
from tournant.domain.rollout import Observation, Phase, Rollout, RolloutDecision, RolloutStrategy
from tournant.errors import Conflict
from tournant.services.deployments import deploy, rollback
from tournant.services.gateways import apply_report
from tournant.services.rollouts import abort_rollout, pause_rollout, promote_rollout, resume_rollout

MINIMUM = 60
STRATEGY = RolloutStrategy(canary_percents=(10.0, 50.0), minimum_requests=MINIMUM, limit_seconds=5 * 86_400.0)
NAME = "d"


def test_rollouts_keep_their_promises(worlds):
    """Whatever happens, users are on stable unless the candidate has earned its share."""
    machines = []

    @seed(2)  # the same walk everywhere: it must reach every end
    class Rollouts(RuleBasedStateMachine):
        def __init__(self):
            super().__init__()
            machines.append(self)
            self.world = worlds()
            self.ctx = self.world.ctx
            self.versions = 0
            self.forced = set()
            self.deploy()
            self.world.settle()

        # events

        @precondition(lambda self: not self.open() or self.versions % 3 == 0)  # else it supersedes all the time
        @rule(error_rate=st.sampled_from([0.0, 0.0, 0.03, 0.5]), slow_rate=st.sampled_from([0.0, 0.0, 1.0]))
        def deploy(self, error_rate=0.0, slow_rate=0.0):
            self.versions += 1
            model = self.world.register(self.versions)
            revision = deploy(self.ctx, NAME, model, config=DeploymentConfig(rollout=STRATEGY))
            self.behave(revision.id, error_rate=error_rate, slow_rate=slow_rate)

        def behave(self, revision, **rates):
            behaviour = self.world.gateways[0].behaviour(revision)
            for name, rate in rates.items():
                setattr(behaviour, name, rate)
            self.world.behaviours[revision] = behaviour

        @rule(requests=st.sampled_from([1, 30, 200, 1000]))
        def traffic(self, requests):
            for gateway in self.world.gateways:
                gateway.serve(requests)

        @rule(requests=st.sampled_from([100, 1000]), hours=st.integers(1, 20), times=st.integers(1, 5))
        def a_while_passes(self, requests, hours, times):
            self.world.settle()
            for _ in range(times):
                self.world.serve(requests)
                self.world.clock.time += hours * 3600.0

        @rule()
        def tick(self):
            self.world.controller.tick()

        @rule()
        def gateways_follow(self):
            self.world.gateways[0].sync()

        @rule(days=st.sampled_from([0.1, 1]))
        def time_passes(self, days):
            self.world.clock.time += days * 86_400

        @precondition(lambda self: self.open())
        @rule()
        def a_week_without_traffic(self):
            self.world.settle()  # what was still loading is in its step when the week begins
            self.world.clock.time += 7 * 86_400
            self.world.settle()

        @rule()
        def gateway_and_controller_restart(self):
            gateway = self.world.gateways[0]
            gateway.table, gateway.started_at = type(gateway.table)(version=0), gateway.started_at + 1
            self.world.controller = RolloutController(self.ctx)

        @rule()
        def report_is_sent_twice(self):
            before = self.find(Observation), self.find(Traffic)
            for gateway in self.world.gateways:
                if gateway.last:
                    apply_report(self.ctx, gateway.last)
            assert (self.find(Observation), self.find(Traffic)) == before

        @precondition(lambda self: self.open())
        @rule(steer=st.sampled_from(["pause", "resume", "abort", "promote", "promote", "force", "roll back"]))
        def by_hand(self, steer):
            rollout = self.open()[0]
            try:
                self.steered(steer, rollout.id)
            except Conflict:
                return
            if steer == "force":
                self.forced.add(rollout.id)

        def steered(self, steer, rollout_id):
            if steer == "roll back":
                rollback(self.ctx, NAME)
            elif steer == "force":
                promote_rollout(self.ctx, rollout_id, force=True)
            else:
                verbs = {"pause": pause_rollout, "resume": resume_rollout, "abort": abort_rollout}
                verbs.get(steer, promote_rollout)(self.ctx, rollout_id)

        # promises

        def find(self, kind, **where):
            with self.ctx.transactions.begin(write=False) as uow:
                return uow.find(kind, **where)

        def open(self):
            return [rollout for rollout in self.find(Rollout, deployment=NAME) if not rollout.phase.final]

        @invariant()
        def traffic_is_where_it_belongs(self):
            rollouts = self.find(Rollout, deployment=NAME)
            open_rollouts = [rollout for rollout in rollouts if not rollout.phase.final]
            route, stable = self.world.route(), self.world.deployment().stable
            assert len(open_rollouts) <= 1
            assert route.stable == stable
            assert not stable or (stable, Phase.PROMOTED) in {(r.revision, r.phase) for r in rollouts}
            split = TrafficSplit(10_000 - route.canary_weight, route.canary_weight)
            assert split.stable + split.canary == 10_000
            assert bool(route.canary) == bool(route.canary_weight)
            if not open_rollouts:  # failed, aborted, inconclusive or promoted: all of it is on stable
                assert (route.canary, route.canary_weight, route.warming, route.rollout) == ("", 0, (), "")
            named = {
                *filter(None, (route.stable, route.canary)),
                *route.shadows,
                *route.warming,
                *filter(None, (route.standby,)),
            }
            assert named == {revision.id for revision in route.revisions}

        @invariant()
        def nothing_moved_without_the_minimum_sample(self):
            for decision in self.find(RolloutDecision, weight_percent__gt=0):
                gained = decision.action in ("advance", "promote")
                if gained and decision.rollout not in self.forced:
                    assert decision.gates
                    assert all(gate.samples >= gate.minimum for gate in decision.gates)

        @rule()
        def ticking_at_rest_changes_nothing(self):
            while self.world.controller.tick():
                pass
            before = (self.find(Rollout), self.find(RolloutDecision), self.world.events(), self.world.route())
            assert not self.world.controller.tick()
            assert before == (self.find(Rollout), self.find(RolloutDecision), self.world.events(), self.world.route())

    run_state_machine_as_test(
        Rollouts,
        settings=settings(
            max_examples=14,
            stateful_step_count=50,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            database=None,
        ),
    )
    reached = {(rollout.phase, rollout.step) for machine in machines for rollout in machine.find(Rollout)}
    ends = {(Phase.PROMOTED, 2), (Phase.FAILED, 0), (Phase.ABORTED, 0), (Phase.INCONCLUSIVE, 0)}
    assert ends <= reached  # or the walk was too short
