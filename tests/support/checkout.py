"""A git checkout in which a base image has its inputs."""

import subprocess
from pathlib import Path


class Checkout:
    """A checkout with one commit, on the branch `main`.

    Attributes:
        folder: its top folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.git("init", "--quiet", "--initial-branch", "main")
        self.commit("images/contract.yaml", "packages: []")

    def git(self, *words: str) -> str:
        """Run git, and return what it prints."""
        identity = ("-c", "user.name=x", "-c", "user.email=x@example.org")
        ended = subprocess.run(
            ["git", *identity, *words], cwd=self.folder, capture_output=True, text=True, check=True
        )
        return ended.stdout.strip()

    def write(self, name: str, text: str) -> None:
        """Write a file."""
        file = self.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def commit(self, name: str, text: str) -> str:
        """Write a file, commit all that is there, and return the commit."""
        self.write(name, text)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", f"change {name}")
        return self.git("rev-parse", "HEAD")
