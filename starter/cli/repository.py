"""The repository, as commands read it: its releases, and whether it has one that was named."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from relight.domain.names import ReleaseTag, package_tag, revision_of
from relight.releases.errors import ReleaseUnknownError, RepositoryError
from relight.setting_groups import SettingsError
from relight.settings import Settings, load_settings
from relight.store_address import store_address
from starter.cli.errors import BadInputError, RefusedError
from starter.cli.output import note

if TYPE_CHECKING:  # slow to import: only commands that need them do so
    from relight.releases.apt_repository import SeenIndexes
    from relight.releases.source import ReleaseSource
    from relight.store.store import Store

Answer = TypeVar("Answer")


def read_repository(
    query: "Callable[[ReleaseSource], Awaitable[Answer]]", seen: "SeenIndexes | None" = None
) -> Answer:
    """Open the release source that the settings name, and return what the query reads from it.

    Args:
        query: reads from the source.
        seen: the dates of the newest indexes; None for those in the store, if there is one.

    Raises:
        RepositoryError: it cannot be read, or not be trusted.
        SettingsError: none is set.
    """
    from relight.release_source import release_source_config  # noqa: PLC0415
    from relight.releases.source import open_source  # noqa: PLC0415

    settings = load_settings()
    config = release_source_config(settings)

    async def read(seen: "SeenIndexes | None") -> Answer:
        source = open_source(config, settings.service.package, seen)
        try:
            return await query(source)
        finally:
            await source.close()

    if seen is not None:
        return asyncio.run(read(seen))
    with _store_if_any(settings) as store:
        return asyncio.run(read(store.repository_indexes if store else None))


def require_release(
    store: "Store", tag: ReleaseTag, architectures: Sequence[str] = (), *, unchecked: bool
) -> None:
    """Check that the repository has a release; with `unchecked`, note that this is not known.

    Args:
        store: of the fleet.
        tag: the release.
        architectures: it has to have a file for each of these.
        unchecked: do not ask the repository.

    Raises:
        BadInputError: the repository does not have it.
        RefusedError: the repository cannot be asked.
    """
    revision = revision_of(tag)
    if revision and not store.configurations.exists(revision):
        msg = f"there is no configuration {revision}; `relight configuration list` shows them"
        raise BadInputError(msg)
    tag = package_tag(tag)
    if unchecked:
        note(f"not checked: whether the repository has {tag}")
        return
    known = store.releases.pinned(tag)
    try:
        found = read_repository(
            lambda repository: repository.resolve(tag, architectures), store.repository_indexes
        )
    except ReleaseUnknownError as error:
        msg = f"{error}; `relight release list` shows the releases that there are"
        raise BadInputError(msg) from None
    except (RepositoryError, SettingsError, OSError) as error:
        msg = (
            f"{error}\nSo it is not known whether there is a release {tag}, and nothing was "
            "changed; --unchecked skips this check"
        )
        raise RefusedError(msg) from None
    if known is not None and known.version != found.version:
        note(
            f"{tag} is {known.version} in this fleet; the repository has {found.version} too, "
            "which is a release of its own under its version"
        )


@contextmanager
def _store_if_any(settings: Settings) -> "Iterator[Store | None]":
    """Open the store; None if there is none, or another version's: releases can be read anyway."""
    from relight.store.errors import StoreError  # noqa: PLC0415
    from relight.store.store import open_store  # noqa: PLC0415

    try:
        opened = open_store(store_address(settings))
    except StoreError:
        yield None
        return
    with opened as store:
        yield store
