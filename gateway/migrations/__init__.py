"""Alembic migrations of the back store; `gateway.database` runs them."""
