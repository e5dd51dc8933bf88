"""The checks, in the order in which they run."""

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

from relight.doctor.check import Check, CheckFailedError, Finding, Subject
from relight.doctor.setting_origins import DEFAULT, setting_origins, unknown_variables
from relight.domain.clock import TOLERANCE, is_future
from relight.domain.key_rotation import KeyKind
from relight.engine.connection import connect, require_search_attributes
from relight.engine.encryption import codec, require_payload_key
from relight.engine.executions import worker_identities
from relight.engine.fleet import require_same_fleet
from relight.engine.server_time import clock_difference
from relight.home import existing_store_url
from relight.hosts.key_files import names_in
from relight.locations import configured_drivers
from relight.release_source import release_source_config
from relight.releases.apt_repository import SeenIndexes
from relight.releases.signing_key import read_signing_key
from relight.releases.source import AptSourceConfig, open_source
from relight.settings import required
from relight.store.migrate import newest_revision
from relight.store.store import open_store
from relight.store.threads import in_thread

LOW_BYTES, FULL_BYTES = 2 * 1024**3, 200 * 1024**2
"""Below the first the disk is a warning, below the second it has failed."""

RENEW_WITHIN = timedelta(days=30)
"""A repository's key that ends within this time is a warning."""

_PRIVATE = 0o077
"""The permissions that a file with a secret must not give."""


async def _context(subject: Subject) -> Finding:
    context = subject.settings.context
    return Finding(f"{context.name}: {context.home}, because of {context.chosen_by}")


async def _settings(subject: Subject) -> Finding:
    origins = [each.origin for each in setting_origins(subject.settings)]
    given = [f"{origins.count(each)} from {each}" for each in dict.fromkeys(origins)]
    unknown = unknown_variables(subject.settings)
    if unknown:
        return Finding(
            f"no setting has the name {', '.join(unknown)}",
            "correct the names: what they should set has its default",
        )
    return Finding(", ".join(given).replace(f"from {DEFAULT}", "by default"))


async def _client_key(subject: Subject) -> Finding:
    file = required(subject.settings.ssh.client_key, "ssh", "client_key")
    return await in_thread(_key, KeyKind.CLIENT, file)


async def _host_key_secret(subject: Subject) -> Finding:
    file = required(subject.settings.ssh.host_key_secret, "ssh", "host_key_secret")
    return await in_thread(_key, KeyKind.HOST_SECRET, file)


def _key(kind: KeyKind, file: Path) -> Finding:
    names = names_in(kind, file)
    found = f"{file}: {names[0].fingerprint}"
    if len(names) > 1:
        found += f"; a rotation to {names[1].fingerprint} is not finished"
    if file.stat().st_mode & _PRIVATE:
        return Finding(f"{found}; other accounts can read it", f"chmod 600 {file}")
    return Finding(found)


async def _store(subject: Subject) -> Finding:
    url = existing_store_url(subject.settings)
    store = await in_thread(open_store, url)
    subject.store = subject.opened.enter_context(store)
    return Finding(f"{store.name}, revision {await in_thread(newest_revision)}")


async def _temporal(subject: Subject) -> Finding:
    client = subject.client = await connect(subject.settings)
    address = client.service_client.config.target_host
    return Finding(f"{address} answers, namespace {client.namespace}")


async def _search_attributes(subject: Subject) -> Finding:
    assert subject.client is not None
    await require_search_attributes(subject.client)
    return Finding("all are there")


async def _payload_keys(subject: Subject) -> Finding:
    assert subject.client is not None
    await require_payload_key(subject.client, subject.settings.task_queue)
    used = codec(subject.settings.temporal)
    if used is None:
        return Finding("payloads are not encrypted")
    names = ", ".join(key.name for key in used.keys)
    return Finding(f"payloads are {'' if used.encrypts else 'no longer '}encrypted: {names}")


async def _fleet(subject: Subject) -> Finding:
    assert subject.client is not None
    assert subject.store is not None
    identity = await require_same_fleet(subject.client, subject.store)
    return Finding(f"store and Temporal are of fleet {identity.fleet_id}")


async def _repository_key(subject: Subject) -> Finding:
    config = subject.source = release_source_config(subject.settings)
    if not isinstance(config, AptSourceConfig):
        return Finding(f"none is needed: releases come from {config.address}")
    found, ends_soon = [], False
    for each in config.all:
        key = await in_thread(read_signing_key, each.signing_key, each.fingerprint)
        until = "" if key.expires_at is None else f", until {key.expires_at:%Y-%m-%d}"
        found.append(f"{each.signing_key}: {key.fingerprint}{until}")
        if key.expires_at is not None:
            ends_soon |= key.expires_at < datetime.now(UTC) + RENEW_WITHIN
    advice = "publish the key with a later end, and copy it here" if ends_soon else ""
    return Finding("; ".join(found), advice)


class _OnlyRead:
    """The newest indexes that were seen, without recording another one."""

    def __init__(self, seen: SeenIndexes) -> None:
        self.newest = seen.newest

    def record(self, source: str, date: datetime) -> None:
        """Record nothing: a check changes nothing."""


async def _repository(subject: Subject) -> Finding:
    assert subject.source is not None
    seen = _OnlyRead(subject.store.repository_indexes) if subject.store else None
    source = open_source(subject.source, subject.settings.service.package, seen)
    try:
        listed = await source.list_releases()
    finally:
        await source.close()
    address, releases = subject.source.address, listed.releases
    if not releases and not listed.left_out:
        package = subject.settings.service.package
        return Finding(f"{address} has no release of {package}", "publish one, or correct the URL")
    newest = f", the newest is {releases[-1].tag}" if releases else ""
    found = f"{address}: {len(releases)} releases{newest}"
    if listed.is_partial:
        return Finding(f"{found}; others could not be read", "`relight release list` names them")
    return Finding(found)


async def _providers(subject: Subject) -> Finding:
    drivers = configured_drivers(subject.settings)
    if not drivers:
        return Finding(
            "none is configured: no machine can be made",
            "`relight up` sets the lab; for others see docs/architecture.md",
        )
    found = []
    for name, driver in drivers.items():
        try:
            found.append(f"{name}: {len((await driver.list()).machines)} machines")
        finally:
            await driver.close()
    return Finding(", ".join(found))


async def _worker(subject: Subject) -> Finding:
    assert subject.client is not None
    queue = subject.settings.task_queue
    workers = await worker_identities(subject.client, queue)
    if not workers:
        return Finding(f"none listens on {queue}", "start one with `relight worker`")
    return Finding(f"{', '.join(sorted(workers))} on {queue}")


async def _clocks(subject: Subject) -> Finding:
    now = datetime.now(UTC)
    newest = await in_thread(subject.store.events.latest_time) if subject.store else None
    ahead = await clock_difference(subject.client) if subject.client else None
    found = [
        f"the store's newest event is of {newest:%Y-%m-%d %H:%M:%S}, now is {now:%Y-%m-%d %H:%M:%S}"
        " UTC"
        if newest
        else "no event is known",
        "Temporal's clock is not known" if ahead is None else f"Temporal's clock is {_off(ahead)}",
    ]
    if is_future(newest, now) or (ahead is not None and abs(ahead) > TOLERANCE):
        raise CheckFailedError("; ".join(found))
    return Finding("; ".join(found))


def _off(ahead: timedelta) -> str:
    if abs(ahead) <= TOLERANCE:
        return "the same"
    direction = "ahead of" if ahead > timedelta() else "behind"
    return f"{abs(ahead).total_seconds():.0f} s {direction} this computer's"


async def _disk(subject: Subject) -> Finding:
    home = subject.settings.home
    folder = next(each for each in (home, *home.parents) if each.exists())
    free = shutil.disk_usage(folder).free
    found = f"{free / 1024**3:.1f} GiB are free at {folder}"
    if free < FULL_BYTES:
        raise CheckFailedError(found)
    return Finding(found, "make room" if free < LOW_BYTES else "")


CHECKS = (
    Check("context", _context, "see `relight context list`"),
    Check("settings", _settings, "correct the setting"),
    Check(
        "SSH client key",
        _client_key,
        "set RELIGHT_SSH__CLIENT_KEY to its file; `relight init` makes ssh_client_key in the home",
        is_needed_to_serve=True,
    ),
    Check(
        "host-key secret",
        _host_key_secret,
        "set RELIGHT_SSH__HOST_KEY_SECRET to its file, or restore that from a backup",
        is_needed_to_serve=True,
    ),
    Check(
        "store",
        _store,
        "`relight store upgrade` makes the tables of this version; else correct RELIGHT_STORE_URL",
        is_needed_to_serve=True,
    ),
    Check(
        "Temporal",
        _temporal,
        "start it with `relight up`, or correct its address and credentials",
        is_needed_to_serve=True,
    ),
    Check(
        "search attributes",
        _search_attributes,
        "add them with the command above",
        ("client",),
        is_needed_to_serve=True,
    ),
    Check(
        "payload keys",
        _payload_keys,
        "add the key to the file of RELIGHT_TEMPORAL__PAYLOAD_KEYS",
        ("client",),
        is_needed_to_serve=True,
    ),
    Check(
        "fleet",
        _fleet,
        "`relight init`, if the two belong together; else see `relight context list`",
        ("client", "store"),
        is_needed_to_serve=True,
    ),
    Check(
        "repository key",
        _repository_key,
        "set RELIGHT_REPOSITORY__URL and RELIGHT_REPOSITORY__SIGNING_KEY",
        is_needed_to_serve=True,
    ),
    Check(
        "repository",
        _repository,
        "check its address from here; `relight release list` asks it as well",
        ("source",),
    ),
    Check("providers", _providers, "check its address and its token"),
    Check("worker", _worker, "start one with `relight worker`", ("client",)),
    Check("clocks", _clocks, "set the clocks by NTP on this computer and on Temporal's"),
    Check("disk", _disk, "make room: `relight store prune` deletes old records"),
)
