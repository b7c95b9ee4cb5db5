"""Numbered, forward-only Alembic migrations of the metadata.

`versions/NNNN_what.py` are applied in order by `tournant.adapters.sql.migrate.upgrade`; a test holds their result equal to
`tournant.adapters.sql.schema.metadata`. Until the first release the whole schema is `0001`, written again with
`python scripts/write_first_migration.py` whenever a record changes. After it, write the next number by hand.
"""
