"""Files from the network: verified, whole or absent, and a quick answer without one."""

import hashlib
import http.client
import os
import pathlib
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
WITHOUT = "--config=configs/maf_patches.py trains on data that installed packages carry"


def fetch(
    urls: Sequence[str],
    path: str | os.PathLike[str],
    *,
    md5: str | None = None,
    sha256: str | None = None,
) -> pathlib.Path:
    """Makes sure that a file is there and is the right one, downloading it if need be.

    Without a published checksum the first copy is trusted: its SHA-256 is kept in
    `<path>.sha256` beside it, and every later copy has to agree.

    Args:
        urls: Addresses to try in turn.
        path: The file's final name. Nothing but the whole, verified file ever has it.
        md5: Published MD5 in hex, if there is one.
        sha256: Published SHA-256 in hex, if there is one.

    Returns:
        The path.

    Raises:
        DataError: If no address answers or the content is not the expected one. The
            text says where to put the file by hand and how to run without it.
    """
    path = pathlib.Path(path)
    if not path.exists():
        _download(urls, path, md5, sha256)
    elif fault := _fault(path, path, md5, sha256):
        raise DataError(
            f"{path} is not the expected file: {fault}.\nDelete it to download it"
            f" again from {urls[0]}."
        )
    if md5 is None and sha256 is None:
        _trust(path)
    return path


def _download(
    urls: Sequence[str], path: pathlib.Path, md5: str | None, sha256: str | None
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
                _copy(response, file, path.name)
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


def _copy(response, file, name: str) -> None:
    expected = response.headers.get("Content-Length")
    done, said = 0, time.monotonic()
    while block := response.read(1 << 20):
        file.write(block)
        done += len(block)
        if time.monotonic() - said > 10:
            said = time.monotonic()
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
    trusted = _sidecar(path)
    if sha256 is None and not (md5 is None and trusted.exists()):
        return None
    found = cache.sha256(content)
    if sha256 is not None and found != sha256:
        return f"its SHA-256 is {found}, published is {sha256}"
    if sha256 is None and found != (kept := trusted.read_text().strip()):
        return (
            f"its SHA-256 is {found}, the first copy's was {kept} (delete {trusted}"
            " to trust the new one)"
        )
    return None


def _trust(path: pathlib.Path) -> None:
    sidecar = _sidecar(path)
    if sidecar.exists():
        return
    try:
        sidecar.write_text(cache.sha256(path) + "\n")
    except OSError as error:
        logging.info("No checksum kept beside %s: %s", path, error)


def _sidecar(path: pathlib.Path) -> pathlib.Path:
    return path.with_name(path.name + ".sha256")


def _reason(error: Exception) -> str:
    # URLError wraps what happened; its own text is a repr in angle brackets.
    inner = getattr(error, "reason", None)
    return str(inner if isinstance(inner, Exception) else error) or repr(error)
