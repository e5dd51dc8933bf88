"""OpenStack's services, set up once: a layer of files over the packages."""

import inspect
import re
import secrets
import sys
from datetime import UTC, datetime
from pathlib import Path

from devkit.openstack import images, resources
from devkit.openstack.computer import Computer, running
from devkit.openstack.rest import Login, Rest
from lab import cache, serve
from lab.network import LabNetwork

FILES = Path(__file__).parent / "files"

_SECRET_BYTES, _SECRET_MARK = 16, "@SECRET@"
_RESTARTED = """\
[Unit]
StartLimitIntervalSec=0
[Service]
Restart=always
RestartSec=2
TimeoutStartSec=infinity
"""
"""Each service fails until those that it needs are there; a busy computer starts them slowly."""


async def layer(net: LabNetwork, state: Path, packages: Path, guest: Path) -> Path:
    """Return the folder of the services, after setting them up if it is not cached.

    It has the file `secret`, with the password of every user, and the layers `root` and, below it,
    `configuration`.

    Raises:
        LabError: they could not be set up.
        RefusedError: a service refused a request.
    """
    recipes = [inspect.getsource(resources), *(path.read_text() for path in _files())]
    digest = cache.recipe_digest(sys.modules[__name__], *recipes, packages.name, guest.name)

    async def build(folder: Path) -> None:
        print("openstack: setting the services up; this takes minutes", file=sys.stderr)  # noqa: T201
        secret = secrets.token_hex(_SECRET_BYTES)
        serve.write(folder / "secret", secret, 0o600)
        _configure(folder / "configuration", packages, secret)
        async with running(net, state, [folder / "configuration", packages]) as computer:
            await _set_up(computer, secret, guest)
            computer.machine.copy_disk(folder / "root")

    return await cache.built_once(f"openstack/services-{digest}", build)


def _configure(folder: Path, packages: Path, secret: str) -> None:
    """Write the computer's own files into a folder, and the secret where they have a mark."""
    for path in _files():
        template = path.read_text()
        text = template.replace(_SECRET_MARK, secret)
        _write(folder / path.relative_to(FILES), text, 0o644 if text == template else 0o600)
    _write(folder / "secret", secret, 0o600)
    for path in packages.glob("etc/*/*-uwsgi.ini"):
        _write(folder / path.relative_to(packages), _small(path.read_text()), 0o644)
    for unit in images.UNITS:
        _write(folder / f"etc/systemd/system/{unit}.service.d/restart.conf", _RESTARTED, 0o644)


def _files() -> list[Path]:
    return [path for path in sorted(FILES.rglob("*")) if path.is_file()]


def _write(path: Path, text: str, mode: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    serve.write(path, text, mode)


def _small(uwsgi: str) -> str:
    """Return settings of uWSGI for a small computer without AppArmor.

    Keystone's do not tell clients that each answer ends its connection, and they would wait.
    Neutron's connections to the database must not go from thread to thread.
    """
    uwsgi = re.sub(r"(?m)^processes = .*$", "processes = 3", uwsgi)
    uwsgi = re.sub(r"(?m)^threads = .*$", "threads = 1", uwsgi)
    uwsgi = re.sub(r"(?m)^apparmor-profile = .*$", "", uwsgi).replace("python3,apparmor", "python3")
    closing = "add-header = Connection: close"
    return uwsgi if f"\n{closing}" in uwsgi else f"{uwsgi}\n{closing}\n"


async def _set_up(on: Computer, secret: str, guest: Path) -> None:
    """Set the services up on a booting computer, add what all clouds have, and shut it down."""
    login = Login("admin", "admin", secret)
    await on.start("mariadb", "rabbitmq-server")
    await on.run("bash", "/setup")
    await on.start("keystone")
    await on.until_identifying(login)
    async with Rest(on.address, login) as admin:
        await resources.register_services(admin, secret)
        await resources.add_fleet(admin, secret)
    since = datetime.now(UTC)
    await on.run("systemctl", "enable", "--now", "--no-block", *images.UNITS)
    await on.until_serving(login, since)
    async with Rest(on.address, login) as admin:
        await resources.add_images(admin, guest)
    await on.power_off()
