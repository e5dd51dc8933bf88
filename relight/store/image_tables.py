"""The tables of base images."""

from datetime import datetime
from typing import Any

from sqlmodel import Field

from relight.store.database import AnyJson, AnyText, AnyTime
from relight.store.tables import Row


class ImageRow(Row, table=True):
    """An image, as its build describes it. It is never changed."""

    __tablename__ = "images"

    name: str = Field(primary_key=True, sa_type=AnyText)
    architecture: str = Field(sa_type=AnyText)
    manifest: dict[str, Any] = Field(sa_type=AnyJson)
    recorded_at: datetime = Field(sa_type=AnyTime)


class PublishedImageRow(Row, table=True):
    """An image in a region: being published, published or failed. A pruned one has no row."""

    __tablename__ = "published_images"

    name: str = Field(
        primary_key=True, sa_type=AnyText, foreign_key="images.name", ondelete="CASCADE"
    )
    provider: str = Field(primary_key=True, sa_type=AnyText)
    region: str = Field(primary_key=True, sa_type=AnyText)
    image_id: str | None = Field(default=None, sa_type=AnyText)
    status: str = Field(sa_type=AnyText)
    reason: str = Field(default="", sa_type=AnyText)
    answer: str = Field(default="", sa_type=AnyText)
    attempts: int = 0
    changed_at: datetime = Field(sa_type=AnyTime)
    published_at: datetime | None = Field(default=None, sa_type=AnyTime)
    pinned: bool = False
