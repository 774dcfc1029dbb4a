"""The builders that `run` measures: how each is set up, emptied, asked for a build, and taken away again.

A candidate has a `name`, the reference by which its Dockerfiles name the base (`base`), and

    unavailable()        why it cannot be measured on this machine, or None
    start(), stop()      before and after all measurements
    empty()              forgets every build, keeps the base where a candidate loads it beforehand; not timed
    build(context)       builds one image: a `Measured`; raises `Failed`
"""

import contextlib
import http.client
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import tarfile
import time
from dataclasses import dataclass
from pathlib import Path


class Failed(Exception):
    """A build or a preparation that went wrong, with what the candidate said."""


@dataclass
class Measured:
    """One build."""

    seconds: float
    peak_kib: int | None  # None where the work is not done by the process that was started


def end_of(text: bytes, lines: int = 15) -> str:
    return "\n".join(text.decode("utf-8", "replace").splitlines()[-lines:])


def measure(command: list[str], log: Path, environment: dict[str, str] | None = None) -> Measured:
    """Runs a process to its end. The peak is that of the process and of those it waited for, whichever was largest."""
    with log.open("w+b") as output:
        start = time.monotonic()
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            output.seek(0)
            raise Failed(f"{' '.join(command)}: exit code {process.returncode}\n{end_of(output.read())}")
    return Measured(seconds, usage.ru_maxrss)


def remove_tree(path: Path) -> None:
    """Removes what a builder left, be it read-only folders."""
    if not path.exists():
        return

    def make_writable(function, name, _):
        os.chmod(os.path.dirname(name), 0o700)
        function(name)

    shutil.rmtree(path, onerror=make_writable)


class Builder:
    """This project's binary, with a state folder of its own. It reads the base within the measured time."""

    name = "builder"
    base = "busybox"

    def __init__(self, binary: Path, layout: Path, network: str, work: Path):
        self.binary = binary
        self.layout = layout
        self.network = network
        self.work = work
        self.root = work / "builder-root"

    def unavailable(self) -> str | None:
        return None if os.access(self.binary, os.X_OK) else f"`{self.binary}` is no program; build it with --release"

    def start(self) -> None:
        pass

    def empty(self) -> None:
        remove_tree(self.root)

    def stop(self) -> None:
        remove_tree(self.root)

    def build(self, context: Path) -> Measured:
        command = [str(self.binary), "build", "--root", str(self.root), "-t", "bench"]
        command += ["--build-context", f"busybox=oci-layout://{self.layout}", "--progress", "plain"]
        if self.network != "default":
            command += ["--network", self.network]
        return measure([*command, str(context)], self.work / "builder.log")


class Buildah:
    """Buildah with its cache of steps, with storage of its own and the base loaded beforehand."""

    name = "buildah"
    base = "localhost/bench-base:latest"

    def __init__(self, archive: Path, network: str, work: Path):
        self.archive = archive
        self.network = network
        self.work = work
        self.state = work / "buildah"

    def unavailable(self) -> str | None:
        return None if shutil.which("buildah") else "`buildah` is not installed"

    def start(self) -> None:
        pass

    def command(self, *arguments: str) -> list[str]:
        places = ["--root", str(self.state / "root"), "--runroot", str(self.state / "run")]
        return ["buildah", *places, *arguments]

    def empty(self) -> None:
        if self.state.exists():
            unmount_below(self.state)
            remove_tree(self.state)

    def stop(self) -> None:
        self.empty()

    def build(self, context: Path) -> Measured:
        if not self.state.exists():
            measure(self.command("pull", "-q", f"docker-archive:{self.archive}"), self.work / "buildah.log")
        arguments = ["bud", "--layers", "--pull-never", "-t", "bench"]
        if shutil.which("runc"):
            # What BuildKit uses too; and not every crun knows every layout of cgroups.
            arguments += ["--runtime", "runc"]
        if self.network != "default":
            arguments += ["--network", self.network]
        return measure(self.command(*arguments, str(context)), self.work / "buildah.log")


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path):
        super().__init__("localhost")
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(str(self.path))


class BuildKit:
    """The BuildKit inside dockerd, with a daemon and a socket of its own.

    It is asked over the engine's API, because distributions ship dockerd without the `buildx` client. So no start of
    a client is measured, the daemon is warm, and the base was loaded beforehand: all to the advantage of BuildKit.
    """

    name = "buildkit"
    base = "localhost/bench-base:latest"

    def __init__(self, archive: Path, network: str, work: Path):
        self.archive = archive
        self.network = network
        self.work = work / "dockerd"
        self.socket = self.work / "docker.sock"
        self.cgroup = f"builder-bench-{os.getpid()}"
        self.daemon: subprocess.Popen | None = None

    def unavailable(self) -> str | None:
        if not shutil.which("dockerd"):
            return "`dockerd` is not installed"
        if os.geteuid() != 0:
            return "`dockerd` needs root"
        if self.network == "default":
            return "its own dockerd has no default network, so as to leave the machine's alone; use --network none"
        return None

    def start(self) -> None:
        self.work.mkdir()
        settings = self.work / "daemon.json"
        settings.write_text(json.dumps({"deprecated-key-path": str(self.work / "key.json")}))
        # In a network namespace of its own, so that forwarding, bridges and packet filters of the machine stay as they
        # are; `run` sees to it that mounts and /run are private.
        command = ["unshare", "--net", "dockerd", "--config-file", str(settings), "--cgroup-parent", f"/{self.cgroup}"]
        command += ["--bridge", "none", "--iptables=false", "--ip6tables=false", "--ip-forward=false", "--ip-masq=false"]
        command += ["--data-root", str(self.work / "data"), "--exec-root", str(self.work / "exec")]
        command += ["--pidfile", str(self.work / "pid"), "--host", f"unix://{self.socket}"]
        log = self.work / "log"
        self.daemon = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log.open("wb"), stderr=subprocess.STDOUT, start_new_session=True
        )
        for _ in range(300):
            if self.daemon.poll() is not None:
                raise Failed(f"dockerd did not start\n{end_of(log.read_bytes())}")
            try:
                self.ask("GET", "/_ping")
                break
            except OSError:
                time.sleep(0.1)
        else:
            raise Failed(f"dockerd does not answer\n{end_of(log.read_bytes())}")
        self.ask("POST", "/images/load?quiet=1", self.archive.read_bytes())

    def stop(self) -> None:
        if self.daemon is not None:
            self.daemon.send_signal(signal.SIGTERM)
            try:
                self.daemon.wait(60)
            except subprocess.TimeoutExpired:
                os.killpg(self.daemon.pid, signal.SIGKILL)
                self.daemon.wait()
            self.daemon = None
            for group in Path("/sys/fs/cgroup").glob(f"**/{self.cgroup}"):
                for folder, _, _ in os.walk(group, topdown=False):
                    with contextlib.suppress(OSError):  # one that is still in use stays
                        os.rmdir(folder)
        remove_tree(self.work)

    def ask(self, method: str, path: str, body: bytes = b"") -> bytes:
        connection = UnixConnection(self.socket)
        try:
            connection.request(method, path, body, {"Content-Type": "application/x-tar"})
            response = connection.getresponse()
            answer = response.read()
        finally:
            connection.close()
        if response.status >= 300:
            raise Failed(f"{method} {path}: {response.status} {end_of(answer)}")
        return answer

    def empty(self) -> None:
        self.ask("POST", "/build/prune?all=1")

    def build(self, context: Path) -> Measured:
        body = io.BytesIO()
        # The daemon tells a tar from a Dockerfile by its first bytes, and takes an extended header for neither.
        with tarfile.open(fileobj=body, mode="w", format=tarfile.GNU_FORMAT) as archive:
            for entry in sorted(context.iterdir()):
                archive.add(entry, entry.name)
        path = f"/build?version=2&t=bench&networkmode={self.network}"
        start = time.monotonic()
        answer = self.ask("POST", path, body.getvalue())
        seconds = time.monotonic() - start
        for line in answer.splitlines():
            if "error" in (message := json.loads(line)):
                raise Failed(f"dockerd: {message['error']}")
        return Measured(seconds, None)


def unmount_below(folder: Path) -> None:
    mounts = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    for mount in sorted((m for m in mounts if m.startswith(f"{folder}/")), reverse=True):
        subprocess.run(["umount", "--lazy", mount], check=False)
