"""A machine with systemd as PID 1, in a container: where units, reloads and the journal are real.

It sits on Docker's default bridge. Load runs inside it by `Load(..., python=host.python)`, backends
by `Backends(python=host.python)`; from outside it answers at `host.address`.
"""

import dataclasses
import io
import json
import secrets
import subprocess
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from tests.support import machine
from tests.support.process import wait_until

PREFIX = "/opt/confsync"
SITE_PACKAGES = f"{PREFIX}/lib/python3.11/site-packages"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """How a command in the container ended."""

    code: int
    out: str
    err: str


class SystemdHost:
    """A booted Debian 12 with systemd and Debian's haproxy; removed at the end."""

    def __init__(self, image: str = "") -> None:
        self._image = image or machine.docker_image("systemd")
        self.name = f"confsync-systemd-{secrets.token_hex(4)}"
        # Python inside, for Load(python=...) and Backends(python=...).
        self.python = ("docker", "exec", "-i", self.name, "python3")

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """Boot it, and wait until every unit is up."""
        # Privileged containers cannot start on machines that lack some capability themselves;
        # systemd needs only these, and the cgroup tree.
        argv = ["docker", "run", "-d", "--name", self.name, "--hostname", "testbed"]
        argv += ["--cap-add", "SYS_ADMIN", "--cap-add", "NET_ADMIN", "--cgroupns=host"]
        argv += ["--security-opt", "seccomp=unconfined", "-e", "container=docker"]
        argv += ["--tmpfs", "/run", "--tmpfs", "/run/lock", "--tmpfs", "/tmp"]
        argv += ["-v", "/sys/fs/cgroup:/sys/fs/cgroup:rw", self._image, "/lib/systemd/systemd"]
        _run(argv)
        try:
            wait_until(self._up, f"systemd in {self.name}", timeout=120)
        except TimeoutError as error:
            state = self.sh("systemctl is-system-running; systemctl list-jobs", check=False)
            raise TimeoutError(f"{error}: {state.out}{state.err}") from None

    def close(self) -> None:
        subprocess.run(["docker", "rm", "-fv", self.name], capture_output=True, check=False)

    @property
    def address(self) -> str:
        """Its address on Docker's bridge."""
        found = json.loads(_run(["docker", "inspect", self.name]))
        return str(found[0]["NetworkSettings"]["IPAddress"])

    def sh(
        self, command: str, *, check: bool = True, stdin: bytes = b"", timeout: float = 60
    ) -> Done:
        """Run a shell command as root inside; with `check` a failing one raises."""
        done = subprocess.run(
            ["docker", "exec", "-i", self.name, "sh", "-c", command],
            input=stdin,
            capture_output=True,
            check=False,
            timeout=timeout,
        )
        result = Done(
            code=done.returncode,
            out=done.stdout.decode(errors="replace"),
            err=done.stderr.decode(errors="replace"),
        )
        if check and result.code:
            raise RuntimeError(f"{command}: exit {result.code}\n{result.out}{result.err}")
        return result

    def put(self, files: Mapping[str, str | bytes | Path], *, mode: int = 0o644) -> None:
        """Write files at absolute paths: text, bytes, or the content of a file or folder here."""
        # Not `docker cp`: it does not see what is mounted inside (/run, /tmp).
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as tar:
            for path, content in files.items():
                if isinstance(content, Path):
                    tar.add(content, path.lstrip("/"), filter=_as_root)
                    continue
                data = content.encode() if isinstance(content, str) else content
                entry = tarfile.TarInfo(path.lstrip("/"))
                entry.size, entry.mode = len(data), mode
                tar.addfile(entry, io.BytesIO(data))
        self.sh("tar -x -C / --no-overwrite-dir", stdin=packed.getvalue())

    def journal(self, unit: str) -> str:
        """Return what a unit logged, without prefixes."""
        return self.sh(f"journalctl --no-pager -o cat -u {unit}").out

    def install(self, tree: Path) -> str:
        """Put a tree made by `program_tree` in; return the path of the confsync command.

        The container needs no package index: what it gets was resolved outside.
        """
        self.sh(f"python3 -m venv --without-pip {PREFIX}")
        command = f"{PREFIX}/bin/confsync"
        main = "import sys\nfrom confsync.__main__ import main\nsys.exit(main())\n"
        self.put({SITE_PACKAGES: tree})
        self.put({command: f"#!{PREFIX}/bin/python\n{main}"}, mode=0o755)
        return command

    def _up(self) -> bool:
        # "degraded" is up too, with a unit that failed: a test that minds looks at that unit.
        state = self.sh("systemctl is-system-running", check=False).out.strip()
        return state in {"running", "degraded"}


def program_tree(project: Path, into: Path) -> Path:
    """Install the project's own wheel and its locked dependencies into a folder; return it.

    They are for the container's Python 3.11 and C library, whatever this machine runs.
    """
    wheels, tree, locked = into / "wheels", into / "tree", into / "requirements.txt"
    uv = str(project / "scripts" / "uv")  # the project's own, so that both use one version
    _run([uv, "build", "--wheel", "--quiet", "--out-dir", str(wheels), str(project)])
    export = [uv, "export", "--frozen", "--quiet", "--no-default-groups", "--no-emit-project"]
    _run([*export, "--project", str(project), "--output-file", str(locked)])
    install = [uv, "pip", "install", "--quiet", "--target", str(tree), "--python-version", "3.11"]
    install += ["--python-platform", f"{_machine()}-manylinux_2_36", "--only-binary", ":all:"]
    _run([*install, "-r", str(locked)])
    _run([*install, "--no-deps", *map(str, wheels.glob("*.whl"))])
    return tree


def _machine() -> str:
    return _run(["uname", "-m"]).strip()


def _as_root(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = "root"
    return entry


def _run(argv: list[str]) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(argv)}: exit {done.returncode}\n{done.stderr}")
    return done.stdout
