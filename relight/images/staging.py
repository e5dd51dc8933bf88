"""Staging: a disk in private object storage, for as long as providers import it.

Nothing here is public. A provider fetches a disk by a URL that is signed for some hours, or with
our account's own rights. To revoke a URL is to delete its object.
"""

import asyncio
import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import httpx
from pydantic import SecretStr

from relight.domain.error_words import error_words
from relight.domain.image.image import ImageManifest, ImageName, StagedDisk
from relight.domain.names import OwnerTag
from relight.images.object_storage import (
    TIMEOUT,
    Bucket,
    StagingError,
    StagingUnavailableError,
    Stored,
)
from relight.staging_settings import StagingSettings

PREFIX: Final = "relight-staging/"
PART_BYTES: Final = 16 * 1024 * 1024
"""Of an upload: 10,000 parts, the most that S3 takes, are 160 GB."""

EXPIRY_DAYS: Final = 1
REUSED_FOR: Final = timedelta(hours=12)
"""A staged disk that is older is uploaded again: it has to outlive what imports it."""

URL_LASTS: Final = timedelta(hours=3)
"""Longer than an import waits and works."""

_RULE: Final[Mapping[str, Any]] = {
    "ID": "relight-staging",
    "Status": "Enabled",
    "Filter": {"Prefix": PREFIX},
    "Expiration": {"Days": EXPIRY_DAYS},
    "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": EXPIRY_DAYS},
}


class StagingExposedError(StagingError):
    """A staged disk could be read without a login. It was deleted."""

    kind = "staging-exposed"


class Staging:
    """One bucket, as one fleet uses it. Calls may be repeated; two runs must not overlap."""

    def __init__(
        self,
        settings: StagingSettings,
        secret: SecretStr,
        owner: OwnerTag,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Request nothing yet.

        Args:
            settings: of the storage.
            secret: of its access key.
            owner: the fleet's tag: another fleet's disks in the bucket are left alone.
            now: the clock.
        """
        self._settings = settings
        self._bucket = Bucket(settings, secret)
        self._folder = f"{PREFIX}{owner}/"
        self._now = now

    async def stage(
        self,
        manifest: ImageManifest,
        path: Path,
        progress: Callable[[int], None] = lambda _: None,
    ) -> StagedDisk:
        """Return a disk in storage, with a new URL; upload it unless it is there already.

        Args:
            manifest: of the disk.
            path: of its file.
            progress: called with the bytes sent so far.

        Raises:
            StagingUnavailableError: the storage did not answer.
            StagingExposedError: anybody could have read it.
            StagingError: the storage refused it, or the file is not the manifest's.
        """
        key = f"{self._folder}{manifest.name}/{manifest.disk_sha256}.qcow2"
        await self._require_bucket()
        if not await self._is_there(key, manifest):
            await self._upload(key, manifest, path, progress)
        await self._require_private(key)
        return StagedDisk(self._bucket.name, key, await self._bucket.url(key, URL_LASTS))

    async def unstage(self, name: ImageName) -> None:
        """Delete an image's disk, so that its URLs are dead; absent is success.

        Raises:
            StagingError: it may still be there.
        """
        await self._remove(await self._bucket.stored(f"{self._folder}{name}/"))

    async def sweep(self, keep: Collection[ImageName] = ()) -> Sequence[str]:
        """Delete what lost runs of this fleet have left; return its keys.

        Args:
            keep: images that are being published.

        Raises:
            StagingError: something may still be there.
        """
        kept = tuple(f"{self._folder}{name}/" for name in keep)
        found = await self._bucket.stored(self._folder)
        lost = [each for each in found if not each.key.startswith(kept)]
        await self._remove(lost)
        return sorted({each.key for each in lost})

    async def _require_bucket(self) -> None:
        bucket = self._bucket.name
        attempted = f"find the bucket {bucket}"
        if await self._bucket.call_if_there(attempted, "head_bucket") is None:
            # Amazon's first region is the one that must not be named.
            region = self._settings.region
            where = {"LocationConstraint": region}
            named = {} if region == "us-east-1" else {"CreateBucketConfiguration": where}
            await self._bucket.call(f"create the bucket {bucket}", "create_bucket", **named)
        if not self._settings.sets_expiry:
            return
        attempted = f"set the expiry of {bucket}"
        found = await self._bucket.call_if_there(attempted, "get_bucket_lifecycle_configuration")
        rules = [] if found is None else found.get("Rules", [])
        if not any(rule.get("ID") == _RULE["ID"] for rule in rules):
            await self._bucket.call(
                attempted,
                "put_bucket_lifecycle_configuration",
                LifecycleConfiguration={"Rules": [*rules, _RULE]},
            )

    async def _is_there(self, key: str, manifest: ImageManifest) -> bool:
        found = await self._bucket.call_if_there(f"find {key}", "head_object", Key=key)
        return (
            found is not None
            and found["ContentLength"] == manifest.disk_bytes
            and self._now() - found["LastModified"] < REUSED_FOR
        )

    async def _upload(
        self, key: str, manifest: ImageManifest, path: Path, progress: Callable[[int], None]
    ) -> None:
        attempted = f"upload {key}"
        upload = (await self._bucket.call(attempted, "create_multipart_upload", Key=key))[
            "UploadId"
        ]
        is_complete = False
        try:
            parts = await self._send_parts(attempted, key, upload, manifest, path, progress)
            await self._bucket.call(
                attempted,
                "complete_multipart_upload",
                Key=key,
                UploadId=upload,
                MultipartUpload={"Parts": parts},
            )
            is_complete = True
        finally:
            if not is_complete:
                await asyncio.shield(self._remove([Stored(key, upload)]))

    async def _send_parts(
        self,
        attempted: str,
        key: str,
        upload: str,
        manifest: ImageManifest,
        path: Path,
        progress: Callable[[int], None],
    ) -> Sequence[Mapping[str, Any]]:
        """Send the file, and return its parts.

        Raises:
            StagingError: also if the file is not that of the manifest.
        """
        parts: list[Mapping[str, Any]] = []
        digest, sent = hashlib.sha256(), 0
        try:
            with await asyncio.to_thread(path.open, "rb") as disk:
                while content := await asyncio.to_thread(disk.read, PART_BYTES):
                    await asyncio.to_thread(digest.update, content)
                    number = len(parts) + 1
                    part = await self._bucket.call(
                        attempted,
                        "upload_part",
                        Key=key,
                        UploadId=upload,
                        PartNumber=number,
                        Body=content,
                    )
                    parts.append({"PartNumber": number, "ETag": part["ETag"]})
                    sent += len(content)
                    progress(sent)
        except OSError as error:
            raise StagingError(f"{attempted}: {path.name}: {error_words(error)}") from error
        if digest.hexdigest() != manifest.disk_sha256:
            raise StagingError(f"{attempted}: {path.name} is not the disk that its manifest names")
        return parts

    async def _require_private(self, key: str) -> None:
        """Read the object as a stranger: every other answer than a refusal is an exposure."""
        attempted = f"check that {key} is private"
        url = (await self._bucket.url(key, URL_LASTS)).partition("?")[0]
        try:
            async with (
                httpx.AsyncClient(timeout=TIMEOUT.total_seconds()) as stranger,
                stranger.stream("GET", url, headers={"Range": "bytes=0-0"}) as answer,
            ):
                status = answer.status_code
        except httpx.HTTPError as error:
            raise StagingUnavailableError(f"{attempted}: {error_words(error)}") from error
        if httpx.codes.is_client_error(status) and status != httpx.codes.TOO_MANY_REQUESTS:
            return
        if httpx.codes.is_success(status):
            await self._remove([Stored(key)])
            raise StagingExposedError(
                f"{attempted}: {self._bucket.name} lets anybody read it; it was deleted"
            )
        raise StagingUnavailableError(f"{attempted}: status {status}")

    async def _remove(self, leftovers: Collection[Stored]) -> None:
        """Delete objects first, which revokes their URLs, then uploads; absent is success."""
        for each in sorted(leftovers, key=lambda each: each.upload is not None):
            if each.upload is None:
                await self._bucket.call_if_there(
                    f"delete {each.key}", "delete_object", Key=each.key
                )
            else:
                await self._bucket.call_if_there(
                    f"abort the upload of {each.key}",
                    "abort_multipart_upload",
                    Key=each.key,
                    UploadId=each.upload,
                )
