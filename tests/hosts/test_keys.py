"""Derived host keys, and the control plane's client key."""

import subprocess
from pathlib import Path

import asyncssh
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relight.hosts.keys import (
    IdentityError,
    derive_host_key,
    load_client_key,
    load_secret,
    public_line,
)

SECRET = bytes(range(32))

secrets = st.binary(min_size=32, max_size=80)
machine_keys = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,46}[a-z0-9])?-g[1-9]", fullmatch=True)


def test_a_derived_key_never_changes() -> None:
    """With another derivation, running machines could not be reached any more."""
    key = derive_host_key(SECRET, "de-1-g1")
    assert key.public == (
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJwr99/XlF46NmV4Jl0fmDPUCMgl+erjglt9Mpz8IbSK de-1-g1"
    )


@given(secrets, machine_keys)
def test_the_same_secret_and_machine_give_the_same_bytes(secret: bytes, machine: str) -> None:
    first, second = derive_host_key(secret, machine), derive_host_key(secret, machine)
    assert first == second
    assert first.private == second.private


@given(secrets, machine_keys)
def test_private_and_public_key_belong_together(secret: bytes, machine: str) -> None:
    key = derive_host_key(secret, machine)
    private = asyncssh.import_private_key(key.private)
    assert public_line(private, machine) == key.public
    assert asyncssh.import_public_key(key.public).get_comment() == machine


@given(secrets, st.sets(machine_keys, min_size=2, max_size=5))
def test_each_machine_has_another_key(secret: bytes, machines: set[str]) -> None:
    blobs = {derive_host_key(secret, machine).public.split()[1] for machine in machines}
    assert len(blobs) == len(machines)


@given(st.sets(secrets, min_size=2, max_size=5))
def test_each_secret_gives_other_keys(many: set[bytes]) -> None:
    blobs = {derive_host_key(secret, "de-1-g1").public.split()[1] for secret in many}
    assert len(blobs) == len(many)


@pytest.mark.parametrize("machine", ["a-g1", "de-1-g1", "a" * 48 + "-g1000"])
def test_openssh_reads_the_private_key(machine: str, tmp_path: Path) -> None:
    key = derive_host_key(SECRET, machine)
    file = tmp_path / "ssh_host_ed25519_key"
    file.write_text(key.private)
    file.chmod(0o600)
    argv = ["ssh-keygen", "-y", "-P", "", "-f", str(file)]
    output = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    assert output == f"{key.public}\n"


@pytest.mark.parametrize("size", [0, 1, 31])
def test_a_secret_that_is_too_short_is_refused(size: int) -> None:
    with pytest.raises(IdentityError, match=f"has {size} bytes; at least 32"):
        derive_host_key(bytes(size), "de-1-g1")


def test_a_private_key_is_not_in_the_repr() -> None:
    key = derive_host_key(SECRET, "de-1-g1")
    assert "PRIVATE" in key.private
    assert "PRIVATE" not in repr(key)


def test_the_secret_is_read_from_its_file(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text(f"{SECRET.hex()}\n")
    assert load_secret(file) == SECRET


@pytest.mark.parametrize("text", ["", "not hexadecimal", "ab" * 31, "abc"])
def test_an_invalid_secret_is_refused_without_showing_it(tmp_path: Path, text: str) -> None:
    file = tmp_path / "secret"
    file.write_text(text)
    with pytest.raises(IdentityError, match="the host key secret") as caught:
        load_secret(file)
    assert not text or text not in str(caught.value)


def test_a_missing_secret_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IdentityError, match="no-such"):
        load_secret(tmp_path / "no-such")


def test_the_public_line_of_the_client_key_authorizes_it(tmp_path: Path) -> None:
    key = asyncssh.generate_private_key("ssh-ed25519", comment="another comment")
    file = tmp_path / "client_key"
    key.write_private_key(file)
    line = public_line(load_client_key(file), "relight")
    assert line.endswith(" relight")
    assert (
        asyncssh.import_authorized_keys(line).validate(
            key.convert_to_public(), "relight", "127.0.0.1"
        )
        is not None
    )


@pytest.mark.parametrize("content", [b"", b"no key", b"\xff\xfe"])
def test_an_invalid_client_key_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "client_key"
    file.write_bytes(content)
    with pytest.raises(IdentityError, match="client_key"):
        load_client_key(file)


def test_a_missing_client_key_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IdentityError, match="no-such"):
        load_client_key(tmp_path / "no-such")


@pytest.mark.parametrize("form", ["RFC4716", "PKCS8", "PEM"])
def test_a_client_key_with_a_passphrase_is_refused(tmp_path: Path, form: str) -> None:
    file = tmp_path / "client_key"
    argv = ["ssh-keygen", "-q", "-t", "ecdsa", "-m", form, "-N", "secret", "-f", str(file)]
    subprocess.run(argv, check=True)
    with pytest.raises(IdentityError, match=r"[Pp]assphrase"):
        load_client_key(file)


@pytest.mark.parametrize("form", ["pkcs8-pem", "openssh"])
def test_a_public_key_as_client_key_is_refused(tmp_path: Path, form: str) -> None:
    file = tmp_path / "client_key"
    asyncssh.generate_private_key("ssh-ed25519").write_public_key(file, form)
    with pytest.raises(IdentityError):
        load_client_key(file)
