"""cloud-init's user-data for one machine. Pure: the same input gives the same bytes.

Every value is quoted for the place where it stands, so that no value can change the structure of
the document. Raises `TemplateError`, with the template's name, if a template cannot be rendered.
"""

import base64
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path, PurePosixPath

import jinja2
from pydantic import SecretStr

from relight.domain.machine import MachinePlan
from relight.hosts.templates import (
    SUFFIX,
    TemplateError,
    deb822_word,
    named,
    template_environment,
    uses_secrets,
)

SERVICE_FILES = Path(__file__).parent / "service"
"""The default templates of the service's own files, for lantern-box."""

APT_LOGINS = PurePosixPath("/etc/apt/auth.conf.d/relight.conf")
"""The file with the passwords of apt repositories."""

FIRST_BOOT_SCRIPT = PurePosixPath("/usr/local/lib/relight/first-boot")

_READ_BY_ALL, _READ_BY_ROOT, _RUN_BY_ROOT = "0644", "0600", "0700"
_PGP_ARMOUR = b"-----BEGIN PGP"
_SECRET_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True)
class Access:
    """The control plane's access to the machine.

    Attributes:
        user: the unprivileged user that it logs in as.
        sudo: what the user may do as root, in the syntax of sudoers.
        client_keys_public: the control plane's public key lines; two while it changes its key.
        host_key_private: the machine's SSH host key, in OpenSSH's PEM format.
        host_key_public: its public key line.
    """

    user: str
    sudo: str
    client_keys_public: Sequence[str]
    host_key_private: SecretStr
    host_key_public: str


@dataclass(frozen=True)
class AptSource:
    """The signed apt repository.

    Attributes:
        path: of the source file on the host.
        url: of the repository.
        suite: under `dists/`.
        component: of that suite.
        signing_key: its public key, armoured or binary.
        number: 1-based, among the repositories of the host.
        user: for a login, if it needs one.
        password: of that user.
        more: the host's other repositories, which are in the same source file.
    """

    path: PurePosixPath
    url: str
    suite: str
    component: str
    signing_key: bytes
    number: int = 1
    user: str = ""
    password: SecretStr | None = None
    more: tuple["AptSource", ...] = ()

    @property
    def all(self) -> tuple["AptSource", ...]:
        """It, and the other repositories."""
        return (self, *self.more)

    @property
    def key_path(self) -> PurePosixPath:
        """Path of its key on the host. apt reads the format from the suffix."""
        suffix = "asc" if self.signing_key.lstrip().startswith(_PGP_ARMOUR) else "gpg"
        number = "" if self.number == 1 else f"-{self.number}"
        return PurePosixPath(f"/etc/apt/keyrings/relight{number}.{suffix}")


@dataclass(frozen=True)
class BootStep:
    """One command of the first boot, run after all files are written."""

    name: str
    argv: Sequence[str]


@dataclass(frozen=True)
class File:
    """A file that is written to the host before anything is installed.

    Attributes:
        mode: in octal digits, as in `0644`.
    """

    path: PurePosixPath
    mode: str
    content: bytes

    @property
    def encoded(self) -> tuple[str, str]:
        """Its content for cloud-init, as the encoding's name and the text.

        It is not compressed: the user-data is, as a whole.
        """
        try:
            return "text/plain", self.content.decode()
        except UnicodeDecodeError:
            return "b64", base64.b64encode(self.content).decode()


class UserDataTemplate:
    """Renders user-data for machines that differ only in their plan and their host key."""

    def __init__(
        self,
        source: AptSource | None,
        service_files: Path | None,
        secrets: Mapping[str, str],
        host_files: Sequence[File] = (),
    ) -> None:
        """Read the templates.

        Args:
            source: the apt repository of the releases; None if hosts fetch packages by URL.
            service_files: a folder of templates `PATH.j2`, each rendered to `/PATH` on the host;
                None for no files.
            secrets: available to these templates as `secrets.NAME`. A file that uses a secret is
                readable by root only, all others by everybody.
            host_files: other files of every host.

        Raises:
            TemplateError: the folder has no template, a template is invalid, or the name of a
                secret or a part of the repository's address is invalid.
        """
        for name in secrets:
            if not _SECRET_NAME.fullmatch(name):
                raise TemplateError(f"{name!r} is not a valid name of a secret")
        self._secrets = dict(secrets)
        self._service = template_environment(jinja2.FileSystemLoader(service_files or ()))
        self._names = sorted(self._service.list_templates(extensions=[SUFFIX[1:]]))
        if service_files is not None and not self._names:
            raise TemplateError(f"no template NAME{SUFFIX} in {service_files}")
        self._modes = {name: named(name, partial(self._mode_of, name)) for name in self._names}
        self._files = [*host_files, *(source_files(source) if source else [])]

    def render(
        self, plan: MachinePlan, access: Access, steps: Sequence[BootStep], record_folder: str
    ) -> str:
        """Return the user-data of the plan's machine. It contains the machine's private host key.

        Args:
            plan: of the machine.
            access: the control plane's access to it.
            steps: run in order after all files are written; the first failure ends the boot.
            record_folder: where the host keeps the result of each step.

        Raises:
            TemplateError: a template is invalid, or uses an undefined variable.
        """
        script = _render_own(
            "first-boot.sh.j2",
            record_folder=shlex.quote(record_folder),
            steps=[shlex.join([step.name, *step.argv]) for step in steps],
        )
        files = [
            *self._files,
            *(self._service_file(name, plan) for name in self._names),
            File(FIRST_BOOT_SCRIPT, _RUN_BY_ROOT, script.encode()),
        ]
        return _render_own(
            "cloud-config.yaml.j2",
            plan=plan,
            host_key_private=access.host_key_private.get_secret_value(),
            host_key_public=access.host_key_public,
            client_keys_public=access.client_keys_public,
            ssh_user=access.user,
            sudo=access.sudo,
            files=files,
            first_boot_script=str(FIRST_BOOT_SCRIPT),
        )

    def _service_file(self, name: str, plan: MachinePlan) -> File:
        def content() -> bytes:
            template = self._service.get_template(name)
            return template.render(plan=plan, secrets=self._secrets).encode()

        path = PurePosixPath("/") / name.removesuffix(SUFFIX)
        return File(path, self._modes[name], named(name, content))

    def _mode_of(self, name: str) -> str:
        return _READ_BY_ROOT if uses_secrets(self._service, name) else _READ_BY_ALL


def source_files(source: AptSource) -> list[File]:
    """Return the files of a host's apt sources: their keys, the sources themselves, and logins.

    Raises:
        TemplateError: a part of an address is invalid.
    """
    text = _render_own("relight.sources.j2", sources=source.all).encode()
    files = [File(each.key_path, _READ_BY_ALL, each.signing_key) for each in source.all]
    files.append(File(source.path, _READ_BY_ALL, text))
    logins = [(each, each.password) for each in source.all if each.password]
    if logins:
        lines = [
            f"machine {deb822_word(each.url.rstrip('/'))} login {deb822_word(each.user)} "
            f"password {deb822_word(password.get_secret_value())}\n"
            for each, password in logins
        ]
        files.append(File(APT_LOGINS, _READ_BY_ROOT, "".join(lines).encode()))
    return files


def _render_own(name: str, **context: object) -> str:
    return named(name, lambda: _own_environment().get_template(name).render(context))


@cache
def _own_environment() -> jinja2.Environment:
    """Return the environment of this package's templates, which compiles each of them once."""
    return template_environment(jinja2.PackageLoader("relight.hosts", "cloud_init"))
