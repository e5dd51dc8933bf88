"""Downloads of the files of a release on GitHub, and what its packages say of themselves.

The token is sent to the API only. Raises `RepositoryUnavailableError` if a retry may help, else
`RepositoryError`.
"""

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from typing import Final

import httpx
from pydantic import SecretStr

from relight.releases.deb_control import DebControl, IncompleteError, read_control
from relight.releases.errors import (
    RepositoryError,
    RepositoryUnavailableError,
    RepositoryUntrustedError,
)
from relight.releases.fetching import (
    DEADLINE,
    NO_HEADERS,
    fetch_beginning,
    fetch_file,
    stream,
    within,
)
from relight.releases.file_signature import Digests
from relight.releases.github_assets import Asset
from relight.shared_reads import SharedReads

BEGINNING_BYTES: Final = 16 * 1024
"""Asked for first: it contains the control file of nearly every package."""

MAX_REQUESTS: Final = 8
"""At once, of the beginnings of packages."""

MAX_KNOWN: Final = 4096
"""How many packages' control fields are remembered."""

MAX_DEB_BYTES: Final = 2 * 1024 * 1024 * 1024


class GitHubFiles:
    """Downloads files from the addresses that are open to anybody, or with a token from the API."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        api_url: str,
        token: SecretStr | None,
        *,
        deadline: timedelta = DEADLINE,
        through_api: bool = False,
    ) -> None:
        """Read nothing yet.

        Args:
            client: for requests; its owner closes it.
            api_url: of GitHub's REST API.
            token: for the API, if there is one.
            deadline: for the requests of one package's beginning.
            through_api: whether files are downloaded from the API, as of a private repository.
        """
        self._client = client
        self._api_url = api_url.rstrip("/")
        self._token = token
        self._deadline = deadline
        self._through_api = through_api
        self._slots = asyncio.Semaphore(MAX_REQUESTS)
        self._known: OrderedDict[str, DebControl | RepositoryError] = OrderedDict()
        self._reads: SharedReads[DebControl | RepositoryError] = SharedReads()

    async def control(self, asset: Asset) -> DebControl:
        """Return what a package says of itself. Only its beginning is downloaded, once.

        Raises:
            RepositoryUnavailableError: no answer.
            RepositoryError: it is not a Debian package.
        """
        if asset.size == 0:
            raise RepositoryError("it is empty")
        key = f"{asset.browser_download_url} {asset.id} {asset.size} {asset.digest}"
        found = self._known.get(key)
        if found is None:
            found = await self._reads.get(key, lambda: self._read(asset))
            self._known[key] = found
            while len(self._known) > MAX_KNOWN:
                self._known.popitem(last=False)
        if isinstance(found, RepositoryError):
            raise found
        return found

    async def close(self) -> None:
        """Cancel all running requests of `control`."""
        await self._reads.close()

    async def read(self, asset: Asset, max_bytes: int) -> bytes:
        """Return a small file.

        Raises:
            RepositoryError: it does not exist, or has more than `max_bytes`.
        """
        url, headers = self._location(asset)
        return await fetch_file(self._client, url, max_bytes, headers)

    async def download(self, asset: Asset, size_bytes: int) -> AsyncIterator[bytes]:
        """Yield the content of a file, of which so many bytes are expected.

        Raises:
            RepositoryUnavailableError: no answer, or it does not exist any more.
        """
        url, headers = self._location(asset)
        async for chunk in stream(self._client, url, size_bytes, headers):
            yield chunk

    async def digests(self, asset: Asset) -> Digests:
        """Return the digests of a file, which is downloaded and not kept.

        Raises:
            RepositoryError: it does not exist, or has another size.
        """
        sha256, blake2b = hashlib.sha256(), hashlib.blake2b()
        async for chunk in self.download(asset, min(asset.size, MAX_DEB_BYTES)):
            sha256.update(chunk)
            blake2b.update(chunk)
        return Digests(sha256.digest(), blake2b.digest())

    async def _beginning(self, asset: Asset, count: int) -> bytes:
        url, headers = self._location(asset)
        return await fetch_beginning(self._client, url, count, headers)

    async def _read(self, asset: Asset) -> DebControl | RepositoryError:
        """Return what a package says of itself; an error if it is none."""
        asked = BEGINNING_BYTES
        try:
            async with self._slots, within(self._deadline):
                while True:
                    beginning = await self._beginning(asset, asked)
                    try:
                        return await asyncio.to_thread(read_control, beginning)
                    except IncompleteError as error:
                        if len(beginning) < asked:
                            return RepositoryError("it is cut off")
                        asked = error.needed_bytes
        except RepositoryUnavailableError:
            raise
        except RepositoryError as error:
            return error

    def _location(self, asset: Asset) -> tuple[httpx.URL, Mapping[str, str]]:
        """Return the URL of a file, and the headers of its request."""
        if not self._through_api:
            url = httpx.URL(asset.browser_download_url)
            check_url(asset.browser_download_url, httpx.URL(self._api_url))
            return url, NO_HEADERS
        # The token must go nowhere else, whatever an answer says.
        if not asset.url.startswith(f"{self._api_url}/"):
            raise RepositoryError(f"{asset.name} is at {asset.url}, not at {self._api_url}")
        headers = {"Accept": "application/octet-stream", "User-Agent": "relight"}
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token.get_secret_value()}"
        return httpx.URL(asset.url), headers


def check_url(url: str, api: httpx.URL) -> None:
    """Refuse a URL that a host would not fetch from.

    Raises:
        RepositoryError: it is not an HTTP or HTTPS URL.
        RepositoryUntrustedError: it is not encrypted although the API is.
    """
    scheme = url.partition("://")[0].lower()
    if scheme not in {"http", "https"} or any(not "!" <= char <= "~" for char in url):
        raise RepositoryError(f"{url!r} is not a URL that a host can fetch from")
    if scheme == "http" and api.scheme == "https":
        raise RepositoryUntrustedError(f"{url} is not encrypted, but the API is")
