"""What a git checkout says of the base image: its inputs, whether they changed, its label.

The inputs are paths, so that a change is known before anything is built. A release changes none of
them: it needs no image.
"""

import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter, ValidationError

from relight.domain.base import Message
from relight.domain.image.label import label_of_tag, why_no_label
from relight.domain.names import PackageTag
from relight.domain.text import visible
from relight.releases.versions import assumed_version, oldest_first

IMAGE_INPUTS: Final = (
    "images",
    "relight/images",
    # These check an image or bring it to its regions, and put nothing into it.
    *(
        f":(exclude)relight/images/{name}"
        for name in ("check.*", "folder.py", "object_storage.py", "staging.py")
    ),
    # Pages for people.
    ":(exclude)*.md",
)
"""Git's pathspecs of what decides the image's content. A new file counts until it is left out."""

NO_COMMIT: Final = "0" * 40
"""What git and GitHub name where there is no commit yet."""

_SECONDS = 60
_COMMIT = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
_TAG: TypeAdapter[str] = TypeAdapter(PackageTag)


class NoCheckoutError(Exception):
    """The folder is no git checkout, or lacks what is asked for; the text says what to do."""


class UnknownRevisionError(Exception):
    """There is no such revision."""


class ImageChanges(Message):
    """What changed of an image's inputs.

    Attributes:
        changed: whether an image has to be built.
        since: the revision that was compared.
        is_known: whether the checkout has it. If not, the image counts as changed.
        files: that differ, are new or are gone, ordered.
    """

    changed: bool
    since: str
    is_known: bool = True
    files: tuple[str, ...] = ()


class LabelFound(Message):
    """The label of the next build.

    Attributes:
        label: as in `0.0.74`.
        tag: the newest one; None if the label was given.
        changes: how many commits since then changed an input of the image.
    """

    label: str
    tag: str | None = None
    changes: int = 0


def changed_inputs(folder: Path, since: str, inputs: Sequence[str] = IMAGE_INPUTS) -> ImageChanges:
    """Return which inputs of the image differ from a revision, committed or not.

    `NO_COMMIT`, and a commit that a rewritten history no longer has, are not known: then the image
    counts as changed.

    Args:
        folder: in the checkout.
        since: a revision.
        inputs: pathspecs, as of the checkout's top folder.

    Raises:
        NoCheckoutError: the folder is no checkout.
        UnknownRevisionError: it has no such revision.
    """
    top = _top(folder)
    commit = _commit(top, since)
    if commit is None:
        return ImageChanges(changed=True, since=since, is_known=False)
    listed = (
        _git(top, "diff", "--name-only", "--no-renames", "-z", commit, "--", *inputs),
        _git(top, "ls-files", "--others", "--exclude-standard", "-z", "--", *inputs),
    )
    files = sorted({name for names in listed for name in names.split("\0") if name})
    return ImageChanges(changed=bool(files), since=since, files=tuple(files))


def next_label(folder: Path, inputs: Sequence[str] = IMAGE_INPUTS) -> LabelFound:
    """Return the label of a build from the commit that is checked out.

    Args:
        folder: in the checkout.
        inputs: as of `changed_inputs`.

    Raises:
        NoCheckoutError: the folder is no checkout; or it has no release tag, no whole history, or
            a newest tag that makes no label.
    """
    top = _top(folder)
    by_version = {assumed_version(tag): tag for tag in _release_tags(top)}
    if not by_version:
        msg = (
            f"{top} has no release tag, as v0.0.74, so there is no label. A shallow clone has "
            "none: fetch the tags and the whole history (`fetch-depth: 0`), or type a label"
        )
        raise NoCheckoutError(msg)
    tag = by_version[oldest_first(by_version)[-1]]
    if _git(top, "rev-parse", "--is-shallow-repository").strip() == "true":
        msg = (
            f"{top} is a shallow clone: what changed since {tag} is not in it. Fetch the whole "
            "history (`fetch-depth: 0`), or type a label"
        )
        raise NoCheckoutError(msg)
    counted = _git(top, "rev-list", "--count", f"refs/tags/{tag}..HEAD", "--", *inputs)
    label = label_of_tag(tag, int(counted))
    if why := why_no_label(label):
        raise NoCheckoutError(f"the newest tag, {tag}, makes no label: {why}. Type one")
    return LabelFound(label=label, tag=tag, changes=int(counted))


def _release_tags(top: Path) -> list[str]:
    """Return the tags that name a release: `v` and a version."""
    tags = []
    for name in _git(top, "tag", "--list", "v[0-9]*").splitlines():
        try:
            tags.append(_TAG.validate_python(name))
        except ValidationError:
            continue
    return tags


def _commit(top: Path, revision: str) -> str | None:
    """Return the commit of a revision; None for one that the checkout need not have.

    Raises:
        UnknownRevisionError: there is none.
    """
    named = f"{revision}^{{commit}}"
    found = _run(top, "rev-parse", "--verify", "--quiet", "--end-of-options", named)
    if found.returncode == 0:
        return found.stdout.strip()
    if _COMMIT.fullmatch(revision):
        return None
    raise UnknownRevisionError(f"{top} has no revision {revision!r}")


def _top(folder: Path) -> Path:
    """Return the top folder of a checkout."""
    return Path(_git(folder, "rev-parse", "--show-toplevel").rstrip("\n"))


def _git(folder: Path, *words: str) -> str:
    """Return what git prints.

    Raises:
        NoCheckoutError: it failed; the text is git's own.
    """
    ended = _run(folder, *words)
    if ended.returncode != 0:
        said = visible(ended.stderr.strip())[:1000]
        raise NoCheckoutError(f"git {words[0]} in {folder}: {said}")
    return ended.stdout


def _run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(  # noqa: S603 - a list of words; a revision never begins an option
            ["git", "-C", str(folder), *words],  # noqa: S607 - as installed
            env={**os.environ, "LC_ALL": "C.UTF-8", "GIT_OPTIONAL_LOCKS": "0"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_SECONDS,
            encoding="utf-8",
            errors="backslashreplace",
            check=False,
        )
    except FileNotFoundError:
        raise NoCheckoutError("git is not installed: `apt-get install git`") from None
    except subprocess.TimeoutExpired:
        raise NoCheckoutError(f"git {words[0]} in {folder}: no end after {_SECONDS} s") from None
