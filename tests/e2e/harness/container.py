"""A container without a container engine: a process under bubblewrap as a Pod's manifest and its image tell.

Owns the sandbox: user, capabilities, a root of its own that nobody can write to, the Pod's volumes at their places, an
environment with nothing of this machine, process id 1. What differs from a container: the network is the machine's own,
and there is no seccomp profile and no limit of memory and CPU.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from .image import PROGRAMS, Image, shipped
from .processes import ServerProcess
from .volumes import Volumes
from .volumes import field as pod_field

Object = dict[str, Any]
# What any image of Debian has: the programs and libraries of this machine, and no file about its users.
SYSTEM_DIRECTORIES = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64")
SYSTEM_FILES = ("/etc/ld.so.cache", "/etc/ssl", "/etc/hosts", "/etc/resolv.conf", "/etc/nsswitch.conf")
BYTES = {"": 1, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}
# User, process and other namespaces, without which there is no such sandbox.
ISOLATED = ("--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--die-with-parent", "--as-pid-1")


class ContainerError(RuntimeError):
    """A kubelet would refuse to start this container."""


@cache
def obstacle() -> str | None:
    """Why there can be no container; None when all is well."""
    program = shutil.which("bwrap")
    if program is None:
        return "no bwrap on this machine (Debian: apt-get install bubblewrap)"
    tried = [program, *ISOLATED, *("--uid", "65532", "--gid", "65532"), *("--ro-bind", "/", "/", "--proc", "/proc")]
    done = subprocess.run([*tried, "true"], capture_output=True, text=True, timeout=30, check=False)
    if done.returncode == 0:
        return None
    return (
        f"bwrap can't make a sandbox on this machine: {done.stderr.strip()}; it needs user namespaces "
        "(sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns)"
    )


@dataclass(frozen=True, kw_only=True)
class Container:
    """The only container of a Pod, of this name; `programs` is the environment with the installed wheel."""

    name: str
    pod: Object
    volumes: Volumes
    programs: Path
    image: Image = field(default_factory=shipped)
    added: Mapping[str, str] = field(default_factory=dict)
    """What the cluster adds to the environment, and what this machine needs otherwise."""

    @property
    def spec(self) -> Object:
        """What the Pod says of it."""
        (only,) = self.pod["spec"]["containers"]
        return dict(only)

    @property
    def user(self) -> tuple[int, int]:
        """The ids of user and group. Raises ContainerError for a root that is forbidden."""
        context = self._security
        uid, gid = context.get("runAsUser", self.image.user[0]), context.get("runAsGroup", self.image.user[1])
        if context.get("runAsNonRoot") and uid == 0:
            raise ContainerError("the container has runAsNonRoot, and the image will run as root")
        return uid, gid

    @property
    def environment(self) -> dict[str, str]:
        """All variables of the process."""
        named = {**self.pod, "metadata": {**self.pod["metadata"], "name": self.name}}
        said = {item["name"]: _value(item, named) for item in self.spec.get("env", ())}
        return {**self.image.environment, "HOME": "/", "HOSTNAME": self.name, **said, **self.added}

    def sandbox(self, *flags: str) -> list[str]:
        """bwrap with all that is in front of the command to run."""
        uid, gid = self.user
        root: list[str] = []
        if self._security.get("readOnlyRootFilesystem"):
            root = ["--remount-ro", "/"]
        drop = [
            flag for name in self._security.get("capabilities", {}).get("drop", ()) for flag in ("--cap-drop", name)
        ]
        return [
            *(shutil.which("bwrap") or "bwrap", *ISOLATED, *flags),
            *("--uid", str(uid), "--gid", str(gid), "--hostname", self.name, *drop),
            *self._system(),
            *("--proc", "/proc", "--dev", "/dev", "--remount-ro", "/dev"),
            *self._mounts(),
            *self._programs(),
            *root,
            *("--chdir", self.spec.get("workingDir", self.image.directory), "--"),
        ]

    def command(self) -> list[str]:
        """What the container runs: the Pod's word goes before the image's."""
        arguments = self.spec.get("args", [] if "command" in self.spec else self.image.command)
        return [*self.spec.get("command", self.image.entrypoint), *arguments]

    @property
    def _security(self) -> Object:
        return {**self.pod["spec"].get("securityContext", {}), **self.spec.get("securityContext", {})}

    def _system(self) -> list[str]:
        """The machine's own programs and libraries, and nothing else that it has."""
        flags: list[str] = []
        for place in SYSTEM_DIRECTORIES:
            if Path(place).is_symlink():
                flags += ["--symlink", os.readlink(place), place]
            else:
                flags += ["--ro-bind-try", place, place]
        return [*flags, *(flag for place in SYSTEM_FILES for flag in ("--ro-bind-try", place, place))]

    def _programs(self) -> list[str]:
        """Python and the wheel, after the mounts: they may lie below one of them, as below /tmp."""
        python = {
            place for place in (sys.base_prefix, os.path.realpath(sys.base_prefix)) if not place.startswith("/usr")
        }
        flags = [flag for place in sorted(python) for flag in ("--ro-bind", place, place)]
        # The scripts in it name their interpreter by the path that it was made at.
        return [*flags, "--ro-bind", str(self.programs), str(self.programs), "--ro-bind", str(self.programs), PROGRAMS]

    def _mounts(self) -> list[str]:
        kinds = {volume["name"]: volume for volume in self.pod["spec"]["volumes"]}
        flags: list[str] = []
        for mount in self.spec["volumeMounts"]:
            place, name = mount["mountPath"], mount["name"]
            if name in self.volumes:
                flags += ["--ro-bind", str(self.volumes[name].directory), place]
                continue
            limit = kinds[name]["emptyDir"].get("sizeLimit")
            flags += ["--size", str(_bytes(limit))] if limit else []
            flags += ["--perms", "0777", "--tmpfs", place]
            flags += ["--remount-ro", place] if mount.get("readOnly") else []
        return flags


class ContainerProcess(ServerProcess):
    """The process of a container; it alone is asked to end, as a kubelet does, and not the sandbox around it."""

    def __init__(self, container: Container, log: Path) -> None:
        super().__init__(container.name, (), log)
        self._container = container
        self._inner: int | None = None

    def launch(self) -> None:
        """Start it, with the container's environment and nothing else."""
        reading, writing = os.pipe()
        try:
            self._arguments = [*self._container.sandbox("--info-fd", str(writing)), *self._container.command()]
            self.start(self._container.environment, inherit=False, keep=[writing])
        finally:
            os.close(writing)
        with os.fdopen(reading) as info:
            text = info.read()
        self._inner = json.loads(text)["child-pid"] if text else None  # else bwrap has told why in the log

    def _ask_to_end(self, child: subprocess.Popen[bytes]) -> None:
        if self._inner is None:
            super()._ask_to_end(child)
        elif child.poll() is None:
            os.kill(self._inner, signal.SIGTERM)


def service_environment(url: str) -> dict[str, str]:
    """Where every container finds the API server."""
    host, _, port = url.removeprefix("https://").strip("/").partition(":")
    return {
        "KUBERNETES_SERVICE_HOST": host,
        "KUBERNETES_SERVICE_PORT": port or "443",
        "KUBERNETES_SERVICE_PORT_HTTPS": port or "443",
    }


def inside(container: Container, arguments: Sequence[str], *, seconds: float = 60) -> subprocess.CompletedProcess[str]:
    """Run something else than the container's own command in it, as `kubectl exec` does."""
    return subprocess.run(
        [*container.sandbox(), *arguments],
        env=container.environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )


def _value(item: Object, pod: Object) -> str:
    source = item.get("valueFrom")
    return str(item.get("value", "")) if source is None else pod_field(pod, source["fieldRef"]["fieldPath"])


def _bytes(quantity: str) -> int:
    number, unit = re.fullmatch(r"(\d+)(\D*)", quantity).groups()  # type: ignore[union-attr]  # the API server's form
    return int(number) * BYTES[unit]
