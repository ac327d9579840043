"""Stands in for the trainer: its files, signals and exit statuses, and no training.

A point takes train.steps steps of FAKE_STEP seconds each. Its result is a number that
depends on the seed, the teacher's result, and on each step being taken exactly once.
Further keys make it misbehave: fake.refuse, fake.diverge_at, fake.crash_at (once),
fake.crash_always_at, fake.crash_every (once at each multiple).

A point whose directory FAKE_HOLD names (several with commas) stands still at step
HELD_AT until it is asked to stop or killed, or has a file `struck`: what a test does to
it then comes while it runs, however busy the machine.
"""

import ast
import json
import os
import pathlib
import signal
import sys
import time

STEP = float(os.environ.get("FAKE_STEP", "0.01"))
SAVE_EVERY = 5
HELD_AT = 6
HOLD = os.environ.get("FAKE_HOLD", "").split(",")
stop = False


class Refused(Exception):
    pass


def stepped(value, step):
    """What a step makes of the value so far."""
    return (value * 31 + step) % 1_000_003


class Run:
    def __init__(self, config, workdir, overrides):
        self.dir = pathlib.Path(workdir)
        self.words = config.partition(":")[2].split(",")
        self.keys = overrides
        self.failed = False

    def start(self):
        if self.keys.get("optim.lr", 1.0) < 0:
            raise Refused(f"ConfigError: optim.lr={self.keys['optim.lr']}")
        if self.keys.get("fake.refuse"):
            raise Refused(f"ConfigError: {self.keys['fake.refuse']}")
        value = int(self.keys.get("seed", 0))
        if teacher := self.keys.get("teacher.workdir"):
            found = list(pathlib.Path(teacher).glob("results/*/*/result.json"))
            if not found:
                raise Refused(f"the teacher in {teacher} is not finished")
            value += json.loads(found[0].read_text())["value"]
        self.dir.mkdir(parents=True, exist_ok=True)
        (self.dir / "failed.json").unlink(missing_ok=True)
        self.steps = int(self.keys.get("train.steps", 20))
        write(self.dir / "config.json", {"train": {"steps": self.steps}})
        state = self.dir / "state.json"
        saved = json.loads(state.read_text()) if state.exists() else [0, value]
        self.step, self.value = saved
        log = self.dir / "log.jsonl"
        rows = log.read_text().splitlines() if log.exists() else []
        kept = [row for row in rows if json.loads(row)["step"] <= self.step]
        log.write_text("".join(f"{row}\n" for row in kept))

    def take_step(self):
        self.step += 1
        self.value = stepped(self.value, self.step)
        row = {"step": self.step, "loss": [1.0], "val_log_prob": [-1.0 / self.step]}
        with open(self.dir / "log.jsonl", "a") as log:
            log.write(json.dumps(row) + "\n")
        if self.step == self.keys.get("fake.diverge_at"):
            write(self.dir / "failed.json", {"error": "300 steps were not finite"})
            self.failed = True
        if self.step == self.keys.get("fake.crash_always_at"):
            os.kill(os.getpid(), signal.SIGSEGV)
        mark = self.dir / f"crashed_{self.step}"
        crashes = self.step == self.keys.get("fake.crash_at") or (
            "fake.crash_every" in self.keys
            and self.step % self.keys["fake.crash_every"] == 0
        )
        if crashes and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if self.step % SAVE_EVERY == 0:
            self.save()

    def is_held(self):
        held = self.dir.name in HOLD and self.step == HELD_AT
        return held and not (self.dir / "struck").exists()

    def save(self):
        write(self.dir / "state.json", [self.step, self.value])

    def finish(self):
        write(
            self.dir / "finished.json",
            {"steps": self.steps, "best_val_log_prob": [-1.0], "best_step": [1]},
        )
        name = self.keys.get("label") or self.words[0]
        folder = self.dir / "results" / name / f"seed_{self.keys.get('seed', 0)}"
        folder.mkdir(parents=True, exist_ok=True)
        write(folder / "result.json", {"value": self.value})
        write(self.dir / "table.md", "the table")

    def is_done(self):
        return (self.dir / "finished.json").exists()


def write(path, content):
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(json.dumps(content))
    temporary.replace(path)


def ask_to_stop(*_):
    global stop
    stop = True


def read_runs(argv):
    flags = dict(word.removeprefix("--").split("=", 1) for word in argv)
    assert flags["mode"] == "single", flags
    config = flags["config"]
    assert pathlib.Path(config.partition(":")[0]).is_file(), config
    if "points" in flags:
        assert flags["pack"], flags
        points = json.loads(pathlib.Path(flags["points"]).read_text())
        return [Run(config, p["workdir"], p["overrides"]) for p in points]
    overrides = {}
    for key, text in flags.items():
        if key.startswith("config."):
            try:
                overrides[key.removeprefix("config.")] = ast.literal_eval(text)
            except (ValueError, SyntaxError):
                overrides[key.removeprefix("config.")] = text
    return [Run(config, flags["workdir"], overrides)]


def wait_for_the_first(runs):
    """What a process that is not the first does."""
    for run in runs:
        run.dir.mkdir(parents=True, exist_ok=True)
        (run.dir / "peer").write_text(str(os.getpid()))
    while not all(run.is_done() for run in runs):
        time.sleep(STEP)
        if stop:
            return 75
    return 0


def main(argv):
    for signum in (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(signum, ask_to_stop)
    runs = [run for run in read_runs(argv) if not run.is_done()]
    number = [w.partition("=")[2] for w in argv if w.startswith("--process_id=")]
    if int((number or [os.environ.get("SLURM_PROCID", "0")])[0]) > 0:
        return wait_for_the_first(runs)
    try:
        for run in runs:
            run.start()
    except Refused as error:
        print(f"fdnf: {error}", file=sys.stderr)
        return 2
    while active := [r for r in runs if not r.failed and r.step < r.steps]:
        if stop:
            for run in active:
                run.save()
            return 75
        time.sleep(STEP)
        for run in active:
            run.take_step()
        while any(run.is_held() for run in active) and not stop:
            time.sleep(0.01)
    for run in runs:
        if not run.failed:
            run.finish()
    return 2 if any(run.failed for run in runs) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
