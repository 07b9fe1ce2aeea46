"""What goes wrong on the way: each test breaks one thing and looks at what is left on the disk afterwards."""

import email.message
import gzip
import hashlib
import io
import itertools
import os
import tarfile
import threading
import time
import urllib.error
import urllib.request
import urllib.response

import pytest

from course_utils import download as downloads
from course_utils.download import DownloadError, PublishedFile, download, is_complete

UNPACKED = bytes(range(256)) * 40
PACKED = gzip.compress(os.urandom(3000) + UNPACKED, mtime=0)
CONTENT = gzip.decompress(PACKED)
A, B = "https://a.test/", "https://b.test/"


class FakeWeb(urllib.request.HTTPSHandler):
    """Stand in for the network below urllib: answer requests from `pages`, and remember them in `asked`.

    A page is the body as bytes, an exception to raise, an address to redirect to, a ready response, or a function of
    the request that returns one of these.
    """

    def __init__(self, pages, *, ranges=True):
        super().__init__()
        self.pages, self.ranges, self.asked = pages, ranges, []

    def https_open(self, request):
        self.asked.append((request.full_url, request.get_header("Range")))
        page = self.pages.get(request.full_url, urllib.error.URLError("no such host"))
        page = page(request) if callable(page) else page
        if isinstance(page, BaseException):
            raise page
        if isinstance(page, urllib.response.addinfourl):
            return page
        if isinstance(page, str):
            return answer(302, b"", request, Location=page)
        start = int((request.get_header("Range") or "bytes=0-").removeprefix("bytes=").rstrip("-"))
        if start and self.ranges:
            return answer(206, page[start:], request, Content_Range=f"bytes {start}-{len(page) - 1}/{len(page)}")
        return answer(200, page, request)

    def opener(self):
        return urllib.request.build_opener(self, downloads.HttpsOnly)


def answer(status, body, request, **headers):
    """Make the response that urllib would hand out; `body` is bytes or something to read from."""
    message = email.message.Message()
    for key, value in headers.items():
        message[key.replace("_", "-")] = value
    stream = io.BytesIO(body) if isinstance(body, bytes) else body
    response = urllib.response.addinfourl(stream, message, request.full_url, status)
    response.msg = "a test"
    return response


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


def publish(monkeypatch, packed, *, name="toy-ubyte.gz", mirrors=(A, B), folder="toy/raw", members=None):
    """Enter one small file in the registry, as if `packed` were what its authors published."""
    members = {"toy-ubyte": len(CONTENT)} if members is None else members
    file = PublishedFile(name, len(packed), hashlib.sha256(packed).hexdigest(), mirrors, folder, members)
    monkeypatch.setitem(downloads.PUBLISHED, "toy", (file,))


@pytest.fixture
def toy(monkeypatch):
    publish(monkeypatch, PACKED)


def files_in(root):
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


DONE = {"toy/raw/toy-ubyte": CONTENT}
URL, OTHER_URL = A + "toy-ubyte.gz", B + "toy-ubyte.gz"


# ---- when all goes well


def test_downloads_unpacks_and_deletes_the_archive(toy, tmp_path):
    web = FakeWeb({URL: PACKED})
    assert not is_complete("toy", tmp_path)
    download("toy", tmp_path, progress=False, opener=web.opener())
    assert files_in(tmp_path) == DONE
    assert is_complete("toy", tmp_path)
    assert web.asked == [(URL, None)]


def test_complete_files_are_not_asked_for_again(toy, tmp_path):
    download("toy", tmp_path, progress=False, opener=FakeWeb({URL: PACKED}).opener())
    web = FakeWeb({})
    download("toy", str(tmp_path), progress=False, opener=web.opener())
    assert web.asked == []


def test_progress_bar_ends_at_the_published_size(toy, tmp_path, capsys):
    download("toy", tmp_path, opener=FakeWeb({URL: PACKED}).opener())
    assert "100%" in capsys.readouterr().err


def test_unknown_name_is_refused(tmp_path):
    for function in (download, is_complete):
        with pytest.raises(ValueError, match="expected one of 'mnist', 'cifar10', got 'mnits'"):
            function("mnits", tmp_path)


def test_a_file_of_the_wrong_size_is_not_complete_and_gets_replaced(toy, tmp_path):
    path = tmp_path / "toy/raw/toy-ubyte"
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT[:-1])
    assert not is_complete("toy", tmp_path)
    download("toy", tmp_path, progress=False, opener=FakeWeb({URL: PACKED}).opener())
    assert files_in(tmp_path) == DONE


def test_registry_names_only_encrypted_addresses():
    files = list(itertools.chain(*(downloads.PUBLISHED[name] for name in ("mnist", "cifar10"))))
    assert len(files) == 5
    for file in files:
        assert all(mirror.startswith("https://") and mirror.endswith("/") for mirror in file.mirrors)
        assert len(bytes.fromhex(file.sha256)) == 32


# ---- interrupted, and resumed


def test_resumes_after_an_interrupt(toy, tmp_path):
    broken = FakeWeb({URL: lambda request: answer(200, Breaks(PACKED, 1000, KeyboardInterrupt()), request)})
    with pytest.raises(KeyboardInterrupt):
        download("toy", tmp_path, progress=False, opener=broken.opener())
    assert files_in(tmp_path) == {"toy/raw/toy-ubyte.gz.part": PACKED[:1000]}

    web = FakeWeb({URL: PACKED})
    download("toy", tmp_path, progress=False, opener=web.opener())
    assert web.asked == [(URL, "bytes=1000-")]
    assert files_in(tmp_path) == DONE


@pytest.mark.parametrize(("status", "sent"), [(200, "bytes 1000-3000/3001"), (206, "bytes 0-1/2")])
def test_starts_anew_when_the_server_does_not_resume(toy, tmp_path, status, sent):
    """Only a 206 that begins where we stopped counts as resuming; anything else is the file from its start."""
    leave_part(tmp_path, PACKED[:1000])
    web = FakeWeb({URL: lambda request: answer(status, PACKED, request, Content_Range=sent)})
    download("toy", tmp_path, progress=False, opener=web.opener())
    assert web.asked == [(URL, "bytes=1000-")]
    assert files_in(tmp_path) == DONE


def test_a_complete_part_needs_no_network(toy, tmp_path):
    leave_part(tmp_path, PACKED)
    web = FakeWeb({})
    download("toy", tmp_path, progress=False, opener=web.opener())
    assert web.asked == []
    assert files_in(tmp_path) == DONE


@pytest.mark.parametrize("leftover", [b"x" * 1000, b"x" * len(PACKED), b"x" * (len(PACKED) + 1)])
def test_a_bad_leftover_is_dropped_and_the_same_mirror_asked_for_everything(monkeypatch, tmp_path, leftover):
    publish(monkeypatch, PACKED, mirrors=(A,))
    leave_part(tmp_path, leftover)
    download("toy", tmp_path, progress=False, opener=FakeWeb({URL: PACKED}).opener())
    assert files_in(tmp_path) == DONE


def test_the_next_mirror_goes_on_where_the_first_broke_off(toy, tmp_path):
    web = FakeWeb({URL: PACKED[:700], OTHER_URL: PACKED})
    download("toy", tmp_path, progress=False, opener=web.opener())
    assert web.asked == [(URL, None), (OTHER_URL, "bytes=700-")]
    assert files_in(tmp_path) == DONE


def test_a_login_page_in_place_of_the_file_does_not_spoil_the_next_mirror(toy, tmp_path):
    web = FakeWeb({URL: b"<html>please log in to this network</html>", OTHER_URL: PACKED})
    download("toy", tmp_path, progress=False, opener=web.opener())
    assert files_in(tmp_path) == DONE


def test_takes_over_what_a_killed_process_left_but_not_what_a_living_one_writes(toy, tmp_path):
    folder = tmp_path / "toy/raw"
    folder.mkdir(parents=True)
    living, killed = folder / "toy-ubyte.gz.11111111.part", folder / "toy-ubyte.gz.22222222.part"
    living.write_bytes(b"being written")
    killed.write_bytes(PACKED[:1500])
    long_ago = time.time() - 600
    os.utime(killed, (long_ago, long_ago))
    web = FakeWeb({URL: PACKED})
    download("toy", tmp_path, progress=False, opener=web.opener())
    assert web.asked == [(URL, "bytes=1500-")]
    assert files_in(tmp_path) == {**DONE, "toy/raw/toy-ubyte.gz.11111111.part": b"being written"}


def test_two_downloads_at_the_same_time_do_not_disturb_each_other(toy, tmp_path):
    """Both wait for each other in the middle of the body, so they surely overlap."""
    leave_part(tmp_path, PACKED[:500])
    barrier = threading.Barrier(2, timeout=20)
    errors = []

    class Meeting(io.BytesIO):
        def read(self, size=-1):
            if not self.tell():
                barrier.wait()
            return super().read(200)

    def page(request):
        if request.get_header("Range"):
            return answer(
                206, Meeting(PACKED[500:]), request, Content_Range=f"bytes 500-{len(PACKED) - 1}/{len(PACKED)}"
            )
        return answer(200, Meeting(PACKED), request)

    def one():
        try:
            download("toy", tmp_path, progress=False, opener=FakeWeb({URL: page}).opener())
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=one) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert files_in(tmp_path) == DONE


# ---- what comes is not what was published


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param(b"", id="empty"),
        pytest.param(PACKED[:-1], id="truncated"),
        pytest.param(PACKED + b"more", id="oversize"),
        pytest.param(PACKED[:99] + bytes([PACKED[99] ^ 1]) + PACKED[100:], id="altered"),
        pytest.param(urllib.error.URLError("no route"), id="unreachable"),
        pytest.param(TimeoutError("timed out"), id="timeout"),
        pytest.param(lambda request: urllib.error.HTTPError(request.full_url, 404, "Not Found", {}, None), id="404"),
    ],
)
def test_a_bad_mirror_is_followed_by_the_next_and_two_by_an_error(toy, tmp_path, bad):
    good = FakeWeb({URL: bad, OTHER_URL: PACKED})
    download("toy", tmp_path / "good", progress=False, opener=good.opener())
    assert files_in(tmp_path / "good") == DONE

    with pytest.raises(DownloadError) as caught:
        download("toy", tmp_path / "bad", progress=False, opener=FakeWeb({URL: bad, OTHER_URL: bad}).opener())
    message = str(caught.value)
    assert "toy-ubyte.gz" in message
    assert f"expected {len(PACKED):,} bytes" in message
    assert URL in message
    assert OTHER_URL in message
    assert "try again" in message
    assert not is_complete("toy", tmp_path / "bad")
    assert set(files_in(tmp_path / "bad")) <= {"toy/raw/toy-ubyte.gz.part"}


def test_the_error_names_size_and_checksum_of_what_came_and_the_bytes_are_deleted(toy, tmp_path):
    altered = b"\0" * len(PACKED)
    with pytest.raises(DownloadError) as caught:
        download("toy", tmp_path, progress=False, opener=FakeWeb({URL: altered, OTHER_URL: altered}).opener())
    assert f"{len(PACKED):,} bytes with SHA-256 {hashlib.sha256(altered).hexdigest()} came" in str(caught.value)
    assert files_in(tmp_path) == {}


def test_no_more_than_the_published_size_is_ever_written(toy, tmp_path, monkeypatch):
    class Endless(io.BytesIO):
        served = 0

        def read(self, size=-1):
            Endless.served += size
            assert Endless.served < 3 * len(PACKED), "still reading"
            return b"x" * size

    monkeypatch.setattr(downloads, "CHUNK", 1000)

    def page(request):
        return answer(200, Endless(), request)

    web = FakeWeb({URL: page, OTHER_URL: page})
    with pytest.raises(DownloadError, match="more than the expected"):
        download("toy", tmp_path, progress=False, opener=web.opener())
    assert files_in(tmp_path) == {}


def test_a_redirect_to_an_address_without_encryption_is_refused(monkeypatch, tmp_path):
    publish(monkeypatch, PACKED, mirrors=(A,))
    with pytest.raises(DownloadError, match="begins with https://, got http://evil"):
        download("toy", tmp_path, progress=False, opener=FakeWeb({URL: "http://evil.test/toy"}).opener())
    assert files_in(tmp_path) == {}


def test_a_redirect_to_an_encrypted_address_is_followed(toy, tmp_path):
    web = FakeWeb({URL: "https://c.test/toy", "https://c.test/toy": PACKED})
    download("toy", tmp_path, progress=False, opener=web.opener())
    assert files_in(tmp_path) == DONE


def test_a_mirror_without_encryption_is_refused(monkeypatch, tmp_path):
    publish(monkeypatch, PACKED, mirrors=("http://a.test/",))
    web = FakeWeb({})
    with pytest.raises(DownloadError, match="begins with https://"):
        download("toy", tmp_path, progress=False, opener=web.opener())
    assert web.asked == []


# ---- what was there before, and what the disk does


def test_a_failing_download_leaves_existing_files_untouched(toy, tmp_path):
    folder = tmp_path / "toy/raw"
    folder.mkdir(parents=True)
    (folder / "toy-ubyte").write_bytes(b"old and too short")
    (folder / "notes.txt").write_bytes(b"mine")
    before = files_in(tmp_path)
    with pytest.raises(DownloadError):
        download("toy", tmp_path, progress=False, opener=FakeWeb({URL: b"\0" * len(PACKED)}).opener())
    assert files_in(tmp_path) == before


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_interrupted_unpacking_leaves_no_half_file(toy, tmp_path, monkeypatch, error):
    def half(source, target):
        target.write_bytes(source.read(100))
        raise error

    monkeypatch.setattr(downloads, "copy", half)
    with pytest.raises((KeyboardInterrupt, DownloadError)) as caught:
        download("toy", tmp_path, progress=False, opener=FakeWeb({URL: PACKED}).opener())
    assert files_in(tmp_path) == {"toy/raw/toy-ubyte.gz.part": PACKED}
    assert not list(tmp_path.rglob("unpack-*"))
    if isinstance(error, OSError):
        assert "Make room" in str(caught.value)

    monkeypatch.undo()
    publish(monkeypatch, PACKED)
    download("toy", tmp_path, progress=False, opener=FakeWeb({}).opener())
    assert files_in(tmp_path) == DONE


def test_a_full_disk_is_not_blamed_on_the_mirrors(toy, tmp_path):
    web = FakeWeb({URL: lambda request: answer(200, Breaks(PACKED, 10, OSError(28, "No space left")), request)})
    with pytest.raises(DownloadError, match=r"cannot be stored in .* Make room"):
        download("toy", tmp_path, progress=False, opener=web.opener())


def test_a_file_in_place_of_the_data_folder(toy, tmp_path):
    (tmp_path / "data").write_text("not a folder")
    with pytest.raises(DownloadError, match="COURSE_DATA"):
        download("toy", tmp_path / "data", progress=False, opener=FakeWeb({URL: PACKED}).opener())
    assert (tmp_path / "data").read_text() == "not a folder"


# ---- archives that hold something else (their checksum is right here, so only the unpacking can refuse them)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(CONTENT + b"x", "more than its published size", id="too large"),
        pytest.param(bytes(50_000_000), "more than its published size", id="bomb"),
        pytest.param(CONTENT[:-1], "was expected to hold", id="too small"),
    ],
)
def test_a_gzip_file_of_another_size_is_refused(monkeypatch, tmp_path, content, message):
    packed = gzip.compress(content)
    publish(monkeypatch, packed)
    with pytest.raises(DownloadError, match=message):
        download("toy", tmp_path, progress=False, opener=FakeWeb({URL: packed}).opener())
    assert set(files_in(tmp_path)) == {"toy/raw/toy-ubyte.gz.part"}


def test_a_damaged_gzip_file_is_refused(monkeypatch, tmp_path):
    for packed in (PACKED[:-20], b"no gzip at all", PACKED[:200] + bytes(200) + PACKED[400:]):
        publish(monkeypatch, packed)
        with pytest.raises(DownloadError, match="is damaged"):
            download("toy", tmp_path, progress=False, opener=FakeWeb({URL: packed}).opener())
        assert set(files_in(tmp_path)) == {"toy/raw/toy-ubyte.gz.part"}
        (tmp_path / "toy/raw/toy-ubyte.gz.part").unlink()


MEMBERS = {"data.bin": 2000, "meta.txt": None}
WHOLE = [("batches/data.bin", bytes(2000)), ("batches/meta.txt", b"cat\ndog\n"), ("batches/readme.html", b"<p>")]


def publish_tar(monkeypatch, entries):
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
    packed = buffer.getvalue()
    publish(monkeypatch, packed, name="toy.tar.gz", folder="batches", members=MEMBERS)
    return FakeWeb({A + "toy.tar.gz": packed}).opener()


def link(kind, target):
    info = tarfile.TarInfo()
    info.type, info.linkname = kind, target
    return info


def folder_entry():
    info = tarfile.TarInfo()
    info.type = tarfile.DIRTYPE
    return info


def test_a_tar_gives_its_expected_members_and_nothing_else(monkeypatch, tmp_path):
    (tmp_path / "batches").mkdir()
    (tmp_path / "batches/notes.txt").write_bytes(b"mine")
    download("toy", tmp_path, progress=False, opener=publish_tar(monkeypatch, [("batches", folder_entry()), *WHOLE]))
    assert files_in(tmp_path) == {
        "batches/data.bin": bytes(2000),
        "batches/meta.txt": b"cat\ndog\n",
        "batches/notes.txt": b"mine",
    }
    assert is_complete("toy", tmp_path)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        pytest.param([("../evil.txt", b"x"), *WHOLE], "leads elsewhere", id="traversal"),
        pytest.param([("/tmp/evil.txt", b"x"), *WHOLE], "leads elsewhere", id="absolute"),
        pytest.param([*WHOLE, ("batches/x", link(tarfile.SYMTYPE, "/etc"))], "leads elsewhere", id="symlink"),
        pytest.param(
            [("batches/data.bin", link(tarfile.SYMTYPE, "/etc/passwd")), *WHOLE[1:]], "a link", id="as member"
        ),
        pytest.param([("batches/data.bin", link(tarfile.LNKTYPE, "x")), *WHOLE[1:]], "a link", id="hard link"),
        pytest.param([("batches/data.bin", bytes(2001)), *WHOLE[1:]], "more than published", id="large member"),
        pytest.param([("batches/meta.txt", bytes(5_000_000)), WHOLE[0]], "more than published", id="large text"),
        pytest.param([("batches/bomb", bytes(50_000_000)), *WHOLE], "more than its published size", id="bomb"),
        pytest.param(WHOLE[:1], "was expected to hold", id="missing member"),
        pytest.param([("batches/data.bin", bytes(1999)), *WHOLE[1:]], "was expected to hold", id="small member"),
        pytest.param([("batches/data.bin", folder_entry()), *WHOLE[1:]], "was expected to hold", id="folder"),
    ],
)
def test_a_crafted_tar_is_refused(monkeypatch, tmp_path, entries, message):
    root = tmp_path / "data"
    (root / "batches").mkdir(parents=True)
    (root / "batches/meta.txt").write_bytes(b"old")
    with pytest.raises(DownloadError, match=message):
        download("toy", root, progress=False, opener=publish_tar(monkeypatch, entries))
    left = files_in(tmp_path)
    assert left.pop("data/batches/meta.txt") == b"old"
    assert set(left) == {"data/batches/toy.tar.gz.part"}


def test_something_that_is_no_tar_is_refused(monkeypatch, tmp_path):
    packed = gzip.compress(b"not a tar file" * 100)
    publish(monkeypatch, packed, name="toy.tar.gz", folder="batches", members=MEMBERS)
    with pytest.raises(DownloadError, match="is damaged"):
        download("toy", tmp_path, progress=False, opener=FakeWeb({A + "toy.tar.gz": packed}).opener())


def leave_part(root, content):
    """Put down what an interrupted download leaves behind."""
    (root / "toy/raw").mkdir(parents=True, exist_ok=True)
    (root / "toy/raw/toy-ubyte.gz.part").write_bytes(content)
