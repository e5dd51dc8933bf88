"""`python -m devkit.openstack`, as far as it needs no cloud. The cloud itself: tests/openstack."""

import json
import os
import stat
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from devkit.openstack import cloud, services
from devkit.openstack.__main__ import app
from devkit.openstack.images import UNITS
from devkit.openstack.rest import Login
from lab import lifecycle
from lab.errors import LabError

SECRET = "5ecre7"

KEYSTONE = """\
[uwsgi]
plugins = python3,apparmor
apparmor-profile = keystone
processes = 8
threads = 32
wsgi-file = /usr/bin/keystone-wsgi-public
"""


@pytest.fixture
def configured(tmp_path: Path) -> Path:
    """A folder with the configuration of a computer, whose packages have Keystone's settings."""
    packages, folder = tmp_path / "packages", tmp_path / "configuration"
    shipped = packages / "etc/keystone/keystone-uwsgi.ini"
    shipped.parent.mkdir(parents=True)
    shipped.write_text(KEYSTONE)
    services._configure(folder, packages, SECRET)
    return folder


def test_every_file_with_the_secret_can_be_read_by_root_alone(configured):
    files = [path for path in configured.rglob("*") if path.is_file()]
    secret = {path for path in files if SECRET in path.read_text()}
    private = {path for path in files if stat.S_IMODE(path.stat().st_mode) == 0o600}
    assert secret == private
    assert configured / "etc/nova/nova.conf" in secret
    assert not [path for path in files if "@SECRET@" in path.read_text()]


def test_each_service_is_started_until_it_succeeds_however_long_it_takes(configured):
    for unit in UNITS:
        text = (configured / f"etc/systemd/system/{unit}.service.d/restart.conf").read_text()
        assert "Restart=always" in text
        assert "TimeoutStartSec=infinity" in text


def test_a_web_server_is_small_needs_no_apparmor_and_ends_each_connection(configured):
    lines = (configured / "etc/keystone/keystone-uwsgi.ini").read_text().splitlines()
    assert {"plugins = python3", "threads = 1", "add-header = Connection: close"} <= set(lines)
    assert not [line for line in lines if "apparmor" in line]
    assert services._small("\n".join(lines)).count("add-header") == 1


def test_the_login_of_each_user_stands_in_the_file_of_clouds():
    url = "http://198.18.0.10:5000/v3"
    logins = [Login("relight", "relight", SECRET), Login("admin", "admin", SECRET)]
    clouds = yaml.safe_load(cloud._clouds(url, *logins))["clouds"]
    assert list(clouds) == ["relight", "admin"]
    assert clouds["relight"]["auth"]["auth_url"] == url
    assert clouds["relight"]["auth"]["password"] == SECRET


def test_a_cloud_that_does_not_run_has_no_status(tmp_path):
    # What a killed cloud left there is no running cloud.
    (tmp_path / lifecycle.LAB_FILE).write_text(json.dumps({"pid": os.getpid()}))
    ended = CliRunner().invoke(app, ["status", "--name", "nowhere", "--state", str(tmp_path)])
    assert isinstance(ended.exception, LabError)
    assert "does not run" in str(ended.exception)
