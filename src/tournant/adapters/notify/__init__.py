"""Notifiers: the log, webhooks and, with apprise, e-mail, Slack and many more."""

from tournant.adapters.notify.apprise import AppriseNotifier
from tournant.adapters.notify.log import LogNotifier
from tournant.adapters.notify.webhook import WebhookNotifier
from tournant.config import Settings
from tournant.ports import Notifier

__all__ = ["AppriseNotifier", "LogNotifier", "WebhookNotifier", "open_notifiers"]

_SLACK = "https://hooks.slack.com/"  # takes Slack's own form only


def open_notifiers(settings: Settings) -> tuple[Notifier, ...]:
    """Give the notifiers of the settings; the log is always one."""
    slack = [url for url in settings.webhooks if url.startswith(_SLACK)]
    webhooks = [url for url in settings.webhooks if url not in slack]
    named = dict.fromkeys((*settings.notify, *slack))  # each once
    return (LogNotifier(), *map(WebhookNotifier, dict.fromkeys(webhooks)), *map(AppriseNotifier, named))
