"""The groups of settings, one frozen model each: `RELIGHT_<GROUP>__<NAME>` in the environment."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)
from pydantic_settings import NoDecode

from relight.domain.duration import Duration, span
from relight.domain.names import PackageName
from relight.domain.release import ArchitectureName
from relight.domain.service import OnChange

UnitName = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9:_.\\@][A-Za-z0-9:_.\\@*-]*\.service$")
]

MoreUnitName = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9:_.\\@][A-Za-z0-9:_.\\@*-]*\.(service|socket)$"),
]

ProbeKind = Literal["http", "tcp", "command", "none"]

PROBE_LIMIT = timedelta(seconds=15)
"""Upper limit for a probe's timeout and patience together: the probe is part of each proof."""

DRAIN_LIMIT = timedelta(hours=1)
"""Upper limit for a drain: less than the activity's own timeout."""


class SettingsError(Exception):
    """A setting is missing or cannot be used; the text names its variable."""

    kind = "bad-setting"


def words(value: object) -> object:
    """Read a list of words from a variable, in JSON; a list is returned as it is."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        msg = 'it is no JSON list of words, as in ["check", "--fast"]'
        raise ValueError(msg) from None


class ServiceSettings(BaseModel):
    """The packaged service that the fleet runs. The defaults describe lantern-box.

    Attributes:
        package: the Debian package.
        unit: the systemd unit in the package, or a pattern of all instances of a template, as in
            `lantern-box@*.service`.
        more_units: its other units, as a JSON list: services, patterns and sockets. A socket stays
            open while its service is restarted.
        executable: the program or the script that a main process must run. Empty: a file of the
            package, or of another one. It must be set for a program or a script that no package on
            the host contains.
        on_change: how the units take a new release. `restart`; `reload`, which must replace all
            processes within a minute; `try-restart`, which leaves alone what does not run.
        state_files: shell patterns of files of the package that the service changes itself, as a
            JSON list; below /var/lib, /var/cache, /var/log, /var/spool, /srv and /run all are.
        probe: the health probe, sent from the control plane: `http` expects a 2xx, `tcp` a
            connection, `command` exit code 0 of a program of yours, `none` nothing: the proof is
            then that of the processes alone.
        probe_port: the port for `http` and `tcp`.
        probe_path: the path for `http`, from its `/` on.
        probe_command: the program and its arguments for `command`, as a JSON list. It gets the host
            in `RELIGHT_PROBE_ADDRESS` and `RELIGHT_PROBE_MACHINE`. Its arguments and its output are
            kept with proofs and faults: they must not contain a secret.
        probe_timeout: for one answer.
        probe_patience: how long the probe is retried while nothing listens, as just after a start;
            a command asks for a retry with exit code 75.
        files: a folder of jinja templates for the service's configuration and environment files,
            laid out as on the host; None for `relight/hosts/cloud_init/service` if the package is
            the default one, else for no files.
        secrets_file: `NAME=value` lines that those templates may use and that no message holds.
        change_deadline: after which time a host stops a change of the package, as when one of its
            scripts hangs. It includes the download.
        packages: the packages that one release installs; the first is `package`, and its version
            is the release's. Each other one moves to the version of the same source, or to the
            newest one.
    """

    model_config = ConfigDict(frozen=True)

    package: PackageName = "lantern-box"
    unit: UnitName = "lantern-box.service"
    more_units: Annotated[tuple[MoreUnitName, ...], NoDecode, BeforeValidator(words)] = ()
    executable: Annotated[str, StringConstraints(pattern=r"^(/[^'\n]+)?$")] = ""
    on_change: OnChange = OnChange.RESTART
    state_files: Annotated[
        tuple[Annotated[str, StringConstraints(pattern=r"^/[^'\s]+$")], ...],
        NoDecode,
        BeforeValidator(words),
    ] = ()
    probe: ProbeKind = "http"
    probe_port: int = Field(default=8899, ge=1, le=65535)
    probe_path: Annotated[str, StringConstraints(pattern=r"^/")] = "/healthz"
    probe_command: Annotated[tuple[str, ...], NoDecode, BeforeValidator(words)] = ()
    probe_timeout: Duration = Field(default=timedelta(seconds=3), gt=timedelta(0))
    probe_patience: Duration = Field(default=timedelta(seconds=5), ge=timedelta(0))
    files: Path | None = None
    secrets_file: Path | None = None
    change_deadline: Duration = Field(
        default=timedelta(minutes=10), ge=timedelta(seconds=10), le=timedelta(hours=1)
    )
    packages: Annotated[tuple[PackageName, ...], NoDecode, BeforeValidator(words)] = ()

    # Not a ValueError: pydantic would wrap it into an error that shows every value.
    @model_validator(mode="after")
    def _packages_begin_with_the_package(self) -> Self:
        if self.packages and self.packages[0] != self.package:
            msg = (
                f"RELIGHT_SERVICE__PACKAGES begins with {self.packages[0]}, and "
                f"RELIGHT_SERVICE__PACKAGE is {self.package}: a release has its version"
            )
            raise SettingsError(msg)
        return self

    # Not a ValueError, as above.
    @model_validator(mode="after")
    def _probe_is_complete(self) -> Self:
        if self.probe == "command" and not self.probe_command:
            msg = (
                "RELIGHT_SERVICE__PROBE_COMMAND is not set, and RELIGHT_SERVICE__PROBE is `command`"
            )
            raise SettingsError(msg)
        if self.probe_timeout + self.probe_patience > PROBE_LIMIT:
            msg = (
                "RELIGHT_SERVICE__PROBE_TIMEOUT and RELIGHT_SERVICE__PROBE_PATIENCE are more than "
                f"{span(PROBE_LIMIT)} together"
            )
            raise SettingsError(msg)
        return self


ConnectivityChecks = tuple[
    Annotated[str, StringConstraints(pattern=r"^(https?|tcp)://[^/\s]+\S*$")], ...
]
"""Addresses that tell whether the control plane itself is online."""


class DrainSettings(BaseModel):
    """A program of yours that moves a route's users off its old machine before it is destroyed.

    It runs beside the worker, and gets `RELIGHT_DRAIN_ROUTE`, `RELIGHT_DRAIN_MACHINE` and
    `RELIGHT_DRAIN_ADDRESS`. Exit code 0 means drained; neither another code nor the deadline stops
    the replacement. It may run twice. Its output must not contain a secret.

    Attributes:
        command: the program and its arguments, as a JSON list; no shell reads them. Empty: none.
        deadline: after it the program and all that it started are killed.
    """

    model_config = ConfigDict(frozen=True)

    command: Annotated[tuple[str, ...], NoDecode, BeforeValidator(words)] = ()
    deadline: Duration = Field(default=timedelta(minutes=5), gt=timedelta(0), le=DRAIN_LIMIT)


class RepositorySettings(BaseModel):
    """The signed apt repository that carries the service's releases.

    Attributes:
        url: its URL, reachable from hosts and from the control plane, without a password.
        suite: the suite under `dists/`. Of a flat repository, whose line is `deb URL ./`, the part
            that ends with a slash: `./`.
        component: the component of that suite; a flat repository has none.
        signing_key: the file with its public key, armoured or binary.
        signing_key_fingerprint: of that key; needed if the file has several keys.
        max_age: of an index without Valid-Until; an older one is refused.
        architectures: those of the fleet's hosts, as a JSON list; other indices are not read.
        user: for a login by HTTP basic authentication, if it needs one.
        password_file: the file with the password of that user. Hosts get it in a file that root
            alone can read.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str = ""
    suite: str = "stable"
    component: str = "main"
    signing_key: Path | None = None
    signing_key_fingerprint: Annotated[
        str, StringConstraints(pattern=r"^([0-9A-Fa-f ]{40,60})?$")
    ] = ""
    max_age: Duration = Field(default=timedelta(days=90), gt=timedelta(0))
    architectures: Annotated[
        tuple[ArchitectureName, ...], NoDecode, BeforeValidator(words), Field(min_length=1)
    ] = ("amd64", "arm64")
    user: Annotated[str, StringConstraints(pattern=r"^[!-~]*$")] = ""
    password_file: Path | None = None


class GitHubSettings(BaseModel):
    """The GitHub repository whose releases carry the service's packages, instead of an apt one.

    Attributes:
        repository: `OWNER/NAME`; if set, releases come from there.
        api_url: the URL of its REST API.
        download_url: the URL of its files: the only one that hosts fetch from.
        token_file: the file with a token, for a higher rate limit of the API. Hosts fetch without
            one: the files must be public, unless `private` is set.
        public_key: the file with the public key that signs the releases: of minisign, or of `cosign
            sign-blob --key` (PEM). If set, unsigned packages are refused.
        private: whether the repository is private. The control plane then downloads packages with
            its token, and brings them to hosts; no host gets the token.
        assets: a pattern of the names of the files that may be packages, where a release has
            several for one architecture: `*.debian12.deb`.
    """

    model_config = ConfigDict(frozen=True)

    repository: str = ""
    api_url: str = "https://api.github.com"
    download_url: str = "https://github.com"
    token_file: Path | None = None
    public_key: Path | None = None
    private: bool = False
    assets: str = Field(default="*.deb", min_length=1)


class DirectorySettings(BaseModel):
    """A folder of packages beside the worker, instead of a repository.

    Attributes:
        path: of the folder; if set, releases come from there, and the control plane brings them to
            hosts. Every worker has to have it.
    """

    model_config = ConfigDict(frozen=True)

    path: Path | None = None


class PackageSettings(BaseModel):
    """Packages that the control plane keeps, and brings to hosts over SSH.

    Attributes:
        push: whether hosts take packages from the control plane, so that a rollback works after the
            repository has deleted a version. Whoever has the control plane's SSH key can then
            install any package. A private repository and a folder need it: with them it is on.
        folder: of the packages; by default `packages` in the home folder.
        max_files: how many are kept.
        max_bytes: of all of them together.
    """

    model_config = ConfigDict(frozen=True)

    push: bool = False
    folder: Path | None = None
    max_files: int = Field(default=100, ge=1)
    max_bytes: int = Field(default=4 * 1024**3, ge=1)


class SshSettings(BaseModel):
    """The control plane's SSH connection to a host.

    Attributes:
        user: the unprivileged user that it logs in as.
        port: of sshd.
        client_key: the file with its private key, in OpenSSH's format. While the key is rotated, a
            file beside it, `FILE.next`, has the new one. Both are read when they change.
        host_key_secret: the file with the secret from which every machine's host key is derived; at
            least 32 bytes. `FILE.next` as above.
        connect_timeout: for one attempt, login included.
    """

    model_config = ConfigDict(frozen=True)

    user: str = "relight"
    port: int = 22
    client_key: Path | None = None
    host_key_secret: Path | None = None
    connect_timeout: Duration = timedelta(seconds=10)


class LivenessSettings(BaseModel):
    """The probe that tells whether machines answer (`docs/decisions/0019-liveness.md`).

    Attributes:
        every: how often all machines are probed, once `relight schedule apply` or `relight up` has
            been run: `PT1M`.
        timeout: for the answer of one machine.
        concurrency: how many machines are probed at the same time; each takes one socket.
    """

    model_config = ConfigDict(frozen=True)

    every: Duration = Field(default=timedelta(minutes=1), ge=timedelta(seconds=5))
    timeout: Duration = Field(
        default=timedelta(seconds=3), gt=timedelta(0), le=timedelta(seconds=15)
    )
    concurrency: int = Field(default=600, ge=1)


class LabSettings(BaseModel):
    """The lab: a small cloud on this computer.

    Attributes:
        url: the URL of its API; if set, the provider `lab` is offered.
        token_file: the file with its API token.
    """

    model_config = ConfigDict(frozen=True)

    url: str = ""
    token_file: Path | None = None


class LimitSettings(BaseModel):
    """Limits that hold for all workers of the fleet together.

    Attributes:
        logins: how many SSH logins run at once. Each costs some milliseconds of CPU.
        creations: how many machines a provider is creating at once, for each provider.
    """

    model_config = ConfigDict(frozen=True)

    logins: int = Field(default=64, ge=1)
    creations: int = Field(default=10, ge=1)


class ImageSettings(BaseModel):
    """Base images (`docs/images.md`).

    Attributes:
        contract: the file with what an image holds; by default that of lantern-box.
        folder: where disks and their manifests are; by default `images` in the home folder.
        preflight: whether a rollout first checks machines that were made of an image against the
            contract.
    """

    model_config = ConfigDict(frozen=True)

    contract: Path | None = None
    folder: Path | None = None
    preflight: bool = True


class WorkerSettings(BaseModel):
    """What one worker runs (`docs/deploying-workers.md`).

    Attributes:
        max_activities: how many activities it runs at once.
        deployment: the name that all versions share, such as `relight`. Empty: the worker is
            unversioned, and takes any task.
        build_id: identifies this version, such as a commit or an image's digest.
    """

    model_config = ConfigDict(frozen=True)

    max_activities: int = Field(default=100, ge=1)
    deployment: str = ""
    build_id: str = ""

    @model_validator(mode="after")
    def _version_has_a_name(self) -> Self:
        if self.deployment and not self.build_id:
            msg = "RELIGHT_WORKER__BUILD_ID is not set, and RELIGHT_WORKER__DEPLOYMENT is"
            raise SettingsError(msg)
        if set(self.deployment) & set(".:") or self.deployment.startswith("__"):
            msg = (
                f"RELIGHT_WORKER__DEPLOYMENT is {self.deployment}: Temporal takes no name that"
                " has a dot or a colon in it, or begins with two underscores"
            )
            raise SettingsError(msg)
        return self
