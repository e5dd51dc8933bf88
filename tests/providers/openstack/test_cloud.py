"""`clouds.yaml`: what is read, and what an operator is told when it cannot be."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from relight.providers.openstack.cloud import MAX_FILE_BYTES, CloudFileError, read_cloud

AUTH = {
    "auth_url": "https://cloud.example:5000",
    "username": "relight",
    "password": "correct horse",
    "project_name": "fleet",
    "user_domain_name": "Default",
    "project_domain_id": "default",
}


def write(folder: Path, entry: Any, name: str = "clouds.yaml") -> Path:
    file = folder / name
    file.write_text(yaml.safe_dump({"clouds": {"prod": entry}}))
    return file


def test_a_password_logs_in_to_a_project(tmp_path: Path):
    cloud = read_cloud(write(tmp_path, {"auth": AUTH, "region_name": "north"}), "prod")
    assert cloud.auth_url == "https://cloud.example:5000/v3"
    assert (cloud.interface, cloud.cacert) == ("public", None)
    user = {"name": "relight", "domain": {"name": "Default"}, "password": "correct horse"}
    assert cloud.login == {
        "auth": {
            "identity": {"methods": ["password"], "password": {"user": user}},
            "scope": {"project": {"name": "fleet", "domain": {"id": "default"}}},
        }
    }
    assert "correct horse" not in repr(cloud)


def test_an_application_credential_needs_no_project(tmp_path: Path):
    auth = {
        "auth_url": "https://cloud.example/v3/",
        "application_credential_name": "relight",
        "application_credential_secret": "s",
        "user_id": "u-1",
    }
    entry = {"auth": auth, "auth_type": "v3applicationcredential", "interface": "internal"}
    cloud = read_cloud(write(tmp_path, entry), "prod")
    assert (cloud.auth_url, cloud.interface) == ("https://cloud.example/v3", "internal")
    credential = {"name": "relight", "user": {"id": "u-1"}, "secret": "s"}
    identity = {"methods": ["application_credential"], "application_credential": credential}
    assert cloud.login == {"auth": {"identity": identity}}


def test_secrets_may_stand_in_a_file_of_their_own(tmp_path: Path):
    public = {key: value for key, value in AUTH.items() if key != "password"}
    clouds = write(tmp_path, {"auth": public})
    secure = write(tmp_path, {"auth": {"password": "from here"}}, "secure.yaml")
    login = read_cloud(clouds, "prod", secure).login
    assert "from here" in str(login)
    with pytest.raises(CloudFileError, match="password is missing; it may stand in the file"):
        read_cloud(clouds, "prod")


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"auth": AUTH | {"auth_url": "cloud.example"}}, r"clouds\.prod\.auth\.auth_url: "),
        ({"auth": AUTH | {"username": None}}, "user_id or username is missing"),
        ({"auth": AUTH | {"project_name": None}}, "project_id or project_name is missing"),
        ({"auth": AUTH | {"user_domain_name": None}}, "user_domain_name is missing"),
        ({"auth": AUTH, "auth_type": "v3token"}, r"clouds\.prod\.auth_type: "),
        ({"auth": AUTH, "verify": False}, r"clouds\.prod\.verify: "),
        ({"auth": AUTH, "interface": "publicURL"}, r"clouds\.prod\.interface: "),
        ({"profile": "vexxhost", "auth": AUTH}, "profile. is not read"),
        ({}, r"clouds\.prod\.auth: "),
        (["auth"], r"clouds\.prod: "),
    ],
)
def test_what_is_wrong_is_named_by_its_key(tmp_path: Path, entry: Any, words: str):
    with pytest.raises(CloudFileError, match=words) as wrong:
        read_cloud(write(tmp_path, entry), "prod")
    assert "clouds.yaml" in str(wrong.value)
    assert "correct horse" not in str(wrong.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("clouds: {prod: {auth: {password: correct horse", "no YAML at line 1"),
        ("- clouds", "it has no `clouds`"),
        ("clouds: {}", "there is no prod; its clouds: none"),
        ("[" * 100_000, "no YAML"),
        (" " * (MAX_FILE_BYTES + 1), "more than"),
    ],
)
def test_a_file_that_is_no_such_file(tmp_path: Path, content: str, words: str):
    file = tmp_path / "clouds.yaml"
    file.write_text(content)
    with pytest.raises(CloudFileError, match=words) as wrong:
        read_cloud(file, "prod")
    assert "correct horse" not in str(wrong.value)


def test_a_file_that_is_not_there(tmp_path: Path):
    with pytest.raises(CloudFileError, match="cannot be read"):
        read_cloud(tmp_path / "clouds.yaml", "prod")
