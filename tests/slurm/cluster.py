"""A real Slurm cluster of one machine: munged, slurmctld and two slurmd in a private directory, on loopback.

Nothing of the system is touched: own configuration, own key, own ports, no service. Its processes and their jobs carry
`SLURM_CONF=<its own>` in their environment, by which whatever is left is found when it stops.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import time
from pathlib import Path

from tests.executors.waiting import eventually

DAEMONS = ("munged", "slurmctld", "slurmd")
#: Debian and its kin keep the daemons there, which is not always on the PATH of a user.
_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"
NODES = ("n1", "n2")


def missing() -> str:
    """Why no cluster can be started here; "" = one can be."""
    absent = [name for name in (*DAEMONS, "sbatch") if shutil.which(name, path=_PATH) is None]
    if absent:
        return f"no {', '.join(absent)}: install slurm-wlm and munge (apt-get install slurm-wlm)"
    return "" if os.getuid() == 0 else "slurmd of this test runs as root"


class SlurmCluster:
    """`n1` in the default partition `main`; `n2`, with two GPUs that are none, in `gpu`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.conf = directory / "slurm.conf"
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        for name in ("state", "spool", "log"):
            (self.directory / name).mkdir(parents=True)
        key = self.directory / "munge.key"
        key.touch(mode=0o600)
        key.write_bytes(secrets.token_bytes(128))
        for index in range(2):
            os.mknod(self.directory / f"device{index}", stat.S_IFCHR | 0o600, os.makedev(1, 3))
        (self.directory / "gres.conf").write_text(f"NodeName=n2 Name=gpu Type=fake File={self.directory}/device[0-1]\n")
        self.conf.write_text(self._configuration())
        self.start_daemon("munged")
        eventually((self.directory / "munge.socket").exists, "munge's socket")
        self.start_daemon("slurmctld")
        for node in NODES:
            self.start_daemon(node)
        eventually(self.is_well, "nodes")

    def start_daemon(self, name: str) -> None:
        """`munged`, `slurmctld`, or the slurmd of a node by its name."""
        here = self.directory
        munge = ["munged", "--foreground", "--force", f"--socket={here}/munge.socket", f"--key-file={here}/munge.key"]
        munge += [f"--pid-file={here}/munge.pid", f"--log-file={here}/log/munge", f"--seed-file={here}/munge.seed"]
        commands = {"munged": munge, "slurmctld": ["slurmctld", "-D", "-i"]}
        command = commands.get(name, ["slurmd", "-D", "-N", name])
        command[0] = str(shutil.which(command[0], path=_PATH))
        with (here / "log" / f"{name}.err").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                command,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def kill_daemon(self, name: str) -> None:
        """SIGKILL, and wait until it is dead."""
        process = self._processes.pop(name)
        process.kill()
        process.wait()

    def stop(self) -> None:
        if "slurmctld" in self._processes:
            self.command("scancel", "--full", "--signal=KILL", f"--user={getpass.getuser()}")
        for process in reversed(self._processes.values()):
            process.kill()
            process.wait()
        self._processes.clear()
        eventually(lambda: not self._kill_marked(), "the end of what the cluster ran")

    def command(self, *arguments: str) -> str:
        """What one of Slurm's tools says; "" if it fails."""
        command = [str(shutil.which(arguments[0], path=_PATH)), *arguments[1:]]
        return subprocess.run(command, env=self._environment(), capture_output=True, text=True, check=False).stdout

    def states(self) -> dict[str, str]:
        """Of every job that the controller remembers, by name; the newest of a name."""
        lines = self.command("squeue", "-h", "-t", "all", "-S", "i", "-o", "%j %T").splitlines()
        return dict(tuple(line.rsplit(" ", 1)) for line in lines)  # type: ignore[misc]

    def live(self) -> list[str]:
        """Names of the jobs that have not ended."""
        return self.command("squeue", "-h", "-o", "%j").split()

    def until_saved(self) -> None:
        """Until the controller has written down what jobs there are: one that is killed before forgets them."""
        since = time.time()
        held = self.command("sbatch", "--parsable", "--hold", "--output=/dev/null", "--wrap=true")  # a change to save
        self.command("scancel", held.strip())
        eventually(lambda: (self.directory / "state" / "job_state").stat().st_mtime >= since, "the controller's state")

    def is_well(self) -> bool:
        """Its controller answers, and both nodes take work."""
        states = self.command("sinfo", "-hN", "-p", "main,gpu", "-o", "%T").split()
        return len(states) == len(NODES) and set(states) <= {"idle", "mixed"}

    def running(self) -> list[str]:
        """The daemons that were started and not killed."""
        return list(self._processes)

    def _environment(self) -> dict[str, str]:
        return {"PATH": _PATH, "HOME": str(self.directory), "SLURM_CONF": str(self.conf)}

    def _kill_marked(self) -> list[int]:
        mark = f"SLURM_CONF={self.conf}".encode()
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal():
                with contextlib.suppress(OSError):
                    if mark in (entry / "environ").read_bytes().split(b"\0"):
                        os.kill(int(entry.name), signal.SIGKILL)
                        found.append(int(entry.name))
        return found

    def _configuration(self) -> str:
        here, user, host = self.directory, getpass.getuser(), socket.gethostname()
        control, first, second = _free_ports(3)
        return f"""\
ClusterName=tests
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort={control}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={here}/munge.socket
CredType=cred/munge
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
StateSaveLocation={here}/state
SlurmdSpoolDir={here}/spool/%n
SlurmctldPidFile={here}/slurmctld.pid
SlurmdPidFile={here}/slurmd.%n.pid
SlurmctldLogFile={here}/log/slurmctld
SlurmdLogFile={here}/log/slurmd.%n
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
DefMemPerCPU=100
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
SlurmdTimeout=6
SlurmctldTimeout=6
MessageTimeout=2
KillWait=2
SchedulerParameters=batch_sched_delay=0,sched_min_interval=0
SlurmdParameters=config_overrides
GresTypes=gpu
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={first} CPUs=32 RealMemory=8000 Feature=big,quiet
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={second} CPUs=32 RealMemory=8000 Gres=gpu:fake:2
PartitionName=main Nodes=n1 Default=YES MaxTime=INFINITE State=UP
PartitionName=gpu Nodes=n2 MaxTime=INFINITE State=UP
"""


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
