"""What SLURM's queue holds of a sweep.

Jobs are found by name, `SWEEP.BATCH`, and by their index in the array, so that a
launcher that died between submitting and writing down an id loses nothing.
"""

import shutil
import subprocess
import time
from collections.abc import Mapping

from launch import folder as folders
from launch.folder import Folder
from launch.status import Queued

_PENDING = {"PENDING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT"}


class QueueError(RuntimeError):
    """SLURM could not be asked."""


class Queue:
    """The points of a sweep that SLURM has; asked again after a while.

    Args:
      folder: of the sweep.
      interval: seconds for which an answer is used.
    """

    def __init__(self, folder: Folder, interval: float = 10.0):
        """See the class."""
        self._folder, self._interval = folder, interval
        self._names: dict[str, list[str]] = {}
        self._asked = float("-inf")
        self._answer: Mapping[str, Queued] | None = None

    def __call__(self) -> Mapping[str, Queued] | None:
        """By point; None if SLURM does not answer, which says nothing of its jobs."""
        if not any(self._folder.path.glob("jobs/*.slurm")):
            return {}
        if time.monotonic() - self._asked >= self._interval:
            try:
                self._answer = self.ask()
            except QueueError:
                self._answer = None
            self._asked = time.monotonic()
        return self._answer

    def ask(self) -> dict[str, Queued]:
        """Asks now.

        Raises:
          QueueError: no answer.
        """
        if shutil.which("squeue") is None:
            raise QueueError("squeue is not on the PATH: is this a machine of SLURM's?")
        command = ["squeue", "--me", "--noheader", "--array", "--format=%i|%T|%j|%r"]
        try:
            asked = subprocess.run(
                command, capture_output=True, text=True, timeout=60, check=False
            )
        except subprocess.TimeoutExpired:
            raise QueueError("squeue does not answer") from None
        if asked.returncode:
            raise QueueError(asked.stderr.strip() or "squeue failed")
        found: dict[str, Queued] = {}
        for line in asked.stdout.splitlines():
            number, state, name, reason = line.strip().split("|", 3)
            index = number.partition("_")[2] or "0"
            running = state not in _PENDING
            told = "" if running or reason == "None" else reason
            for point in self._points(f"{name.rpartition('.')[2]}-{index}"):
                found[point] = Queued(number, running, told)
        return found

    def _points(self, job: str) -> list[str]:
        """Names of a job's points; none if it is no job of this sweep."""
        if job not in self._names:
            spec = folders.read_json(self._folder.job(job)) or {"points": []}
            self._names[job] = [entry["name"] for entry in spec["points"]]
        return self._names[job]
