"""One bucket of object storage, by the API of S3."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import cached_property
from typing import Any, Final, NamedTuple

import boto3
import httpx
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from pydantic import SecretStr

from relight.domain.error_words import error_words
from relight.domain.fault.error import DomainError
from relight.staging_settings import StagingSettings

TIMEOUT: Final = timedelta(seconds=60)


class StagingError(DomainError):
    """The object storage refused a request: a retry cannot help."""

    kind = "staging-refused"


class StagingUnavailableError(StagingError):
    """The object storage gave no answer, or asks to wait."""

    kind = "staging-unavailable"


class AbsentError(StagingError):
    """There is no such bucket, object, upload or rule."""


class Stored(NamedTuple):
    """An object, or an upload of one that was not completed.

    Attributes:
        key: of the object.
        upload: the id of the upload; None for an object.
    """

    key: str
    upload: str | None = None


class Bucket:
    """The bucket of the settings."""

    def __init__(self, settings: StagingSettings, secret: SecretStr) -> None:
        """Request nothing yet.

        Args:
            settings: of the storage.
            secret: of its access key.
        """
        self.name = settings.bucket
        self._settings = settings
        self._secret = secret

    async def call(self, attempted: str, operation: str, **params: Any) -> Mapping[str, Any]:
        """Return the answer of an operation on the bucket, by boto3's name of it.

        Raises:
            AbsentError: there is no such thing.
            StagingUnavailableError: no answer, or one that asks to wait.
            StagingError: it was refused.
        """

        def call() -> Mapping[str, Any]:
            answer: Mapping[str, Any] = getattr(self._client, operation)(Bucket=self.name, **params)
            return answer

        with _words(attempted):
            return await asyncio.to_thread(call)

    async def call_if_there(
        self, attempted: str, operation: str, **params: Any
    ) -> Mapping[str, Any] | None:
        """Return the answer of `call`; None if there is no such thing."""
        try:
            return await self.call(attempted, operation, **params)
        except AbsentError:
            return None

    async def stored(self, prefix: str) -> Sequence[Stored]:
        """Return the objects and the uploads below a prefix; nothing if there is no bucket.

        Raises:
            StagingError: they could not be listed.
        """
        try:
            with _words(f"list {prefix}"):
                return await asyncio.to_thread(self._list, prefix)
        except AbsentError:
            return ()

    async def url(self, key: str, lasts: timedelta) -> str:
        """Return a URL by which an object can be read for a while; nothing is requested."""
        url: str = await asyncio.to_thread(
            lambda: self._client.generate_presigned_url(
                "get_object",
                Params={"Bucket": self.name, "Key": key},
                ExpiresIn=int(lasts.total_seconds()),
            )
        )
        return url

    def _list(self, prefix: str) -> Sequence[Stored]:
        place = {"Bucket": self.name, "Prefix": prefix}
        objects = self._client.get_paginator("list_objects_v2").paginate(**place)
        uploads = self._client.get_paginator("list_multipart_uploads").paginate(**place)
        return [
            *(Stored(each["Key"]) for page in objects for each in page.get("Contents", ())),
            *(
                Stored(each["Key"], each["UploadId"])
                for page in uploads
                for each in page.get("Uploads", ())
            ),
        ]

    @cached_property
    def _client(self) -> Any:
        """The client; it is made in a thread, because that reads files."""
        settings = self._settings
        return boto3.session.Session().client(
            "s3",
            endpoint_url=str(settings.url).rstrip("/"),
            region_name=settings.region,
            aws_access_key_id=settings.key_id,
            aws_secret_access_key=self._secret.get_secret_value(),
            config=Config(
                signature_version="s3v4",
                connect_timeout=10,
                read_timeout=TIMEOUT.total_seconds(),
                retries={"mode": "standard", "total_max_attempts": 3},
                s3={
                    "addressing_style": "path" if settings.path_style else "virtual",
                    # The digest of each part is in its signature: the storage checks it.
                    "payload_signing_enabled": True,
                },
                # Newer checksums are Amazon's alone: others refuse them.
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )


@contextmanager
def _words(attempted: str) -> Iterator[None]:
    """Make our errors of those of the client."""
    try:
        yield
    except ClientError as error:
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        code = error.response["Error"].get("Code", "")
        text = f"{attempted}: {status} {error_words(error)}"
        raise _kind(status, code)(text) from error
    except BotoCoreError as error:
        raise StagingUnavailableError(f"{attempted}: {error_words(error)}") from error


def _kind(status: int, code: str) -> type[StagingError]:
    if status == httpx.codes.NOT_FOUND:
        return AbsentError
    waits = {httpx.codes.TOO_MANY_REQUESTS, httpx.codes.REQUEST_TIMEOUT, httpx.codes.CONFLICT}
    if status >= 500 or status in waits or code in {"SlowDown", "RequestTimeout"}:
        return StagingUnavailableError
    return StagingError
