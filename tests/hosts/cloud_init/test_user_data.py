"""The user-data of a machine."""

import json
import os
import shlex
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

import asyncssh
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from activities.machine.first_boot import UserData
from devkit.simulated.parts import HOST_KEY_SECRET, user_data_renderer
from devkit.simulated.written_files import binary_content, content
from relight.domain.machine import MachinePlan
from relight.domain.release import DebFile
from relight.hosts import host_program
from relight.hosts.cloud_init.user_data import (
    FIRST_BOOT_SCRIPT,
    SERVICE_FILES,
    Access,
    AptSource,
    BootStep,
    UserDataTemplate,
)
from relight.hosts.host_program import Change
from relight.hosts.keys import derive_host_key

CLIENT_KEY = asyncssh.generate_private_key("ssh-ed25519")
ARMOURED = b"\n-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nabc\n-----END PGP PUBLIC KEY BLOCK-----\n"
PLAN = MachinePlan(
    key="de-1-g1",
    route_id="de-1",
    track="stable",
    provider="lab",
    region="lab-east",
    release_version="0.0.74",
)
SOURCE = AptSource(
    path=PurePosixPath("/etc/apt/sources.list.d/relight.sources"),
    url="https://repository.example/apt",
    suite="stable",
    component="main",
    signing_key=ARMOURED,
)
ACCESS = Access(
    "relight", "ALL", ["ssh-ed25519 AAAA relight"], SecretStr("PRIVATE"), "ssh-ed25519 BBBB h"
)
SECRETS = {"LANTERN_TOKEN": "squirrel"}
RECORD = "/var/lib/relight/first-boot"
HOSTILE = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)


def rendered(plan: MachinePlan = PLAN, **options: Any) -> UserData:
    return user_data_renderer(CLIENT_KEY, signing_key=ARMOURED, **options).render(plan)


def config(plan: MachinePlan = PLAN, **options: Any) -> dict[str, Any]:
    text = rendered(plan, **options).text.get_secret_value()
    assert text.startswith("#cloud-config\n")
    return dict(yaml.safe_load(text))


def files(config: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Return mode and text of each file by its path, in order."""
    return {file["path"]: (file["permissions"], content(file)) for file in config["write_files"]}


def write_templates(folder: Path, **templates: str) -> Path:
    for name, text in templates.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def test_the_same_plan_gives_the_same_bytes() -> None:
    assert rendered() == rendered()
    assert rendered().sha256 == rendered().sha256
    others = {"key": "de-1-g2", "track": "beta", "region": "x", "release_version": "0.0.75"}
    digests = {
        rendered(PLAN.model_copy(update={name: text})).sha256 for name, text in others.items()
    }
    assert len(digests | {rendered().sha256}) == 5


def test_it_fits_the_limit_of_every_provider() -> None:
    assert rendered().size_bytes < 8 * 1024


def test_secrets_are_not_in_the_repr() -> None:
    assert "PRIVATE KEY" not in repr(rendered())
    assert "PRIVATE" not in repr(ACCESS)
    assert HOST_KEY_SECRET.hex() not in repr(user_data_renderer(CLIENT_KEY))
    assert repr(HOST_KEY_SECRET) not in repr(user_data_renderer(CLIENT_KEY))


def test_the_machine_gets_only_the_derived_host_key() -> None:
    found, key = config(), derive_host_key(HOST_KEY_SECRET, PLAN.key)
    assert found["ssh_keys"] == {"ed25519_private": key.private, "ed25519_public": key.public}
    private = asyncssh.import_private_key(found["ssh_keys"]["ed25519_private"])
    public = asyncssh.import_public_key(found["ssh_keys"]["ed25519_public"])
    assert private.public_data == public.public_data
    assert found["ssh_deletekeys"] is True
    assert found["ssh"] == {"emit_keys_to_console": False}
    assert found["no_ssh_fingerprints"] is True


def test_one_user_logs_in_by_one_key_without_passwords_and_root() -> None:
    found = config()
    assert (found["ssh_pwauth"], found["disable_root"]) == (False, True)
    (user,) = found["users"]
    assert (user["name"], user["lock_passwd"]) == ("relight", True)
    assert not {"passwd", "hashed_passwd", "plain_text_passwd", "ssh_import_id"} & set(user)
    (line,) = user["ssh_authorized_keys"]
    assert asyncssh.import_public_key(line).public_data == CLIENT_KEY.public_data
    assert not {"chpasswd", "password", "ssh_authorized_keys"} & set(found)


def test_the_host_is_named_after_its_machine() -> None:
    assert config()["hostname"] == "de-1-g1"


@pytest.mark.parametrize(
    ("key", "path"),
    [
        (ARMOURED, "/etc/apt/keyrings/relight.asc"),
        (b"\x99\x01\x0d\x04", "/etc/apt/keyrings/relight.gpg"),
    ],
)
def test_the_source_names_the_key_file_with_the_suffix_of_its_format(key: bytes, path: str) -> None:
    template = UserDataTemplate(replace(SOURCE, signing_key=key), SERVICE_FILES, SECRETS)
    found = yaml.safe_load(template.render(PLAN, ACCESS, [], RECORD))
    first, second = found["write_files"][:2]
    assert (first["path"], first["permissions"]) == (path, "0644")
    assert binary_content(first) == key
    assert (second["path"], second["permissions"]) == (str(SOURCE.path), "0644")
    fields = content(second).splitlines()[1:]
    assert fields == [
        "Types: deb",
        "URIs: https://repository.example/apt",
        "Suites: stable",
        "Components: main",
        f"Signed-By: {path}",
    ]


def test_every_file_is_written_before_the_script_runs() -> None:
    found = config()
    assert list(files(found)) == [
        str(host_program.PROGRAM),
        str(host_program.CONFIGURATION),
        "/etc/apt/keyrings/relight.asc",
        f"/etc/apt/{host_program.SOURCES_FILE}",
        "/etc/default/lantern-box",
        "/etc/lantern-box/config.json",
        str(FIRST_BOOT_SCRIPT),
    ]
    assert found["runcmd"] == [[str(FIRST_BOOT_SCRIPT)]]
    assert not {"packages", "package_update", "package_upgrade", "bootcmd", "apt"} & set(found)


def test_the_script_installs_the_pinned_version() -> None:
    mode, script = files(config())[str(FIRST_BOOT_SCRIPT)]
    assert mode == "0700"
    install = shlex.split(script.splitlines()[-1])
    program = "/usr/local/sbin/relight-host"
    assert install == ["step", "install", program, "install", "0.0.74", "upgrade"]


def test_the_host_gets_the_host_program_and_its_configuration() -> None:
    found = files(config(deb_urls="https://files.example/"))
    assert found["/usr/local/sbin/relight-host"] == (
        "0755",
        host_program.text(first_boot=True).decode(),
    )
    assert found["/etc/relight/host"] == (
        "0644",
        (
            "PACKAGE=lantern-box\nUNIT=lantern-box.service\nMORE_UNITS=''\n"
            "EXECUTABLE=/usr/bin/lantern-box\nON_CHANGE=restart\nSTATE_FILES=''\n"
            "DEB_URLS=https://files.example/\n"
        ),
    )


def test_the_control_planes_user_may_run_only_the_host_program_as_root() -> None:
    (user,) = config()["users"]
    assert user["sudo"] == "ALL=(root) NOPASSWD: NOSETENV: /usr/local/sbin/relight-host"
    assert user["lock_passwd"] is True


def test_a_release_with_a_url_is_fetched_without_an_apt_source() -> None:
    deb_file = DebFile(
        architecture="amd64",
        filename="https://files.example/lantern-box_0.0.74_amd64.deb",
        sha256="0" * 64,
        size_bytes=7,
    )
    found = files(config(PLAN.model_copy(update={"deb_file": deb_file}), by_apt=False))
    assert not [path for path in found if path.startswith("/etc/apt/")]
    script = found[str(FIRST_BOOT_SCRIPT)][1]
    install = shlex.split(script.splitlines()[-1])
    assert install == ["step", "install", *host_program.install(Change("0.0.74", deb=deb_file))]


def test_a_release_without_a_url_is_installed_by_apt() -> None:
    deb_file = DebFile(
        architecture="amd64", filename="pool/main/x.deb", sha256="0" * 64, size_bytes=7
    )
    with_deb_file = PLAN.model_copy(update={"deb_file": deb_file})
    path = str(FIRST_BOOT_SCRIPT)
    assert files(config(with_deb_file))[path] == files(config())[path]


def test_the_services_configuration_names_route_and_location() -> None:
    mode, text = files(config())["/etc/lantern-box/config.json"]
    assert mode == "0644"
    assert json.loads(text) == {
        "listen": "0.0.0.0:8899",
        "route": "de-1",
        "track": "stable",
        "provider": "lab",
        "region": "lab-east",
    }


def test_a_machine_of_the_pool_has_no_route_and_no_track() -> None:
    pooled = MachinePlan(
        **{**dict(PLAN), "key": "pool-lab-east-3", "route_id": None, "track": None}
    )
    text = rendered(pooled).text.get_secret_value()
    assert text.splitlines()[1] == '# The first boot of "pool-lab-east-3", for the pool.'
    of_a_route = rendered().text.get_secret_value()
    assert of_a_route.splitlines()[1] == '# The first boot of "de-1-g1", for the route "de-1".'
    document = json.loads(files(config(pooled))["/etc/lantern-box/config.json"][1])
    assert (document["route"], document["track"], document["region"]) == (None, None, "lab-east")


def test_a_file_that_uses_a_secret_is_readable_by_root_only(tmp_path: Path) -> None:
    folder = write_templates(
        tmp_path,
        **{
            "etc__plain.j2": "{{ plan.region }} and 'secrets'",
            "etc__named.j2": "{{ secrets.LANTERN_TOKEN }}",
            "etc__sometimes.j2": "{% if plan.track == 'x' %}{{ secrets.LANTERN_TOKEN }}{% endif %}",
            "etc__including.j2": "{% include 'parts/token' %}",
            "etc__importing.j2": "{% from 'parts/macro' import token %}{{ token(plan) }}",
            "etc__dynamic.j2": "{% include 'parts/' ~ 'plain' %}",
            "etc__with-part.j2": "{% include 'parts/plain' %}",
            "parts__token": "{{ secrets['LANTERN_TOKEN'] }}",
            "parts__macro": "{% macro token(plan) %}{% include 'parts/plain' %}{% endmacro %}",
            "parts__plain": "a part",
        },
    )
    modes = {path: mode for path, (mode, _) in files(config(service_files=folder)).items()}
    assert {path.removeprefix("/etc/"): modes[path] for path in list(modes)[4:-1]} == {
        "dynamic": "0600",  # the included name is known only when rendered
        "importing": "0644",
        "including": "0600",
        "named": "0600",
        "plain": "0644",
        "sometimes": "0600",
        "with-part": "0644",
    }


def test_the_file_with_the_secrets_is_readable_by_root_only() -> None:
    mode, text = files(config())["/etc/default/lantern-box"]
    assert mode == "0600"
    assert text.splitlines()[1:] == ['LANTERN_TOKEN="a-service-secret"']


@cache
def ordinary_config() -> dict[str, Any]:
    template = UserDataTemplate(SOURCE, SERVICE_FILES, SECRETS)
    return dict(yaml.safe_load(template.render(PLAN, ACCESS, [], RECORD)))


@given(track=HOSTILE, region=HOSTILE, provider=HOSTILE, key=HOSTILE, secret=HOSTILE)
@settings(deadline=None, max_examples=60)
def test_no_value_changes_the_structure(
    track: str, region: str, provider: str, key: str, secret: str
) -> None:
    names = {"track": track, "region": region, "provider": provider, "key": key}
    plan = PLAN.model_copy(update=names)
    template = UserDataTemplate(SOURCE, SERVICE_FILES, {"LANTERN_TOKEN": secret})
    access = replace(ACCESS, host_key_public=key, client_keys_public=[track], user=region)
    found = yaml.load(template.render(plan, access, [], RECORD), Loader=yaml.CSafeLoader)
    usual = ordinary_config()
    assert found.keys() == usual.keys()
    assert found["hostname"] == key
    assert found["ssh_keys"]["ed25519_public"] == key
    assert found["users"][0]["ssh_authorized_keys"] == [track]
    assert found["users"][0]["name"] == region
    assert {name: found[name] for name in ("runcmd", "ssh_pwauth", "disable_root")} == {
        name: usual[name] for name in ("runcmd", "ssh_pwauth", "disable_root")
    }
    written = files(found)
    assert written.keys() == files(usual).keys()
    document = json.loads(written["/etc/lantern-box/config.json"][1])
    assert (document["track"], document["region"], document["provider"]) == (
        track,
        region,
        provider,
    )


@given(argument=HOSTILE, folder=st.sampled_from(["plain", "with blank", "a'b", "$(x)", "#x"]))
@settings(
    deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_the_script_passes_any_argument_unchanged(
    tmp_path: Path, argument: str, folder: str
) -> None:
    record = tmp_path / folder
    for left in record.glob("*"):
        left.unlink()
    done = run_script(record, BootStep("install", ["printf", "%s", argument]))
    assert done.returncode == 0, done.stderr
    assert (record / "install.log").read_bytes() == argument.encode()
    assert (record / "steps").read_text() == "install 0\n"


def test_the_first_failed_step_ends_the_boot_with_its_output(tmp_path: Path) -> None:
    done = run_script(
        tmp_path / "record",
        BootStep("install", ["sh", "-c", "echo first; cat"]),
        BootStep("broken", ["sh", "-c", "echo out; echo err >&2; exit 42"]),
        BootStep("service", ["touch", str(tmp_path / "started")]),
    )
    assert done.returncode == 42
    assert (tmp_path / "record/steps").read_text() == "install 0\nbroken 42\n"
    assert (tmp_path / "record/broken.log").read_text() == "out\nerr\n"
    assert done.stderr == b"relight: broken failed with exit code 42\nout\nerr\n"
    assert not (tmp_path / "started").exists()


def run_script(record: Path, *steps: BootStep) -> subprocess.CompletedProcess[bytes]:
    template = UserDataTemplate(SOURCE, SERVICE_FILES, SECRETS)
    found = yaml.safe_load(template.render(PLAN, ACCESS, steps, str(record)))
    script = files(found)[str(FIRST_BOOT_SCRIPT)][1]
    # Standard input stays open: no step may read it.
    reader, writer = os.pipe()
    try:
        return subprocess.run(
            ["/bin/sh", "-c", script], stdin=reader, capture_output=True, check=False, timeout=20
        )
    finally:
        os.close(reader)
        os.close(writer)
