"""Files from the network: verified, whole or absent, and a quick answer without one.

By hand and not by pooch, which waits for a name server as long as the system does,
takes any number of bytes at any pace, follows an address out of https, and has nothing
to hold a file without a published checksum against.
"""

import hashlib
import http.client
import os
import pathlib
import shutil
import tempfile
import threading
import time
import urllib.request
from collections.abc import Sequence

from absl import logging

from fdnf.data import cache
from fdnf.data.tabular import DataError

# A name server or a firewall that drops packets may stay silent for minutes. All the
# addresses of a file together get this long to begin an answer.
ANSWER_SECONDS = 8.0
STALL_SECONDS = 30.0
# A connection that brings less in a minute, 1 KiB a second, will not end in a day.
PACE_SECONDS, PACE_BYTES = 60.0, 60 << 10
# Of a file whose size is not published.
MOST_BYTES = 4 << 30
# What files begin with, by the end of their names, and where that stands.
_BEGINNINGS = {
    ".zip": (0, b"PK"),
    ".npz": (0, b"PK"),
    ".gz": (0, b"\x1f\x8b"),
    ".tgz": (0, b"\x1f\x8b"),
    ".bz2": (0, b"BZh"),
    ".tar": (257, b"ustar"),
}
_PAGES = (b"<!doctype html", b"<html", b"<head", b"<script")
WITHOUT = "--config=configs/maf_patches.py trains on data that installed packages carry"


def fetch(
    urls: Sequence[str],
    path: str | os.PathLike[str],
    *,
    md5: str | None = None,
    sha256: str | None = None,
    most: int = MOST_BYTES,
) -> pathlib.Path:
    """Makes sure that a file is there and is the right one, downloading it if need be.

    Nothing vouches for a file without a published checksum. It is looked at for what
    its name says that it is, no web page, of a size that is let through; then its
    SHA-256 is shown in a warning and kept in `<path>.sha256` beside it, and every
    later copy has to agree.

    Args:
        urls: Addresses to try in turn.
        path: The file's final name. Nothing but the whole, verified file ever has it.
        md5: Published MD5 in hex, if there is one.
        sha256: Published SHA-256 in hex, if there is one.
        most: Bytes of a download, at most.

    Returns:
        The path.

    Raises:
        DataError: If no address answers or the content is not the expected one. The
            text says where to put the file by hand and how to run without it.
    """
    path = pathlib.Path(path)
    if not path.exists():
        _download(urls, path, md5, sha256, most)
    elif fault := _fault(path, path, md5, sha256):
        raise DataError(
            f"{path} is not the expected file: {fault}.\nDelete it to download it"
            f" again from {urls[0]}."
        )
    if md5 is None and sha256 is None:
        _trust(path)
    return path


def _download(
    urls: Sequence[str],
    path: pathlib.Path,
    md5: str | None,
    sha256: str | None,
    most: int,
) -> None:
    reasons = []
    left = ANSWER_SECONDS
    for index, url in enumerate(urls):
        temporary, started = None, time.monotonic()
        try:
            response = _open(url, left / (len(urls) - index))
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(prefix=".part-", dir=path.parent)
            with response, os.fdopen(handle, "wb") as file:
                _check_answer(response, url, path, most)
                _copy(response, file, path.name, most)
            if fault := _fault(pathlib.Path(temporary), path, md5, sha256):
                raise OSError(fault)
            os.replace(temporary, path)
            return
        # ValueError is what a malformed address or a redirect to one raises.
        except (OSError, http.client.HTTPException, ValueError) as error:
            reasons.append(f"  {url}: {_reason(error)}")
        finally:
            if temporary is not None:
                pathlib.Path(temporary).unlink(missing_ok=True)
            elif (waited := time.monotonic() - started) < left:
                left -= waited
    raise DataError(
        "\n".join(
            [
                f"Could not download {path.name}:",
                *reasons,
                f"To go on without a network: put that file at {path} and run again,",
                "or set FDNF_DATA_DIR to a directory that has the set,",
                f"or run without it: {WITHOUT}.",
            ]
        )
    )


def _open(url: str, patience: float) -> http.client.HTTPResponse:
    """Opens an address, giving up after `patience` seconds even if DNS hangs."""
    box: list = []

    def connect() -> None:
        try:
            request = urllib.request.Request(url, headers={"User-Agent": "fdnf"})
            box.append(urllib.request.urlopen(request, timeout=STALL_SECONDS))
        # Whatever it is belongs to the thread that waits.
        except Exception as error:
            box.append(error)

    # Name resolution takes no timeout and cannot be interrupted; a daemon thread can
    # be left behind.
    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(patience)
    if not box:
        raise TimeoutError(f"no answer within {patience:.0f} s")
    if isinstance(box[0], Exception):
        raise box[0]
    return box[0]


def _check_answer(
    response: http.client.HTTPResponse, url: str, path: pathlib.Path, most: int
) -> None:
    """Refuses before the first byte what cannot be the file."""
    if url.startswith("https:") and not response.geturl().startswith("https:"):
        raise OSError(f"it leads to {response.geturl()}, which anyone may have changed")
    if response.headers.get_content_type() == "text/html" and path.suffix != ".html":
        raise OSError("it answers with a web page, as for a login, and not the file")
    announced = int(response.headers.get("Content-Length") or 0)
    if announced > most:
        raise OSError(f"it announces {announced:,} bytes, expected at most {most:,}")
    free = shutil.disk_usage(path.parent).free
    if announced > free:
        raise OSError(f"it has {announced:,} bytes, on the disk are {free:,} free")


def _copy(response: http.client.HTTPResponse, file, name: str, most: int) -> None:
    expected = response.headers.get("Content-Length")
    done, said = 0, time.monotonic()
    since, before = said, 0
    # What is there, and not a whole block: a slow sender would hold that up for hours.
    while block := response.read1(1 << 20):
        file.write(block)
        done += len(block)
        if done > most:
            raise OSError(f"it does not end after {most:,} bytes")
        passed = time.monotonic()
        if passed - since > PACE_SECONDS:
            if done - before < PACE_BYTES:
                raise OSError(
                    f"it brought {done - before:,} bytes in the last"
                    f" {passed - since:.0f} s, too slow to end"
                )
            since, before = passed, done
        if passed - said > 10:
            said = passed
            logging.info("%s: %.0f of %s bytes", name, done, expected or "?")
    if expected is not None and done != int(expected):
        raise OSError(f"the connection broke after {done:,} of {int(expected):,} bytes")


def _fault(
    content: pathlib.Path, path: pathlib.Path, md5: str | None, sha256: str | None
) -> str | None:
    """What is wrong with a file's content, given the name it has or is to have."""
    if md5 is not None:
        with open(content, "rb") as file:
            found = hashlib.file_digest(file, "md5").hexdigest()
        if found != md5:
            return f"its MD5 is {found}, published is {md5}"
    if md5 is None and sha256 is None and (fault := _another_kind(content, path)):
        return fault
    trusted = _sidecar(path)
    if sha256 is None and not (md5 is None and trusted.exists()):
        return None
    found = cache.sha256(content)
    if sha256 is not None and found != sha256:
        return f"its SHA-256 is {found}, published is {sha256}"
    if sha256 is None and found != (
        kept := trusted.read_text("ascii", "replace").strip()
    ):
        return (
            f"its SHA-256 is {found}, the first copy's was {kept} (delete {trusted}"
            " to trust the new one)"
        )
    return None


def _another_kind(content: pathlib.Path, path: pathlib.Path) -> str | None:
    """How a file differs in kind from what its name says."""
    with open(content, "rb") as file:
        start = file.read(512)
    if start.removeprefix(b"\xef\xbb\xbf").lstrip().lower().startswith(_PAGES):
        return "it is a web page, as for a login"
    at, mark = _BEGINNINGS.get(path.suffix, (0, b""))
    if start[at : at + len(mark)] != mark:
        return f"it begins with {start[:8]!r}, as no {path.suffix} file does"
    return None if start else "it is empty"


def _trust(path: pathlib.Path) -> None:
    sidecar = _sidecar(path)
    if sidecar.exists():
        return
    found = cache.sha256(path)
    logging.warning(
        "No checksum of %s is published. Its SHA-256 is %s; later copies are held"
        " against it. Delete %s to take another.",
        *(path, found, sidecar),
    )
    try:
        # Not through a link that someone put there.
        with open(sidecar, "x", encoding="ascii") as file:
            file.write(found + "\n")
    except OSError as error:
        logging.info("No checksum kept beside %s: %s", path, error)


def _sidecar(path: pathlib.Path) -> pathlib.Path:
    return path.with_name(path.name + ".sha256")


def _reason(error: Exception) -> str:
    # URLError wraps what happened; its own text is a repr in angle brackets.
    inner = getattr(error, "reason", None)
    return str(inner if isinstance(inner, Exception) else error) or repr(error)
