"""Signals: noted within a loop, raised elsewhere, and left as they were."""

import os
import signal
import threading

import pytest

from fdnf.train import interruption
from fdnf.train.interruption import StoppedBySignalError


def send(number):
    # Python runs the handler before the next instruction of this thread.
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1", "SIGUSR2"])
def test_raised_at_once_outside_a_loop(name):
    with (
        interruption.handled(),
        pytest.raises(StoppedBySignalError, match=f"stopped by {name}"),
    ):
        send(signal.Signals[name])


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
