"""A job of a sweep inside SLURM, as submitit calls it: saves, and is queued again.

submitit answers its signal (SIGUSR2, unless SUBMITIT_PREEMPT_SIGNAL says otherwise) by
calling `checkpoint` and requeueing what that returns. A directory is all that a point
needs to go on, so this only has to see to it that the program has saved.
"""

import os
import signal
import subprocess
import sys
import time

import submitit
from submitit.helpers import DelayedSubmission

from launch import job, processes
from launch.folder import Folder
from launch.status import EX_OK, EX_TEMPFAIL

# Requeues one after the other, none asked for and none with a further step.
_MOST_IDLE = 10
# Seconds after which another process than the first requeues the job: the first has
# been killed.
_FIRST_IS_GONE = 30.0


class JobFailedError(RuntimeError):
    """Points of a job were refused, failed, or crashed too often."""


class Requeueable:
    """The callable that submitit stores and calls; needs `launch` to be importable.

    Args:
      root: directory of the sweep.
      name: of the job.
      crashes: see `job.Runner`; grows from requeue to requeue of a job of several
        processes, which cannot be tried again in place.
      idle: requeues so far that nobody asked for and that brought no further step.
    """

    def __init__(self, root: str, name: str, crashes: int = 0, idle: int = 0):
        """See the class."""
        self.root, self.name, self.crashes, self.idle = root, name, crashes, idle
        self._runner: job.Runner | None = None
        self._told: int | None = None

    def __call__(self) -> str:
        """Runs the job; raises if it ended badly, so that dependent jobs do not."""
        environment = submitit.JobEnvironment()
        first, several = environment.global_rank == 0, environment.num_tasks > 1
        self._runner = runner = job.Runner(
            Folder(self.root),
            self.name,
            number=environment.job_id,
            crashes=self.crashes,
            together=several,
            record=first,
        )
        submitits = getattr(signal, f"SIG{environment.USR_SIG}")
        job.catch([signum for signum in job.STOPS if signum != submitits], self._stop)
        rc = runner.run()
        if rc == EX_OK:
            return "done"
        crashed = rc < 0 or rc not in (EX_TEMPFAIL, job.EX_REFUSED)
        self.crashes = runner.crashes
        if crashed and not (several and self.crashes <= runner.retries):
            raise JobFailedError(f"{self.name}: {processes.describe(rc)}")
        if rc == job.EX_REFUSED:
            raise JobFailedError(f"{self.name}: points failed, see {runner.log}")
        if self._told == signal.SIGTERM and not _is_wanted():
            # Cancelled: SLURM must not get it back.
            sys.exit(EX_TEMPFAIL)
        if self._told is None and not crashed:
            self.idle = 1 if runner.advanced else self.idle + 1
            if self.idle > _MOST_IDLE:
                raise JobFailedError(
                    f"{self.name}: ended {self.idle} times without a further step"
                )
        if not first:
            time.sleep(_FIRST_IS_GONE)
            subprocess.run(["scontrol", "requeue", _job_id()], check=True)
            time.sleep(_FIRST_IS_GONE)
        # What submitit's own signal does is what is to be done now.
        signal.raise_signal(submitits)
        raise JobFailedError(f"{self.name}: submitit did not requeue it")

    def checkpoint(self) -> DelayedSubmission:
        """Has the program save and end; what is to be called after the requeue."""
        if self._runner is not None:
            self._runner.stop_and_wait()
        return DelayedSubmission(
            Requeueable(self.root, self.name, self.crashes, self.idle)
        )

    def _stop(self, signum: int, _: object) -> None:
        self._told = signum
        if self._runner is not None:
            self._runner.stop()


def _job_id() -> str:
    return os.environ["SLURM_JOB_ID"]


def _is_wanted() -> bool:
    """Whether SLURM still runs this job, and is not about to end it."""
    asked = subprocess.run(
        ["squeue", "-h", "-j", _job_id(), "-o", "%T"],
        capture_output=True,
        text=True,
        check=False,
    )
    return asked.stdout.strip() == "RUNNING"
