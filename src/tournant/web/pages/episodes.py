"""An alert in words."""

from tournant.domain.alerts import Alert
from tournant.web.pages.formats import sentence

__all__ = ["alert_words"]


def alert_words(alert: Alert) -> str:
    """Give an alert's summary without the deployment and kind it begins with: the page around it says both."""
    text = alert.summary
    for prefix in (f"{alert.deployment}: ", f"{alert.kind.replace('_', ' ')}: ", f"{alert.kind}: "):
        text = text.removeprefix(prefix)
    return sentence(text).rstrip(".")
