"""Small Debian packages, built by dpkg-deb."""

import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory


def build_deb(
    target: Path,
    package: str,
    version: str,
    architecture: str,
    *,
    compression: str = "none",
    depends: str = "",
    files: Mapping[str, str] | None = None,
    control_files: Mapping[str, str] | None = None,
    fields: Mapping[str, str] | None = None,
    links: Mapping[str, str] | None = None,
) -> None:
    """Build a package of these files by their paths, and of its own description.

    Args:
        fields: further fields of its control file, as `Source`.
        links: symbolic links by their paths, and where they lead.
    """
    with TemporaryDirectory() as tree:
        control = Path(tree, "DEBIAN", "control")
        control.parent.mkdir(mode=0o755)
        control.write_text(
            f"Package: {package}\nVersion: {version}\nArchitecture: {architecture}\n"
            "Maintainer: Tests <tests@example.org>\nDescription: nothing\n"
            + (f"Depends: {depends}\n" if depends else "")
            + "".join(f"{name}: {value}\n" for name, value in (fields or {}).items())
        )
        for name, content in (control_files or {}).items():
            control.with_name(name).write_text(content)
            control.with_name(name).chmod(0o755 if name.endswith(("inst", "rm")) else 0o644)
        for path, content in (files or {}).items():
            file = Path(tree, path.lstrip("/"))
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content)
        for path, leads_to in (links or {}).items():
            link = Path(tree, path.lstrip("/"))
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(leads_to)
        argv = ["dpkg-deb", "--root-owner-group", f"-Z{compression}", "--uniform-compression"]
        ended = subprocess.run([*argv, "--build", tree, target], capture_output=True, check=False)
        assert ended.returncode == 0, ended.stderr.decode()


@cache
def deb(
    package: str,
    version: str,
    architecture: str,
    compression: str = "none",
    content: str = "",
    md5sums: str = "",
) -> bytes:
    """Return a package with one file."""
    with TemporaryDirectory() as folder:
        target = Path(folder, "made.deb")
        build_deb(
            target,
            package,
            version,
            architecture,
            compression=compression,
            files={"/usr/share/made/content": content},
            control_files={"md5sums": md5sums} if md5sums else None,
        )
        return target.read_bytes()
