"""Which version of the code a worker says it is, as an operator sets it."""

import re
from pathlib import Path

import pytest
from temporalio.common import WorkerDeploymentVersion

import worker
from relight.setting_groups import SettingsError
from relight.settings import load_settings
from relight.store.store import open_store, open_upgraded_store
from tests.store.sql import execute
from worker import deployment_version


@pytest.fixture
def version(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("RELIGHT_HOME", str(tmp_path))

    def with_these(**variables: str) -> WorkerDeploymentVersion | None:
        for name, value in variables.items():
            monkeypatch.setenv(f"RELIGHT_WORKER__{name}", value)
        return deployment_version(load_settings())

    return with_these


def test_it_is_none_unless_a_deployment_is_named(version) -> None:
    assert version() is None
    assert version(BUILD_ID="7a4faa9") is None  # as an image may carry it


def test_it_is_a_build_of_that_deployment(version) -> None:
    named = version(DEPLOYMENT="relight", BUILD_ID="7a4faa9")
    assert named == WorkerDeploymentVersion("relight", "7a4faa9")


def test_a_deployment_without_a_build_is_refused(version) -> None:
    with pytest.raises(SettingsError, match="RELIGHT_WORKER__BUILD_ID is not set"):
        version(DEPLOYMENT="relight")


@pytest.mark.parametrize("name", ["relight.eu", "relight:eu", "__relight"])
def test_a_name_that_temporal_would_not_take_is_refused(version, name: str) -> None:
    with pytest.raises(SettingsError, match=r"RELIGHT_WORKER__DEPLOYMENT is \S+: Temporal takes"):
        version(DEPLOYMENT=name, BUILD_ID="7a4faa9")


@pytest.mark.parametrize(
    ("revision", "said"),
    [("9999", "made by a newer version"), ("0003", "type `relight store upgrade`")],
)
def test_a_store_of_another_version_is_refused_in_one_line(
    monkeypatch, capsys, tmp_path: Path, revision: str, said: str
) -> None:
    url = f"sqlite:///{tmp_path / 'fleet.db'}"
    open_upgraded_store(url).close()
    execute(url, f"UPDATE alembic_version SET version_num = '{revision}'")

    async def start() -> None:
        open_store(url)

    monkeypatch.setattr(worker, "run", start)
    assert worker.main() == 3
    assert re.fullmatch(rf"error: the store .*{said}.*\n", capsys.readouterr().err)
