"""Fetch the published data files with pooch, and unpack them where `course_utils.data` looks for them.

A file is trusted only when its SHA-256 is the published one, and takes its place only when all are whole. A download
that breaks off starts anew the next time: going on in the middle is left out on purpose.
"""

import gzip
import hashlib
import json
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

from course_utils.runtime import remove_old, write_whole

TIMEOUT = 8  # seconds in which a server must answer, all mirrors of a file together
MNIST_MIRRORS = ("https://ossci-datasets.s3.amazonaws.com/mnist", "https://storage.googleapis.com/cvdf-datasets/mnist")


class DownloadError(RuntimeError):
    """A published file could not be fetched, unpacked or stored; the message says why and what to do."""


class Member(NamedTuple):
    """A file that an archive unpacks to: its size in bytes and its SHA-256, where they are fixed."""

    size: int | None = None
    sha256: str | None = None


class Archive(NamedTuple):
    """A file as its authors publish it, and what it unpacks to, by path below the data folder."""

    urls: list[str]
    sha256: str
    members: dict[str, Member]


MNIST_FILES = {  # name: SHA-256 as published (packed), size and SHA-256 unpacked
    "train-images-idx3-ubyte": (
        "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        Member(47_040_016, "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"),
    ),
    "train-labels-idx1-ubyte": (
        "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        Member(60_008, "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"),
    ),
    "t10k-images-idx3-ubyte": (
        "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        Member(7_840_016, "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"),
    ),
    "t10k-labels-idx1-ubyte": (
        "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        Member(10_008, "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"),
    ),
}
CIFAR_FILES = {  # unpacked, 30 730 000 bytes each
    "data_batch_1.bin": "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
    "data_batch_2.bin": "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
    "data_batch_3.bin": "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
    "data_batch_4.bin": "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
    "data_batch_5.bin": "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
    "test_batch.bin": "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
}
PUBLISHED = {
    "mnist": [
        Archive([f"{mirror}/{name}.gz" for mirror in MNIST_MIRRORS], packed, {f"MNIST/raw/{name}": unpacked})
        for name, (packed, unpacked) in MNIST_FILES.items()
    ],
    "cifar10": [
        Archive(
            ["https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"],
            "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
            {f"cifar-10-batches-bin/{name}": Member(30_730_000, sha256) for name, sha256 in CIFAR_FILES.items()}
            | {"cifar-10-batches-bin/batches.meta.txt": Member()},
        )
    ],
}


def data_folder() -> Path:
    """Return the folder of the published data: COURSE_DATA, or `data/` in the repository."""
    return Path(os.environ.get("COURSE_DATA") or Path(__file__).resolve().parents[1] / "data").expanduser()


def members(name: str) -> dict[str, Member]:
    """Return all files of the data set `name`, by path below the data folder."""
    return {path: member for archive in PUBLISHED[name] for path, member in archive.members.items()}


def missing_files(name: str, folder: Path | str) -> list[str]:
    """Say of each file of the data set `name` that cannot serve what is wrong: not there, not readable, or cut."""
    wrong = []
    for member, (size, _) in members(name).items():
        path = Path(folder, member)
        if not os.path.isfile(path):
            wrong.append(f"{path} is not there")
        elif not os.access(path, os.R_OK):
            wrong.append(f"{path} may not be read: change its permissions")
        elif size not in (None, path.stat().st_size):
            wrong.append(f"{path} is damaged: {path.stat().st_size:,} bytes, expected {size:,}")
    return wrong


def altered_files(name: str, folder: Path | str) -> list[Path]:
    """Return the files of the data set `name` that are there, but with another content than their authors published."""
    paths = {Path(folder, member): sha256 for member, (_, sha256) in members(name).items()}
    return [path for path, sha256 in paths.items() if sha256 and path.is_file() and checksum(path) != sha256]


def checksum(path: Path) -> str:
    """Return a file's SHA-256. It is read for that once: .checked.json beside it keeps size, time of change, hash."""
    stamp, seen = path.with_name(".checked.json"), {}
    with suppress(OSError, ValueError):
        seen = json.loads(stamp.read_text(encoding="utf-8"))
    state = [path.stat().st_size, path.stat().st_mtime_ns]
    if seen.get(path.name, [])[:2] != state:
        with path.open("rb") as file:
            seen[path.name] = [*state, hashlib.file_digest(file, "sha256").hexdigest()]
        with suppress(OSError):  # a folder that one may only read: then it is read again the next time
            write_whole(stamp, json.dumps(seen).encode())
    return seen[path.name][2]


def download(name: str, folder: Path | str) -> None:
    """Bring the data set `name` into `folder`, unless it is there already. Raises DownloadError."""
    if not missing_files(name, folder):
        return
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        remove_old(Path(folder), ".download-*")
        with tempfile.TemporaryDirectory(dir=folder, prefix=".download-") as scratch:
            for archive in PUBLISHED[name]:
                unpack(fetch(archive.urls, archive.sha256, scratch), archive.members, scratch)
            if wrong := missing_files(name, scratch):
                raise DownloadError(f"{name} does not unpack to what its authors published: {wrong[0]}")
            for member in members(name):
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
    asked = {url: threading.Thread(target=ask, args=(url,), daemon=True) for url in urls}
    for thread in asked.values():
        thread.start()
    deadline = time.monotonic() + TIMEOUT
    for url in urls:
        asked[url].join(max(0, deadline - time.monotonic()))
        if asked[url].is_alive():
            reasons.append(f"{url}: no answer within {TIMEOUT} seconds")
            continue
        try:
            pooch.HTTPDownloader(progressbar=True, chunk_size=1 << 18, timeout=TIMEOUT)(url, path, None)
            if (came := pooch.file_hash(path)) == sha256:
                return path
            reasons.append(f"{url}: {path.stat().st_size:,} bytes with SHA-256 {came} came, expected {sha256}")
        except requests.RequestException as error:
            reasons.append(f"{url}: {error}")
    lines = [f"{path.name} could not be downloaded:", *reasons, "check the network connection and try again"]
    raise DownloadError("\n  ".join(lines))


def ask(url: str) -> None:
    """Return when the server has answered, however. A firewall may drop all that is sent to it: then it takes long.

    A thread does it, since finding a name's addresses and trying each of them takes a time of its own.
    """
    import requests

    with suppress(requests.RequestException):  # `fetch` meets the same error, and tells it
        requests.head(url, timeout=2 * TIMEOUT)


def unpack(path: Path, members: dict[str, Member], scratch: str) -> None:
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
