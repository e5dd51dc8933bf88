"""Compressed files of repositories and packages, read as streams and up to a limit of bytes.

A small file may decompress to more than the memory holds, so nothing is decompressed as a whole.
"""

import bz2
import gzip
import lzma
import zlib
from io import BytesIO
from typing import BinaryIO, Final, cast

import zstandard

MAX_WINDOW_BYTES: Final = 128 * 1024 * 1024
"""Of zstd: what `zstd --ultra` uses at most without options for long windows."""

BROKEN = (lzma.LZMAError, OSError, EOFError, ValueError, zlib.error, zstandard.ZstdError)
"""What reading a stream raises if it is not what its name says."""

SUFFIXES: Final = (".xz", ".zst", ".gz", ".bz2", "")
"""Those that can be read, the smallest files first."""


def decompressed(content: bytes | BinaryIO, name: str) -> BinaryIO:
    """Return a stream of what a file contains; the suffix of its name is the compression.

    Args:
        content: of the file; a stream is read forwards only.
        name: of the file.

    Reading it raises one of `BROKEN` if the content is damaged.
    """
    file = BytesIO(content) if isinstance(content, bytes) else content
    if name.endswith(".xz"):
        return cast("BinaryIO", lzma.open(file))
    if name.endswith(".zst"):
        unpacker = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW_BYTES)
        return cast("BinaryIO", unpacker.stream_reader(file, read_across_frames=True))
    if name.endswith(".gz"):
        return cast("BinaryIO", gzip.open(file))
    if name.endswith(".bz2"):
        return cast("BinaryIO", bz2.open(file))
    return file
