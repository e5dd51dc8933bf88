"""A machine that is off because it is new: it has not booted for the first time yet."""

from datetime import UTC, datetime, timedelta

BEFORE_BOOT = timedelta(minutes=10)
"""How long a new machine may be off between its provisioning and its first boot."""


def may_boot(created_at: datetime | None) -> bool:
    """Return whether a machine that is off is new enough to boot by itself."""
    return created_at is not None and datetime.now(UTC) - created_at < BEFORE_BOOT
