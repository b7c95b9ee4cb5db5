"""What can be done from pages, and what guards it."""

import re

import pytest
from starlette.testclient import TestClient

import webhouse
from tournant.domain.deployment import Deployment
from tournant.domain.retraining import Retraining, RetrainingState
from tournant.domain.rollout import Phase, Rollout
from tournant.services.context import Context

CHURN = webhouse.ident("rchurn", 3)


def form_of(client: TestClient, page: str, action: str) -> dict[str, str]:
    """Read the hidden fields of the form that posts to `action`."""
    text = client.get(page).text
    form = re.search(rf'<form method="post" action="{action}">.*?</form>', text, re.S)
    assert form, action
    return dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', form[0]))


def rollout(house: Context) -> Rollout:
    """Read the rollout of churn."""
    with house.transactions.begin(write=False) as uow:
        found = uow.get(Rollout, CHURN)
    assert found
    return found


def test_pause_and_resume_from_the_page(client: TestClient, house: Context) -> None:
    """A form with token and reason pauses the rollout, and sends the browser back."""
    for verb, paused in (("pause", True), ("resume", False)):
        fields = form_of(client, "/deployments/churn", f"/rollouts/{CHURN}/{verb}")
        answer = client.post(f"/rollouts/{CHURN}/{verb}", data={**fields, "reason": "looking"})
        assert (answer.status_code, answer.headers["location"]) == (303, "/deployments/churn")
        assert rollout(house).paused is paused
        assert "looking" in rollout(house).reason


def test_roll_back_from_the_page(client: TestClient, house: Context) -> None:
    """Aborting ends the rollout; doing it again says that it has ended."""
    fields = form_of(client, "/deployments/churn", f"/rollouts/{CHURN}/abort")
    assert client.post(f"/rollouts/{CHURN}/abort", data={**fields, "reason": "bad feeling"}).status_code == 303
    assert rollout(house).phase is Phase.ABORTED
    again = client.post(f"/rollouts/{CHURN}/abort", data={**fields, "reason": "bad feeling"})
    assert again.status_code == 409
    assert "has ended" in again.text
    with house.transactions.begin(write=False) as uow:
        deployment = uow.get(Deployment, "churn")
    assert deployment and deployment.stable == "churn/2"


def test_a_form_for_an_earlier_step_is_refused(client: TestClient, house: Context) -> None:
    """The form carries the epoch its page showed: a second tab cannot promote twice."""
    fields = form_of(client, "/deployments/churn", f"/rollouts/{CHURN}/pause")
    answer = client.post(f"/rollouts/{CHURN}/pause", data={**fields, "seen": "1", "reason": "late"})
    assert answer.status_code == 409
    assert "moved on" in answer.text
    assert not rollout(house).paused


def test_promotion_before_its_evidence_is_refused(client: TestClient, house: Context) -> None:
    """The locked button's address refuses too."""
    fields = form_of(client, "/deployments/churn", f"/rollouts/{CHURN}/pause")
    answer = client.post(f"/rollouts/{CHURN}/promote", data={**fields, "reason": "impatient"})
    assert answer.status_code == 409
    assert rollout(house).step == 2


@pytest.mark.parametrize("change", [{"csrf": "forged"}, {"csrf": ""}, {"reason": " "}])
def test_a_forged_or_unreasoned_form_changes_nothing(
    client: TestClient, house: Context, change: dict[str, str]
) -> None:
    """Without the visitor's token, or without a reason, nothing happens."""
    fields = form_of(client, "/deployments/churn", f"/rollouts/{CHURN}/pause")
    answer = client.post(f"/rollouts/{CHURN}/pause", data={**fields, "reason": "x", **change})
    assert answer.status_code in (400, 401)
    assert not rollout(house).paused


def test_a_form_without_the_cookie_changes_nothing(client: TestClient, house: Context) -> None:
    """Another site's form has no cookie of ours: it is refused whatever it sends."""
    client.cookies.clear()
    answer = client.post(f"/rollouts/{CHURN}/pause", data={"csrf": "", "reason": "x"})
    assert answer.status_code == 401
    assert not rollout(house).paused


def test_reject_a_challenger_from_the_page(client: TestClient, house: Context) -> None:
    """A retraining that waits for approval can be decided."""
    waiting = webhouse.ident("retraining", 3)
    fields = form_of(client, "/retrainings", f"/retrainings/{waiting}/reject")
    assert client.post(f"/retrainings/{waiting}/reject", data={**fields, "reason": "not now"}).status_code == 303
    with house.transactions.begin(write=False) as uow:
        found = uow.get(Retraining, waiting)
    assert found and found.state is RetrainingState.REJECTED


def test_unknown_verbs_and_rollouts_are_not_found(client: TestClient) -> None:
    """An address that no form has is 404, and so is a rollout that does not exist."""
    fields = form_of(client, "/deployments/churn", f"/rollouts/{CHURN}/pause")
    data = {**fields, "reason": "x"}
    assert client.post(f"/rollouts/{CHURN}/explode", data=data).status_code == 404
    assert client.post(f"/rollouts/{webhouse.ident('none', 1)}/pause", data=data).status_code == 404
