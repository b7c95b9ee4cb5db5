"""Deploying, shadows, rollback and retirement."""

from dataclasses import replace

import pytest

from tournant.domain.deployment import DeploymentConfig, LogConfig, RevisionState
from tournant.domain.environment import Environment
from tournant.domain.registry import Conversion, ConversionStatus
from tournant.domain.rollout import Phase
from tournant.errors import Conflict, Invalid, NotFound
from tournant.services.deployments import (
    add_revision,
    create_deployment,
    deploy,
    plan_deploy,
    retire_deployment,
    rollback,
    set_shadows,
    update_deployment,
)
from tournant.services.rollouts import abort_rollout
from tournant.services.routing import routing_table


@pytest.fixture
def live(world, quick_config):
    """A world where d/1 serves m@1."""
    deploy(world.ctx, "d", world.register(1), config=quick_config)
    world.settle()
    for number in (2, 3):
        world.register(number)
    return world


def promote(world, model_version):
    revision = deploy(world.ctx, "d", model_version)
    world.settle()
    for _ in range(12):
        world.serve(500)
    assert world.deployment().stable == revision.id
    return revision


def test_unknown_model_version_is_named(world):
    """Nothing is made for a model version that is not there."""
    with pytest.raises(NotFound, match="m@7"):
        deploy(world.ctx, "d", "m@7")
    assert routing_table(world.ctx).deployments == ()


@pytest.mark.parametrize("name", ["", "a/b", "-x", "ü", "x" * 64])
def test_bad_names_are_refused(world, name):
    """A deployment's name goes into addresses and file names."""
    with pytest.raises(Invalid, match="no deployment name"):
        create_deployment(world.ctx, name)


def test_deploying_the_same_again_changes_nothing(live):
    """Stable or on its way under the same settings: saying it twice is once."""
    before = live.events()
    assert deploy(live.ctx, "d", "m@1").id == "d/1"
    assert live.events() == before
    first = deploy(live.ctx, "d", "m@2")
    again = deploy(live.ctx, "d", "m@2")
    assert first.id == again.id == "d/2"
    assert live.events()["rollout.started"] == 2


def test_newer_revision_supersedes_the_one_in_progress(live):
    """One rollout at a time; the one superseded was not judged and may be tried again."""
    deploy(live.ctx, "d", "m@2")
    deploy(live.ctx, "d", "m@3")
    assert live.rollout("d/2").phase is Phase.ABORTED
    assert live.rollout("d/2").superseded_by == "d/3"
    assert live.route().warming == ("d/3",)
    assert deploy(live.ctx, "d", "m@2").id == "d/4"


def test_rejected_model_version_is_not_tried_again_unless_forced(live, quick_config):
    """Under the same settings; other settings are another question."""
    deploy(live.ctx, "d", "m@2")
    abort_rollout(live.ctx, live.rollout("d/2").id, reason="looks odd")
    with pytest.raises(Conflict, match=r"m@2 was rejected as d/2 .* looks odd"):
        deploy(live.ctx, "d", "m@2")
    assert deploy(live.ctx, "d", "m@2", force=True).id == "d/3"
    abort_rollout(live.ctx, live.rollout("d/3").id)
    assert deploy(live.ctx, "d", "m@2", config=replace(quick_config, slo_p99_ms=500.0)).id == "d/4"


def test_rollback_returns_to_the_revision_before_at_once(live):
    """And aborts what is on its way; the revision left is rejected."""
    promote(live, "m@2")
    deploy(live.ctx, "d", "m@3")
    rollback(live.ctx, "d", reason="complaints")
    assert (live.route().stable, live.route().warming) == ("d/1", ())
    assert live.rollout("d/3").phase is Phase.ABORTED
    assert live.revision("d/2").state is RevisionState.REJECTED
    assert live.revision("d/1").state is RevisionState.STABLE
    with pytest.raises(Conflict, match="no earlier revision"):
        rollback(live.ctx, "d")


def test_rollback_goes_only_to_what_was_stable(live):
    """A revision nobody has judged needs a rollout."""
    add_revision(live.ctx, "d", "m@2")
    with pytest.raises(Conflict, match="never was stable"):
        rollback(live.ctx, "d", to_revision="d/2")
    with pytest.raises(NotFound, match="it has: d/1, d/2"):
        rollback(live.ctx, "d", to_revision="d/9")


def test_permanent_shadow_stays_through_promotions(live):
    """The demo's frozen first version: it shadows as soon as it is not stable any more."""
    set_shadows(live.ctx, "d", ["m@1"])
    assert live.route().shadows == ()
    promote(live, "m@2")
    assert (live.route().stable, live.route().shadows) == ("d/2", ("d/1",))
    assert live.deployment().shadows == ("d/1",)
    set_shadows(live.ctx, "d", ["m@3"])  # makes a revision
    assert live.route().shadows == ("d/3",)
    set_shadows(live.ctx, "d", [])
    assert live.route().shadows == ()


def test_every_change_gives_the_routes_a_new_version(live):
    """Gateways ask by version, and what did not change does not wake them."""
    before = routing_table(live.ctx).version
    update_deployment(live.ctx, "d", config=live.deployment().config)
    assert routing_table(live.ctx).version == before
    update_deployment(live.ctx, "d", config=DeploymentConfig(slo_p99_ms=250.0))
    assert routing_table(live.ctx).version == before + 1
    assert live.route().slo_p99_ms == 250.0


def test_unconverted_model_brings_its_environment(live):
    """Converted: no environment; else the lock and Python version a worker needs."""
    rejected = Conversion(status=ConversionStatus.REJECTED, reason="differs by 0.52")
    with live.ctx.transactions.begin() as uow:
        uow.save(Environment(digest="e", python="3.10", lock="scikit-learn==1.4.2"))
    deploy(live.ctx, "d", live.register(4, conversion=rejected))
    routes = {route.id: route.model for route in live.route().revisions}
    assert (routes["d/1"].onnx, routes["d/1"].lock) == ("c" * 64, "")
    assert (routes["d/2"].onnx, routes["d/2"].python, routes["d/2"].lock) == ("", "3.10", "scikit-learn==1.4.2")


def test_retired_deployment_is_not_served_until_deployed_to_again(live):
    """Its history stays."""
    retire_deployment(live.ctx, "d")
    assert routing_table(live.ctx).deployments == ()
    deploy(live.ctx, "d", "m@2")
    assert live.route().stable == "d/1"


def test_unknown_deployment_is_answered_with_those_there_are(live):
    """The message helps."""
    with pytest.raises(NotFound, match=r"there is no deployment 'e' \(there is: d\)"):
        rollback(live.ctx, "e")


def test_a_plan_says_what_deploying_would_do_and_does_nothing(world, quick_config):
    """The revision, whom it meets and its steps; the same errors; and nothing is written."""
    deploy(world.ctx, "d", world.register(1), config=quick_config)
    world.settle()
    before = world.events(), world.route()
    plan = plan_deploy(world.ctx, "d", world.register(2), reason="try it")
    assert (plan.revision.id, plan.rollout.stable, plan.supersedes) == ("d/2", "d/1", "")
    assert plan.steps == (
        "warm-up: 50 replayed requests",
        "shadow: 100 requests",
        "20 % canary: 100 requests",
        "50 % canary: 100 requests",
        "stable",
    )
    assert plan_deploy(world.ctx, "d", "m@1").rollout is None
    assert plan_deploy(world.ctx, "new", "m@2").steps[-1] == "stable: there is nothing to compare it with"
    with pytest.raises(NotFound, match="m@9"):
        plan_deploy(world.ctx, "d", "m@9")
    assert (world.events(), world.route()) == before
    assert plan_deploy(world.ctx, "d", "m@2").revision.id == deploy(world.ctx, "d", "m@2").id == "d/2"
    assert plan_deploy(world.ctx, "d", world.register(3)).supersedes == "d/2"


def test_a_hidden_column_must_be_one(world):
    """A typing error would let into the log what must not be seen there."""
    config = DeploymentConfig(log=LogConfig(drop=("y",)))
    with pytest.raises(Invalid, match="no such input column"):
        deploy(world.ctx, "d", world.register(1), config=config)
    assert routing_table(world.ctx).deployments == ()


def test_the_key_of_digests_stays(world, quick_config):
    """Made when it is needed first, sent to gateways, kept when settings change, of no other deployment."""
    hidden = replace(quick_config, log=LogConfig(hash=("x",)))
    deploy(world.ctx, "plain", world.register(1), config=quick_config)
    deploy(world.ctx, "d", "m@1", config=hidden)
    deploy(world.ctx, "e", "m@1", config=hidden)
    keys = {route.name: route.log.key for route in routing_table(world.ctx).deployments}
    assert keys["plain"] == ""
    assert len(keys["d"]) == 32
    assert keys["d"] != keys["e"]
    update_deployment(world.ctx, "d", config=replace(hidden, slo_p99_ms=50.0))
    update_deployment(world.ctx, "plain", config=hidden)
    after = {route.name: route.log.key for route in routing_table(world.ctx).deployments}
    assert after["d"] == keys["d"]
    assert after["plain"]
