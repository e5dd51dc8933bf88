"""The home folder: secrets are generated once and private; other files can be rewritten."""

import os
import stat
import subprocess
from pathlib import Path

import asyncssh
import pytest
from temporalio.envconfig import ClientConfig

from relight.settings import load_settings
from starter.local.home import (
    make_next,
    new_client_key,
    prepare_home,
    replace_problem,
    set_next_aside,
    write_env,
    write_temporal_profile,
)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_secrets_are_generated_once(tmp_path: Path) -> None:
    home = tmp_path / "home"
    first = prepare_home(home)
    kept = [path.read_bytes() for path in first]
    assert prepare_home(home) == first
    assert [path.read_bytes() for path in first] == kept


def test_other_users_cannot_read_the_secrets(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o755)
    secrets = prepare_home(home)
    assert mode(home) == 0o700
    assert [mode(path) for path in secrets] == [0o600, 0o600]


def test_the_client_key_is_readable_by_ssh(tmp_path: Path) -> None:
    key = asyncssh.read_private_key(prepare_home(tmp_path).client_key)
    assert key.get_algorithm() == "ssh-ed25519"


def test_the_new_file_of_a_rotation_overwrites_none(tmp_path: Path) -> None:
    file = prepare_home(tmp_path / "home").client_key
    text = new_client_key()
    made = make_next(file, text)
    with pytest.raises(FileExistsError):
        make_next(file, new_client_key())
    assert (made.read_text(), made.stat().st_mode & 0o777) == (text, 0o600)
    assert [set_next_aside(file), set_next_aside(file)] == [made.with_name(f"{made.name}.1"), None]
    make_next(file, new_client_key())
    assert set_next_aside(file) == made.with_name(f"{made.name}.2")
    assert len(list(file.parent.iterdir())) == 4


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
def test_a_file_that_is_mounted_by_itself_cannot_be_replaced(tmp_path: Path) -> None:
    file = prepare_home(tmp_path / r"a home\with marks").client_key
    link = file.with_name("link")
    link.symlink_to(file)
    assert (replace_problem(file), replace_problem(link)) == (None, None)
    subprocess.run(["mount", "--bind", file, file], check=True)
    try:
        assert replace_problem(file) == f"{file} is mounted by itself. Mount its folder instead"
        assert replace_problem(link) is None
        with pytest.raises(OSError, match="busy"):
            file.with_name("host_key_secret").replace(file)
    finally:
        subprocess.run(["umount", file], check=True)


def test_the_host_key_secret_has_32_bytes_and_differs_between_homes(tmp_path: Path) -> None:
    secrets = {
        prepare_home(tmp_path / name).host_key_secret.read_text().strip() for name in ("a", "b")
    }
    assert len(secrets) == 2
    assert {len(bytes.fromhex(secret)) for secret in secrets} == {32}


def test_settings_read_new_and_existing_variables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RELIGHT_HOME", str(tmp_path))
    (tmp_path / "env").write_text("RELIGHT_TASK_QUEUE=mine\nRELIGHT_LAB__URL=http://old\n")
    odd = r"http://127.0.0.1:1/it's \ $HOME #1"
    write_env(tmp_path, {"RELIGHT_LAB__URL": odd, "RELIGHT_SSH__CLIENT_KEY": "/a b/key"})
    write_env(tmp_path, {"RELIGHT_LAB__URL": odd})

    settings = load_settings()

    assert settings.lab.url == odd
    assert settings.ssh.client_key == Path("/a b/key")
    assert settings.task_queue == "mine"
    assert mode(tmp_path / "env") == 0o600


def test_the_sdk_reads_the_temporal_profile(tmp_path: Path) -> None:
    write_temporal_profile(tmp_path / "temporal.toml", "127.0.0.1:4711", "default")
    config = ClientConfig.load_client_connect_config(
        config_file=str(tmp_path / "temporal.toml"), disable_env=True
    )
    assert config["target_host"] == "127.0.0.1:4711"
    assert config["namespace"] == "default"
