"""Text in its place: no value, whatever it contains, can end the place that it stands in.

Raises `ValueError` for what has no form there.
"""

import base64
import gzip
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TypeVar

import jinja2
import jinja2.meta
from pydantic import SecretStr

from relight.domain.fault.error import DomainError
from relight.domain.machine import MachinePlan


def yaml_text(text: str) -> str:
    """Return `text` as a double-quoted YAML scalar in printable ASCII.

    JSON would nearly do. But JSON leaves DEL as it is, which YAML forbids, and writes what is
    beyond the sixteenth bit as two halves, which YAML takes for two characters.
    """
    return '"' + "".join(_escaped(character) for character in text) + '"'


def _escaped(character: str) -> str:
    code = ord(character)
    if 0xD800 <= code <= 0xDFFF:
        raise ValueError(f"half of a character, {code:#x}, is no text")
    if character in '"\\':
        return f"\\{character}"
    if " " <= character <= "~":
        return character
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def environment_value(text: str) -> str:
    """Return `text` as a value in a file that systemd's EnvironmentFile= or a shell reads."""
    if "\0" in text:
        raise ValueError("no environment can hold a NUL")
    for special in '\\"$`':
        text = text.replace(special, f"\\{special}")
    return f'"{text}"'


def deb822_word(text: str) -> str:
    """Return `text` as one word of a field in an apt source."""
    if not text or not text.isprintable() or " " in text:
        raise ValueError("it is empty, or holds a blank or what cannot be printed")
    return text


SERVICE_FILES = Path(__file__).parent / "service"
"""The templates of lantern-box's own files, for a fleet that names no others."""

FIRST_BOOT_SCRIPT = PurePosixPath("/usr/local/lib/relight/first-boot")

_SUFFIX = ".j2"
_READ_BY_ALL, _READ_BY_ROOT, _RUN_BY_ROOT = "0644", "0600", "0700"
_PGP_ARMOUR = b"-----BEGIN PGP"
_SECRET_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

# What a template's own expressions may raise; the UnicodeDecodeError of its file is one, too.
_RAISED = (
    jinja2.TemplateError,
    ArithmeticError,
    AttributeError,
    LookupError,
    TypeError,
    ValueError,
)

_Rendered = TypeVar("_Rendered")


class TemplateError(DomainError):
    """A template cannot be rendered: it is broken, or names what nobody gave."""

    kind = "template-broken"


@dataclass(frozen=True)
class Access:
    """How the control plane comes to the machine, and knows it.

    Attributes:
        user: the unprivileged user that it logs in as.
        client_key_public: the public key line that lets it in.
        host_key_private: the machine's SSH host key, in OpenSSH's PEM form.
        host_key_public: its public key line.
        sudo: what the user may do as root, in the words of sudoers.
    """

    user: str
    sudo: str
    client_key_public: str
    host_key_private: SecretStr
    host_key_public: str


@dataclass(frozen=True)
class AptSource:
    """The signed repository.

    Attributes:
        path: where its source is written on the host.
        signing_key: its public key, armoured or binary.
    """

    path: PurePosixPath
    url: str
    suite: str
    component: str
    signing_key: bytes

    @property
    def key_path(self) -> PurePosixPath:
        """Where its key is written on the host; apt tells the two forms apart by the name."""
        form = "asc" if self.signing_key.lstrip().startswith(_PGP_ARMOUR) else "gpg"
        return PurePosixPath(f"/etc/apt/keyrings/relight.{form}")


@dataclass(frozen=True)
class BootStep:
    """One step of the first boot, after all files are written."""

    name: str
    argv: Sequence[str]


@dataclass(frozen=True)
class File:
    """A file that is on the host before anything is installed.

    Attributes:
        mode: in octal digits, as in `0644`.
    """

    path: PurePosixPath
    mode: str
    content: bytes

    @property
    def packed(self) -> tuple[str, str]:
        """Its content as cloud-init reads it, with the encoding's name, whichever is shorter.

        Providers take no more than 16 KiB of user-data.
        """
        plain = base64.b64encode(self.content).decode()
        small = base64.b64encode(gzip.compress(self.content, mtime=0)).decode()
        return ("gz+b64", small) if len(small) < len(plain) else ("b64", plain)


class UserDataTemplate:
    """Renders user-data for machines that differ in their plan and their host key alone."""

    def __init__(
        self,
        source: AptSource | None,
        service_files: Path,
        secrets: Mapping[str, str],
        host_files: Sequence[File] = (),
    ) -> None:
        """Read the templates.

        Args:
            source: the repository that the release comes from; None where each comes by its own
                address.
            service_files: a folder of templates `PATH.j2`, each becoming the host's `/PATH`.
            secrets: what those templates may name as `secrets.NAME`. A file that names any is
                readable by root alone, all others by everybody.
            host_files: what else is on every host.

        Raises:
            TemplateError: the folder has no template, one of them is broken, or a secret's name
                or a part of the repository's address cannot be one.
        """
        for name in secrets:
            if not _SECRET_NAME.fullmatch(name):
                raise TemplateError(f"{name!r} cannot be the name of a secret")
        self._secrets = dict(secrets)
        self._own = _environment(jinja2.PackageLoader("relight.hosts", "cloud_init"))
        self._service = _environment(jinja2.FileSystemLoader(service_files))
        self._names = sorted(self._service.list_templates(extensions=[_SUFFIX[1:]]))
        if not self._names:
            raise TemplateError(f"no template NAME{_SUFFIX} in {service_files}")
        self._modes = {name: _named(name, partial(self._mode_of, name)) for name in self._names}
        self._files = [*host_files, *(self._source_files(source) if source else [])]

    def render(
        self, plan: MachinePlan, access: Access, steps: Sequence[BootStep], record_folder: str
    ) -> str:
        """Return the user-data of the plan's machine. It holds the machine's private host key.

        Args:
            plan: the machine that is to be.
            access: how one comes to it.
            steps: what is done after all files are written; the first that fails ends the boot.
            record_folder: where the host keeps how each step went.

        Raises:
            TemplateError: a template is broken, or names what is not there.
        """
        script = self._render_own(
            "first-boot.sh.j2",
            record_folder=shlex.quote(record_folder),
            steps=[shlex.join([step.name, *step.argv]) for step in steps],
        )
        files = [
            *self._files,
            *(self._service_file(name, plan) for name in self._names),
            File(FIRST_BOOT_SCRIPT, _RUN_BY_ROOT, script.encode()),
        ]
        return self._render_own(
            "cloud-config.yaml.j2",
            plan=plan,
            host_key_private=access.host_key_private.get_secret_value(),
            host_key_public=access.host_key_public,
            client_key_public=access.client_key_public,
            ssh_user=access.user,
            sudo=access.sudo,
            files=files,
            first_boot_script=str(FIRST_BOOT_SCRIPT),
        )

    def _source_files(self, source: AptSource) -> list[File]:
        listed = self._render_own("relight.sources.j2", source=source).encode()
        return [
            File(source.key_path, _READ_BY_ALL, source.signing_key),
            File(source.path, _READ_BY_ALL, listed),
        ]

    def _service_file(self, name: str, plan: MachinePlan) -> File:
        def content() -> bytes:
            template = self._service.get_template(name)
            return template.render(plan=plan, secrets=self._secrets).encode()

        path = PurePosixPath("/") / name.removesuffix(_SUFFIX)
        return File(path, self._modes[name], _named(name, content))

    def _mode_of(self, name: str) -> str:
        """Say who may read what becomes of a template, be it this or a part that names a secret."""
        seen: set[str] = set()
        parts = [name]
        while parts:
            part = parts.pop()
            seen.add(part)
            tree = self._service.parse(self._text_of(part), filename=part)
            if "secrets" in jinja2.meta.find_undeclared_variables(tree):
                return _READ_BY_ROOT
            for other in jinja2.meta.find_referenced_templates(tree):
                if other is None:  # which one is known only when it is rendered
                    return _READ_BY_ROOT
                if other not in seen:
                    parts.append(other)
        return _READ_BY_ALL

    def _text_of(self, name: str) -> str:
        assert self._service.loader is not None
        return self._service.loader.get_source(self._service, name)[0]

    def _render_own(self, name: str, **context: object) -> str:
        return _named(name, lambda: self._own.get_template(name).render(context))


def _named(name: str, work: Callable[[], _Rendered]) -> _Rendered:
    """Do something with a template; what is wrong with it is an error that names it."""
    try:
        return work()
    except _RAISED as error:
        where = error.lineno if isinstance(error, jinja2.TemplateSyntaxError) else None
        at = f", line {where}" if where else ""
        raise TemplateError(f"{name}{at}: {error}") from error


def _environment(loader: jinja2.BaseLoader) -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=loader,
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        autoescape=False,  # noqa: S701 - YAML and shell: each value is quoted where it stands
    )
    environment.filters["yaml"] = yaml_text
    environment.filters["env"] = environment_value
    environment.filters["word"] = deb822_word
    return environment


# MERGEDOC """User-data: what cloud-init is given for one machine. Pure: the same input, the same bytes.
#
# Raises `TemplateError` where a template cannot be rendered, naming it.
# """
