"""What goes wrong on the way: each test breaks one thing and looks at what is left on the disk afterwards."""

import gzip
import hashlib
import io
import itertools
import os
import socket
import subprocess
import sys
import tarfile
import threading
import time

import pytest
import requests
import urllib3

from course_utils import data as course_data
from course_utils import download as downloads
from course_utils.download import Archive, DownloadError, Member, altered_files, download, missing_files

PACKED = gzip.compress(os.urandom(3000) + bytes(range(256)) * 40, mtime=0)
CONTENT = gzip.decompress(PACKED)
URL, OTHER_URL = "https://a.test/toy-ubyte.gz", "https://b.test/toy-ubyte.gz"
DONE = {"toy/raw/toy-ubyte": CONTENT}


class Web:
    """Stand in for the network below requests: answer from `pages`, and remember in `asked` what was fetched.

    A page is a body as bytes or something to read from, an exception to raise, a status, an address to redirect to, or
    a function of the request that returns one of these.
    """

    def __init__(self):
        self.pages, self.asked = {}, []

    def send(self, request, **options):
        page = self.pages.get(request.url, requests.ConnectionError("no such host"))
        page = page(request) if callable(page) else page
        if request.method == "GET":
            self.asked.append(request.url)
        if isinstance(page, BaseException):
            raise page
        status, headers, body = 200, {}, page
        if isinstance(page, int):
            status, body = page, b"<p>an error page</p>"
        elif isinstance(page, str):
            status, headers, body = 302, {"Location": page}, b""
        elif isinstance(page, bytes):
            headers = {"Content-Length": str(len(page))}
        if request.method == "HEAD":
            body, headers = b"", {}
        stream = io.BytesIO(body) if isinstance(body, bytes) else body
        raw = urllib3.HTTPResponse(stream, headers, status, preload_content=False, enforce_content_length=True)
        return requests.adapters.HTTPAdapter().build_response(request, raw)


@pytest.fixture
def web(monkeypatch):
    web = Web()
    monkeypatch.setattr(requests.adapters.HTTPAdapter, "send", lambda self, request, **options: web.send(request))
    return web


class Breaks(io.BytesIO):
    """A body that raises `error` after `limit` bytes."""

    def __init__(self, body, limit, error):
        super().__init__(body[:limit])
        self.error = error

    def read(self, size=-1):
        chunk = super().read(size)
        if not chunk:
            raise self.error
        return chunk

    read1 = read


def publish(monkeypatch, packed, *, urls=(URL, OTHER_URL), members=None):
    """Enter one small file in the table, as if `packed` were what its authors published."""
    if members is None:
        members = {"toy/raw/toy-ubyte": Member(len(CONTENT), hashlib.sha256(CONTENT).hexdigest())}
    monkeypatch.setitem(downloads.PUBLISHED, "toy", [Archive(urls, hashlib.sha256(packed).hexdigest(), members)])


@pytest.fixture(autouse=True)
def toy(monkeypatch):
    publish(monkeypatch, PACKED)


def files_in(root):
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


# ---- when all goes well


def test_downloads_unpacks_and_deletes_the_archive(web, tmp_path, capsys):
    web.pages = {URL: PACKED}
    assert missing_files("toy", tmp_path) == [f"{tmp_path / 'toy/raw/toy-ubyte'} is not there"]
    download("toy", tmp_path / "new" / "folder")
    assert files_in(tmp_path / "new" / "folder") == DONE
    assert missing_files("toy", tmp_path / "new" / "folder") == []
    assert web.asked == [URL]
    printed = capsys.readouterr()
    assert "100%" in printed.err and printed.out == ""


def test_complete_files_are_not_asked_for_again(web, tmp_path):
    web.pages = {URL: PACKED}
    download("toy", str(tmp_path))
    download("toy", str(tmp_path))
    assert web.asked == [URL]


def test_a_file_of_the_wrong_size_is_named_and_gets_replaced(web, tmp_path):
    path = tmp_path / "toy/raw/toy-ubyte"
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT[:-1])
    size = len(CONTENT)
    assert missing_files("toy", tmp_path) == [f"{path} is damaged: {size - 1:,} bytes, expected {size:,}"]
    web.pages = {URL: PACKED}
    download("toy", tmp_path)
    assert files_in(tmp_path) == DONE


def test_the_table_names_only_encrypted_addresses():
    archives = list(itertools.chain(downloads.PUBLISHED["mnist"], downloads.PUBLISHED["cifar10"]))
    assert len(archives) == 5 and sum(len(archive.members) for archive in archives) == 11
    for archive in archives:
        assert all(url.startswith("https://") and url.endswith(".gz") for url in archive.urls)
        assert len(bytes.fromhex(archive.sha256)) == 32


def test_a_redirect_is_followed(web, tmp_path):
    web.pages = {URL: "https://c.test/toy", "https://c.test/toy": PACKED}
    download("toy", tmp_path)
    assert files_in(tmp_path) == DONE


# ---- what comes is not what was published


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        pytest.param(b"", "0 bytes with SHA-256", id="empty"),
        pytest.param(PACKED[:-1], f"{len(PACKED) - 1:,} bytes with SHA-256", id="truncated"),
        pytest.param(lambda request: Breaks(PACKED, 999, urllib3.exceptions.ProtocolError("cut")), "cut", id="cut"),
        pytest.param(PACKED + b"more", f"{len(PACKED) + 4:,} bytes with SHA-256", id="oversize"),
        pytest.param(PACKED[:99] + bytes([PACKED[99] ^ 1]) + PACKED[100:], "with SHA-256", id="altered"),
        pytest.param(b"<html>please log in to this network</html>", "42 bytes with SHA-256", id="login page"),
        pytest.param(requests.ConnectionError("no route"), "no route", id="unreachable"),
        pytest.param(requests.Timeout("timed out"), "timed out", id="timeout"),
        pytest.param(
            lambda request: Breaks(PACKED, 9, urllib3.exceptions.ReadTimeoutError(None, URL, "Read timed out.")),
            "Read timed out", id="stalls",
        ),
        pytest.param(404, "404 Client Error", id="404"),
        pytest.param(503, "503 Server Error", id="503"),
    ],
)  # fmt: skip
def test_a_bad_mirror_is_followed_by_the_next_and_two_by_an_error(web, tmp_path, bad, reason):
    web.pages = {URL: bad, OTHER_URL: PACKED}
    download("toy", tmp_path / "good")
    assert files_in(tmp_path / "good") == DONE and web.asked == [URL, OTHER_URL]

    web.pages = {URL: bad, OTHER_URL: bad}
    with pytest.raises(DownloadError) as caught:
        download("toy", tmp_path / "bad")
    message = str(caught.value)
    for part in ("toy-ubyte.gz could not be downloaded", f"{URL}: ", f"{OTHER_URL}: ", reason, "and try again"):
        assert part in message
    assert files_in(tmp_path / "bad") == {}


def test_the_error_names_the_checksum_that_came_and_the_one_expected(web, tmp_path):
    altered = b"\0" * len(PACKED)
    web.pages = {URL: altered, OTHER_URL: altered}
    with pytest.raises(DownloadError) as caught:
        download("toy", tmp_path)
    came, expected = (hashlib.sha256(content).hexdigest() for content in (altered, PACKED))
    assert f"{len(PACKED):,} bytes with SHA-256 {came} came, expected {expected}" in str(caught.value)


# ---- servers that do not answer


def test_a_firewall_that_drops_everything_costs_one_timeout_for_all_mirrors(web, tmp_path, monkeypatch):
    """Names with many addresses are tried one by one: the wait is for all of them together."""
    monkeypatch.setattr(downloads, "TIMEOUT", 0.8)
    held = threading.Event()
    web.pages = dict.fromkeys((URL, OTHER_URL), lambda request: held.wait(20) and 404)
    start = time.perf_counter()
    with pytest.raises(DownloadError, match=r"no answer within 0\.8 seconds[\s\S]*no answer within 0\.8 seconds"):
        download("toy", tmp_path)
    assert 0.8 <= time.perf_counter() - start < 1.5 and web.asked == []
    held.set()


def test_a_server_that_takes_the_connection_and_says_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(downloads, "TIMEOUT", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        publish(monkeypatch, PACKED, urls=[f"https://127.0.0.1:{silent.getsockname()[1]}/toy-ubyte.gz"])
        start = time.perf_counter()
        with pytest.raises(DownloadError, match=r"no answer within 0\.3 seconds"):
            download("toy", tmp_path)
        assert time.perf_counter() - start < 5
    assert files_in(tmp_path) == {}


def test_a_port_where_nobody_listens_is_refused_at_once(tmp_path, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    publish(monkeypatch, PACKED, urls=[f"https://127.0.0.1:{port}/toy-ubyte.gz"])
    start = time.perf_counter()
    with pytest.raises(DownloadError, match="refused"):
        download("toy", tmp_path)
    assert time.perf_counter() - start < downloads.TIMEOUT / 2


def test_a_firewall_is_met_once_in_a_process(web, tmp_path, monkeypatch):
    """And the first answer counts: training images of one kind and test images of another cannot be compared."""
    tries = []

    def fails_once(name, folder):
        tries.append(name)
        if len(tries) == 1:
            raise DownloadError("no answer")
        pytest.fail("asked again")

    monkeypatch.setattr(course_data, "download", fails_once)
    monkeypatch.setenv("COURSE_DATA", str(tmp_path))
    monkeypatch.delenv("COURSE_PROFILE", raising=False)
    assert course_data.load_images("mnist", "train").is_stand_in
    assert course_data.load_images("mnist", "test").is_stand_in
    assert tries == ["mnist"]


# ---- files of the right size


def test_files_with_other_bytes_are_named_and_read_once(web, tmp_path, monkeypatch):
    web.pages = {URL: PACKED}
    download("toy", tmp_path)
    path = tmp_path / "toy/raw/toy-ubyte"
    assert altered_files("toy", tmp_path) == []
    reads = []
    monkeypatch.setattr(hashlib, "file_digest", lambda file, kind: reads.append(file.name) or hashlib.sha256(b""))
    assert altered_files("toy", tmp_path) == [] and not reads  # stamped
    monkeypatch.undo()
    publish(monkeypatch, PACKED)
    path.write_bytes(bytes(len(CONTENT)))
    assert missing_files("toy", tmp_path) == [] and altered_files("toy", tmp_path) == [path]
    path.write_bytes(CONTENT)
    assert altered_files("toy", tmp_path) == []


@pytest.mark.parametrize("stamp", [b"", b"{", b"\xff", b'{"toy-ubyte": []}'])
def test_a_damaged_stamp_is_written_anew(web, tmp_path, stamp):
    web.pages = {URL: PACKED}
    download("toy", tmp_path)
    (tmp_path / "toy/raw/.checked.json").write_bytes(stamp)
    assert altered_files("toy", tmp_path) == [] and b"toy-ubyte" in (tmp_path / "toy/raw/.checked.json").read_bytes()


def test_a_folder_that_takes_no_stamp_is_read_each_time(web, tmp_path, monkeypatch):
    web.pages = {URL: PACKED}
    download("toy", tmp_path)

    def refuses(path, content):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(downloads, "write_whole", refuses)
    assert altered_files("toy", tmp_path) == [] and altered_files("toy", tmp_path) == []


def test_a_file_that_may_not_be_read_is_named(web, tmp_path, monkeypatch):
    web.pages = {URL: PACKED}
    download("toy", tmp_path)
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert missing_files("toy", tmp_path) == [
        f"{tmp_path / 'toy/raw/toy-ubyte'} may not be read: change its permissions"
    ]


# ---- interrupted and killed


def test_an_interrupt_leaves_nothing_and_the_next_try_starts_anew(web, tmp_path):
    web.pages = {URL: lambda request: Breaks(PACKED, 1000, KeyboardInterrupt())}
    with pytest.raises(KeyboardInterrupt):
        download("toy", tmp_path)
    assert list(tmp_path.iterdir()) == []
    web.pages = {URL: PACKED}
    download("toy", tmp_path)
    assert files_in(tmp_path) == DONE


KILLED = """
import os, sys
from pathlib import Path
import pooch
from course_utils import data as course_data
from course_utils import download as downloads

def die(self, url, path, _):
    Path(path).write_bytes(b"half a file")
    os.kill(os.getpid(), 9)

downloads.ask = lambda url: None
pooch.HTTPDownloader.__call__ = die
downloads.download("mnist", sys.argv[1])
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no kill -9")
def test_a_killed_process_leaves_no_file_in_place_and_its_leftovers_go_a_day_later(web, tmp_path):
    killed = subprocess.run([sys.executable, "-c", KILLED, tmp_path], cwd=downloads.Path(__file__).parents[2])
    assert killed.returncode == -9
    (leftover,) = tmp_path.iterdir()
    assert list(files_in(leftover).values()) == [b"half a file"]
    web.pages = {URL: PACKED}
    download("toy", tmp_path / "other")
    assert leftover.exists(), "it may belong to a process that is alive"
    long_ago = time.time() - 90_000
    os.utime(leftover, (long_ago, long_ago))
    download("toy", tmp_path)
    assert files_in(tmp_path) == {**DONE, "other/toy/raw/toy-ubyte": CONTENT}


def test_two_downloads_at_the_same_time_do_not_disturb_each_other(web, tmp_path):
    """Both wait for each other in the middle of the body, so they surely overlap."""
    barrier, errors = threading.Barrier(2, timeout=20), []

    class Meeting(io.BytesIO):
        def read(self, size=-1):
            if not self.tell():
                barrier.wait()
            return super().read(200)

        read1 = read

    def one():
        try:
            download("toy", tmp_path)
        except BaseException as error:
            errors.append(error)

    web.pages = {URL: lambda request: Meeting(PACKED) if request.method == "GET" else b""}
    threads = [threading.Thread(target=one) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == [] and files_in(tmp_path) == DONE


# ---- what was there before, and what the disk does


def test_a_failing_download_leaves_existing_files_untouched(web, tmp_path):
    folder = tmp_path / "toy/raw"
    folder.mkdir(parents=True)
    (folder / "toy-ubyte").write_bytes(b"old and too short")
    (folder / "notes.txt").write_bytes(b"mine")
    before = files_in(tmp_path)
    web.pages = {URL: b"\0" * len(PACKED)}
    with pytest.raises(DownloadError):
        download("toy", tmp_path)
    assert files_in(tmp_path) == before


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_interrupted_unpacking_leaves_no_half_file(web, tmp_path, monkeypatch, error):
    def half(source, target):
        target.write(source.read(100))
        raise error

    web.pages = {URL: PACKED}
    with monkeypatch.context() as broken, pytest.raises((KeyboardInterrupt, DownloadError)) as caught:
        broken.setattr(downloads.shutil, "copyfileobj", half)
        download("toy", tmp_path)
    assert list(tmp_path.iterdir()) == []
    if isinstance(error, OSError):
        assert "make room there" in str(caught.value)
    download("toy", tmp_path)
    assert files_in(tmp_path) == DONE


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such limit")
def test_a_disk_that_takes_no_more_is_not_blamed_on_the_mirrors(web, tmp_path):
    """The system refuses to write past 1000 bytes, as a full disk does."""
    import resource

    web.pages = {URL: PACKED}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(DownloadError, match=r"toy cannot be stored in .*File too large.* make room there"):
            download("toy", tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert web.asked == [URL] and list(tmp_path.iterdir()) == []


def test_a_file_in_place_of_the_data_folder(web, tmp_path):
    (tmp_path / "data").write_text("not a folder")
    with pytest.raises(DownloadError, match=r"cannot be stored in .*COURSE_DATA"):
        download("toy", tmp_path / "data")
    assert (tmp_path / "data").read_text() == "not a folder" and web.asked == []


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="Windows keeps permissions elsewhere")
def test_a_folder_that_may_not_be_written_to_is_named(web, tmp_path, monkeypatch):
    web.pages = {URL: PACKED}
    folder = tmp_path / "read-only"
    folder.mkdir(mode=0o500)
    if os.access(folder, os.W_OK):  # the administrator may write anywhere

        def refuse(*arguments, **options):
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(downloads.tempfile, "TemporaryDirectory", refuse)
    with pytest.raises(DownloadError, match=r"cannot be stored in .*read-only .*Permission denied.*COURSE_DATA"):
        download("toy", folder)
    assert web.asked == [] and list(folder.iterdir()) == []


# ---- archives that hold something else (their checksum is right here, so only the unpacking can refuse them)


@pytest.mark.parametrize("content", [CONTENT + b"x", CONTENT[:-1], b""], ids=["too large", "too small", "empty"])
def test_a_gzip_file_of_another_size_is_refused(web, monkeypatch, tmp_path, content):
    packed = gzip.compress(content)
    publish(monkeypatch, packed)
    web.pages = {URL: packed}
    with pytest.raises(DownloadError, match=r"toy does not unpack to what .*is damaged: .* bytes, expected"):
        download("toy", tmp_path)
    assert files_in(tmp_path) == {}


@pytest.mark.parametrize("packed", [PACKED[:-20], b"no gzip at all", PACKED[:200] + bytes(200) + PACKED[400:]])
def test_a_damaged_gzip_file_is_refused(web, monkeypatch, tmp_path, packed):
    publish(monkeypatch, packed)
    web.pages = {URL: packed}
    with pytest.raises(DownloadError, match=r"toy-ubyte.gz is damaged \(.*\): try again"):
        download("toy", tmp_path)
    assert files_in(tmp_path) == {}


TAR_URL = "https://a.test/toy.tar.gz"
MEMBERS = {"batches/data.bin": Member(2000), "batches/meta.txt": Member()}
WHOLE = [("batches/data.bin", bytes(2000)), ("batches/meta.txt", b"cat\ndog\n"), ("batches/readme.html", b"<p>")]


def publish_tar(monkeypatch, web, entries):
    """Pack (name, content) pairs, where a content may be a ready TarInfo, and publish the archive."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in entries:
            if isinstance(content, bytes):
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
            else:
                content.name = name
                tar.addfile(content)
    publish(monkeypatch, buffer.getvalue(), urls=[TAR_URL], members=MEMBERS)
    web.pages = {TAR_URL: buffer.getvalue()}


def entry(kind, target=""):
    info = tarfile.TarInfo()
    info.type, info.linkname = kind, target
    return info


NEIGHBORS = [
    ("../evil.txt", b"x"),
    ("/tmp/course-evil.txt", b"x"),
    ("batches", entry(tarfile.DIRTYPE)),
    ("batches/x", entry(tarfile.SYMTYPE, "/etc")),
    ("batches/x/y", b"through the link"),
    ("batches/pipe", entry(tarfile.FIFOTYPE)),
]


def test_a_tar_gives_its_expected_members_and_nothing_else(web, monkeypatch, tmp_path):
    root = tmp_path / "data"
    (root / "batches").mkdir(parents=True)
    (root / "batches/notes.txt").write_bytes(b"mine")
    publish_tar(monkeypatch, web, [*NEIGHBORS, *WHOLE])
    download("toy", root)
    expected = {"batches/data.bin": bytes(2000), "batches/meta.txt": b"cat\ndog\n", "batches/notes.txt": b"mine"}
    assert files_in(tmp_path) == {f"data/{name}": content for name, content in expected.items()}
    assert not os.path.exists("/tmp/course-evil.txt")


@pytest.mark.parametrize(
    "entries",
    [
        pytest.param([("batches/data.bin", entry(tarfile.SYMTYPE, "/etc/passwd")), *WHOLE[1:]], id="link as member"),
        pytest.param([("batches/data.bin", entry(tarfile.LNKTYPE, "batches/x")), *WHOLE[1:]], id="hard link"),
        pytest.param([("batches/data.bin", bytes(2001)), *WHOLE[1:]], id="large member"),
        pytest.param(WHOLE[:1], id="missing member"),
        pytest.param([("batches/data.bin", bytes(1999)), *WHOLE[1:]], id="small member"),
        pytest.param([("batches/data.bin", entry(tarfile.DIRTYPE)), *WHOLE[1:]], id="folder"),
        pytest.param([("../batches/data.bin", bytes(2000)), *WHOLE[1:]], id="elsewhere"),
        pytest.param([("/batches/data.bin", bytes(2000)), *WHOLE[1:]], id="absolute"),
    ],
)
def test_a_crafted_tar_is_refused(web, monkeypatch, tmp_path, entries):
    root = tmp_path / "data"
    (root / "batches").mkdir(parents=True)
    (root / "batches/meta.txt").write_bytes(b"old")
    publish_tar(monkeypatch, web, entries)
    with pytest.raises(DownloadError, match="toy does not unpack to what its authors published"):
        download("toy", root)
    assert files_in(tmp_path) == {"data/batches/meta.txt": b"old"}


@pytest.mark.parametrize("content", [b"not a tar file" * 100, b""])
def test_something_that_is_no_tar_is_refused(web, monkeypatch, tmp_path, content):
    packed = gzip.compress(content)
    publish(monkeypatch, packed, urls=[TAR_URL], members=MEMBERS)
    web.pages = {TAR_URL: packed}
    with pytest.raises(DownloadError, match=r"is damaged|does not unpack"):
        download("toy", tmp_path)
    assert files_in(tmp_path) == {}
