"""Staging, against a server of S3."""

import asyncio
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from pydantic import SecretStr

from relight.domain.image.image import StagedDisk
from relight.images import staging as staging_module
from relight.images.object_storage import StagingError, StagingUnavailableError
from relight.images.staging import Staging, StagingExposedError
from relight.locations import configured_staging
from relight.providers.gcore.images import LIMITS as GCORE
from relight.setting_groups import SettingsError
from relight.settings import Settings
from tests.providers.fakes.object_storage import BUCKET, SECRET, ObjectStorage, object_storage
from tests.support.image_disks import CONTENT, write_disk

OWNER = "main"
PART = 5 * 1024 * 1024
"""S3's smallest one."""


@pytest.fixture
def storage():
    with object_storage() as served:
        yield served


@pytest.fixture
def staging(storage: ObjectStorage, tmp_path: Path) -> Staging:
    return Staging(storage.settings(tmp_path), SecretStr(SECRET), OWNER)


@pytest.fixture
def disk(tmp_path: Path):
    return write_disk(tmp_path)


async def fetched(url: str) -> httpx.Response:
    async with httpx.AsyncClient() as client:
        return await client.get(url)


async def test_a_staged_disk_is_read_by_its_url_alone_and_is_dead_afterwards(
    staging, storage, disk
):
    manifest, path = disk
    staged = await staging.stage(manifest, path)
    assert (await fetched(staged.url)).content == CONTENT
    assert (await fetched(staged.url.partition("?")[0])).status_code == 403
    assert storage.stored() == [staged.key]
    await staging.unstage(manifest.name)
    assert (await fetched(staged.url)).status_code == 404
    assert storage.stored() == []


async def test_a_url_says_when_it_expires_and_no_grant_names_everybody(staging, storage, disk):
    staged = await staging.stage(*disk)
    query = parse_qs(urlsplit(staged.url).query)
    lasts = timedelta(seconds=int(query["X-Amz-Expires"][0]))
    # It outlives an import that begins as late and takes as long as it may.
    assert lasts > GCORE.start_within + GCORE.finish_within
    assert query["X-Amz-Algorithm"] == ["AWS4-HMAC-SHA256"]
    assert SECRET not in staged.url
    grants = [
        *storage.client.get_bucket_acl(Bucket=BUCKET)["Grants"],
        *storage.client.get_object_acl(Bucket=BUCKET, Key=staged.key)["Grants"],
    ]
    assert {grant["Grantee"]["Type"] for grant in grants} == {"CanonicalUser"}


async def test_a_bucket_that_anybody_may_read_is_refused_and_the_disk_is_deleted(
    staging, storage, disk
):
    await staging.stage(*disk)
    for key in storage.stored():
        storage.client.put_object_acl(Bucket=BUCKET, Key=key, ACL="public-read")
    with pytest.raises(StagingExposedError, match=BUCKET) as exposed:
        await staging.stage(*disk)
    assert not exposed.value.retryable
    assert storage.stored() == []


async def test_a_second_call_uploads_nothing(staging, storage, disk):
    first = await staging.stage(*disk)
    written = storage.client.head_object(Bucket=BUCKET, Key=first.key)["ETag"]
    sent: list[int] = []
    second = await staging.stage(*disk, progress=sent.append)
    assert sent == []
    assert second.key == first.key
    assert storage.client.head_object(Bucket=BUCKET, Key=first.key)["ETag"] == written


async def test_an_old_disk_is_uploaded_again_before_the_storage_expires_it(storage, tmp_path, disk):
    settings = storage.settings(tmp_path)
    await Staging(settings, SecretStr(SECRET), OWNER).stage(*disk)
    sent: list[int] = []
    later = datetime.now(UTC) + timedelta(hours=13)
    staging = Staging(settings, SecretStr(SECRET), OWNER, now=lambda: later)
    await staging.stage(disk[0], disk[1], sent.append)
    assert sent == [len(CONTENT)]


async def test_large_disks_are_sent_in_parts_and_each_is_reported(
    staging, storage, tmp_path, monkeypatch
):
    monkeypatch.setattr(staging_module, "PART_BYTES", PART)
    content = bytes(range(256)) * (2 * PART // 256) + b"the end"
    manifest, path = write_disk(tmp_path, content=content)
    sent: list[int] = []
    staged = await staging.stage(manifest, path, sent.append)
    assert sent == [PART, 2 * PART, 2 * PART + 7]
    assert (await fetched(staged.url)).content == content
    assert storage.uploads() == []


async def test_a_cancelled_upload_is_aborted(staging, storage, tmp_path, monkeypatch):
    monkeypatch.setattr(staging_module, "PART_BYTES", PART)
    manifest, path = write_disk(tmp_path, content=bytes(3 * PART))
    first_part = asyncio.Event()
    upload = asyncio.create_task(staging.stage(manifest, path, lambda _: first_part.set()))
    await first_part.wait()
    assert len(storage.uploads()) == 1
    upload.cancel()
    with pytest.raises(asyncio.CancelledError):
        await upload
    # A part that was under way may arrive after that: the next run sweeps.
    await staging.sweep()
    assert (storage.uploads(), storage.stored()) == ([], [])


async def test_another_file_than_the_manifest_names_is_not_staged(staging, storage, disk):
    manifest, path = disk
    path.write_bytes(CONTENT[::-1])
    with pytest.raises(StagingError, match="manifest") as refused:
        await staging.stage(manifest, path)
    assert not refused.value.retryable
    assert (storage.uploads(), storage.stored()) == ([], [])


async def test_a_missing_file_is_named(staging, storage, disk):
    manifest, path = disk
    path.unlink()
    with pytest.raises(StagingError, match=re.escape(path.name)):
        await staging.stage(manifest, path)
    assert (storage.uploads(), storage.stored()) == ([], [])


async def test_a_sweep_deletes_what_lost_runs_left_and_nothing_of_others(
    staging, storage, tmp_path
):
    kept, kept_path = write_disk(tmp_path, "relight-base-2-amd64")
    lost, lost_path = write_disk(tmp_path, "relight-base-1-amd64")
    await staging.stage(kept, kept_path)
    staged = await staging.stage(lost, lost_path)
    another = Staging(storage.settings(tmp_path), SecretStr(SECRET), "another")
    await another.stage(lost, lost_path)
    storage.client.put_object(Bucket=BUCKET, Key="notes.txt", Body=b"a person's own")
    begun = "relight-staging/main/relight-base-0-amd64/x.qcow2"
    storage.client.create_multipart_upload(Bucket=BUCKET, Key=begun)

    assert await staging.sweep(keep=[kept.name]) == sorted([staged.key, begun])
    assert storage.uploads() == []
    assert [key.split("/")[1:3] for key in storage.stored() if "/" in key] == [
        ["another", lost.name],
        ["main", kept.name],
    ]
    assert "notes.txt" in storage.stored()
    assert await staging.sweep(keep=[kept.name]) == []


async def test_sweep_and_unstage_succeed_where_there_is_no_bucket(staging, storage):
    assert await staging.sweep() == []
    await staging.unstage("relight-base-1-amd64")
    assert storage.stored() == []


async def test_the_bucket_expires_disks_by_itself_and_its_other_rules_stay(staging, storage, disk):
    storage.client.create_bucket(
        Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-north-1"}
    )
    own = {
        "ID": "own",
        "Status": "Enabled",
        "Filter": {"Prefix": "own/"},
        "Expiration": {"Days": 9},
    }
    storage.client.put_bucket_lifecycle_configuration(
        Bucket=BUCKET, LifecycleConfiguration={"Rules": [own]}
    )
    for _ in range(2):
        await staging.stage(*disk)
        read = storage.client.get_bucket_lifecycle_configuration(Bucket=BUCKET)
        rules = {rule["ID"]: rule for rule in read["Rules"]}
        assert set(rules) == {"own", "relight-staging"}
        assert rules["relight-staging"]["Expiration"] == {"Days": 1}
        assert rules["relight-staging"]["AbortIncompleteMultipartUpload"] == {
            "DaysAfterInitiation": 1
        }


async def test_a_storage_without_such_rules_is_not_asked_for_one(storage, tmp_path, disk):
    settings = storage.settings(tmp_path, sets_expiry=False)
    await Staging(settings, SecretStr(SECRET), OWNER).stage(*disk)
    with pytest.raises(storage.client.exceptions.ClientError, match="NoSuchLifecycle"):
        storage.client.get_bucket_lifecycle_configuration(Bucket=BUCKET)


async def test_a_storage_that_does_not_answer_is_a_retryable_error(tmp_path, storage, disk):
    settings = storage.settings(tmp_path, url="http://127.0.0.1:1")
    with pytest.raises(StagingUnavailableError, match="find the bucket") as refused:
        await Staging(settings, SecretStr(SECRET), OWNER).stage(*disk)
    assert refused.value.retryable
    assert SECRET not in str(refused.value)


# Settings.


def written(home: Path, storage: ObjectStorage, **lines: str) -> Settings:
    (home / "token").write_text("a-token")
    (home / "s3-secret").write_text(SECRET)
    values = {
        "url": f'"{storage.url}"',
        "region": '"eu-north-1"',
        "bucket": f'"{BUCKET}"',
        "key_id": '"a-key-id"',
        "secret_file": '"s3-secret"',
    } | lines
    table = "\n".join(f"{name} = {value}" for name, value in values.items())
    (home / "providers.toml").write_text(
        f'[linode]\ntoken_file = "token"\n[linode.staging]\n{table}\n'
        '[linode.locations.us-east]\nshapes = ["g6-nanode-1"]\nimage = "debian"\n'
    )
    return Settings(home=home, fleet_owner=OWNER)


async def test_the_providers_file_gives_the_storage(tmp_path, storage, disk):
    staging = configured_staging(written(tmp_path, storage), "linode")
    assert staging is not None
    staged = await staging.stage(*disk)
    assert isinstance(staged, StagedDisk)
    assert staged.key.startswith(f"relight-staging/{OWNER}/")


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ({"bucket": '"Not.A.Bucket"'}, r"linode\.staging\.bucket"),
        ({"bucket_name": '"x"'}, r"linode\.staging\.bucket_name"),
        ({"secret_file": '"missing"'}, "RELIGHT_PROVIDERS__LINODE__STAGING.*missing"),
    ],
)
def test_what_is_wrong_is_named_by_its_key(tmp_path, storage, lines, words):
    with pytest.raises(SettingsError, match=words):
        configured_staging(written(tmp_path, storage, **lines), "linode")
