"""Signals: noted within a loop, raised elsewhere, and left as they were."""

import contextlib
import os
import signal
import threading

import pytest

from fdnf.train import interruption
from fdnf.train.interruption import StoppedBySignalError


def send(number):
    # Python runs the handler before the next instruction of this thread.
    os.kill(os.getpid(), number)


@pytest.fixture(autouse=True)
def heeded():
    """A shell's background job ignores SIGINT, and what nohup starts SIGHUP."""
    names = (signal.SIGINT, signal.SIGHUP)
    before = {number: signal.signal(number, signal.SIG_DFL) for number in names}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1", "SIGUSR2", "SIGINT", "SIGHUP"])
def test_raised_at_once_outside_a_loop(name):
    with (
        interruption.handled(),
        pytest.raises(StoppedBySignalError, match=f"stopped by {name}"),
    ):
        send(signal.Signals[name])


def test_what_is_ignored_stays_ignored():
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with interruption.handled():
        send(signal.SIGHUP)
        assert interruption.requested() == ""


@pytest.mark.parametrize(("name", "status"), [("SIGHUP", 75), ("SIGINT", 130)])
def test_status(name, status):
    with pytest.raises(StoppedBySignalError, match="same command") as found:
        handle(lambda: send(signal.Signals[name]))
    assert found.value.status == status


def handle(does):
    with interruption.handled():
        does()


def test_no_catch_all_takes_it_for_a_broken_file():
    def read():
        """As `stored.newest`, which passes over what cannot be read."""
        with contextlib.suppress(Exception):
            send(signal.SIGTERM)

    with pytest.raises(StoppedBySignalError):
        handle(read)


def test_an_error_that_is_its_consequence():
    def call_back():
        try:
            send(signal.SIGTERM)
        except StoppedBySignalError as error:
            raise RuntimeError("callback failed") from error

    with pytest.raises(StoppedBySignalError) as found:
        handle(call_back)
    assert isinstance(found.value.__cause__, RuntimeError)


@pytest.mark.parametrize("begun", [True, False])
def test_deferred_only_once_there_is_something_to_save(begun):
    found = []

    def train():
        with interruption.deferred(begun=False):
            if begun:
                interruption.begin()
            send(signal.SIGTERM)
            found.append("noted")

    with pytest.raises(StoppedBySignalError):
        handle(train)
    assert found == ["noted"] * begun


def loop(*numbers, found=None):
    """Gets these signals within a loop; notes in `found` what was asked for."""
    found = [] if found is None else found
    with interruption.deferred():
        found.append(interruption.requested())
        for number in numbers:
            send(number)
            found.append(interruption.requested())


def test_noted_within_a_loop_and_raised_at_its_end():
    found = []
    with interruption.handled():
        with pytest.raises(StoppedBySignalError, match="SIGUSR1"):
            loop(signal.SIGUSR1, found=found)
    assert found == ["", "SIGUSR1"]
    assert interruption.requested() == ""


def test_a_loop_within_a_loop_leaves_it_to_the_outer_one():
    found = []

    def outer():
        with interruption.deferred():
            loop(signal.SIGTERM)
            found.append(interruption.requested())

    with interruption.handled(), pytest.raises(StoppedBySignalError):
        outer()
    assert found == ["SIGTERM"]


def test_a_second_signal_does_not_wait():
    found = []
    with interruption.handled():
        with pytest.raises(StoppedBySignalError, match="SIGTERM"):
            loop(signal.SIGUSR1, signal.SIGTERM, found=found)
    assert found == ["", "SIGUSR1"]


def test_another_error_is_not_hidden():
    def failing():
        with interruption.deferred():
            send(signal.SIGTERM)
            raise KeyError

    with interruption.handled(), pytest.raises(KeyError):
        failing()


def test_handlers_are_put_back():
    before = [signal.getsignal(number) for number in interruption.SIGNALS]
    with interruption.handled():
        during = [signal.getsignal(number) for number in interruption.SIGNALS]
        assert len(set(during)) == 1
        assert during[0] not in before
    assert [signal.getsignal(number) for number in interruption.SIGNALS] == before


def test_elsewhere_than_in_the_main_thread_nothing_changes():
    before, found = signal.getsignal(signal.SIGTERM), []

    def work():
        with interruption.handled():
            found.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [before]


def test_the_exit_code_is_that_of_temporary_failure():
    assert interruption.EXIT_CODE == os.EX_TEMPFAIL
