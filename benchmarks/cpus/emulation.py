"""Other CPUs on this machine, by qemu's user mode; an Arm core gets an aarch64 Python of its own."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from benchmarks.cpus.packages import (
    copy_package,
    debian_source,
    install_wheels,
    python_version,
    runtime_pins,
    unpack_debian,
)
from tinylm.errors import TinyLMError
from tinylm.files import new_folder

LEAST_QEMU = (7, 2)  # the first that knows AVX2
_FEATURES = "fp asimd evtstrm aes pmull sha1 sha2 crc32 cpuid"


@dataclass(frozen=True)
class Cpu:
    """A CPU to run on.

    Attributes:
        name: as qemu calls it; "host" is this machine's own.
        remark: which machines have it, or what it has.
        least_ratio: decode speed of int8 over fp32 that is asked for.
        part: of an Arm core: its number in /proc/cpuinfo; 0 for x86.
        features: its features in /proc/cpuinfo; of x86 those that TinyLM reads.
        march: of an Arm core: its architecture, as gcc's `-march` names it.
        least_over_llama: of an Arm core: decode speed over llama.cpp's that is asked for.
    """

    name: str
    remark: str
    least_ratio: float | None = None
    part: int = 0
    features: str = _FEATURES
    march: str = "armv8-a"
    least_over_llama: float = 1.3

    @property
    def emulator(self) -> str | None:
        """The qemu program, None for this machine's own CPU."""
        if self.name == "host":
            return None
        return "qemu-aarch64-static" if self.part else "qemu-x86_64-static"


HOST = Cpu("host", "this machine")
CPUS = (
    HOST,
    Cpu("cortex-a53", "Pi 3, Pi Zero 2 W", 2.2, 0xD03),
    Cpu("cortex-a72", "Pi 4", 2.2, 0xD08),
    Cpu(
        "cortex-a76",
        "Pi 5, dot products",
        4.0,
        0xD0B,
        f"{_FEATURES} atomics fphp asimdhp asimdrdm lrcpc dcpop asimddp",
        "armv8.2-a+dotprod+fp16",
        least_over_llama=1.8,
    ),
    Cpu("Haswell", "x86 with AVX2, no VNNI", features="sse4_1 avx2"),
    Cpu("Nehalem", "x86 with SSE4, no AVX", features="sse4_1"),
)


def check_machine(cpus: Sequence[Cpu]) -> None:
    """Make sure that this machine can be all of these CPUs.

    Raises:
        TinyLMError: says what is missing and how to get it.
    """
    if sys.platform != "linux" or platform.machine() != "x86_64":
        raise TinyLMError(f"this is {sys.platform} on {platform.machine()}: run it on Linux on x86-64")
    emulators = sorted({cpu.emulator for cpu in cpus if cpu.emulator})
    wanted = [*emulators, *(["apt-get", "dpkg-deb"] if any(cpu.part for cpu in cpus) else [])]
    missing = [tool for tool in wanted if shutil.which(tool) is None]
    if missing:
        raise TinyLMError(f"{', '.join(missing)} not found: on Debian or Ubuntu, `apt-get install qemu-user-static`")
    for emulator in emulators:
        text = subprocess.run([emulator, "--version"], capture_output=True, text=True, check=False).stdout
        found = re.search(r"version (\d+)\.(\d+)", text)
        if found is None or (int(found[1]), int(found[2])) < LEAST_QEMU:
            wanted_version = ".".join(map(str, LEAST_QEMU))
            raise TinyLMError(f"{emulator} {found[0] if found else ''}: too old; needs qemu {wanted_version} or newer")


def cpuinfo(cpu: Cpu, cores: int = 4) -> str:
    """What /proc/cpuinfo says on a machine with this CPU: onnxruntime crashes on an Arm core that reads an x86's."""
    if not cpu.part:
        return "\n".join(
            f"processor\t: {number}\nmodel name\t: {cpu.name}\nflags\t\t: {cpu.features}\n" for number in range(cores)
        )
    core = (
        f"BogoMIPS\t: 108.00\nFeatures\t: {cpu.features}\nCPU implementer\t: 0x41\nCPU architecture: 8\n"
        f"CPU variant\t: 0x0\nCPU part\t: {cpu.part:#05x}\nCPU revision\t: 1\n"
    )
    return "\n".join(f"processor\t: {number}\n{core}" for number in range(cores))


def is_noise(line: str) -> bool:
    """Whether a line on stderr is but one of qemu's, which names every feature that it leaves out: none matter here."""
    return "TCG doesn't support requested feature" in line


class Emulation:
    """Pythons of other CPUs that have TinyLM's runtime and what it needs.

    Args:
        work: an empty folder that lives as long as this object is used.
        cache: where what was fetched is kept for the next time.
        mirror: of Debian; None: the machine's own, if it is Debian.
        suite: Debian's release; None: the machine's own, if it is Debian.
        say: told what goes on.
    """

    def __init__(
        self, work: Path, cache: Path, mirror: str | None, suite: str | None, say: Callable[[str], None]
    ) -> None:
        self._work, self._cache, self._say = work, cache, say
        own_mirror, own_suite = debian_source()
        self._mirror, self._suite = mirror or own_mirror, suite or own_suite
        self._package = work / "package"
        copy_package(self._package)

    def prepare(self) -> None:
        """Fetch what Arm cores need, unless it is there.

        Raises:
            TinyLMError: it cannot be had.
        """
        self._root()
        self._wheels()

    def run(self, cpu: Cpu, script: Path, *arguments: str) -> str:
        """What a Python script prints on a CPU; its stderr goes to ours.

        Raises:
            TinyLMError: the script failed.
        """
        command, environment = self.python(cpu, script, *arguments)
        with subprocess.Popen(
            command,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        ) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            last = ""
            for line in process.stderr:
                if not is_noise(line):
                    last = line.strip() or last
                    print(line, end="", file=sys.stderr, flush=True)
            output = process.stdout.read()
        if process.returncode:
            raise TinyLMError(f"{cpu.name}: {script.name} ended with status {process.returncode} ({last})")
        return output

    def python(self, cpu: Cpu, script: Path, *arguments: str) -> tuple[list[str], dict[str, str]]:
        """The command that runs a Python script on a CPU, and its environment."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        environment |= {
            "PYTHONPATH": str(self._package),
            "PYTHONDONTWRITEBYTECODE": "1",
            "OMP_NUM_THREADS": "1",
            "XDG_CACHE_HOME": str(self._work / "user-cache"),
        }
        if not cpu.part:
            return [*self.program(cpu, Path(sys.executable)), str(script), *arguments], environment
        root, wheels, prefix = self._root(), self._wheels(), self._prefix(cpu)
        libraries = [str(prefix / folder / "aarch64-linux-gnu") for folder in ("lib", "usr/lib")]
        environment |= {
            "PYTHONPATH": os.pathsep.join([str(self._package), str(wheels)]),
            "PYTHONHOME": str(prefix / "usr"),
            "LD_LIBRARY_PATH": os.pathsep.join(libraries),
        }
        python = prefix / "usr" / "bin" / f"python{python_version(root)}"
        return [*self.program(cpu, python), str(script), *arguments], environment

    def program(self, cpu: Cpu, path: Path, *arguments: str) -> list[str]:
        """The command that runs a program on a CPU."""
        emulator = [] if cpu.emulator is None else [cpu.emulator, "-cpu", cpu.name, "-L", str(self._prefix(cpu))]
        return [*emulator, str(path), *arguments]

    def _prefix(self, cpu: Cpu) -> Path:
        """Where qemu looks first, so that the CPU has a /proc/cpuinfo of its own."""
        prefix = self._work / cpu.name
        if not prefix.exists():
            (prefix / "proc").mkdir(parents=True)
            (prefix / "proc" / "cpuinfo").write_text(cpuinfo(cpu))
            if cpu.part:
                for path in self._root().iterdir():
                    (prefix / path.name).symlink_to(path)
        return prefix

    def _root(self) -> Path:
        target = self._cache / f"debian-{self._suite}-arm64"
        if not target.is_dir():
            self._say(f"fetching Debian's aarch64 packages from {self._mirror} ({self._suite})")
            with new_folder(target) as folder:
                unpack_debian(folder, self._mirror, self._suite)
        return target

    def _wheels(self) -> Path:
        python = python_version(self._root())
        pins = runtime_pins()
        digest = sha256(" ".join(pins).encode()).hexdigest()[:12]
        target = self._cache / f"wheels-aarch64-{python}-{digest}"
        if not target.is_dir():
            self._say(f"fetching aarch64 wheels: {' '.join(pins)}")
            with new_folder(target) as folder:
                install_wheels(folder, python, pins)
        return target
