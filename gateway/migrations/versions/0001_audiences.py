"""Audiences, memberships, jobs, disclosed contact versions, lanes, counters, cursors."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create the first schema."""
    _memberships()
    op.create_table(
        "target",
        sa.Column("audience", sa.Text, primary_key=True),
        sa.Column("destination", sa.Text, primary_key=True),
        sa.Column("purposes", sa.Text, nullable=False),
        sa.Column("version", sa.Text, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("position", sa.BigInteger, nullable=False),
        sa.Column("leaving", sa.Integer, nullable=False),
    )
    op.create_table(
        "job",
        sa.Column("id", sa.BigInteger, primary_key=True),
        sa.Column("audience", sa.Text, nullable=False),
        sa.Column("destination", sa.Text, nullable=False),
        sa.Column("operation", sa.Text, nullable=False),
        sa.Column("purposes", sa.Text, nullable=False),
        sa.Column("chunk", sa.Text, nullable=False),
        sa.Column("members", sa.Integer, nullable=False),
        sa.Column("position", sa.BigInteger, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("fate", sa.Text, nullable=False),
        sa.Column("code", sa.Text, nullable=False),
        sa.Column("reference", sa.Text, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("opened_at", sa.BigInteger, nullable=False),
        sa.Column("next_at", sa.BigInteger, nullable=False),
    )
    op.create_index("job_open", "job", ["destination", "state", "next_at"])
    op.create_table(
        "disclosure",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("audience", sa.Text, nullable=False),
        sa.Column("destination", sa.Text, nullable=False),
        sa.Column("slot", sa.BigInteger, nullable=False),
        sa.Column("wrapped_key", sa.LargeBinary, nullable=False),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
    )
    op.create_index("disclosure_member", "disclosure", ["destination", "audience", "slot"])
    _bookkeeping()


def _memberships() -> None:
    op.create_table(
        "membership",
        sa.Column("destination", sa.Text, primary_key=True),
        sa.Column("audience", sa.Text, primary_key=True),
        sa.Column("slot", sa.BigInteger, primary_key=True),
        sa.Column("desired", sa.Boolean, nullable=False),
        sa.Column("position", sa.BigInteger, nullable=False),
        sa.Column("denied_at", sa.BigInteger, nullable=False),
        sa.Column("held", sa.Integer, nullable=False),
        sa.Column("operation", sa.Text, nullable=False),
        sa.Column("phase", sa.Text, nullable=False),
        sa.Column("job", sa.BigInteger, nullable=False),
        sa.Column("fence", sa.BigInteger, nullable=False),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("batch", sa.Integer, nullable=False),
        sa.Column("due", sa.BigInteger, nullable=False),
        sa.Column("since", sa.BigInteger, nullable=False),
        sa.Column("generation", sa.Integer, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("contact", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    busy = sa.text("operation != ''")
    columns = ["destination", "operation", "phase", "audience", "due"]
    op.create_index("membership_work", "membership", columns, sqlite_where=busy)
    op.create_index("membership_slot", "membership", ["slot"])
    job = sa.text("job != 0")
    op.create_index("membership_job", "membership", ["job"], sqlite_where=job)
    fence = sa.text("fence != 0")
    op.create_index("membership_fence", "membership", ["fence"], sqlite_where=fence)


def _bookkeeping() -> None:
    op.create_table(
        "lane",
        sa.Column("destination", sa.Text, primary_key=True),
        sa.Column("operation", sa.Text, primary_key=True),
        sa.Column("parked", sa.Boolean, nullable=False),
        sa.Column("code", sa.Text, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("next_at", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "opened",
        sa.Column("destination", sa.Text, primary_key=True),
        sa.Column("operation", sa.Text, primary_key=True),
        sa.Column("n", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "ended",
        sa.Column("destination", sa.Text, primary_key=True),
        sa.Column("operation", sa.Text, primary_key=True),
        sa.Column("delivery", sa.Text, primary_key=True),
        sa.Column("reason", sa.Text, primary_key=True),
        sa.Column("n", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "receipt",
        sa.Column("destination", sa.Text, primary_key=True),
        sa.Column("audience", sa.Text, primary_key=True),
        sa.Column("operation", sa.Text, primary_key=True),
        sa.Column("fate", sa.Text, primary_key=True),
        sa.Column("n", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "cursor",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("position", sa.BigInteger, nullable=False),
    )


def downgrade() -> None:
    """Drop everything: the back store is rebuilt from evaluations."""
    for table in (
        "cursor", "receipt", "ended", "opened", "lane", "disclosure", "job", "target",
        "membership",
    ):  # fmt: skip
        op.drop_table(table)
