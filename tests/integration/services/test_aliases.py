"""Aliases: moved, approved where that is asked, kept on record; and what ran in production when."""

from dataclasses import replace

import pytest

from tournant.domain.control import Event
from tournant.domain.deployment import Deployment, DeploymentConfig, Revision, RevisionState
from tournant.domain.registry import AliasMoveState, Conversion, ConversionStatus, ModelAlias, ModelVersion, Signature
from tournant.domain.rollout import Phase, Rollout, RolloutStrategy
from tournant.errors import Conflict, Denied, Invalid, NotFound
from tournant.services.aliases import (
    approve_alias,
    decline_alias,
    list_alias_moves,
    protect_aliases,
    remove_alias,
    set_alias,
)
from tournant.services.context import Context
from tournant.services.deployments import retire_deployment, rollback
from tournant.services.production import list_tenures
from tournant.services.registered_models import create_model, delete_model, rename_model
from tournant.web.mlflow import models as mlflow_models


def version_of(number: int) -> ModelVersion:
    """A version with nothing in it."""
    return ModelVersion(
        id=f"fraud@{number}",
        model="fraud",
        number=number,
        digest="",
        flavor="sklearn",
        entry="",
        predict="predict",
        signature=Signature(inputs=()),
        example=(),
        environment="",
        conversion=Conversion(status=ConversionStatus.SKIPPED),
        created_at=1.0,
    )


@pytest.fixture
def ada(context: Context) -> Context:
    """Give the house to ada, with three versions of fraud."""
    create_model(context, "fraud")
    with context.transactions.begin() as uow:
        uow.add(*(version_of(number) for number in (1, 2, 3)))
    return context.acting_as("ada")


def named(ctx: Context) -> int | None:
    """Give the version that fraud@champion names."""
    with ctx.transactions.begin(write=False) as uow:
        found = uow.get(ModelAlias, "fraud", "champion")
    return found.version if found else None


def test_every_move_is_kept(ada: Context) -> None:
    """Who, when, why, and what it named before; the newest first."""
    set_alias(ada, "fraud", "champion", 1, reason="the first")
    set_alias(ada.acting_as("grace"), "fraud", "champion", 2)
    remove_alias(ada, "fraud", "champion", reason="it was wrong")
    assert named(ada) is None
    moves = list_alias_moves(ada, "fraud")
    assert [(m.version, m.before, m.actor, m.reason, m.state.value) for m in moves] == [
        (None, 2, "ada", "it was wrong", "made"),
        (2, 1, "grace", "", "made"),
        (1, None, "ada", "the first", "made"),
    ]
    assert remove_alias(ada, "fraud", "champion") is None


def test_a_protected_alias_waits_for_somebody_else(ada: Context) -> None:
    """Whoever asked cannot approve; until somebody does, the alias names what it named."""
    set_alias(ada, "fraud", "champion", 1)
    protect_aliases(ada, "fraud", ["champion"])
    asked = set_alias(ada, "fraud", "champion", 2, reason="better recall")
    assert (asked.state, named(ada)) == (AliasMoveState.WAITING, 1)
    assert asked.summary == "fraud@champion waits for an approval to name version 2"
    with pytest.raises(Conflict, match="ada asked for this move; somebody else has to approve it"):
        approve_alias(ada, "fraud", "champion")
    made = approve_alias(ada.acting_as("grace"), "fraud", "champion", reason="looked at it")
    assert (made.state, made.actor, made.decided_by, made.decision) == ("made", "ada", "grace", "looked at it")
    assert named(ada) == 2
    with pytest.raises(Conflict, match="no move of fraud@champion waits for an approval"):
        approve_alias(ada.acting_as("grace"), "fraud", "champion")
    set_alias(ada, "fraud", "other", 3)  # only what is protected waits
    with ada.transactions.begin(write=False) as uow:
        said = [(event.kind, event.actor) for event in uow.find(Event, order="recorded_at,id")][-4:]
    assert said == [
        ("model.aliases_protected", "ada"),
        ("model.alias_asked", "ada"),
        ("model.alias_set", "grace"),
        ("model.alias_set", "ada"),
    ]


def test_a_newer_wish_supersedes_one_that_waits(ada: Context) -> None:
    """And the same wish again is the same wish; a declined one leaves everything as it is."""
    protect_aliases(ada, "fraud", ["champion"])
    first = set_alias(ada, "fraud", "champion", 1)
    assert set_alias(ada, "fraud", "champion", 1) == first
    set_alias(ada, "fraud", "champion", 2)
    assert decline_alias(ada, "fraud", "champion", reason="too slow").decision == "too slow"
    assert [(m.version, m.state.value) for m in list_alias_moves(ada, "fraud")] == [(2, "declined"), (1, "superseded")]
    assert named(ada) is None
    set_alias(ada, "fraud", "champion", 3)
    protect_aliases(ada, "fraud", [])
    set_alias(ada, "fraud", "champion", 1)
    assert [(m.version, m.state.value) for m in list_alias_moves(ada, "fraud", limit=2)] == [
        (1, "made"),
        (3, "superseded"),
    ]


def test_taking_a_protected_alias_away_waits_too(ada: Context) -> None:
    """An alias that names nothing breaks whoever loads by it."""
    set_alias(ada, "fraud", "champion", 1)
    protect_aliases(ada, "fraud", ["champion"])
    move = remove_alias(ada, "fraud", "champion")
    assert move
    assert (move.state, named(ada)) == ("waiting", 1)
    approve_alias(ada.acting_as("grace"), "fraud", "champion")
    assert named(ada) is None


def test_a_client_of_mlflow_is_told_that_it_waits(ada: Context) -> None:
    """It would believe an empty answer."""
    protect_aliases(ada, "fraud", ["champion"])
    request = mlflow_models.SetAlias(name="fraud", alias="champion", version="2")
    with pytest.raises(Denied, match="somebody else has to agree: tournant models approve fraud champion"):
        mlflow_models.set_alias(ada, request)
    assert list_alias_moves(ada, "fraud")[0].state is AliasMoveState.WAITING


def test_what_is_no_alias_is_refused(ada: Context) -> None:
    """And a version or model that is not there."""
    with pytest.raises(Invalid, match="is no alias"):
        protect_aliases(ada, "fraud", ["7"])
    with pytest.raises(NotFound, match="no version 9"):
        set_alias(ada, "fraud", "champion", 9)
    with pytest.raises(NotFound, match="no model 'none'"):
        set_alias(ada, "none", "champion", 1)
    with pytest.raises(NotFound, match="none"):
        list_alias_moves(ada, "none")


def test_moves_follow_a_model_to_its_new_name(ada: Context) -> None:
    """And go with it when it is deleted."""
    set_alias(ada, "fraud", "champion", 1)
    rename_model(ada, "fraud", "cheat")
    assert [move.version for move in list_alias_moves(ada, "cheat")] == [1]
    delete_model(ada, "cheat")
    create_model(ada, "cheat")
    assert list_alias_moves(ada, "cheat") == []


def test_what_ran_in_production_is_told_by_version(ada: Context) -> None:
    """From promotion to what replaced it, over a rollback, until the deployment is retired."""
    began = 1_000_000.0
    config = DeploymentConfig()
    with ada.transactions.begin() as uow:
        uow.add(Deployment(name="pay", config=config, created_at=began, stable="pay/2"))
        for number, state in ((1, RevisionState.RETIRED), (2, RevisionState.STABLE)):
            revision = Revision(
                id=f"pay/{number}",
                deployment="pay",
                number=number,
                model_version=f"fraud@{number}",
                state=state,
                created_at=began + 60 * number,
            )
            at = began + 600 * number
            rollout = Rollout(
                id=f"r{number}",
                deployment="pay",
                revision=revision.id,
                stable=f"pay/{number - 1}" if number > 1 else "",
                strategy=RolloutStrategy(),
                phase=Phase.PROMOTED,
                started_at=at - 10,
                step_started_at=at - 10,
                ended_at=at,
            )
            uow.add(revision, rollout)
    now = [(t.model_version, t.since - began, t.until, t.followed_by_version) for t in list_tenures(ada, "fraud")]
    assert now == [("fraud@2", 1200, None, ""), ("fraud@1", 600, began + 1200, "fraud@2")]
    rollback(ada, "pay", reason="it misses new fraud")
    again, second, first = list_tenures(ada, "fraud")
    assert (again.model_version, again.revision, again.until) == ("fraud@1", "pay/1", None)
    assert (second.model_version, second.until, second.followed_by) == ("fraud@2", again.since, "pay/1")
    assert first.until == second.since
    retired = retire_deployment(ada, "pay")
    assert replace(again, until=retired.retired_at) == list_tenures(ada, "fraud")[0]
