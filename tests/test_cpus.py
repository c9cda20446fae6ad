"""The parts of `make test-cpus` that need no emulator: what is asked, what is compared, and how it fails."""

import importlib
import platform
import shutil
import subprocess

import msgspec
import numpy as np
import pytest

from tinylm.errors import TinyLMError
from tinylm.export.graph import build_graph
from tinylm.export.weights import FloatWeights, Int8Weights
from tinylm.runtime.chat_model import DEMO_BUNDLE
from tinylm.runtime.device.machine import Interpreter, read_machine


@pytest.fixture
def subject(cpus, tmp_path):
    """The demo model, with a text of 30 documents."""
    return cpus("subjects").bundle_subject("demo", DEMO_BUNDLE, None, tmp_path)


@pytest.fixture
def findings(cpus, subject):
    """What is found where all is well: makers of findings for judge."""

    def make(bits=1.0, golden=64, ratio=5.0, problem=""):
        probe = cpus("probe")
        quality = probe.Quality(problem=problem, golden_equal=golden, bits_per_byte=bits, fp32_bits_per_byte=1.0)
        return probe.Findings(
            machine="x", onnxruntime="1", subjects={"demo": quality}, milliseconds={"fp32": 5, "int8": 1}, ratio=ratio
        )

    return make


def test_each_arm_core_has_its_own_cpuinfo(cpus):
    emulation = cpus("emulation")
    texts = {cpu.name: emulation.cpuinfo(cpu) for cpu in emulation.CPUS if cpu.part}
    assert set(texts) == {"cortex-a53", "cortex-a72", "cortex-a76"}
    for name, part in (("cortex-a53", "0xd03"), ("cortex-a72", "0xd08"), ("cortex-a76", "0xd0b")):
        blocks = [dict(line.split("\t: ") for line in _lines(block)) for block in texts[name].strip().split("\n\n")]
        assert [block["processor"] for block in blocks] == ["0", "1", "2", "3"]
        assert {block["CPU part"] for block in blocks} == {part}
        assert {block["CPU implementer"] for block in blocks} == {"0x41"}
        # Without it onnxruntime takes the kernels of a Pi 4; with it on a Pi 4, it would die of them
        assert all(("asimddp" in block["Features"].split()) == (name == "cortex-a76") for block in blocks)


@pytest.mark.parametrize(("name", "avx2"), [("Haswell", True), ("Nehalem", False)])
def test_each_x86_has_its_own_cpuinfo(cpus, name, avx2, tmp_path):
    emulation = cpus("emulation")
    (cpu,) = [cpu for cpu in emulation.CPUS if cpu.name == name]
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc" / "cpuinfo").write_text(emulation.cpuinfo(cpu))
    machine = read_machine(tmp_path, Interpreter(machine="x86_64"))
    assert machine.cpu == name
    assert ("avx2" in machine.features) == avx2


def _lines(block):
    return [line.replace("CPU architecture: ", "CPU architecture\t: ") for line in block.splitlines()]


def test_missing_emulator_is_one_line(cpus, monkeypatch):
    emulation = cpus("emulation")
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(emulation.sys, "platform", "linux")
    monkeypatch.setattr(shutil, "which", lambda tool: None if tool.startswith("qemu") else f"/usr/bin/{tool}")
    with pytest.raises(TinyLMError, match=r"^qemu-aarch64-static, .* not found: .*apt-get install") as raised:
        emulation.check_machine(emulation.CPUS)
    assert "\n" not in str(raised.value)
    # This machine's own CPU asks for nothing
    emulation.check_machine([emulation.HOST])


def test_old_emulator_and_other_machines_are_refused(cpus, monkeypatch):
    emulation = cpus("emulation")
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(emulation.sys, "platform", "linux")
    monkeypatch.setattr(shutil, "which", lambda tool: f"/usr/bin/{tool}")
    for text, fits in (("qemu-x86_64 version 7.1.9", False), ("qemu-x86_64 version 10.0.2", True), ("", False)):
        answer = subprocess.CompletedProcess([], 0, stdout=text)
        monkeypatch.setattr(subprocess, "run", lambda *_, answer=answer, **__: answer)
        if fits:
            emulation.check_machine(emulation.CPUS)
        else:
            with pytest.raises(TinyLMError, match=r"too old; needs qemu 7\.2"):
                emulation.check_machine(emulation.CPUS)
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    with pytest.raises(TinyLMError, match=r"linux on riscv64: run it on Linux on x86-64"):
        emulation.check_machine(emulation.CPUS)


def test_debian_source_is_the_machines_own(cpus, monkeypatch):
    packages = cpus("packages")
    listing = "http://other/repo/ bookworm stable\nhttp://mirror/debian/ trixie main\nhttp://late/debian/ trixie main\n"
    answer = subprocess.CompletedProcess([], 0, stdout=listing)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: answer)
    facts = {"ID": "debian", "VERSION_CODENAME": "trixie"}
    monkeypatch.setattr(platform, "freedesktop_os_release", lambda: facts)
    assert packages.debian_source() == ("http://mirror/debian/", "trixie")
    facts["VERSION_CODENAME"] = "bookworm"
    assert packages.debian_source() == (packages.MIRROR, "bookworm")
    facts["ID"] = "ubuntu"
    assert packages.debian_source() == (packages.MIRROR, packages.SUITE)


def test_a_failed_fetch_is_one_line_and_leaves_nothing(cpus, tmp_path):
    if not shutil.which("apt-get") or not cpus("packages").KEYRING.is_file():
        pytest.skip("needs apt-get and Debian's keyring")
    (tmp_path / "work").mkdir()
    emulation = cpus("emulation").Emulation(
        tmp_path / "work", tmp_path / "cache", f"file:{tmp_path}/nowhere", "bookworm", lambda _: None
    )
    with pytest.raises(TinyLMError, match=r"^apt-get failed \(E: .*\); give --mirror URL") as raised:
        emulation.prepare()
    assert "\n" not in str(raised.value)
    assert not list((tmp_path / "cache").iterdir())


def test_pins_are_what_a_device_installs(cpus):
    pins = cpus("packages").runtime_pins()
    assert [pin.partition("==")[0] for pin in pins] == sorted(
        ["click", "msgspec", "numpy", "onnxruntime", "platformdirs", "rich", "sentencepiece"]
    )
    assert f"numpy=={np.__version__}" in pins


def test_all_well_passes(cpus, subject, findings):
    verdict = cpus("verdict").judge([subject], {"host": findings(), "cortex-a76": findings(bits=1.0004)})
    assert verdict["passed"]
    assert verdict["problems"] == []
    assert verdict["spread_percent"]["demo"] == pytest.approx(0.04)
    assert verdict["figures"]["cortex-a76"]["models"]["demo"]["quality_loss_percent"] == pytest.approx(0.04)
    assert "FAILED" not in cpus("verdict").table(verdict)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"golden": 63}, "cortex-a76: demo: only 63 of 64 golden tokens"),
        ({"bits": 1.0011}, "cortex-a76: demo: int8 costs 0.110 %"),
        ({"bits": 0.9994}, "demo: bits per byte differ by 0.060 % between CPUs"),
        ({"ratio": 3.99}, "cortex-a76: int8 is 3.99 x as fast as fp32 (asked: 4.0 x)"),
        ({"problem": "model.onnx: changed"}, "cortex-a76: demo: model.onnx: changed"),
    ],
)
def test_every_failing_figure_is_named(cpus, subject, findings, changes, problem):
    verdict = cpus("verdict").judge([subject], {"host": findings(), "cortex-a76": findings(**changes)})
    assert not verdict["passed"]
    assert any(text.startswith(problem) for text in verdict["problems"])
    assert f"FAILED  {problem}" in cpus("verdict").table(verdict)


def test_a_cpu_that_gives_nothing_fails(cpus, subject, findings):
    verdict = cpus("verdict").judge([subject], {"host": findings(), "Nehalem": "Nehalem: ended with status -4"})
    assert not verdict["passed"]
    assert not verdict["figures"]["Nehalem"]["passed"]
    assert verdict["figures"]["host"]["passed"]
    assert "status -4" in cpus("verdict").table(verdict)


def test_equal_beginning_counts_to_the_first_difference(cpus):
    equal_beginning = cpus("probe").equal_beginning
    assert equal_beginning([1, 2, 3], [1, 2, 3]) == 3
    assert equal_beginning([1, 9, 3], [1, 2, 3]) == 1
    assert equal_beginning([1, 2], [1, 2, 3]) == 2
    assert equal_beginning([], [1]) == 0


@pytest.fixture
def job(cpus, subject, random_model, tmp_path):
    model = random_model()
    graphs = {}
    for name, weights in (("fp32", FloatWeights()), ("int8", Int8Weights())):
        path = tmp_path / f"{name}.onnx"
        path.write_bytes(build_graph(model, weights).SerializeToString())
        graphs[name] = str(path)
    return cpus("probe").Job(subjects=[subject], positions=60, graphs=graphs, tokens=8)


def test_this_machine_finds_what_it_should(cpus, job, tmp_path):
    """The whole way, in a Python of its own that has but the device's part of TinyLM in front."""
    assert sum(len(golden.continuation) for golden in job.subjects[0].golden) == 64
    main = importlib.import_module("benchmarks.cpus.__main__")
    emulation_module = cpus("emulation")
    emulation = emulation_module.Emulation(tmp_path, tmp_path / "cache", None, None, lambda _: None)
    found = main.run_job(emulation, emulation_module.HOST, job, tmp_path)
    assert not isinstance(found, str), found
    verdict = cpus("verdict").judge(job.subjects, {"host": found})
    assert verdict["passed"], verdict["problems"]
    assert 0 < found.subjects["demo"].bits_per_byte < 10
    assert found.ratio > 0
    # Only the device's part was copied
    copied = {path.name for path in (tmp_path / "package" / "tinylm").iterdir()}
    assert {"runtime", "tokenizer", "manifest.py"} <= copied
    assert not {"export", "data", "cli"} & copied
    for broken in (msgspec.structs.replace(job, graphs={}), msgspec.structs.replace(job, graphs={"fp32": "nothing"})):
        problem = main.run_job(emulation, emulation_module.HOST, broken, tmp_path)
        assert isinstance(problem, str)
        assert "ended with status 1" in problem


def test_a_damaged_bundle_and_a_different_continuation_are_found(cpus, job, tmp_path):
    shutil.copytree(DEMO_BUNDLE, tmp_path / "damaged")
    model = tmp_path / "damaged" / "model.onnx"
    data = bytearray(model.read_bytes())
    data[len(data) // 2] ^= 1
    model.write_bytes(bytes(data))
    probe = cpus("probe")
    subject = job.subjects[0]
    damaged = msgspec.structs.replace(subject, bundle=str(tmp_path / "damaged"))
    assert "model.onnx: changed since it was written" in probe.look_at(damaged, 20).problem
    first = subject.golden[0]
    other = probe.GoldenText(first.prompt, [*first.continuation[:3], first.continuation[3] + 1, 0])
    assert probe.look_at(msgspec.structs.replace(subject, golden=[other]), 20).golden_equal == 3


def test_text_without_sure_tokens_is_refused_in_one_line(cpus, tmp_path):
    text = tmp_path / "few.txt"
    text.write_text("Two words.\n")
    with pytest.raises(TinyLMError, match=r"only \d+ tokens of 64 .* --data FILE$") as raised:
        cpus("subjects").bundle_subject("demo", DEMO_BUNDLE, text, tmp_path)
    assert "\n" not in str(raised.value)


def test_what_is_no_bundle_is_refused_in_one_line(cpus, tmp_path):
    with pytest.raises(TinyLMError, match="no such bundle"):
        cpus("subjects").bundle_subject("mine", tmp_path / "nothing", None, tmp_path)


@pytest.mark.parametrize("arguments", [["--positions", "0"], ["--tokens", "4"], ["--cpu", "z80"]])
def test_impossible_options_are_usage_errors(cpus, arguments):
    with pytest.raises(SystemExit) as raised:
        importlib.import_module("benchmarks.cpus.__main__").parse_arguments(arguments)
    assert raised.value.code == 2
