"""A SLURM of two nodes on this machine, all of it in one directory.

Debian's packages are installed if they are absent; their daemons are not those of a
SLURM that already runs here, which is neither asked nor touched: ports, key and socket
are its own.
"""

import contextlib
import fcntl
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

from launch import processes

REPOSITORY = pathlib.Path(__file__).parents[2]
PACKAGES = ("slurmctld", "slurmd", "slurm-client", "munge")
NEEDED = ("slurmctld", "slurmd", "sbatch", "munged")
NODES = ("node1", "node2")
_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin"
_CONFIG = """
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=cred_expire=5,socket={folder}/munge.sock
CryptoType=crypto/munge
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters={scheduling}
ReturnToService=2
JobRequeue=1
KillWait=2
MinJobAge=300
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/%n.log
SlurmctldPort={port}
SlurmdParameters=config_overrides
{nodes}
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""
# Looks every second: by default, a requeued job may wait for a minute.
_SCHEDULING = (
    "batch_sched_delay=0,sched_interval=1,sched_min_interval=100000,bf_interval=1"
)
_PLAIN_CGROUPS = "CgroupAutomount=no\nConstrainCores=no\nConstrainRAMSpace=no\n"


class NoSlurmError(RuntimeError):
    """SLURM cannot be had here; the message says why."""


class Cluster:
    """A running SLURM.

    Args:
      folder: where all of its files are.
    """

    def __init__(self, folder: pathlib.Path):
        """Starts it; raises NoSlurmError if it does not come up."""
        self.folder = folder
        self.env = {"SLURM_CONF": str(folder / "slurm.conf"), "PATH": _PATH}
        self._daemons: list[subprocess.Popen] = []
        try:
            self._come_up(folder)
        except BaseException:
            self.stop()
            raise

    def _come_up(self, folder: pathlib.Path) -> None:
        for name in ("state", "spool"):
            (folder / name).mkdir()
        (folder / "cgroup.conf").write_text(_PLAIN_CGROUPS)
        host, ports = socket.gethostname().partition(".")[0], _free_ports(3)
        nodes = "\n".join(
            f"NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} "
            "CPUs=8 RealMemory=1000 State=UNKNOWN"
            for name, port in zip(NODES, ports[1:], strict=True)
        )
        text = _CONFIG.format(
            host=host,
            folder=folder,
            port=ports[0],
            nodes=nodes,
            scheduling=_SCHEDULING,
        )
        (folder / "slurm.conf").write_text(text)
        key = folder / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        self._start(
            *("munged", "--foreground", "--force", f"--key-file={key}"),
            *(f"--socket={folder}/munge.sock", f"--pid-file={folder}/munged.pid"),
            *(f"--log-file={folder}/munged.log", f"--seed-file={folder}/munge.seed"),
        )
        self._wait(lambda: (folder / "munge.sock").exists(), "munged")
        self._start("slurmctld", "-D", "-i")
        for name in NODES:
            self._start("slurmd", "-D", "-N", name)
        self._wait(lambda: self.nodes() == dict.fromkeys(NODES, "idle"), "the nodes")

    def empty(self) -> None:
        """Cancels all jobs, and has both nodes ready."""
        self.call("scancel", "--me")
        self._wait(lambda: not self.call("squeue", "-h"), "jobs to end")
        for name, state in self.nodes().items():
            if state != "idle":
                self.call("scontrol", "update", f"nodename={name}", "state=resume")
        self._wait(lambda: self.nodes() == dict.fromkeys(NODES, "idle"), "the nodes")

    def stop(self) -> None:
        """Ends the jobs and the daemons."""
        if len(self._daemons) > len(NODES):
            with contextlib.suppress(NoSlurmError):
                self.empty()
        for daemon in reversed(self._daemons):
            daemon.terminate()
        for daemon in self._daemons:
            try:
                daemon.wait(5)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()

    def call(self, *command: str) -> str:
        """Output of one of SLURM's commands."""
        done = subprocess.run(
            command,
            env={**os.environ, **self.env},
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        return done.stdout.strip()

    def nodes(self) -> dict[str, str]:
        """State of each node."""
        lines = self.call("sinfo", "-N", "-h", "-o", "%N %t").splitlines()
        return {line.split()[0]: line.split()[1] for line in lines}

    def _start(self, *command: str) -> None:
        """Starts a daemon that ends with this process, however that ends."""
        code = (
            "import os, sys; from launch import processes;"
            "processes.die_with(int(sys.argv[1])); os.execvp(sys.argv[2], sys.argv[2:])"
        )
        log = open(self.folder / "daemons.log", "ab")
        with log:
            self._daemons.append(
                subprocess.Popen(
                    [sys.executable, "-c", code, str(os.getpid()), *command],
                    cwd=REPOSITORY,
                    env={**os.environ, **self.env},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            )

    def _wait(self, what, told: str, timeout: float = 120) -> None:
        until = time.monotonic() + timeout
        while not what():
            if time.monotonic() > until:
                logs = (self.folder / "daemons.log").read_text()[-2000:]
                raise NoSlurmError(f"waited {timeout} s for {told}: {logs}")
            time.sleep(0.1)


@contextlib.contextmanager
def running() -> Iterator[Cluster]:
    """A cluster for the length of a block.

    Raises:
      NoSlurmError: there is none, and none can be installed or started.
    """
    if not sys.platform.startswith("linux") or os.getuid() != 0:
        raise NoSlurmError("only root can start SLURM's daemons")
    assert processes.identity(os.getpid())
    _install()
    # Not the test's own directory: paths of sockets must be short.
    with tempfile.TemporaryDirectory(prefix="slurm-") as folder:
        os.chmod(folder, 0o755)
        cluster = None
        try:
            cluster = Cluster(pathlib.Path(folder))
            yield cluster
        finally:
            if cluster is not None:
                cluster.stop()


def _install() -> None:
    """Debian's packages, once, whichever test process comes first."""
    with open(pathlib.Path(tempfile.gettempdir()) / "slurm-install.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if all(shutil.which(name, path=_PATH) for name in NEEDED):
            return
        if shutil.which("apt-get") is None:
            raise NoSlurmError("no SLURM here, and no apt-get to install it with")
        env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        install = ("install", "-y", "-qq", "--no-install-recommends", *PACKAGES)
        for words in (("update", "-qq"), install):
            try:
                done = subprocess.run(
                    ["apt-get", *words],
                    env=env,
                    capture_output=True,
                    text=True,
                    check=False,
                    timeout=180,
                )
            except subprocess.TimeoutExpired:
                raise NoSlurmError(f"apt-get {words[0]} took too long") from None
        if done.returncode:
            raise NoSlurmError(f"apt-get could not install SLURM: {done.stderr[-500:]}")


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
