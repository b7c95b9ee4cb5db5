"""The HTTP application: API routes, gateway routes, dashboard."""
