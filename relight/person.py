"""The person for whom this process works: behind `sudo`, the one who typed it."""

import os
import pwd
from pathlib import Path
from typing import NamedTuple


class Person(NamedTuple):
    """An account of this computer.

    Attributes:
        uid: its user id.
        gid: the id of its group.
    """

    uid: int
    gid: int

    @property
    def home(self) -> Path:
        """The account's own folder; this process's, if it has none."""
        try:
            return Path(pwd.getpwuid(self.uid).pw_dir)
        except KeyError:
            return Path.home()

    @property
    def name(self) -> str:
        """The account's name; its number, if it has none."""
        try:
            return pwd.getpwuid(self.uid).pw_name
        except KeyError:
            return str(self.uid)

    def may_reach(self, path: Path) -> bool:
        """Return whether the account may enter each folder above a path."""
        return all(self._may_enter(folder) for folder in path.absolute().parents)

    def _may_enter(self, folder: Path) -> bool:
        found = folder.stat()
        if found.st_uid == self.uid:
            return bool(found.st_mode & 0o100)
        return bool(found.st_mode & (0o010 if found.st_gid == self.gid else 0o001))


def person() -> Person:
    """Return who typed the command: behind `sudo` the account that called it."""
    uid, gid = os.environ.get("SUDO_UID", ""), os.environ.get("SUDO_GID", "")
    if os.geteuid() == 0 and uid.isdigit() and gid.isdigit():
        return Person(int(uid), int(gid))
    return Person(os.geteuid(), os.getegid())


def config_folder() -> Path:
    """Return the person's folder of configuration for Relight. It may not exist."""
    named = os.environ.get("XDG_CONFIG_HOME")
    if named:
        return Path(named).absolute() / "relight"
    own = Path.home() if person().uid == os.geteuid() else person().home
    return own / ".config" / "relight"


def owner_of(folder: Path) -> Person:
    """Return to whom the files in a folder belong that this process makes.

    Behind `sudo` that is the folder's owner; in a folder of root's the person who typed the
    command, if that person may reach it. Otherwise it is the account of this process.
    """
    own, typed = Person(os.geteuid(), os.getegid()), person()
    if typed == own:
        return own
    found = folder.stat()
    if found.st_uid != 0:
        return Person(found.st_uid, found.st_gid)
    return typed if typed.may_reach(folder) else own


def give(path: Path, to: Person) -> None:
    """Make a file or a folder of this process's account belong to another account."""
    if to.uid != os.geteuid() and path.lstat().st_uid == os.geteuid():
        os.chown(path, to.uid, to.gid, follow_symlinks=False)
