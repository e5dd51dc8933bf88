"""What apt would do on a host, from a dry run that changes nothing."""

from relight.domain.base import Message

MAX_NAMED = 50
"""How many packages of each kind are named."""


class InstallPlan(Message):
    """The packages that an installation would change, and the disk space that it would take.

    Attributes:
        installed: new packages, as in `libdaemon 2.0`.
        upgraded: as in `lantern-box 0.0.73 -> 0.0.74`; also one that is installed again.
        downgraded: likewise, to an older version.
        removed: what would go, as in `firewall 1.0`. Such an installation is refused.
        unnamed: how many more packages would change.
        download_bytes: what apt would download.
        disk_bytes: what the disk has less afterwards; negative if it has more.
        free_bytes: what /usr has now; None if that is unknown.
    """

    installed: tuple[str, ...] = ()
    upgraded: tuple[str, ...] = ()
    downgraded: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    unnamed: int = 0
    download_bytes: int = 0
    disk_bytes: int = 0
    free_bytes: int | None = None

    @property
    def words(self) -> str:
        """One line for people: `upgrades lantern-box 0.0.73 -> 0.0.74; downloads 20.7 kB, ...`."""
        parts = [
            f"{verb} {', '.join(names)}"
            for verb, names in (
                ("installs", self.installed),
                ("upgrades", self.upgraded),
                ("downgrades", self.downgraded),
                ("removes", self.removed),
            )
            if names
        ]
        if self.unnamed:
            parts.append(f"changes {self.unnamed} more packages")
        free = "" if self.free_bytes is None else f" of {size(self.free_bytes)} free"
        space = f"downloads {size(self.download_bytes)}, takes {size(self.disk_bytes)}{free}"
        return "; ".join([*(parts or ["changes no package"]), space])


def size(count: int) -> str:
    """Return a number of bytes in words, as apt writes it: `20.7 kB`."""
    value, units = float(count), ["B", "kB", "MB", "GB", "TB"]
    while abs(value) >= 1000 and len(units) > 1:
        value /= 1000
        units.pop(0)
    return f"{value:.1f} {units[0]}" if units[0] != "B" else f"{count} B"
