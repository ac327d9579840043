import hashlib
import http.server
import os
import socket
import threading
import time
import urllib.request

import pytest

from fdnf.data import download
from fdnf.data.tabular import DataError

CONTENT = b"column\n1\n2\n" * 1000
MD5 = hashlib.md5(CONTENT).hexdigest()
SHA256 = hashlib.sha256(CONTENT).hexdigest()


PAGE = b"\n <!DOCTYPE html><title>Log in</title>"
PAGES = {"/login": PAGE, "/untold": PAGE, "/text": b"a text", "/empty": b""}


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/gone":
            self.send_error(404)
            return
        self.send_response(200)
        if self.path in PAGES:
            if self.path == "/login":
                self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(PAGES[self.path])
            return
        if self.path in ("/endless", "/slow"):
            self.end_headers()
            self.endless()
            return
        announced = 1 << 50 if self.path == "/announced" else len(CONTENT)
        self.send_header("Content-Length", str(announced))
        self.end_headers()
        half = self.path == "/half"
        self.wfile.write(CONTENT[: len(CONTENT) // 2] if half else CONTENT)

    def endless(self):
        """Bytes until nobody reads them; a few at a time if slow."""
        try:
            while True:
                self.wfile.write(b"1\n" if self.path == "/slow" else CONTENT)
                self.wfile.flush()
                if self.path == "/slow":
                    time.sleep(0.02)
        except OSError:
            pass

    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def server():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "manual" / "set.csv"


@pytest.mark.parametrize("sums", [{"md5": MD5}, {"sha256": SHA256}])
def test_downloads_and_verifies(server, path, sums):
    assert download.fetch([f"{server}/set"], path, **sums) == path
    assert path.read_bytes() == CONTENT
    assert os.listdir(path.parent) == ["set.csv"]


def test_next_address_is_tried(server, path):
    download.fetch([f"{server}/gone", f"{server}/half", f"{server}/set"], path, md5=MD5)
    assert path.read_bytes() == CONTENT


def test_present_file_needs_no_network(path, monkeypatch):
    monkeypatch.setattr(urllib.request, "urlopen", None)
    path.parent.mkdir()
    path.write_bytes(CONTENT)
    download.fetch(["http://unused.invalid/set"], path, md5=MD5)


@pytest.mark.parametrize("sums", [{"md5": "0" * 32}, {"sha256": "0" * 64}])
def test_wrong_checksum_leaves_no_file(server, path, sums):
    with pytest.raises(DataError, match=r"(MD5|SHA-256) is \w+, published is 000"):
        download.fetch([f"{server}/set"], path, **sums)
    assert os.listdir(path.parent) == []


def test_wrong_file_put_there_by_hand(path):
    path.parent.mkdir()
    path.write_bytes(b"something else")
    with pytest.raises(DataError, match="is not the expected file: its MD5"):
        download.fetch(["http://unused.invalid/set"], path, md5=MD5)
    assert path.exists()


def test_broken_connection_leaves_no_file(server, path):
    with pytest.raises(DataError, match="broke after 5,500 of 11,000|IncompleteRead"):
        download.fetch([f"{server}/half"], path)
    assert os.listdir(path.parent) == []


def test_first_copy_is_trusted_and_later_ones_must_agree(server, path):
    download.fetch([f"{server}/set"], path)
    assert path.with_name("set.csv.sha256").read_text().strip() == SHA256
    download.fetch([f"{server}/set"], path)
    path.write_bytes(CONTENT + b"3\n")
    with pytest.raises(DataError, match="the first copy's was"):
        download.fetch([f"{server}/set"], path)
    path.unlink()
    path.with_name("set.csv.sha256").write_text("0" * 64)
    with pytest.raises(DataError, match="the first copy's was 000"):
        download.fetch([f"{server}/set"], path)
    assert not path.exists()


def test_a_sum_that_nobody_published_is_shown(server, path, caplog):
    download.fetch([f"{server}/set"], path)
    assert f"SHA-256 is {SHA256}" in caplog.text
    assert "No checksum" in caplog.text
    assert f"Delete {path}.sha256" in caplog.text


@pytest.mark.parametrize(
    ("address", "name", "fault"),
    [
        ("login", "set.zip", "answers with a web page, as for a login"),
        ("untold", "set.csv", "it is a web page, as for a login"),
        ("text", "set.zip", r"begins with b'a text', as no \.zip file does"),
        ("text", "set.csv.gz", r"as no \.gz file does"),
        ("text", "set.tar", r"as no \.tar file does"),
        ("empty", "set.csv", "it is empty"),
    ],
)
def test_what_is_another_file_is_not_trusted(server, path, address, name, fault):
    path = path.with_name(name)
    with pytest.raises(DataError, match=fault):
        download.fetch([f"{server}/{address}"], path)
    assert os.listdir(path.parent) == []
    path.write_bytes(PAGES[f"/{address}"])
    if address != "login":
        with pytest.raises(DataError, match=f"is not the expected file: .*{fault}"):
            download.fetch([f"{server}/{address}"], path)
        assert os.listdir(path.parent) == [name]


@pytest.mark.parametrize(
    ("address", "fault"),
    [
        ("announced", "announces 1,125,899,906,842,624 bytes, expected at most 50,000"),
        ("endless", "does not end after 50,000 bytes"),
        ("slow", "too slow to end"),
    ],
)
def test_a_download_has_limits(server, path, monkeypatch, address, fault):
    monkeypatch.setattr(download, "PACE_SECONDS", 0.3)
    for sums in ({}, {"md5": MD5}):
        with pytest.raises(DataError, match=fault):
            download.fetch([f"{server}/{address}"], path, most=50_000, **sums)
    assert os.listdir(path.parent) == []


def test_an_address_that_leads_out_of_https(server, path, monkeypatch):
    # As a redirect would.
    open_ = urllib.request.urlopen
    monkeypatch.setattr(
        urllib.request, "urlopen", lambda *_, **__: open_(f"{server}/set")
    )
    with pytest.raises(DataError, match="leads to http://127.* may have changed"):
        download.fetch(["https://here.invalid/set"], path)
    assert os.listdir(path.parent) == []


def test_more_than_the_disk_has(server, path):
    with pytest.raises(DataError, match=r"on the disk are [\d,]+ free"):
        download.fetch([f"{server}/announced"], path, most=1 << 60)


def test_a_link_in_the_place_of_the_sum_is_not_followed(server, path, tmp_path):
    path.parent.mkdir()
    path.with_name("set.csv.sha256").symlink_to(tmp_path / "elsewhere")
    download.fetch([f"{server}/set"], path)
    assert not (tmp_path / "elsewhere").exists()


def test_directory_that_cannot_be_made(server, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="Could not download set.csv"):
        download.fetch([f"{server}/set"], tmp_path / "file" / "manual" / "set.csv")


def test_no_network_says_what_to_do_on_one_screen(path, monkeypatch):
    def refuse(*args, **kwargs):
        raise socket.gaierror(-3, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    with pytest.raises(DataError) as caught:
        download.fetch(["http://one.invalid/a", "http://two.invalid/b"], path)
    text = str(caught.value)
    assert "http://one.invalid/a: [Errno -3] Temporary failure" in text
    assert f"put that file at {path}" in text
    assert "--config=configs/maf_patches.py" in text
    assert len(text.splitlines()) < 10
    assert caught.value.__cause__ is caught.value.__context__ is None


def test_name_server_that_never_answers(path, monkeypatch):
    hang = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: hang.wait(300))
    monkeypatch.setattr(download, "ANSWER_SECONDS", 1.0)
    start = time.monotonic()
    with pytest.raises(DataError, match="no answer within"):
        download.fetch(["http://one.invalid/a", "http://two.invalid/b"], path)
    # Two addresses of a second each; the server would take 300.
    assert time.monotonic() - start < 60
    hang.set()


def test_unreachable_name_is_answered_in_time(path):
    start = time.monotonic()
    with pytest.raises(DataError, match="Could not download set.csv"):
        download.fetch(["http://fdnf-no-such-host.invalid/set"], path)
    assert time.monotonic() - start < 60
