"""Which release is known to work, by the store."""

from pathlib import Path

from activities.route.known_good import newest_of
from relight.store.store import open_upgraded_store


def test_the_newest_release_is_that_of_the_newest_version_and_not_of_the_last_text(
    tmp_path: Path,
) -> None:
    with open_upgraded_store(f"sqlite:///{tmp_path / 'fleet.db'}") as store:
        assert newest_of(store, ["v0.0.9", "v0.0.10", "v0.0.8"]) == "v0.0.10"
