"""The rollout controller over real services and SQLite, with gateways that count."""

import time
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from tournant.controllers.rollout import RolloutController
from tournant.domain.checks import MetricCheck
from tournant.domain.control import GatewayState
from tournant.domain.deployment import RevisionState
from tournant.domain.freeze import FreezeWindow
from tournant.domain.rollout import Phase, RolloutDecision
from tournant.errors import Conflict
from tournant.services.deployments import deploy, set_shadows
from tournant.services.rollouts import abort_rollout, pause_rollout, promote_rollout, resume_rollout, start_rollout


@pytest.fixture
def live(world, quick_config):
    """A world where d/1 is stable and m@2 is registered."""
    deploy(world.ctx, "d", world.register(1), config=quick_config)
    world.settle()
    world.register(2)
    return world


def run(world, requests=400, times=12):
    for _ in range(times):
        world.serve(requests)
        world.clock.time += 3600


def test_first_revision_becomes_stable_once_loaded(live):
    """A deployment's first revision only has to load and pass the warm-up."""
    assert live.deployment().stable == "d/1"
    assert live.revision("d/1").state is RevisionState.STABLE
    assert live.rollout("d/1").phase is Phase.PROMOTED


def test_first_revision_that_does_not_load_fails_with_the_gateways_reason(world, quick_config):
    """What the gateway says stands in the rollout."""
    world.behaviours["d/1"] = type(world.gateways[0].behaviour(""))(load_error="no module named 'sklearn'")
    deploy(world.ctx, "d", world.register(1), config=quick_config)
    world.settle()
    assert world.rollout("d/1").phase is Phase.FAILED
    assert "no module named 'sklearn'" in world.rollout("d/1").reason
    assert world.deployment().stable == ""


def test_good_candidate_goes_through_shadow_and_canary(live):
    """Each step is recorded, and the weights are the strategy's."""
    deploy(live.ctx, "d", "m@2")
    live.settle()
    assert live.rollout("d/2").phase is Phase.SHADOW
    assert live.route().shadows == ("d/2",)
    run(live)
    rollout = live.rollout("d/2")
    assert rollout.phase is Phase.PROMOTED
    assert live.deployment().stable == "d/2"
    assert live.revision("d/1").state is RevisionState.RETIRED
    with live.ctx.transactions.begin(write=False) as uow:
        decisions = uow.find(RolloutDecision, rollout=rollout.id, order="number")
    assert [(d.action, d.weight_percent) for d in decisions] == [
        ("start", 0),
        ("advance", 0),
        ("advance", 0),
        ("advance", 20),
        ("advance", 50),
        ("promote", 100),
    ]
    assert [d.number for d in decisions] == [1, 2, 3, 4, 5, 6]


def test_no_traffic_never_promotes(live):
    """Without requests a candidate stays in shadow, and in the end it is inconclusive."""
    deploy(live.ctx, "d", "m@2")
    live.settle()
    for _ in range(29):
        live.clock.time += 86_400
        live.settle()
    assert live.rollout("d/2").phase is Phase.SHADOW
    live.clock.time += 86_400
    live.settle()
    assert live.rollout("d/2").phase is Phase.INCONCLUSIVE
    assert (live.route().stable, live.route().shadows) == ("d/1", ())


@pytest.mark.parametrize(
    ("changes", "phase", "words"),
    [
        ({"error_rate": 0.08}, Phase.SHADOW, "error rate"),
        ({"slow_rate": 1.0}, Phase.SHADOW, "over 100 ms"),
        ({"shift": 0.4}, Phase.SHADOW, "mean score"),
        ({"probe_slow_rate": 1.0}, Phase.WARMING, "over 100 ms"),
        ({"probe_error_rate": 0.5}, Phase.WARMING, "error rate"),
    ],
)
def test_broken_candidate_is_rolled_back_with_the_reason(live, changes, phase, words):
    """Whatever is broken, stable has all traffic again, and the reason says what it was."""
    live.behaviours["d/2"] = replace(live.gateways[0].behaviour(""), **changes)
    deploy(live.ctx, "d", "m@2")
    live.settle()
    run(live)
    rollout = live.rollout("d/2")
    assert rollout.phase is Phase.FAILED
    assert words in rollout.reason and "95 % confidence" in rollout.reason
    assert (live.route().stable, live.route().canary, live.route().shadows) == ("d/1", "", ())
    assert live.revision("d/2").state is RevisionState.REJECTED
    with live.ctx.transactions.begin(write=False) as uow:
        last = uow.find(RolloutDecision, rollout=rollout.id, order="-number", limit=1)[0]
    assert last.action == "fail" and any(gate.reason == rollout.reason for gate in last.gates)
    assert phase in (Phase.SHADOW, Phase.WARMING)


def test_candidate_that_breaks_in_canary_is_rolled_back(live):
    """A candidate may be fine on its own and fail under traffic."""
    deploy(live.ctx, "d", "m@2")
    live.settle()
    live.serve(400)
    assert live.rollout("d/2").phase is Phase.CANARY
    live.behaviours["d/2"] = replace(live.gateways[0].behaviour(""), error_rate=0.2)
    run(live)
    assert live.rollout("d/2").phase is Phase.FAILED
    assert live.route().canary_weight == 0


def test_slow_machine_is_not_held_against_the_candidate(live):
    """When stable is over the SLO at the same moment, latency does not fail a candidate."""
    for revision in ("d/1", "d/2"):
        live.behaviours[revision] = replace(live.gateways[0].behaviour(""), slow_rate=0.3)
    deploy(live.ctx, "d", "m@2")
    live.settle()
    run(live)
    assert live.rollout("d/2").phase in (Phase.SHADOW, Phase.CANARY, Phase.PROMOTED)


def test_ticking_twice_changes_nothing(live):
    """At rest, a tick writes nothing at all."""
    deploy(live.ctx, "d", "m@2")
    live.settle()
    live.serve(50)
    before = (live.rollout("d/2"), live.events(), live.route())
    assert live.controller.tick() is False
    assert (live.rollout("d/2"), live.events(), live.route()) == before


def test_pause_holds_but_still_protects(live):
    """A paused rollout does not move on, and still fails."""
    deploy(live.ctx, "d", "m@2")
    live.settle()
    rollout = pause_rollout(live.ctx, live.rollout("d/2").id)
    run(live, times=3)
    assert live.rollout("d/2").phase is Phase.SHADOW
    live.behaviours["d/2"] = replace(live.gateways[0].behaviour(""), error_rate=0.5)
    run(live, times=3)
    assert live.rollout("d/2").phase is Phase.FAILED
    with pytest.raises(Conflict, match="has ended"):
        resume_rollout(live.ctx, rollout.id)


def test_resumed_rollout_goes_on(live):
    """Evidence seen while paused counts."""
    deploy(live.ctx, "d", "m@2")
    live.settle()
    pause_rollout(live.ctx, live.rollout("d/2").id)
    live.serve(400)
    resume_rollout(live.ctx, live.rollout("d/2").id)
    live.settle()
    assert live.rollout("d/2").phase is Phase.CANARY


def test_strategy_by_hand_waits_for_each_promotion(live, quick_config):
    """Where each step needs an approval, no weight rises by itself, and it is asked for once."""
    config = replace(quick_config, rollout=replace(quick_config.rollout, approval="steps"))
    deploy(live.ctx, "d", "m@2", config=config)
    live.settle()
    run(live, times=3)
    assert live.rollout("d/2").phase is Phase.SHADOW
    assert live.rollout("d/2").reason == "waits for an approval to go to 20 %"
    assert live.rollout("d/2").waits
    assert live.events()["rollout.waits"] == 1
    for weight in (2000, 5000):
        promote_rollout(live.ctx, live.rollout("d/2").id)
        run(live, times=5)
        assert live.route().canary_weight == weight
    promote_rollout(live.ctx, live.rollout("d/2").id)
    assert live.deployment().stable == "d/2"


def test_becoming_stable_may_need_an_approval(live, quick_config):
    """With `approval: promotion` its share rises by itself, and the last step waits."""
    config = replace(quick_config, rollout=replace(quick_config.rollout, approval="promotion"))
    deploy(live.ctx, "d", "m@2", config=config)
    live.settle()
    run(live, times=12)
    assert live.route().canary_weight == 5000
    assert live.rollout("d/2").reason == "waits for an approval to go to 100 %"
    promote_rollout(live.ctx, live.rollout("d/2").id, reason="looks fine")
    assert live.deployment().stable == "d/2"
    assert not live.rollout("d/2").waits


def test_no_share_rises_in_a_freeze_but_rollback_works(live, quick_config):
    """On Friday evening everything passes and nothing moves; what breaks then is still taken back."""
    live.clock.time = datetime(2026, 11, 27, 18, tzinfo=UTC).timestamp()
    weekend = FreezeWindow(start="Fri 17:00", end="Mon 08:00", reason="weekend")
    config = replace(quick_config, rollout=replace(quick_config.rollout, freeze=(weekend,)))
    deploy(live.ctx, "d", "m@2", config=config)
    live.settle()
    run(live, times=4)
    rollout = live.rollout("d/2")
    assert rollout.phase is Phase.SHADOW
    assert rollout.reason == "all gates are successful; no share rises until 2026-11-30 08:00 UTC: weekend"
    with pytest.raises(Conflict, match=r"until 2026-11-30 08:00 UTC: weekend.*--force"):
        promote_rollout(live.ctx, rollout.id)
    live.clock.time = datetime(2026, 11, 30, 8, 1, tzinfo=UTC).timestamp()
    live.settle()
    assert live.rollout("d/2").phase is Phase.CANARY
    live.clock.time = datetime(2026, 12, 4, 20, tzinfo=UTC).timestamp()
    live.behaviours["d/2"] = replace(live.gateways[0].behaviour("d/2"), error_rate=0.5)
    run(live, times=3)
    assert live.rollout("d/2").phase is Phase.FAILED


def test_blue_green_switches_whole_and_is_judged_by_itself(live, quick_config):
    """`canary: [100]`: after shadow it answers everything, with nobody to compare with; failing more than the limit ends it."""
    strategy = replace(quick_config.rollout, canary_percents=(100.0,), max_error_increase=0.02)
    deploy(live.ctx, "d", "m@2", config=replace(quick_config, rollout=strategy))
    live.settle()
    run(live, times=1)
    assert live.route().canary_weight == 10_000
    live.behaviours["d/2"] = replace(live.gateways[0].behaviour("d/2"), error_rate=0.2)
    run(live, times=2)
    ended = live.rollout("d/2")
    assert ended.phase is Phase.FAILED
    assert ended.reason.startswith("candidate error rate is at least ")
    assert live.route().canary_weight == 0
    deploy(live.ctx, "d", live.register(3))
    live.settle()
    run(live, times=8)
    assert live.deployment().stable == "d/3"


class Source:
    """A Prometheus whose one value a test sets; None is no data."""

    value_now = None

    def value(self, url, query):
        assert (url, query) == ("http://prometheus", 'rate(errors{d="d"})')
        return self.value_now


def test_a_prometheus_query_decides_too(live, quick_config):
    """Without data it is not promoted, however good its requests; within its limit it is, beyond it it is rolled back."""
    check = MetricCheck(
        name="basket",
        url="http://prometheus",
        query='rate(errors{d="$deployment"})',
        maximum=1.0,
        failures=2,
        every_seconds=0.01,
    )
    source = Source()
    live.controller = RolloutController(replace(live.ctx, metrics=source))
    config = replace(quick_config, rollout=replace(quick_config.rollout, checks=(check,)))

    def roll(version):
        revision = deploy(live.ctx, "d", version, config=config).id
        live.settle()
        for _ in range(8):
            run(live, times=1)
            time.sleep(0.03)  # readings are of real time
        return live.rollout(revision)

    assert roll("m@2").phase is Phase.SHADOW
    assert "basket has no data yet" in live.rollout("d/2").reason
    source.value_now = 0.5
    assert roll(live.register(3)).phase is Phase.PROMOTED
    source.value_now = 7.0
    failed = roll(live.register(4))
    assert failed.phase is Phase.FAILED
    assert failed.reason.startswith("basket is 7, above its maximum of 1, in ")


def test_promotion_by_hand_asks_for_the_minimum_sample(live):
    """Nobody promotes blindly without saying so."""
    deploy(live.ctx, "d", "m@2")
    live.settle()
    live.serve(20)
    rollout = live.rollout("d/2")
    with pytest.raises(Conflict, match="20 of 100 requests"):
        promote_rollout(live.ctx, rollout.id)
    promote_rollout(live.ctx, rollout.id, force=True)
    assert live.deployment().stable == "d/2"


def test_aborted_rollout_leaves_all_traffic_on_stable(live):
    """By hand, at any step."""
    deploy(live.ctx, "d", "m@2")
    live.settle()
    live.serve(400)
    abort_rollout(live.ctx, live.rollout("d/2").id, reason="a hunch")
    live.settle()
    assert (live.route().stable, live.route().canary, live.route().canary_weight) == ("d/1", "", 0)
    assert live.rollout("d/2").reason == "a hunch"


def test_dead_gateway_does_not_hold_a_rollout_up(live):
    """A gateway that was killed while loading says nothing any more once it is not heard of."""
    state = GatewayState(id="gone", url="", started_at=0.0, seen_at=time.time() - 60, routes_version=0)
    with live.ctx.transactions.begin() as uow:
        uow.save(state)
    deploy(live.ctx, "d", "m@2")
    live.settle()
    assert live.rollout("d/2").phase is Phase.SHADOW


def test_controller_is_busy_until_gateways_follow(live):
    """A replay waits for gateways that have routes to apply; without a live one there is nothing to wait for."""
    assert not live.controller.busy()
    deploy(live.ctx, "d", "m@2")
    assert live.controller.busy()
    live.settle()
    assert not live.controller.busy()
    with live.ctx.transactions.begin() as uow:
        gateway = uow.get(GatewayState, "g1")
        uow.save(replace(gateway, seen_at=time.time() - 60, routes_version=0))
    assert not live.controller.busy()


def test_permanent_shadow_is_probed_before_it_becomes_a_canary(live):
    """That a gateway holds it ready under older routes is no warm-up."""
    set_shadows(live.ctx, "d", ["m@2"])
    live.settle()
    live.behaviours["d/2"] = live.behaviours["d/3"] = replace(live.gateways[0].behaviour(""), probe_slow_rate=1.0)
    with live.ctx.transactions.begin() as uow:  # the same revision, as a candidate
        start_rollout(live.ctx, uow, live.deployment(), live.revision("d/2"), "")
    live.controller.tick()
    live.controller.tick()
    assert live.rollout("d/2").phase is Phase.PENDING
    live.settle()
    assert live.rollout("d/2").phase is Phase.FAILED
