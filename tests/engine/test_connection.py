"""The way to Temporal: which address is taken, and what is said when nothing answers there."""

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from relight.engine.connection import (
    connect,
    connect_config,
    require_search_attributes,
)
from relight.engine.errors import (
    HomeDownError,
    NoHomeError,
    TemporalNotPreparedError,
    TemporalUnreachableError,
)
from relight.settings import Settings
from starter.local.home import write_temporal_profile
from starter.local.temporal import EmbeddedTemporal, embedded_temporal


@pytest.fixture(autouse=True)
def no_temporal_in_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("ADDRESS", "NAMESPACE", "CONFIG_FILE", "PROFILE", "API_KEY"):
        monkeypatch.delenv(f"TEMPORAL_{name}", raising=False)
    # The SDK's own default file is the person's, who may have one.
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path)


@pytest.fixture
def silent_address() -> Iterator[str]:
    """An address at which connections are accepted and nothing is ever said."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def free_address() -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"127.0.0.1:{server.getsockname()[1]}"


async def test_the_profile_that_up_wrote_leads_to_its_server(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    # These are for a server that the environment names.
    monkeypatch.setenv("TEMPORAL_NAMESPACE", "fleet")
    monkeypatch.setenv("TEMPORAL_PROFILE", "prod")
    async with embedded_temporal(settings.home, durable=False) as server:
        write_temporal_profile(settings.home / "temporal.toml", server.address, "default")
        client = await connect(settings)
        assert client.namespace == "default"
        await require_search_attributes(client)


def test_without_any_configuration_there_is_no_server(settings: Settings) -> None:
    with pytest.raises(NoHomeError, match=r"no Temporal is set.*is no home of Relight"):
        connect_config(settings)


def test_the_persons_own_profile_of_temporal_is_not_used(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = tmp_path / "config" / "temporalio"
    folder.mkdir(parents=True)
    write_temporal_profile(folder / "temporal.toml", "prod.example:7233", "default")
    with pytest.raises(NoHomeError):
        connect_config(settings)
    monkeypatch.setenv("TEMPORAL_ADDRESS", "")
    with pytest.raises(NoHomeError):
        connect_config(settings)


async def test_the_profile_of_a_server_that_was_killed_leads_nowhere(
    temporal: EmbeddedTemporal, settings: Settings
) -> None:
    write_temporal_profile(settings.home / "temporal.toml", temporal.address, "default")
    (settings.home / "temporal.lock").touch()
    with pytest.raises(HomeDownError, match="is down"):
        await connect(settings)


def test_a_named_file_without_an_address_is_named(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "mine.toml").write_text('[profile.default]\nnamespace = "fleet"\n')
    monkeypatch.setenv("TEMPORAL_CONFIG_FILE", str(tmp_path / "mine.toml"))
    with pytest.raises(TemporalUnreachableError, match=r"mine\.toml has no address"):
        connect_config(settings)


def test_the_environment_goes_before_what_up_wrote(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_temporal_profile(settings.home / "temporal.toml", "127.0.0.1:1", "default")
    monkeypatch.setenv("TEMPORAL_ADDRESS", "temporal.example:7233")
    monkeypatch.setenv("TEMPORAL_NAMESPACE", "fleet")
    config = connect_config(settings)
    assert (config["target_host"], config["namespace"]) == ("temporal.example:7233", "fleet")


def test_a_configuration_file_that_is_named_goes_before_what_up_wrote(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write_temporal_profile(settings.home / "temporal.toml", "127.0.0.1:1", "default")
    write_temporal_profile(tmp_path / "mine.toml", "127.0.0.1:2", "mine")
    monkeypatch.setenv("TEMPORAL_CONFIG_FILE", str(tmp_path / "mine.toml"))
    assert connect_config(settings)["target_host"] == "127.0.0.1:2"


async def test_a_refused_connection_names_the_address_and_the_ways_out(
    settings: Settings, free_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEMPORAL_ADDRESS", free_address)
    with pytest.raises(TemporalUnreachableError) as caught:
        await connect(settings)
    assert free_address in str(caught.value)
    assert "connection refused" in str(caught.value)
    assert "relight up" in str(caught.value)
    assert "TEMPORAL_ADDRESS" in str(caught.value)


async def test_an_address_that_says_nothing_is_given_up_within_seconds(
    settings: Settings, silent_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEMPORAL_ADDRESS", silent_address)
    started = time.monotonic()
    with pytest.raises(TemporalUnreachableError, match="no answer within 5 s"):
        await connect(settings)
    assert time.monotonic() - started < 8


async def test_a_configuration_that_cannot_be_read_is_named(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "broken.toml").write_text("[profile.default\n")
    monkeypatch.setenv("TEMPORAL_CONFIG_FILE", str(tmp_path / "broken.toml"))
    with pytest.raises(TemporalUnreachableError, match="cannot be read"):
        await connect(settings)


async def test_a_namespace_that_is_not_there_is_named(
    temporal: EmbeddedTemporal, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEMPORAL_ADDRESS", temporal.address)
    monkeypatch.setenv("TEMPORAL_NAMESPACE", "nowhere")
    client = await connect(settings)
    with pytest.raises(TemporalNotPreparedError, match="nowhere"):
        await require_search_attributes(client)
