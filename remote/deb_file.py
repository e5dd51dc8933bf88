"""A .deb that a host fetches by itself, and believes only by its digest. Nothing here does I/O.

What comes is compared with what was resolved, the file by its SHA-256 and the package by its own
description, before anything on the host changes.
"""

import shlex
from dataclasses import dataclass

from remote.apt_output import REFUSED

CONNECT_SECONDS = 10
FETCH_SECONDS = 300
"""For the whole file. One that stands still is given up earlier."""

STALL_SECONDS = 20


@dataclass(frozen=True)
class DebFile:
    """Where a .deb lies, and how it is known.

    Attributes:
        url: its address.
        sha256: in lower-case hexadecimal.
        size_bytes: no more than this is fetched.
        architecture: that it was resolved for; a file for `all` serves each.
    """

    url: str
    sha256: str
    size_bytes: int
    architecture: str

    def file(self, package: str, version: str) -> str:
        """Return what it is called in the folder that it is fetched into."""
        return f"./{package}_{version}_{self.architecture}.deb"

    def fetch(self, package: str, version: str) -> list[str]:
        """Fetch it into the working folder; redirects lead to where GitHub keeps its files."""
        return [
            "curl",
            "--fail",
            "--location",
            "--proto",
            "=https,http",
            "--globoff",
            "--silent",
            "--show-error",
            "--connect-timeout",
            str(CONNECT_SECONDS),
            "--speed-limit",
            "1",
            "--speed-time",
            str(STALL_SECONDS),
            "--max-time",
            str(FETCH_SECONDS),
            "--max-filesize",
            str(self.size_bytes),
            "--output",
            self.file(package, version),
            "--url",
            self.url,
        ]

    def fetched_or_exit(self, package: str, version: str) -> str:
        """Return the shell text that fetches and checks it, and ends the script where it fails.

        What follows runs in a folder of its own, where the file is; the folder goes at the end.
        """
        file = self.file(package, version)
        name = shlex.quote(file)
        wanted = f"{package} {version} {self.architecture}"
        everywhere = f"{package} {version} all"
        another = shlex.quote(f"{REFUSED}{self.url} has another SHA-256 than {self.sha256}")
        holds = shlex.quote(f"{REFUSED}{self.url} is not {wanted}, but")
        return f"""\
if ! command -v curl >/dev/null; then
  echo 'E: curl is not installed, by which packages are fetched' >&2
  exit 100
fi
folder=$(mktemp --directory /var/tmp/relight.XXXXXXXXXX)
trap 'rm -rf "$folder"' EXIT
# apt reads the file as a user of its own; nobody else can change it.
chmod 755 "$folder"
cd "$folder"
if ! said=$({shlex.join(self.fetch(package, version))} 2>&1); then
  printf '%s: %s\\n' "$said" {shlex.quote(self.url)} >&2
  exit 100
fi
if ! printf '%s  %s\\n' {shlex.quote(self.sha256)} {name} | sha256sum --check --strict --quiet; then
  echo {another} >&2
  exit 100
fi
said="$(dpkg-deb --field {name} Package) $(dpkg-deb --field {name} Version)" || true
said="$said $(dpkg-deb --field {name} Architecture)" || true
case "$said" in
  {shlex.quote(wanted)} | {shlex.quote(everywhere)}) ;;
  *)
    echo {holds} "$said" >&2
    exit 100
    ;;
esac
"""
