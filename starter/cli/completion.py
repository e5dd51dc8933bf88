"""Names that the shell completes: what the store has. Without a store there are none.

The shell shows no message meanwhile: whatever keeps the store from being read, nothing is offered.
"""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # slow to import
    from relight.store.store import Store

Complete = Callable[[str], list[str]]


def _complete(names: "Callable[[Store], Iterable[str]]") -> Complete:
    def complete(incomplete: str) -> list[str]:
        from pydantic import ValidationError  # noqa: PLC0415 - slow to import
        from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415

        from relight.engine.errors import SetupError  # noqa: PLC0415
        from relight.home import existing_store_url  # noqa: PLC0415
        from relight.setting_groups import SettingsError  # noqa: PLC0415
        from relight.settings import load_settings  # noqa: PLC0415
        from relight.store.errors import StoreError  # noqa: PLC0415
        from relight.store.store import open_store  # noqa: PLC0415

        try:
            with open_store(existing_store_url(load_settings())) as store:
                found = sorted(set(names(store)))
        except (SettingsError, SetupError, StoreError, SQLAlchemyError, ValidationError, OSError):
            return []
        return [name for name in found if name.startswith(incomplete)]

    return complete


routes = _complete(lambda store: (route.route_id for route in store.routes.list()))
tracks = _complete(lambda store: (track.name for track in store.tracks.list()))
tags = _complete(lambda store: (release.tag for release in store.releases.list()))
