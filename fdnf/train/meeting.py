"""Where the processes of one run meet, before JAX joins them.

JAX ends what waits in vain, or does not fit, by an abort, or leaves it waiting. So all
meet first: each has a plain connection to process 0, at the port that JAX takes
afterwards, and says what it was told to do. Whatever differs, or keeps one of them from
starting, ends all of them with one sentence. The connections stay open: who is refused
later tells the others, which may be waiting for it in the middle of a computation.

A message is one line of JSON, so whatever else connects to the port can do no harm.
"""

import contextlib
import errno
import hashlib
import json
import pathlib
import selectors
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import fdnf
from fdnf.train.rules import ConfigError

# Seconds for all to come.
PATIENCE = 300.0
# Seconds within which those that one who is refused has to tell should come.
PARTING = 15.0
# Seconds after which it is said what is awaited, and again.
TELL_EVERY = 15.0
# Seconds for a name to be known to the network, for a connection, and for something
# else than a process of this run to go away from the port.
_RESOLVING, _CONNECTING, _STRANGE = 5.0, 5.0, 10.0
# Seconds for the others to have heard of a later refusal.
_HEARD = 5.0
_LONGEST_LINE = 2**20
_MOST_DIFFERENCES = 8


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested mappings as one, of dotted keys and texts."""
    found: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = repr(value)
    return found


def code() -> str:
    """Version of the package, and a digest of its sources as they are installed."""
    root = pathlib.Path(fdnf.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(f"{path.relative_to(root)}\n".encode() + path.read_bytes())
    return f"{fdnf.__version__} {digest.hexdigest()[:12]}"


class Meeting:
    """The processes of one run.

    Args:
      coordinator: "host:port" of process 0.
      count: number of processes.
      index: of this one, from 0.

    Raises:
      ConfigError: for what cannot be an address, a number or an index.
    """

    def __init__(self, coordinator: str, count: int, index: int):
        """See the class."""
        host, colon, port = coordinator.rpartition(":")
        if not (colon and host and port.isdecimal() and 0 < int(port) < 2**16):
            raise ConfigError(
                f"--coordinator={coordinator}: expected HOST:PORT, such as "
                "node1:20000, with a port from 1 to 65535"
            )
        if count < 1 or not 0 <= index < count:
            raise ConfigError(
                f"--num_processes={count} --process_id={index}: expected at least one "
                "process, and a number from 0 below that of all"
            )
        self.address, self.count, self.index = coordinator, count, index
        self._host, self._port = host.strip("[]"), int(port)
        self._links: dict[int, socket.socket] = {}
        self._told: set[int] = set()
        self._alone, self._refusing = threading.Event(), False

    def join(
        self, own: Mapping[str, str], refused: str = "", patience: float | None = None
    ) -> None:
        """Returns when all are there and were told the same.

        Args:
          own: what this process was told, which must be equal in all.
          refused: why this one cannot start; the others are told, and end too.
          patience: seconds for all to come, `PATIENCE` by default.

        Raises:
          ConfigError: they differ, one is refused or does not come, or the address is
            not one at which they can meet; the same in all that came.
        """
        patience = PATIENCE if patience is None else patience
        hello = {
            "fdnf": 1,
            "index": self.index,
            "count": self.count,
            "own": dict(own),
            "refused": refused,
        }
        if self.index == 0:
            verdict = self._gather(hello, patience)
        else:
            verdict = self._report(hello, patience)
        if verdict:
            self._close()
            raise ConfigError(verdict)

    def listen(self, then: Callable[[str], None]) -> None:
        """Calls this, in a thread, with the text of a later refusal by another."""
        threading.Thread(target=self._listen, args=(then,), daemon=True).start()

    def refuse(self, text: str) -> None:
        """Tells the others that this process ends, and why; needs `listen`."""
        if self._refusing:
            return
        self._refusing = True
        line = _line({"refused": f"process {self.index} of {self.count}: {text}"})
        for link in list(self._links.values()):
            _send(link, line)
        if self._links:
            self._alone.wait(_HEARD)

    def _gather(self, hello: dict[str, Any], patience: float) -> str:
        """What process 0 does: waits for all, and tells all the verdict."""
        with self._server() as server, selectors.DefaultSelector() as waiting:
            self._check_reached()
            waiting.register(server, selectors.EVENT_READ)
            clock, verdict = _Clock(patience), self._refusal_of(hello)
            heard: dict[socket.socket, bytes] = {}
            while len(self._links) < self.count - 1:
                if verdict:
                    # At once to those that are there; the others, who would wait in
                    # vain, soon come.
                    self._announce(verdict)
                    clock.end_within(PARTING)
                if clock.is_over():
                    verdict = verdict or (
                        f"{self._missing()} did not come to {self.address} within "
                        f"{patience:.0f} s: start all of them, with this "
                        "--coordinator, which they must be able to reach"
                    )
                    break
                if clock.tells():
                    _say(f"{self._who()} waits at {self.address} for {self._missing()}")
                for key, _ in waiting.select(timeout=0.5):
                    if key.fileobj is server:
                        link, _ = server.accept()
                        link.setblocking(False)
                        waiting.register(link, selectors.EVENT_READ)
                        heard[link] = b""
                        continue
                    link = key.fileobj
                    assert isinstance(link, socket.socket)
                    heard[link] += (more := _read(link))
                    more = more and len(heard[link]) < _LONGEST_LINE
                    if more and b"\n" not in heard[link]:
                        continue
                    waiting.unregister(link)
                    theirs = _parse(heard.pop(link))
                    if theirs is None:
                        link.close()
                    else:
                        found = self._admit(hello, theirs, link)
                        verdict = verdict or found
            for link in heard:
                link.close()
        self._announce(verdict)
        return verdict

    def _announce(self, verdict: str) -> None:
        """Tells those that have come and have not been told."""
        for index in self._links.keys() - self._told:
            self._told.add(index)
            self._links[index].setblocking(True)
            _send(self._links[index], _line({"verdict": verdict}))

    def _admit(
        self, hello: dict[str, Any], theirs: dict[str, Any], link: socket.socket
    ) -> str:
        index = theirs["index"]
        twice = index in self._links or index == 0
        # A second one has no place of its own in the table, but must hear of it.
        self._links[-1 - len(self._links) if twice else index] = link
        if theirs["count"] != self.count:
            return (
                f"process {index} was given --num_processes={theirs['count']}, "
                f"process 0 {self.count}: start all with the same number"
            )
        if twice:
            return (
                f"two processes were given --process_id={index}: number them from 0 "
                f"to {self.count - 1}"
            )
        return self._refusal_of(theirs) or _differences(index, hello, theirs)

    def _refusal_of(self, hello: dict[str, Any]) -> str:
        if not hello["refused"]:
            return ""
        return f"process {hello['index']} of {self.count}: {hello['refused']}"

    def _report(self, hello: dict[str, Any], patience: float) -> str:
        """What the others do: come to process 0, and wait for its verdict."""
        clock, strange, unknown = _Clock(patience), 0.0, 0.0
        while not clock.is_over():
            if clock.tells():
                _say(f"{self._who()} waits for process 0 at {self.address}")
            try:
                link = socket.create_connection((self._host, self._port), _CONNECTING)
            except (socket.gaierror, UnicodeError) as error:
                unknown = unknown or time.monotonic()
                if time.monotonic() - unknown > _RESOLVING:
                    return self._unknown(error)
                time.sleep(0.5)
                continue
            except OSError:
                time.sleep(0.2)
                continue
            _send(link, _line(hello))
            line = b""
            link.settimeout(1.0)
            while b"\n" not in line:
                try:
                    if not (more := _read(link)):
                        break
                    line += more
                except TimeoutError:
                    if clock.tells():
                        _say(f"{self._who()} is at {self.address}, others are not yet")
            told = _parse(line, "verdict")
            if told is not None:
                link.settimeout(None)
                self._links[0] = link
                return told["verdict"]
            link.close()
            # Process 0 may have ended and come again; or this is something else.
            if line:
                strange = strange or time.monotonic()
                if time.monotonic() - strange > _STRANGE:
                    return (
                        f"what answers at {self.address} is no process 0 of a run: "
                        "give another --coordinator"
                    )
            time.sleep(0.2)
        return (
            f"process 0 was not at {self.address} within {patience:.0f} s: start it, "
            "with a --coordinator that all can reach"
        )

    def _server(self) -> socket.socket:
        both = socket.has_dualstack_ipv6()
        family = socket.AF_INET6 if both else socket.AF_INET
        try:
            return socket.create_server(
                ("", self._port),
                family=family,
                dualstack_ipv6=both,
                backlog=max(self.count, 16),
            )
        except OSError as error:
            taken = error.errno == errno.EADDRINUSE
            told = "is taken by another program" if taken else f"cannot be had: {error}"
            raise ConfigError(
                f"--coordinator={self.address}: the port {self._port} {told}. Give "
                "another one to all processes"
            ) from None

    def _check_reached(self) -> None:
        """Process 0 must find itself there, as the others must."""
        try:
            socket.create_connection((self._host, self._port), _CONNECTING).close()
        except (socket.gaierror, UnicodeError) as error:
            raise ConfigError(self._unknown(error)) from None
        except OSError as error:
            raise ConfigError(
                f"--coordinator={self.address} does not lead to process 0 ({error}): "
                "give the name or address of the machine on which it runs"
            ) from None

    def _unknown(self, error: Exception) -> str:
        return (
            f"--coordinator={self.address}: no machine {self._host!r} is known here "
            f"({error}); give the name or address of the one on which process 0 runs"
        )

    def _missing(self) -> str:
        absent = [str(i) for i in range(1, self.count) if i not in self._links]
        more = f" and {len(absent) - 8} more" if len(absent) > 8 else ""
        noun = "process" if len(absent) == 1 else "processes"
        return f"{noun} {', '.join(absent[:8])}{more} of {self.count}"

    def _who(self) -> str:
        return f"process {self.index} of {self.count}"

    def _listen(self, then: Callable[[str], None]) -> None:
        with selectors.DefaultSelector() as waiting:
            for link in self._links.values():
                waiting.register(link, selectors.EVENT_READ, data=bytearray())
            while waiting.get_map():
                for key, _ in waiting.select():
                    link, line = key.fileobj, key.data
                    assert isinstance(link, socket.socket)
                    line += (more := _read(link))
                    told = _parse(bytes(line), "refused")
                    if not more or len(line) > _LONGEST_LINE:
                        waiting.unregister(link)
                    elif told is not None and not self._refusing:
                        # Process 0 hands it on; the one that sent it knows.
                        self._refusing = True
                        for other in self._links.values():
                            if self.index == 0 and other is not link:
                                _send(other, _line(told))
                        then(told["refused"])
        self._alone.set()

    def _close(self) -> None:
        for link in self._links.values():
            link.close()
        self._links.clear()


class _Clock:
    """How long something is awaited."""

    def __init__(self, patience: float):
        self._begun = time.monotonic()
        self._patience, self._told, self._ends = patience, self._begun, False

    def is_over(self) -> bool:
        return time.monotonic() - self._begun > self._patience

    def end_within(self, seconds: float) -> None:
        """Sooner than it would, counted from the first time that this is said."""
        if not self._ends:
            self._ends = True
            rest = time.monotonic() - self._begun + seconds
            self._patience = min(self._patience, rest)

    def tells(self) -> bool:
        """Whether it is time to say so."""
        if time.monotonic() - self._told < TELL_EVERY:
            return False
        self._told = time.monotonic()
        return True


def _differences(index: int, first: dict[str, Any], theirs: dict[str, Any]) -> str:
    ours, given = first["own"], theirs["own"]
    keys = [k for k in sorted({*ours, *given}) if ours.get(k) != given.get(k)]
    if not keys:
        return ""
    told = [f"{k} ({ours.get(k)} and {given.get(k)})" for k in keys]
    more = f" and {len(told) - _MOST_DIFFERENCES} more"
    more = more if len(told) > _MOST_DIFFERENCES else ""
    return (
        f"processes 0 and {index} of this run do not fit together; different: "
        f"{', '.join(told[:_MOST_DIFFERENCES])}{more}. Start all with one command, of "
        "one version of the code"
    )


def _line(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content).encode() + b"\n"


def _parse(line: bytes, key: str = "own") -> dict[str, Any] | None:
    """A whole message that has this key; None for anything else."""
    if not line.endswith(b"\n"):
        return None
    try:
        found = json.loads(line)
        if key == "own":
            found["index"], found["count"] = int(found["index"]), int(found["count"])
            found["own"], found["refused"] = dict(found["own"]), str(found["refused"])
        else:
            found[key] = str(found[key])
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return found


def _read(link: socket.socket) -> bytes:
    """What has come; nothing at the end of the connection, however it came."""
    try:
        return link.recv(2**16)
    except TimeoutError:
        raise
    except OSError:
        return b""


def _send(link: socket.socket, line: bytes) -> None:
    with contextlib.suppress(OSError):
        link.sendall(line)


def _say(text: str) -> None:
    with contextlib.suppress(OSError):
        sys.stderr.write(f"fdnf: {text}\n")
        sys.stderr.flush()
