"""The dashboard: server-rendered pages over the metadata."""

from tournant.web.pages.dashboard import dashboard

__all__ = ["dashboard"]
