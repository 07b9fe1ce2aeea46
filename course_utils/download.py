"""Fetch the published data files with pooch, and unpack them where `course_utils.data` looks for them.

A file is trusted only when its SHA-256 is the published one, and takes its place only when all are whole. A download
that breaks off starts anew the next time: going on in the middle is left out on purpose.
"""

import gzip
import os
import shutil
import tarfile
import tempfile
import threading
import time
import zlib
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

TIMEOUT = 8  # seconds of silence before the next mirror is asked
MNIST_MIRRORS = ("https://ossci-datasets.s3.amazonaws.com/mnist", "https://storage.googleapis.com/cvdf-datasets/mnist")


class DownloadError(RuntimeError):
    """A published file could not be fetched, unpacked or stored; the message says why and what to do."""


class Archive(NamedTuple):
    """A file as its authors publish it, and what it unpacks to: path below the data folder → bytes, where known."""

    urls: list[str]
    sha256: str
    members: dict[str, int | None]


PUBLISHED = {
    "mnist": [
        Archive([f"{mirror}/{name}.gz" for mirror in MNIST_MIRRORS], sha256, {f"MNIST/raw/{name}": size})
        for name, size, sha256 in (
            ("train-images-idx3-ubyte", 47_040_016, "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"),
            ("train-labels-idx1-ubyte", 60_008, "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
            ("t10k-images-idx3-ubyte", 7_840_016, "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
            ("t10k-labels-idx1-ubyte", 10_008, "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
        )
    ],
    "cifar10": [
        Archive(
            ["https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"],
            "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
            {f"cifar-10-batches-bin/data_batch_{k}.bin": 30_730_000 for k in range(1, 6)}
            | {"cifar-10-batches-bin/test_batch.bin": 30_730_000, "cifar-10-batches-bin/batches.meta.txt": None},
        )
    ],
}


def data_folder() -> Path:
    """Return the folder of the published data: COURSE_DATA, or `data/` in the repository."""
    return Path(os.environ.get("COURSE_DATA") or Path(__file__).resolve().parents[1] / "data").expanduser()


def missing_files(name: str, folder: Path | str) -> list[str]:
    """Say of each file of the data set `name` that `folder` lacks what is wrong: not there, or of another size."""
    wrong = []
    for member, size in (item for archive in PUBLISHED[name] for item in archive.members.items()):
        path = Path(folder, member)
        if not os.path.isfile(path):
            wrong.append(f"{path} is not there")
        elif size not in (None, path.stat().st_size):
            wrong.append(f"{path} is damaged: {path.stat().st_size:,} bytes, expected {size:,}")
    return wrong


def download(name: str, folder: Path | str) -> None:
    """Bring the data set `name` into `folder`, unless it is there already. Raises DownloadError."""
    if not missing_files(name, folder):
        return
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        for old in Path(folder).glob(".download-*"):
            if time.time() - old.stat().st_mtime > 86_400:  # left by a process that was killed a day ago
                shutil.rmtree(old, ignore_errors=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".download-") as scratch:
            for archive in PUBLISHED[name]:
                unpack(fetch(archive.urls, archive.sha256, scratch), archive.members, scratch)
            if wrong := missing_files(name, scratch):
                raise DownloadError(f"{name} does not unpack to what its authors published: {wrong[0]}")
            for member in (member for archive in PUBLISHED[name] for member in archive.members):
                Path(folder, member).parent.mkdir(parents=True, exist_ok=True)
                Path(scratch, member).replace(Path(folder, member))
    except OSError as error:
        advice = "make room there, or name another folder in the environment variable COURSE_DATA"
        raise DownloadError(f"{name} cannot be stored in {folder} ({error}): {advice}") from error


def fetch(urls: list[str], sha256: str, scratch: str) -> Path:
    """Download a file into `scratch` from the first address that has it. Raises DownloadError when none has."""
    import pooch  # these two only here: mostly the data are in place, and a chapter starts faster
    import requests

    path, reasons = Path(scratch, urls[0].rpartition("/")[2]), []
    for url in urls:
        try:
            wait_for_answer(url)
            pooch.HTTPDownloader(progressbar=True, chunk_size=1 << 18, timeout=TIMEOUT)(url, path, None)
            if (came := pooch.file_hash(path)) == sha256:
                return path
            reasons.append(f"{url}: {path.stat().st_size:,} bytes with SHA-256 {came} came, expected {sha256}")
        except (requests.RequestException, TimeoutError) as error:
            reasons.append(f"{url}: {error}")
    lines = [f"{path.name} could not be downloaded:", *reasons, "check the network connection and try again"]
    raise DownloadError("\n  ".join(lines))


def wait_for_answer(url: str) -> None:
    """Raise TimeoutError unless the server answers within TIMEOUT: a firewall may drop all that is sent to it.

    A thread asks, since finding a name's addresses and trying each of them takes a time of its own.
    """
    import requests

    def ask() -> None:
        with suppress(requests.RequestException):  # `fetch` meets the same error, and tells it
            requests.head(url, timeout=2 * TIMEOUT)

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(TIMEOUT)
    if asking.is_alive():
        raise TimeoutError(f"no answer within {TIMEOUT} seconds")


def unpack(path: Path, members: dict, scratch: str) -> None:
    """Unpack an archive's regular files of these names below `scratch`, nothing else. Raises DownloadError."""
    try:
        if path.name.endswith(".tar.gz"):
            with tarfile.open(path) as tar:
                tar.extraction_filter = getattr(tarfile, "data_filter", None)  # Python 3.11.3 has none
                tar.extractall(scratch, [entry for entry in tar if entry.isreg() and entry.name in members])
        else:
            target = Path(scratch, next(iter(members)))
            target.parent.mkdir(parents=True, exist_ok=True)
            with gzip.open(path) as stream, target.open("wb") as out:
                shutil.copyfileobj(stream, out)
    except (EOFError, gzip.BadGzipFile, zlib.error, tarfile.TarError) as error:
        raise DownloadError(f"{path.name} is damaged ({error}): try again") from error
