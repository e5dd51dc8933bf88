"""Object storage with the API of S3, served by moto."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest
from botocore.exceptions import ClientError
from moto.s3.models import FakeAcl, S3Backend, get_canned_acl
from moto.server import ThreadedMotoServer

from relight.staging_settings import StagingSettings

KEY_ID, SECRET = "a-key-id", "the-secret-of-the-key"
BUCKET = "relight-staging"


@dataclass(frozen=True)
class ObjectStorage:
    """One account's storage.

    Attributes:
        url: of the API.
        client: of its owner, who sees everything.
    """

    url: str
    client: Any

    def settings(self, folder: Path, **changes: Any) -> StagingSettings:
        secret = folder / "s3-secret"
        secret.write_text(f"{SECRET}\n")
        values = {"url": self.url, "region": "eu-north-1", "bucket": BUCKET, "key_id": KEY_ID}
        return StagingSettings.model_validate(values | {"secret_file": secret} | changes)

    def stored(self) -> list[str]:
        """The keys of all objects; nothing if there is no bucket."""
        if BUCKET not in {each["Name"] for each in self.client.list_buckets()["Buckets"]}:
            return []
        listed = self.client.list_objects_v2(Bucket=BUCKET)
        return [each["Key"] for each in listed.get("Contents", ())]

    def uploads(self) -> list[str]:
        """The keys of all uploads that were not completed."""
        listed = self.client.list_multipart_uploads(Bucket=BUCKET)
        return [each["Key"] for each in listed.get("Uploads", ())]

    def public_buckets(self) -> list[str]:
        """The buckets whose grants or whose policy let others in."""
        return [
            name
            for name in (each["Name"] for each in self.client.list_buckets()["Buckets"])
            if self._grants_to_groups(name) or self._has_policy(name)
        ]

    def _grants_to_groups(self, bucket: str) -> bool:
        grants = self.client.get_bucket_acl(Bucket=bucket)["Grants"]
        return any("URI" in each["Grantee"] for each in grants)

    def _has_policy(self, bucket: str) -> bool:
        try:
            self.client.get_bucket_policy(Bucket=bucket)
        except ClientError as error:
            if error.response["Error"]["Code"] != "NoSuchBucketPolicy":
                raise
            return False
        return True


_put_object_acl = S3Backend.put_object_acl


def put_object_acl(
    self: S3Backend, bucket_name: str, key_name: str, acl: FakeAcl | None, **options: Any
) -> None:
    """An object is private unless a request says else; moto lets anybody read a multipart one."""
    _put_object_acl(self, bucket_name, key_name, acl or get_canned_acl("private"), **options)


@contextmanager
def object_storage() -> Iterator[ObjectStorage]:
    """Serve an empty storage on this computer."""
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    httpx.post(f"{url}/moto-api/reset").raise_for_status()
    client = boto3.session.Session().client(
        "s3",
        endpoint_url=url,
        region_name="eu-north-1",
        aws_access_key_id=KEY_ID,
        aws_secret_access_key=SECRET,
    )
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(S3Backend, "put_object_acl", put_object_acl)
            yield ObjectStorage(url, client)
    finally:
        client.close()
        server.stop()
