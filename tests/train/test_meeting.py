"""Processes meet or part with one sentence; here they are threads."""

import concurrent.futures
import contextlib
import socket
import threading
import time

import pytest

from fdnf.train import meeting
from fdnf.train.meeting import Meeting
from fdnf.train.settings import ConfigError
from tests import processes


@pytest.fixture
def address():
    return f"127.0.0.1:{processes.free_port()}"


def joined(where, own, count=None, patience=10.0, refused=None):
    """What became of each process: nothing, or what it was refused with."""

    def one(index):
        place = Meeting(where, count or len(own), index)
        try:
            place.join(own[index], (refused or {}).get(index, ""), patience)
        except ConfigError as error:
            return str(error)
        return place

    with concurrent.futures.ThreadPoolExecutor(len(own)) as pool:
        return dict(zip(own, pool.map(one, own), strict=True))


def same_text(found):
    (text,) = set(found.values())
    assert isinstance(text, str)
    return text


def test_all_are_there_of_one_command(address):
    own = {"config.seed": "1"}
    found = joined(address, {i: own for i in range(5)})
    assert all(isinstance(place, Meeting) for place in found.values()), found


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0)])
def test_what_differs_is_named_to_all(order, address):
    own = {i: {"a": "1", "optim.lr": "0.001"} for i in order}
    own[2] = {"a": "1", "optim.lr": "0.01", "more": "x"}
    text = same_text(joined(address, own))
    assert "processes 0 and 2 of this run do not fit together; different: " in text
    assert "more (None and x), optim.lr (0.001 and 0.01)" in text
    assert "a (" not in text


def test_many_differences_are_counted(address):
    own = {i: {f"k{n}": f"{n * i}" for n in range(30)} for i in range(2)}
    assert " and 21 more. Start all" in same_text(joined(address, own))


@pytest.mark.parametrize("index", [0, 1])
def test_one_that_cannot_start_ends_all(index, address, monkeypatch):
    monkeypatch.setattr(meeting, "PARTING", 200.0)
    begun = time.monotonic()
    found = joined(address, {i: {} for i in range(3)}, refused={index: "no such key"})
    assert same_text(found) == f"process {index} of 3: no such key"
    assert time.monotonic() - begun < 60


def test_two_of_one_number(address, monkeypatch):
    monkeypatch.setattr(meeting, "PARTING", 1.0)

    def one(index):
        with pytest.raises(ConfigError) as found:
            Meeting(address, 3, index).join({})
        return str(found.value)

    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        texts = set(pool.map(one, [0, 1, 1]))
    assert texts == {"two processes were given --process_id=1: number them from 0 to 2"}


def test_another_number_of_processes(address):
    def one(given):
        with pytest.raises(ConfigError) as found:
            Meeting(address, *given).join({})
        return str(found.value)

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        (text,) = set(pool.map(one, [(2, 0), (3, 1)]))
    assert text.startswith("process 1 was given --num_processes=3, process 0 2")


def test_who_is_awaited_is_said_and_then_given_up(address, monkeypatch, capfd):
    monkeypatch.setattr(meeting, "TELL_EVERY", 0.3)
    text = same_text(joined(address, {0: {}, 2: {}}, count=4, patience=2.0))
    says = capfd.readouterr().err
    assert f"fdnf: process 0 of 4 waits at {address} for processes 1, 3 of 4" in says
    assert f"fdnf: process 2 of 4 is at {address}, others are not yet" in says
    assert text.startswith(f"processes 1, 3 of 4 did not come to {address} within 2 s")


def test_process_0_does_not_come(address, monkeypatch, capfd):
    monkeypatch.setattr(meeting, "TELL_EVERY", 0.3)
    text = same_text(joined(address, {1: {}}, count=2, patience=1.0))
    assert text.startswith(f"process 0 was not at {address} within 1 s: start it")
    told = f"fdnf: process 1 of 2 waits for process 0 at {address}"
    assert told in capfd.readouterr().err


@pytest.mark.parametrize(
    "coordinator", ["host", "host:", ":1", "host:port", "host:0", "host:65536", "h:-1"]
)
def test_no_address(coordinator):
    with pytest.raises(ConfigError, match="expected HOST:PORT, such as"):
        Meeting(coordinator, 2, 0)


@pytest.mark.parametrize(("count", "index"), [(0, 0), (2, 2), (2, -1), (-1, 0)])
def test_no_number(count, index):
    with pytest.raises(ConfigError, match="expected at least one process"):
        Meeting("host:1", count, index)


@pytest.mark.parametrize("index", [0, 1])
def test_a_host_that_nobody_knows(index, monkeypatch):
    monkeypatch.setattr(meeting, "_RESOLVING", 0.1)
    with pytest.raises(ConfigError, match="no machine 'no-such.invalid' is known here"):
        Meeting("no-such.invalid:2000", 2, index).join({})


def test_a_host_that_is_not_this_one(monkeypatch):
    monkeypatch.setattr(meeting, "_CONNECTING", 0.5)
    where = f"192.0.2.1:{processes.free_port()}"
    with pytest.raises(ConfigError, match="does not lead to process 0"):
        Meeting(where, 2, 0).join({})


def test_a_port_that_is_taken(monkeypatch):
    monkeypatch.setattr(meeting, "_STRANGE", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as other:
        where = f"127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(ConfigError, match="is taken by another program"):
            Meeting(where, 2, 0).join({})

        def answers():
            with contextlib.suppress(OSError):
                while True:
                    link, _ = other.accept()
                    link.sendall(b"SSH-2.0 hello\n")
                    link.close()

        threading.Thread(target=answers, daemon=True).start()
        with pytest.raises(ConfigError, match="is no process 0 of a run"):
            Meeting(where, 2, 1).join({})


@pytest.mark.parametrize(
    "says",
    [
        b"",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\xff\n",
        b"[]\n",
        b'{"index": "x"}\n',
        b"[" * 9999,
    ],
)
def test_strangers_do_no_harm(says, address):
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        first = pool.submit(Meeting(address, 2, 0).join, {})
        host, port = address.split(":")
        with contextlib.ExitStack() as stack:

            def connected():
                with contextlib.suppress(OSError):
                    return socket.create_connection((host, int(port)))

            deadline = time.monotonic() + 60
            while (link := connected()) is None and time.monotonic() < deadline:
                pass
            assert link
            stack.enter_context(link).sendall(says)
            pool.submit(Meeting(address, 2, 1).join, {}).result(timeout=120)
            first.result(timeout=120)


@pytest.mark.parametrize("index", [0, 1])
def test_a_later_refusal_reaches_all_others(index, address, monkeypatch):
    monkeypatch.setattr(meeting, "_HEARD", 200.0)
    found = joined(address, {i: {} for i in range(3)})
    heard = {i: threading.Event() for i in found}
    texts = {}

    def hear(i):
        def ends(text):
            texts[i] = text
            heard[i].set()
            # As the end of the process would.
            found[i]._close()

        return ends

    for i, place in found.items():
        place.listen(hear(i))
    begun = time.monotonic()
    found[index].refuse("ConfigError: no")
    assert time.monotonic() - begun < 60
    others = sorted({0, 1, 2} - {index})
    for i in others:
        assert heard[i].wait(60)
    assert texts == dict.fromkeys(others, f"process {index} of 3: ConfigError: no")


def test_code_and_nested_keys():
    assert meeting.code() == meeting.code()
    assert meeting.flat({"a": {"b": 1, "c": {"d": "x"}}}, "k.") == {
        "k.a.b": "1",
        "k.a.c.d": "'x'",
    }
