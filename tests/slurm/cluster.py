"""A real SLURM cluster on this one machine, without systemd or cgroups: several nodes, with
accounting or without.

Needs root and Debian's slurm-wlm, slurmdbd, munge and mariadb-server. Every daemon is a child of
this process and stays in the foreground, so that exactly these are stopped. Facts that cost time
stand where they matter.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

PROGRAMS = [
    "slurmctld",
    "slurmd",
    "slurmdbd",
    "munged",
    "mariadbd",
    "mariadb-admin",
    "sbatch",
    "sacct",
    "pgrep",
]
# slurm-jobstep takes every SLURM_* from the environment before its srun, SLURM_CONF too: only the
# default place is found.
CONFIGURATION = Path("/etc/slurm")
FILES = ["slurm.conf", "gres.conf", "slurmdbd.conf"]
MUNGE_SOCKET = Path("/run/munge/munge.socket.2")  # slurmctld finds slurmdbd by no other
SECONDS_TO_START = 60

NODES = ["n1", "n2", "n3"]
GPU_NODE = "n3"
MEM_MB = 9000  # of a node; the machine may have less, as smoke's jobs use a tenth of it

COMMON = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ctld_port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
TaskProlog={folder}/offline.sh
MpiDefault=none
SwitchType=switch/none
ReturnToService=2
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=sched_min_interval=100000,batch_sched_delay=0
MinJobAge=3600
KillWait=2
GresTypes=gpu
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=1
JobAcctGatherParams=UsePss,OverMemoryKill
"""
ACCOUNTING = """\
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=localhost
AccountingStoragePort={dbd_port}
AccountingStoreFlags=job_comment
AccountingStorageTRES=gres/gpu
"""
SLURMDBD = """\
AuthType=auth/munge
DbdHost=localhost
DbdPort={dbd_port}
SlurmUser=root
LogFile={folder}/slurmdbd.log
PidFile={folder}/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=root
StorageLoc=slurm_acct_db
"""
# Compute nodes are offline on many sites: what a job there asks the network for, it must not get.
OFFLINE = """\
#!/bin/sh
for name in http_proxy https_proxy HTTP_PROXY HTTPS_PROXY; do
    echo "export $name=http://127.0.0.1:9"
done
echo "export PIP_NO_INDEX=1"
"""


def missing() -> list[str]:
    """What this machine lacks for a cluster."""
    lacking = [program for program in PROGRAMS if shutil.which(program, path=search_path()) is None]
    if os.geteuid() != 0:
        lacking.append("root")
    if any(
        (CONFIGURATION / name).exists() and not (CONFIGURATION / name).is_symlink()
        for name in FILES
    ):
        lacking.append(f"{CONFIGURATION} without a cluster's configuration")
    return lacking


def search_path() -> str:
    """PATH with the folder that Debian keeps daemons in."""
    return os.environ["PATH"] + ":/usr/sbin"


def free_ports(n: int) -> list[int]:
    """Ports that nobody listens on."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(n)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def wait_for(what: str, ready: Callable[[], bool], seconds: float = SECONDS_TO_START) -> None:
    """Wait until something is so."""
    until = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > until:
            raise TimeoutError(f"not within {seconds} s: {what}")
        time.sleep(0.1)


def tell(*command: str) -> str:
    """What a command prints.

    Each ends by itself: against a dead controller most wait for minutes.
    """
    run = subprocess.run(
        ["timeout", "20", *command],
        capture_output=True,
        text=True,
        env=os.environ | {"PATH": search_path()},
    )
    return run.stdout


def succeeds(*command: str) -> bool:
    """Whether a command ends with status 0."""
    env = os.environ | {"PATH": search_path()}
    return subprocess.run(["timeout", "20", *command], capture_output=True, env=env).returncode == 0


class Cluster:
    """Daemons of one cluster, all files in one folder."""

    def __init__(self, folder: Path, accounting: bool) -> None:
        self.folder = folder
        self.accounting = accounting
        self.daemons: dict[str, subprocess.Popen] = {}

    def __enter__(self) -> "Cluster":
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        for daemon in reversed(self.daemons.values()):  # each before what it leans on
            daemon.terminate()
            try:
                daemon.wait(timeout=20)
            except subprocess.TimeoutExpired:
                daemon.kill()
        for name in FILES:
            (CONFIGURATION / name).unlink(missing_ok=True)

    def _daemon(self, name: str, *command: str | Path, env: dict[str, str] | None = None) -> None:
        with (self.folder / f"{name}.out").open("ab") as out:
            environment = os.environ | {"PATH": search_path()} | (env or {})
            self.daemons[name] = subprocess.Popen(command, stdout=out, stderr=out, env=environment)

    def _configure(self, name: str, text: str) -> None:
        file = self.folder / name
        link = CONFIGURATION / name
        file.write_text(text)
        file.chmod(0o600)  # or slurmdbd refuses its own
        link.parent.mkdir(exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(file)

    def _start(self) -> None:
        if not succeeds("munge", "--no-input"):
            key = self.folder / "munge.key"
            key.write_bytes(os.urandom(128))
            key.chmod(0o400)
            MUNGE_SOCKET.parent.mkdir(exist_ok=True)
            options = [
                f"--{kind}-file={self.folder}/munged.{kind}" for kind in ("pid", "log", "seed")
            ]
            self._daemon(
                "munged", "munged", "--foreground", "--force", f"--key-file={key}", *options
            )
            wait_for("munged answers", lambda: succeeds("munge", "--no-input"))
        ctld_port, dbd_port, *node_ports = free_ports(2 + len(NODES))
        where = {"folder": self.folder, "host": socket.gethostname().partition(".")[0]}
        if self.accounting:
            self._start_accounting(dbd_port)
        conf = [
            (COMMON + (ACCOUNTING if self.accounting else "")).format(
                **where, ctld_port=ctld_port, dbd_port=dbd_port
            )
        ]
        for node, port in zip(NODES, node_ports):
            gpu = "Gres=gpu:1 " if node == GPU_NODE else ""
            conf.append(
                f"NodeName={node} NodeHostname={where['host']} NodeAddr=127.0.0.1 Port={port} "
                f"CPUs=1 RealMemory={MEM_MB} {gpu}State=UNKNOWN\n"
            )
        cpu_nodes = ",".join(node for node in NODES if node != GPU_NODE)
        conf.append(f"PartitionName=cpu Nodes={cpu_nodes} Default=YES MaxTime=180 State=UP\n")
        conf.append(f"PartitionName=gpu Nodes={GPU_NODE} MaxTime=600 State=UP\n")
        self._configure("slurm.conf", "".join(conf))
        self._configure("gres.conf", f"NodeName={GPU_NODE} Name=gpu File=/dev/null\n")
        (self.folder / "offline.sh").write_text(OFFLINE)
        (self.folder / "offline.sh").chmod(0o755)
        (self.folder / "state").mkdir()
        self._daemon("slurmctld", "slurmctld", "-D", "-c")
        for node in NODES:
            self.start_node(node)
        wait_for("all nodes are idle", lambda: self.node_states() == dict.fromkeys(NODES, "idle"))

    def _start_accounting(self, port: int) -> None:
        database = self.folder / "mysql"
        mysql = self.folder / "mysql.sock"
        install = [
            "mariadb-install-db",
            "--no-defaults",
            "--user=root",
            f"--datadir={database}",
            "--skip-test-db",
        ]
        subprocess.run(
            [*install, "--auth-root-authentication-method=socket"], check=True, capture_output=True
        )
        options = [
            f"--datadir={database}",
            f"--socket={mysql}",
            f"--pid-file={self.folder}/mysql.pid",
            "--skip-networking",
        ]
        options += [
            "--innodb-buffer-pool-size=64M",
            "--innodb-log-file-size=32M",
            "--innodb-flush-log-at-trx-commit=0",
        ]
        self._daemon("mariadbd", "mariadbd", "--no-defaults", "--user=root", *options)
        wait_for("MariaDB answers", lambda: succeeds("mariadb-admin", f"--socket={mysql}", "ping"))
        if not succeeds("mariadb", f"--socket={mysql}", "-e", "CREATE DATABASE slurm_acct_db"):
            raise RuntimeError("the accounting database could not be created")
        self._configure("slurmdbd.conf", SLURMDBD.format(folder=self.folder, dbd_port=port))
        self._daemon("slurmdbd", "slurmdbd", "-D", env={"MYSQL_UNIX_PORT": str(mysql)})

        def listens() -> bool:
            with socket.socket() as s:
                return s.connect_ex(("127.0.0.1", port)) == 0

        wait_for("slurmdbd listens", listens)

    def start_node(self, node: str) -> None:
        """Start a node's daemon."""
        (self.folder / "spool" / node).mkdir(parents=True, exist_ok=True)
        self._daemon(node, "slurmd", "-D", "-N", node)

    def lose_node(self, node: str) -> None:
        """End a node's daemon and all that its jobs run at once, as when a machine loses power.

        And tell the controller.
        """
        jobs = tell("squeue", "--noheader", f"--nodelist={node}", "--format=%i").split()
        processes = [str(self.daemons.pop(node).pid)]
        for job in jobs:
            processes += tell("pgrep", "--full", rf"^slurmstepd: \[{job}\.").split()
        for process in processes:  # grows while it is walked: children, and theirs
            processes += tell("pgrep", "--parent", process).split()
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(process), signal.SIGKILL)
        tell("scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=test")

    def return_node(self, node: str) -> None:
        """Bring a lost node back."""
        self.start_node(node)
        tell("scontrol", "update", f"NodeName={node}", "State=RESUME")
        wait_for(f"{node} is idle", lambda: self.node_states()[node] == "idle")

    def node_states(self) -> dict[str, str]:
        """State of each node."""
        lines = tell("sinfo", "--noheader", "--Node", "--format=%N %T").split("\n")
        return dict(line.split() for line in lines if line)

    def jobs(self) -> list[dict]:
        """All jobs that accounting knows, oldest first.

        State, memory, partition, comment and more.
        """
        fields = [
            "JobIDRaw",
            "JobName",
            "State",
            "ReqMem",
            "Timelimit",
            "Partition",
            "NodeList",
            "AllocTRES",
            "Comment",
        ]
        table = tell(
            "sacct", "--allocations", "--parsable2", "--noheader", "--format=" + ",".join(fields)
        )
        return [dict(zip(fields, line.split("|"))) for line in table.splitlines()]
