"""Notifiers: the log and webhooks."""

from tournant.adapters.notify.log import LogNotifier
from tournant.adapters.notify.webhook import WebhookNotifier

__all__ = ["LogNotifier", "WebhookNotifier"]
