"""What is shown of a sweep."""

import io

from launch.display import Display
from launch.status import State


class Terminal(io.StringIO):
    def isatty(self):
        return True


def states(**changes):
    found = {
        "a": State("a", "running", step=10, steps=100, metric=-1.5),
        "b": State("b", "done", step=100, steps=100, metric=-0.5),
        "c": State("c", "failed", detail="no [data]", log="the.log"),
        "d": State("d", "waiting", detail="for c (failed)"),
    }
    return found | changes


JOBS = [("pair (2 points)", ["a", "b"])]


def test_lines_tell_changes_and_now_and_then_how_it_stands():
    stream = io.StringIO()
    with Display(stream, interval=3600) as display:
        display.update(states(b=State("b", "running"), c=State("c", "running")), JOBS)
        display.update(states(), JOBS)
        display.update(states(), JOBS)
        display.say("news")
    assert stream.getvalue().splitlines() == [
        "1 waiting, 3 running",
        "  pair (2 points)  0/2 done  step 5/100  val -1.5",
        "done       b  val -0.5",
        "failed     c: no [data] (the.log)",
        "news",
    ]


def test_a_terminal_has_one_table():
    stream = Terminal()
    with Display(stream) as display:
        display.update(states(), JOBS)
        display.say("some [news]")
    shown = stream.getvalue()
    for text in (
        *("1 waiting", "1 done", "1 failed", "pair (2 points)", "1/2 done"),
        *("step 55/100", "val -1", "c failed: no [data] (the.log)", "some [news]"),
    ):
        assert text in shown, text


def test_the_time_left(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("launch.display.time.monotonic", lambda: clock[0])
    stream = io.StringIO()
    display = Display(stream, interval=0.0)
    display.update(states(), [("a", ["a"])])
    clock[0] = 30.0
    display.update(states(a=State("a", "running", step=40, steps=100)), [("a", ["a"])])
    # One step a second: 60 are left.
    assert stream.getvalue().splitlines()[-1] == "  a  step 40/100  0:01:00 left"
