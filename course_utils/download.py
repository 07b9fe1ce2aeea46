"""Fetch the published data files and unpack them where `course_utils.data` looks for them.

A file is trusted only when it weighs and hashes to what its authors published. A download may be interrupted at any
moment: what has arrived stays as `<name>.part`, and the next call goes on from there.
"""

import contextlib
import errno
import gzip
import hashlib
import http.client
import shutil
import tarfile
import tempfile
import time
import uuid
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.request import HTTPRedirectHandler, OpenerDirector, Request, build_opener

from tqdm.auto import tqdm

TIMEOUT = 10  # seconds without a byte before the next mirror is asked
CHUNK = 1 << 18  # bytes
SMALL = 1 << 20  # bytes: room for a tar file's headers and for members whose exact size is not published


class DownloadError(RuntimeError):
    """A published file could not be fetched or unpacked; the message says what came and what to do."""


@dataclass(frozen=True)
class PublishedFile:
    """One archive as its authors publish it, and the files that it unpacks to."""

    name: str
    size: int  # bytes
    sha256: str
    mirrors: tuple[str, ...]  # the addresses of folders that hold it
    folder: str  # where it unpacks to, below the data folder
    members: Mapping[str, int | None]  # unpacked file → its exact size in bytes, None where that is not published


def mnist_file(stem: str, size: int, sha256: str, unpacked_size: int) -> PublishedFile:
    """Describe one of MNIST's four files, in torchvision's layout."""
    name = f"{stem}-ubyte"
    mirrors = ("https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/")
    return PublishedFile(f"{name}.gz", size, sha256, mirrors, "MNIST/raw", {name: unpacked_size})


MNIST = (
    mnist_file(
        "train-images-idx3", 9_912_422, "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609", 47_040_016
    ),
    mnist_file("train-labels-idx1", 28_881, "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c", 60_008),
    mnist_file(
        "t10k-images-idx3", 1_648_877, "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6", 7_840_016
    ),
    mnist_file("t10k-labels-idx1", 4_542, "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6", 10_008),
)

CIFAR10 = PublishedFile(
    "cifar-10-binary.tar.gz",
    170_052_171,
    "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
    mirrors=("https://www.cs.toronto.edu/~kriz/",),
    folder="cifar-10-batches-bin",
    members={
        **{f"data_batch_{number}.bin": 30_730_000 for number in range(1, 6)},
        "test_batch.bin": 30_730_000,
        "batches.meta.txt": None,
    },
)

PUBLISHED: dict[str, tuple[PublishedFile, ...]] = {"mnist": MNIST, "cifar10": (CIFAR10,)}


def download(name: str, root: Path | str, *, progress: bool = True, opener: OpenerDirector | None = None) -> None:
    """Bring the data set `name` into the folder `root`; do nothing for files that are already there.

    Raises ValueError for an unknown name, DownloadError when a file cannot be had from any mirror.
    """
    opener = opener or build_opener(HttpsOnly)
    for file in published_files(name):
        if not is_unpacked(file, Path(root) / file.folder):
            obtain(file, Path(root) / file.folder, opener=opener, progress=progress)


def is_complete(name: str, root: Path | str) -> bool:
    """Tell whether every file of the data set `name` lies in `root` with its exact size. Raises ValueError."""
    return not missing_files(name, root)


def missing_files(name: str, root: Path | str) -> list[str]:
    """Say of each file of the data set `name` that `root` lacks what is wrong: not there, or of another size."""
    found = []
    for file in published_files(name):
        for member, size in file.members.items():
            path = Path(root) / file.folder / member
            if not path.is_file():
                found.append(f"{path} is not there")
            elif size not in (None, path.stat().st_size):
                found.append(f"{path} is damaged: {path.stat().st_size:,} bytes, expected {size:,}")
    return found


def published_files(name: str) -> tuple[PublishedFile, ...]:
    """Return the archives of one data set. Raises ValueError for an unknown name."""
    if name not in PUBLISHED:
        raise ValueError(
            f"expected one of {', '.join(map(repr, PUBLISHED))}, got {name!r}: choose one of these data sets"
        )
    return PUBLISHED[name]


def is_unpacked(file: PublishedFile, folder: Path) -> bool:
    """Tell whether all members of an archive lie in `folder` with their exact sizes."""
    paths = {folder / member: size for member, size in file.members.items()}
    return all(path.is_file() and size in (None, path.stat().st_size) for path, size in paths.items())


def obtain(file: PublishedFile, folder: Path, *, opener: OpenerDirector, progress: bool) -> None:
    """Fetch one archive, verify it, unpack it into `folder`, and delete it. Raises DownloadError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with own_part(folder, file.name) as part:
            fetch_verified(file, part, opener=opener, progress=progress)
            unpack(file, part, folder)
            part.unlink()
    except OSError as error:
        raise DownloadError(
            f"{file.name} cannot be stored in {folder}: {error}. "
            "Make room there, or name another folder in the environment variable COURSE_DATA"
        ) from error


@contextlib.contextmanager
def own_part(folder: Path, name: str) -> Iterator[Path]:
    """Yield a path to download into that no other process uses, holding what an interrupted download left behind.

    `<name>.part` belongs to nobody: we rename it to a name of our own and back when we leave. A rename succeeds for
    one process only, so two that run at the same time never write to one file. A process that was killed could not
    rename its file back: its file is taken over when nothing was written to it for a minute.
    """
    mine = folder / f"{name}.{uuid.uuid4().hex[:8]}.part"
    unowned = folder / f"{name}.part"
    for leftover in [unowned, *folder.glob(f"{name}.*.part")]:
        with contextlib.suppress(OSError):  # another process was faster
            if leftover == unowned or time.time() - leftover.stat().st_mtime > 60:
                leftover.rename(mine)
                break
    try:
        yield mine
    finally:
        with contextlib.suppress(OSError):  # nothing arrived, or it is unpacked and deleted
            mine.replace(unowned)


def fetch_verified(file: PublishedFile, part: Path, *, opener: OpenerDirector, progress: bool) -> None:
    """Ask one mirror after the other until `part` holds the published bytes. Raises DownloadError."""
    urls = [mirror + file.name for mirror in file.mirrors]
    reasons = []
    while urls:
        url = urls.pop(0)
        resumed = part.exists()
        try:
            fetch(url, part, file.size, opener=opener, progress=progress)
            verify(file, part)
            return
        except (DownloadError, OSError, http.client.HTTPException) as error:
            if getattr(error, "errno", None) in (errno.ENOSPC, errno.EACCES, errno.EDQUOT):
                raise  # our own disk, not the mirror
            reasons.append(f"  {url}: {error or type(error).__name__}")
            if resumed and not part.exists():
                urls.insert(0, url)  # what we went on from was bad and is deleted: ask this mirror for all of it
    raise DownloadError(
        f"{file.name} could not be downloaded: expected {file.size:,} bytes with SHA-256 {file.sha256}, but\n"
        + "\n".join(reasons)
        + "\nCheck the network connection and try again: what has arrived is kept, and the next try goes on from there"
    )


def fetch(url: str, part: Path, size: int, *, opener: OpenerDirector, progress: bool) -> None:
    """Append to `part` what it lacks of the `size` bytes at `url`. Raises DownloadError, OSError or HTTPException."""
    require_https(url)
    have = part.stat().st_size if part.exists() else 0
    if have >= size:
        return  # the download was complete, only the unpacking is missing; `verify` judges it
    request = Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    with opener.open(request, timeout=TIMEOUT) as response:
        if have and not goes_on_from(have, response):
            have = 0  # this server cannot resume and sends everything: start anew
        bar = tqdm(
            total=size, initial=have, unit="B", unit_scale=True, desc=part.name.split(".")[0], disable=not progress
        )
        with part.open("ab" if have else "wb") as out, bar:
            # asking for one byte more than we expect uncovers a body that is too large
            while have <= size and (chunk := response.read(min(CHUNK, size - have + 1))):
                have += len(chunk)
                if have <= size:
                    out.write(chunk)
                    bar.update(len(chunk))
    if have > size:
        part.unlink()
        raise DownloadError(f"more than the expected {size:,} bytes came")
    if have < size:
        raise DownloadError(f"the connection ended after {have:,} of {size:,} bytes")


def goes_on_from(start: int, response: http.client.HTTPResponse) -> bool:
    """Tell whether the server honors our request for the bytes from `start` on."""
    return response.status == 206 and response.headers.get("Content-Range", "").startswith(f"bytes {start}-")


def verify(file: PublishedFile, part: Path) -> None:
    """Compare the checksum of `part` with the published one; delete `part` and raise DownloadError if they differ."""
    with part.open("rb") as stream:
        came = hashlib.file_digest(stream, "sha256").hexdigest()
    if came != file.sha256:
        size = part.stat().st_size
        part.unlink()
        raise DownloadError(f"{size:,} bytes with SHA-256 {came} came")


class HttpsOnly(HTTPRedirectHandler):
    """Follow redirects as usual, but never to an address that is not encrypted."""

    def redirect_request(self, req, fp, code, msg, headers, newurl):
        require_https(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def require_https(url: str) -> None:
    """Raise DownloadError unless `url` begins with https://."""
    if not url.startswith("https://"):
        raise DownloadError(f"expected an address that begins with https://, got {url}")


class Capped:
    """Read from a stream, but not past `limit` bytes: a small archive can unpack to any size."""

    def __init__(self, stream: BinaryIO, limit: int) -> None:
        self.stream = stream
        self.left = limit

    def read(self, size: int) -> bytes:
        """Return up to `size` bytes. Raises DownloadError past the limit."""
        chunk = self.stream.read(size)
        self.left -= len(chunk)
        if self.left < 0:
            raise DownloadError("the archive unpacks to more than its published size: it is not unpacked")
        return chunk


def unpack(file: PublishedFile, archive: Path, folder: Path) -> None:
    """Unpack the expected members of `archive`, and move them into `folder` once all of them are whole.

    Raises DownloadError when the archive is damaged or holds something else; `folder` is then as it was before.
    """
    limit = sum(size or SMALL for size in file.members.values())
    with tempfile.TemporaryDirectory(dir=folder, prefix="unpack-") as name:
        scratch = Path(name)
        try:
            with gzip.open(archive) as stream:
                if file.name.endswith(".tar.gz"):
                    unpack_tar(Capped(stream, limit + SMALL), file, scratch)
                else:
                    copy(Capped(stream, limit), scratch / next(iter(file.members)))
        except (EOFError, gzip.BadGzipFile, zlib.error, tarfile.TarError) as error:
            raise DownloadError(f"{file.name} is damaged: {error}. Delete {archive} and try again") from error
        if not is_unpacked(file, scratch):
            found = {path.name: path.stat().st_size for path in scratch.iterdir()}
            raise DownloadError(f"{file.name} was expected to hold {dict(file.members)} (bytes), it holds {found}")
        for member in file.members:
            (scratch / member).replace(folder / member)


def unpack_tar(stream: Capped, file: PublishedFile, scratch: Path) -> None:
    """Copy the members that we expect out of a tar stream; no name in the archive decides where anything is written.

    Raises DownloadError when the archive holds a link, a device, a path that leads elsewhere, or too large a member.
    """
    expected = {f"{file.folder}/{member}": member for member in file.members}
    with tarfile.open(fileobj=stream, mode="r|") as tar:
        for entry in tar:
            leads_elsewhere = entry.name.startswith("/") or ".." in entry.name.split("/")
            if leads_elsewhere or not (entry.isreg() or entry.isdir()):
                raise DownloadError(f"{file.name} holds {entry.name!r}, a link or a path that leads elsewhere")
            if entry.isreg() and entry.name in expected:
                member = expected[entry.name]
                if entry.size > (file.members[member] or SMALL):
                    raise DownloadError(
                        f"{file.name} holds {entry.name!r} with {entry.size:,} bytes, more than published"
                    )
                copy(tar.extractfile(entry), scratch / member)


def copy(source: BinaryIO | Capped, target: Path) -> None:
    """Write everything that can be read from `source` to the file `target`."""
    with target.open("wb") as out:
        shutil.copyfileobj(source, out, CHUNK)
