"""The service, its probe, its secrets and its repository, by the settings."""

from dataclasses import replace
from pathlib import Path, PurePosixPath

from dotenv import dotenv_values

from relight.domain.key_rotation import next_of
from relight.domain.service import Service
from relight.hosts import host_program
from relight.hosts.cloud_init.user_data import SERVICE_FILES, AptSource
from relight.hosts.probe import Probe, probe_of
from relight.releases.signing_key import read_signing_key
from relight.releases.source import AptSourceConfig
from relight.settings import Settings


def service_of(settings: Settings) -> Service:
    """Return the packaged service."""
    service = settings.service
    return Service(
        package=service.package,
        unit=service.unit,
        executable=service.executable,
        stability_window=settings.stability_window,
        change_deadline=service.change_deadline,
        packages=service.packages[1:],
        more_units=service.more_units,
        on_change=service.on_change,
        state_files=service.state_files,
    )


def service_files(settings: Settings) -> Path | None:
    """Return the folder of the service's templates; None if it has none.

    The default templates are those of the default package: another one has no use for its files.
    """
    service = settings.service
    if service.files is None and service.package == type(service).model_fields["package"].default:
        return SERVICE_FILES
    return service.files


def service_probe(settings: Settings) -> Probe:
    """Return what asks the service whether it works."""
    service = settings.service
    return probe_of(
        service.probe,
        port=service.probe_port,
        path=service.probe_path,
        command=service.probe_command,
        timeout=service.probe_timeout,
        patience=service.probe_patience,
    )


def apt_source(config: AptSourceConfig) -> AptSource:
    """Return the apt repositories as hosts know them.

    Raises:
        RepositoryUntrustedError: a signing key cannot be used.
    """
    first, *more = (_source(each, number) for number, each in enumerate(config.all, 1))
    return replace(first, more=tuple(more))


def _source(config: AptSourceConfig, number: int) -> AptSource:
    login, next_key = config.login, next_of(config.signing_key)
    return AptSource(
        path=PurePosixPath("/etc/apt", host_program.SOURCES_FILE),
        url=config.url,
        suite=config.suite,
        component=config.component,
        # Hosts trust this key only, also where the file has several; while it is rotated, the one
        # in the file `FILE.next` too.
        signing_key=read_signing_key(config.signing_key, config.fingerprint).certificate
        + (read_signing_key(next_key).certificate if next_key.exists() else b""),
        number=number,
        user=login.user if login else "",
        password=login.password if login else None,
    )


def service_secrets(file: Path | None) -> dict[str, str]:
    """Return the values of a file of `NAME=VALUE` lines, by name; none without a file."""
    values = dotenv_values(file, interpolate=False) if file else {}
    return {name: value or "" for name, value in values.items()}
