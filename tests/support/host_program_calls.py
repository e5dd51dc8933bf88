"""Random calls of `relight-host`, and whether a call is one that it offers.

The check is written from the program's description, not from its code.
"""

import random
import re

Call = tuple[str, ...]

UNIT, SHA256 = "relight-swap-r-1-0123456789ab.service", "0" * 64
URLS = "https://github.com/lantern/box/releases/download/"
DEB = (f"{URLS}v0.0.74/x.deb", SHA256, "7", "amd64")

_VALID: tuple[Call, ...] = (
    ("swap", UNIT, "0", "600", "0.0.74", "upgrade"),
    ("swap", UNIT, "0", "600", "0.0.74", "rollback", *DEB),
    ("swap", UNIT, "0", "600", SHA256, "0.0.74", "upgrade"),
    ("swap", UNIT, "0", "600", "any", SHA256, "0.0.74", "upgrade"),
    ("change", SHA256, "0.0.74", "upgrade"),
    ("stage", SHA256),
    ("observe",),
    ("observe", UNIT, "0"),
    ("log", UNIT),
    ("forget", UNIT),
    ("stop", UNIT),
    ("journal", "20"),
    ("journal", "20", "follow"),
    ("step", "install"),
    ("step", "cloud-init"),
    ("install", "0.0.74", "upgrade"),
    ("install", "held", "0.0.74", "upgrade"),
    ("install", "1:0.0.74-1", "rollback", *DEB),
    ("change", "0.0.74", "upgrade"),
    ("dry-run", "0.0.74", "upgrade"),
    ("dry-run", "0.0.74", "upgrade", *DEB),
    ("serve",),
    ("host-key",),
    ("received", SHA256),
    ("receive", SHA256, "7"),
    ("install", "0.0.74", "upgrade", "pushed", *DEB[1:]),
    ("configure",),
    ("settings", SHA256),
)
_PIECES = (
    *(
        "-",
        "--",
        "+",
        "=",
        "/",
        "..",
        "../../etc/shadow",
        "~",
        "*",
        "?",
        "[!a]",
        "%",
        "%2e",
        "'",
        '"',
    ),
    *("\\", ";", "|", "&", "$(id)", "`id`", "${HOME}", "$$", "<", ">", "#", " ", "\t", "\n", "\r"),
    *("é", "\x7f", "\x1b[2J", "\u202e", "-o", "-oDir::Etc=/", "--reinstall", "-", "0", "9" * 12),
    *(
        "sh",
        "-c",
        "root",
        "ssh.service",
        "relight-",
        ".service",
        ":",
        "1:",
        ".deb",
        "file:///etc/x",
    ),
    *("A" * 300, "DPkg::Pre-Invoke::=id", "/etc/relight/host", "@", ",", "lantern-box", ""),
)

_UNIT = re.compile(r"relight-[a-z0-9.-]*\.service")
_NUMBER = re.compile(r"[0-9]{1,9}")
_VERSION = re.compile(r"([0-9]{1,9}:)?[0-9]([A-Za-z0-9.+~]*|[A-Za-z0-9.+~-]*-[A-Za-z0-9.+~]+)")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_PRINTABLE = re.compile(r"[!-~]+")


def random_call(source: random.Random) -> Call:
    """Return an offered call with some random changes, or any words."""
    words = list(source.choice(_VALID))
    for _ in range(source.choice((0, 1, 1, 1, 2, 3))):
        at = source.randrange(len(words) + 1)
        match source.randrange(6):
            case 0:
                words.insert(at, source.choice(_PIECES))
            case 1 if at < len(words):
                del words[at]
            case 2 if at < len(words):
                words[at] = source.choice(_PIECES)
            case 3:
                words.insert(at, source.choice(source.choice(_VALID)))
            case _ if words:
                at = source.randrange(len(words))
                cut = source.randrange(len(words[at]) + 1)
                end = cut + source.randrange(2)
                words[at] = words[at][:cut] + source.choice(_PIECES) + words[at][end:]
    return tuple(words)


def is_offered(call: Call) -> bool:
    """Return whether a call is one that the program offers, to a host that fetches by URL.

    Such a host takes no packages from its caller.
    """
    match call:
        case ("observe" | "serve" | "host-key" | "configure",) | (
            "step",
            "cloud-init" | "install",
        ):
            return True
        case ("observe", unit, number):
            return _is(_UNIT, unit) and _is(_NUMBER, number)
        case ("log" | "forget" | "stop" | "received" | "settings" | "stage" as verb, word):
            return _is(_SHA256 if verb in {"received", "settings", "stage"} else _UNIT, word)
        case ("journal", number) | ("journal", number, "follow"):
            return _is(_NUMBER, number)
        case ("swap", unit, wait, deadline, *rest):
            numbers = _is(_NUMBER, wait) and _is(_NUMBER, deadline)
            # Settings are compared first.
            settings = len(rest) in {3, 4, 7, 8} and _is(_SHA256, rest[0])
            change = settings or _is_change(_without_digests(rest, 2))
            return numbers and _is(_UNIT, unit) and change
        case ("install" | "dry-run", *change):
            return _is_change(change)
        case ("change", *rest):
            return _is_change(_without_digests(rest, 1))
    return False


def _without_digests(words: list[str], most: int) -> list[str]:
    """Return a change without the digests of settings and configuration before it."""
    count = min(max(len(words) - (2 if len(words) <= 2 + most else 6), 0), most)
    first = 1 if count == 2 and words[0] == "any" else 0
    return words[count:] if all(_is(_SHA256, each) for each in words[first:count]) else []


def _is_change(words: list[str]) -> bool:
    match words:
        case [version, "upgrade" | "rollback", *deb]:
            return _is(_VERSION, version) and (not deb or _is_deb(deb))
    return False


def _is_deb(words: list[str]) -> bool:
    match words:
        case [url, sha256, size, architecture]:
            plain = _is(_PRINTABLE, url) and "$" not in url and ".." not in url
            return (
                plain
                and "%2e" not in url.lower()
                and url.startswith(URLS)
                and _is(_SHA256, sha256)
                and _is(_NUMBER, size)
                and re.fullmatch("[a-z0-9-]+", architecture) is not None
            )
    return False


def _is(pattern: re.Pattern[str], text: str) -> bool:
    return pattern.fullmatch(text) is not None
