"""The table of operations: one source for HTTP, OpenAPI and SDK."""
