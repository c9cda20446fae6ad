"""What is found out about a machine, and what it means, on the /proc and /sys of boards that are not here."""

import subprocess
import sys
from types import SimpleNamespace

import pytest

from tinylm.processors import usable_cores
from tinylm.runtime.device import other_systems
from tinylm.runtime.device.diagnosis import Packages, diagnose, numbers_of
from tinylm.runtime.device.machine import Interpreter, read_machine, read_memory

A53 = "fp asimd evtstrm aes pmull sha1 sha2 crc32 cpuid"
A76 = f"{A53} atomics fphp asimdhp asimdrdm lrcpc dcpop asimddp"
BOOKWORM = ("glibc", "2.36")


def arm_core(part, features, cores=4):
    core = (
        f"BogoMIPS\t: 108.00\nFeatures\t: {features}\nCPU implementer\t: 0x41\nCPU architecture: 8\n"
        f"CPU variant\t: 0x0\nCPU part\t: {part}\nCPU revision\t: 1\n"
    )
    return "\n".join(f"processor\t: {number}\n{core}" for number in range(cores))


def meminfo(total, available, swap=0):
    """Of megabytes of 1,000 kB."""
    lines = {"MemTotal": total, "MemFree": available // 2, "MemAvailable": available, "SwapTotal": swap}
    return "".join(f"{name}:    {size * 1000} kB\n" for name, size in (*lines.items(), ("SwapFree", swap)))


def arm(board, cpuinfo, memory, **files):
    return {"proc/device-tree/model": board + "\0", "proc/cpuinfo": cpuinfo, "proc/meminfo": memory, **files}


LAPTOP_CPU = (
    "processor\t: 0\nvendor_id\t: GenuineIntel\nmodel name\t: Intel(R) Core(TM) i5-1240P\n"
    "flags\t\t: fpu sse sse2 ssse3 sse4_1 sse4_2 avx avx2 avx_vnni\n"
)
TREES = {
    "Pi 3": (
        arm("Raspberry Pi 3 Model B Plus Rev 1.3", arm_core("0xd03", A53), meminfo(900, 600, 100)),
        {"cores": 4},
    ),
    "Pi Zero 2 W": (arm("Raspberry Pi Zero 2 W Rev 1.0", arm_core("0xd03", A53), meminfo(420, 250)), {}),
    "Pi 4": (
        arm(
            "Raspberry Pi 4 Model B Rev 1.4",
            arm_core("0xd08", A53),
            meminfo(3800, 3300, 100),
            **{
                "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
                "sys/class/thermal/thermal_zone0/temp": "84218\n",
                "sys/devices/platform/soc/soc:firmware/get_throttled": "50005\n",
                "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "powersave\n",
            },
        ),
        {},
    ),
    "Pi 5": (
        arm(
            "Raspberry Pi 5 Model B Rev 1.0",
            arm_core("0xd0b", A76),
            meminfo(8000, 7000, 200),
            **{"sys/devices/platform/soc@107c000000/soc@107c000000:firmware/get_throttled": "0\n"},
        ),
        {},
    ),
    "32-bit system": (
        arm("Raspberry Pi 4 Model B Rev 1.4", arm_core("0xd08", "half thumb neon vfpv4 crc32"), meminfo(3800, 3300)),
        {"bits": 32},
    ),
    "Pi Zero": (
        arm("Raspberry Pi Zero W Rev 1.1", arm_core("0xb76", "half thumb vfp", 1), meminfo(430, 300)),
        {"bits": 32, "machine": "armv6l", "cores": 1, "allowed_cores": 1},
    ),
    "laptop": (
        {"proc/cpuinfo": LAPTOP_CPU, "proc/meminfo": meminfo(16000, 9000, 2000)},
        {"machine": "x86_64", "cores": 16, "allowed_cores": 16},
    ),
}


@pytest.fixture
def machine(tmp_path):
    """Reads the machine of a name, with some files or some of Python's facts changed."""

    def read(name, files=None, **python):
        tree, facts = TREES[name]
        root = tmp_path / str(len(list(tmp_path.iterdir())))
        for path, text in {**tree, **(files or {})}.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(text)
        values = {
            "system": "Linux",
            "machine": "aarch64",
            "bits": 64,
            "version": "3.11.2",
            "libc": BOOKWORM,
            "cores": 4,
            "allowed_cores": 4,
        }
        return read_machine(root, Interpreter(**{**values, **facts, **python}))

    return read


GOOD = Packages("1.26.0", {})
MISSING = Packages(None, {"onnxruntime": "No module named 'onnxruntime'"})


def findings(machine, packages=GOOD):
    return {finding.topic: finding for finding in diagnose(machine, packages)}


@pytest.mark.parametrize(
    ("name", "cpu", "features"),
    [
        ("Pi 3", "Cortex-A53", ("asimd",)),
        ("Pi Zero 2 W", "Cortex-A53", ("asimd",)),
        ("Pi 4", "Cortex-A72", ("asimd",)),
        ("Pi 5", "Cortex-A76", ("asimd", "asimddp")),
        ("laptop", "Intel(R) Core(TM) i5-1240P", ("sse4_1", "avx2", "avx_vnni")),
    ],
)
def test_the_processor_and_its_features(name, cpu, features, machine):
    facts = machine(name)
    assert (facts.cpu, facts.features) == (cpu, features)
    assert (facts.board or "").startswith("" if name == "laptop" else "Raspberry Pi")
    found = findings(facts)["processor"]
    assert found.level == "ok"
    assert ("no dot products" in found.text) == (name in {"Pi 3", "Pi Zero 2 W", "Pi 4"})
    assert cpu in found.text


def test_a_core_that_nobody_knows_is_told_by_its_numbers(machine):
    assert "0xfff of implementer 0x41" in machine("Pi 4", {"proc/cpuinfo": arm_core("0xfff", A53)}).cpu


def test_memory_and_swap(machine, tmp_path):
    memory = machine("Pi 3").memory
    assert (memory.total, memory.available) == (900 * 1_024_000, 600 * 1_024_000)
    assert memory.room == 700 * 1_024_000
    assert memory.limit is None


def test_a_small_board_without_swap_is_told_to_add_some(machine):
    assert "zram" in findings(machine("Pi Zero 2 W"))["memory"].advice
    assert findings(machine("Pi 3"))["memory"].level == "ok"


def test_a_64_bit_kernel_under_a_32_bit_system_is_named(machine):
    found = findings(machine("32-bit system"), MISSING)["system"]
    assert found.level == "problem"
    assert "64-bit kernel under a 32-bit system" in found.text
    assert "Raspberry Pi OS (64-bit)" in found.advice
    # Which no pip can mend
    assert "pip" not in findings(machine("32-bit system"), MISSING)["onnxruntime"].advice


def test_a_board_without_64_bits_is_not_told_to_install_them(machine):
    found = findings(machine("Pi Zero"), MISSING)["processor"]
    assert found.level == "problem"
    assert "no 64-bit mode" in found.text
    assert "Zero 2 W" in found.advice


@pytest.mark.parametrize(
    ("libc", "advice"), [(("musl", "1.2.4"), "glibc, such as Debian"), (("glibc", "2.24"), "update the system")]
)
def test_a_libc_without_packages_is_a_problem_unless_onnxruntime_runs(libc, advice, machine):
    facts = machine("Pi 5", libc=libc)
    assert findings(facts, MISSING)["system"].level == "problem"
    assert advice in findings(facts, MISSING)["system"].advice
    assert findings(facts, GOOD)["system"].level == "note"


@pytest.mark.parametrize(("version", "level"), [("3.10.12", "problem"), ("3.13.1", "ok"), ("3.15.0b1", "note")])
def test_the_python_version(version, level, machine):
    assert findings(machine("Pi 5", version=version))["Python"].level == level


def test_heat_voltage_and_clock(machine):
    facts = machine("Pi 4")
    assert facts.temperature == pytest.approx(84.218)
    assert facts.throttled == 0x50005
    told = [(found.topic, found.text) for found in diagnose(facts, GOOD) if found.level == "note"]
    assert ("power", "the supply voltage is too low") in told
    assert ("power", "it is throttled") in told
    assert len([topic for topic, _ in told if topic == "power"]) == 2
    assert {"temperature", "clock"} <= {topic for topic, _ in told}
    before = {"sys/devices/platform/soc/soc:firmware/get_throttled": "50000\n"}
    told = [found.text for found in diagnose(machine("Pi 4", before), GOOD) if found.topic == "power"]
    assert told == [
        "the supply voltage was too low since it was switched on",
        "it was throttled since it was switched on",
    ]
    found = findings(machine("Pi 5"))["power"]
    assert (found.level, found.advice) == ("ok", "")


@pytest.mark.parametrize(
    ("packages", "text"),
    [
        (MISSING, "not installed"),
        (Packages("1.22.1", {}), "too old"),
        (Packages("1.21.0", {"onnxruntime": "crashed with SIGILL"}), "crashes on a Raspberry Pi 4"),
        (Packages("1.24.0", {"onnxruntime": "crashed with SIGILL"}), "crashed with SIGILL"),
    ],
)
def test_an_onnxruntime_that_does_not_do(packages, text, machine):
    found = findings(machine("Pi 4"), packages)["onnxruntime"]
    assert found.level == "problem"
    assert text in found.text
    assert "pip install" in found.advice


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"proc/self/cgroup": "0::/box\n", "sys/fs/cgroup/box/cpu.max": "200000 100000\n"}, 2),
        ({"proc/self/cgroup": "0::/box/in\n", "sys/fs/cgroup/box/cpu.max": "150000 100000\n"}, 1),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "50000 100000\n"}, 1),
        ({"proc/self/cgroup": "0::/box\n", "sys/fs/cgroup/box/cpu.max": "max 100000\n"}, 16),
        (
            {
                "proc/self/cgroup": "4:cpu,cpuacct:/docker/1\n",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "300000\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            3,
        ),
        ({"proc/self/cgroup": "4:cpu:/\n", "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n"}, 16),
    ],
)
def test_a_containers_share_of_the_processor(files, cores, machine):
    facts = machine("laptop", files)
    assert facts.usable_cores == cores
    if cores < 16:
        assert f"{cores} of 16 cores" in findings(facts)["cores"].text


def test_affinity_counts_too(machine, tmp_path):
    assert machine("laptop", allowed_cores=3).usable_cores == 3
    assert usable_cores(tmp_path / "nothing", allowed=5) == 5


def test_a_containers_limit_of_memory(machine):
    group = {
        "proc/self/cgroup": "0::/box\n",
        "sys/fs/cgroup/box/memory.max": "300000000\n",
        "sys/fs/cgroup/box/memory.current": "180000000\n",
        "sys/fs/cgroup/box/memory.stat": "anon 90000000\ninactive_file 60000000\n",
        "sys/fs/cgroup/box/memory.swap.max": "0\n",
    }
    memory = machine("laptop", group).memory
    assert (memory.limit, memory.room) == (300_000_000, 180_000_000)
    swap = machine("laptop", {**group, "sys/fs/cgroup/box/memory.swap.max": "50000000\n"}).memory
    assert swap.room == 230_000_000


def test_a_limit_beyond_the_machines_memory_is_none(machine):
    group = {"proc/self/cgroup": "5:memory:/\n", "sys/fs/cgroup/memory/memory.limit_in_bytes": f"{2**63 - 4096}\n"}
    assert machine("laptop", group).memory.limit is None


def test_files_that_say_nothing_are_no_reason_to_fail(machine, tmp_path):
    bare = read_machine(tmp_path / "nothing", Interpreter(machine="riscv64"))
    assert bare.cpu == "riscv64"
    assert bare.features is None
    assert bare.memory.room is None
    assert list(diagnose(bare, GOOD))
    odd = dict.fromkeys(TREES["Pi 4"][0], "\n?: :\x00\n")
    assert list(diagnose(machine("Pi 4", odd), GOOD))


@pytest.mark.parametrize(
    ("system", "processor", "answer", "features"),
    [
        ("Windows", "AMD64", 1, ("avx2",)),
        ("Windows", "AMD64", 0, ()),
        ("Windows", "ARM64", 0, None),
        ("Darwin", "x86_64", 1, ("avx2",)),
        ("Darwin", "x86_64", 0, ()),
        ("Darwin", "arm64", 1, ("asimd", "asimddp", "i8mm", "bf16")),
        ("FreeBSD", "amd64", 1, None),
    ],
)
def test_other_systems_are_asked_for_features(system, processor, answer, features, monkeypatch):
    kernel = SimpleNamespace(IsProcessorFeaturePresent=lambda feature: answer if feature == 40 else 0)
    monkeypatch.setattr(other_systems, "_kernel32", lambda: kernel)
    asked = {"hw.optional.avx2_0", *(f"hw.optional.arm.FEAT_{name}" for name in ("DotProd", "I8MM", "BF16"))}
    monkeypatch.setattr(other_systems, "_sysctl", lambda name: str(answer) if name in asked else "a name")
    monkeypatch.setattr(other_systems.platform, "system", lambda: system)
    monkeypatch.setattr(other_systems.platform, "machine", lambda: processor)
    assert other_systems.processor()[1] == features


def test_avx2_needs_no_numpy():
    code = "import sys; sys.modules['numpy'] = None; from tinylm.runtime.device.machine import has_avx2; has_avx2()"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_this_very_machine():
    facts = read_machine()
    assert 1 <= facts.usable_cores <= facts.interpreter.cores
    assert facts.cpu
    memory = read_memory()
    assert 0 < memory.own < memory.total
    assert memory.room > 0


@pytest.mark.parametrize(
    ("version", "numbers"), [("1.23.0", (1, 23, 0)), ("1.23.0rc1", (1, 23)), ("2", (2,)), ("", ())]
)
def test_numbers_of_versions(version, numbers):
    assert numbers_of(version) == numbers
