"""`tinylm doctor`, and what happens where memory does not do."""

import json
import math
import shutil
import subprocess
import sys

import numpy as np
import onnx
import pytest

from tinylm.errors import BundleError
from tinylm.export.kernel_probes import probe_model
from tinylm.manifest import read_manifest
from tinylm.runtime import checkup
from tinylm.runtime.device.diagnosis import Packages, try_packages
from tinylm.runtime.device.kernel_probe import PROBES, SIZES, SpeedModel, probes_for, weights_per_second
from tinylm.runtime.device.memory import check_memory, explain_allocation, needed_bytes
from tinylm.runtime.ort import onnxruntime

WITHOUT_ONNXRUNTIME = """
import sys
sys.modules["onnxruntime"] = sys.modules["numpy"] = None
from tinylm.cli.main import main
sys.argv = ["tinylm", "doctor"]
main()
"""
LITTLE_MEMORY = """
import resource, sys
from tinylm.errors import BundleError
from tinylm.runtime.chat_model import ChatModel
from tinylm.runtime.ort import onnxruntime
size = int(next(line for line in open("/proc/self/status") if line.startswith("VmSize")).split()[1]) * 1024
resource.setrlimit(resource.RLIMIT_AS, (size + int(sys.argv[2]),) * 2)
try:
    ChatModel(sys.argv[1], threads=1)
except BundleError as error:
    print(error)
"""


@pytest.fixture
def healthy(monkeypatch):
    """Packages and measurements without the time they take."""
    monkeypatch.setattr(checkup, "try_packages", lambda: Packages("1.30.0", {}))
    speed = {
        "load_s": 0.1,
        "time_to_first_token_s": 0.02,
        "prefill_tokens_per_second": 900.0,
        "decode_tokens_per_second": 90.0,
        "threads": 2,
        "prompt_tokens": 48,
        "peak_rss_mb": 77.0,
        "memory_gb_per_s": 12.0,
        "read_gb_per_s": 3.0,
    }
    estimates = [
        {"megabytes": size, "decode_tokens_per_second": 1000 / size, "gigabytes_per_second": 1.0}
        for size in (2, 10, 30, 110)
    ]
    monkeypatch.setattr(checkup, "call", lambda *_, **__: {"bundle": speed, "estimates": estimates})


@pytest.fixture
def memory_of(tmp_path):
    """A root whose machine has so many bytes available."""

    def make(available, swap=0):
        (tmp_path / "proc").mkdir(exist_ok=True)
        lines = {"MemTotal": available * 2, "MemAvailable": available, "SwapTotal": swap, "SwapFree": swap}
        text = "".join(f"{name}: {size // 1024} kB\n" for name, size in lines.items())
        (tmp_path / "proc" / "meminfo").write_text(text)
        return tmp_path

    return make


def test_a_real_examination(bundle, must):
    result = must("doctor", bundle, "--json")
    assert result.stdout.count("\n") == 1
    values = json.loads(result.stdout)
    assert list(values) == ["ok", "findings", "machine", "onnxruntime", "speed", "estimates"]
    assert values["ok"] is True
    levels = {finding["topic"]: finding["level"] for finding in values["findings"]}
    assert {"processor", "system", "Python", "memory", "onnxruntime", "cache", "bundle", "verified"} <= set(levels)
    assert set(levels.values()) <= {"ok", "note"}
    assert values["speed"]["decode_tokens_per_second"] > 0
    assert [one["megabytes"] for one in values["estimates"]] == [2, 10, 30, 110]
    speeds = [one["decode_tokens_per_second"] for one in values["estimates"]]
    assert speeds == sorted(speeds, reverse=True)
    assert values["machine"]["usable_cores"] >= 1


def test_findings_as_plain_lines_in_a_pipe(healthy, bundle, must):
    lines = must("doctor", bundle).stdout.splitlines()
    assert all(line.split(":")[0] in {"ok", "note", "estimate"} for line in lines[:-1])
    assert "ok: onnxruntime: 1.30.0" in lines
    assert any("90 tokens/s on 2 threads, the first after 20 ms" in line for line in lines)
    assert lines[-1].startswith(("All is well", "Chatting works"))


def test_without_a_bundle_the_demo_model_is_examined(healthy, must):
    assert "the demo model in the box: int8" in must("doctor").stdout


def test_a_flipped_byte_prevents_chatting(bundle, tmp_path, run_cli):
    copy = shutil.copytree(bundle, tmp_path / "copy")
    data = bytearray((copy / "model.onnx").read_bytes())
    data[len(data) // 2] ^= 1
    (copy / "model.onnx").write_bytes(data)
    result = run_cli("doctor", copy)
    assert result.exit_code == 1
    [line] = [line for line in result.stdout.splitlines() if line.startswith("problem")]
    assert "model.onnx: changed since it was written" in line
    assert "does not work here" in result.stdout


def test_no_bundle_prevents_chatting(healthy, tmp_path, run_cli):
    result = run_cli("doctor", tmp_path / "none", "--json")
    assert result.exit_code == 1
    values = json.loads(result.stdout)
    assert values["ok"] is False
    assert any("no such bundle" in finding["text"] for finding in values["findings"])


def test_a_text_model_is_pointed_to_complete(healthy, text_bundle, must):
    assert "tinylm complete BUNDLE" in must("doctor", text_bundle).stdout


def test_a_bundle_for_a_newer_onnxruntime(healthy, bundle, run_cli, monkeypatch):
    monkeypatch.setattr(checkup, "read_manifest", lambda folder: _needing(read_manifest(folder), "9.9"))
    result = run_cli("doctor", bundle)
    assert result.exit_code == 1
    assert "needs onnxruntime 9.9, and 1.30.0 is installed -> pip install 'onnxruntime>=9.9'" in result.stdout


def _needing(manifest, version):
    import msgspec

    graph = msgspec.structs.replace(manifest.graph, least_onnxruntime=version)
    return msgspec.structs.replace(manifest, graph=graph)


def test_too_little_memory_for_the_bundle_is_a_problem_with_its_size(healthy, bundle, memory_of):
    results = checkup.examine(bundle, "mine", root=memory_of(50_000_000))
    assert results.ok is False
    assert results.speed is None
    assert any("MB of memory, and 50 MB are free" in finding.text for finding in results.findings)


def test_estimates_say_what_does_not_fit(healthy, bundle, memory_of):
    estimates = checkup.examine(bundle, "mine", memory_of(200_000_000)).estimates
    fits = {one.megabytes: one.fits for one in estimates}
    assert (fits[2], fits[10], fits[110]) == (True, True, False)


def test_info_reads_json_alone(bundle):
    """And nothing that a chat needs beside msgspec."""
    code = "import sys; sys.modules |= dict.fromkeys(('onnxruntime', 'numpy', 'sentencepiece')); "
    code += "from tinylm.cli.main import main; main()"
    for arguments in ([], [bundle], [bundle, "--json"]):
        command = [sys.executable, "-c", code, "info", *map(str, arguments)]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert ("classic" if arguments else "modern") in said  # the demo model is modern


def test_the_doctor_runs_where_onnxruntime_cannot_be_imported(tmp_path):
    (tmp_path / "onnxruntime.py").write_text("import os\nos.abort()\n")
    result = subprocess.run(
        [sys.executable, "-c", WITHOUT_ONNXRUNTIME],
        env={"PYTHONPATH": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert result.returncode == 1, result.stderr
    assert "Traceback" not in result.stderr
    assert "cannot be imported: crashed with SIGABRT" in result.stdout
    assert "ok: processor" in result.stdout


def test_packages_are_imported_in_processes_of_their_own():
    packages = try_packages()
    assert packages.failures == {}
    assert packages.works
    assert packages.onnxruntime


def test_a_bundle_that_does_not_fit_is_one_line_before_it_is_loaded(bundle, memory_of):
    manifest = read_manifest(bundle)
    needed = needed_bytes(manifest, has_avx2=False)
    check_memory(bundle, manifest, root=memory_of(needed + 2048))
    check_memory(bundle, manifest, root=memory_of(needed // 2, swap=needed // 2 + 4096))
    with pytest.raises(BundleError, match=rf"{bundle}: needs about \d+ MB of memory, and \d+ MB are free: ") as caught:
        check_memory(bundle, manifest, root=memory_of(needed - 4096))
    assert "\n" not in str(caught.value)


def test_a_machine_that_does_not_tell_its_memory_is_trusted(bundle, tmp_path):
    check_memory(bundle, read_manifest(bundle), root=tmp_path)


def test_the_estimate_counts_weights_and_cache(bundle):
    manifest = read_manifest(bundle)
    model = manifest.model
    cache = 2 * 4 * model.context_length * model.num_layers * model.d_model
    more = needed_bytes(manifest, has_avx2=False) - cache - 2 * manifest.files["model.onnx"].size
    assert 50e6 <= more <= 100e6


def test_the_estimate_is_not_less_than_a_chat_takes():
    from tinylm.runtime.demo import DEMO_BUNDLE
    from tinylm.runtime.device.subprocess_call import call

    peak = call("tinylm.runtime.benchmark:measure", str(DEMO_BUNDLE), 1, [0])["peak_rss_mb"] * 2**20
    estimate = needed_bytes(read_manifest(DEMO_BUNDLE), has_avx2=True)
    assert 0.8 * peak < estimate < 1.5 * peak


@pytest.mark.parametrize("extra", [1_500_000, 3_000_000, 6_000_000])
def test_allocations_that_fail_are_one_line(extra, tmp_path):
    from tinylm.runtime.demo import DEMO_BUNDLE

    done = subprocess.run(
        [sys.executable, "-c", LITTLE_MEMORY, str(DEMO_BUNDLE), str(extra)],
        env={"XDG_CACHE_HOME": str(tmp_path), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{DEMO_BUNDLE}: this machine has too little memory for it: "), done.stdout
    assert done.stdout.count("\n") == 1


def test_memory_that_runs_out_anywhere_is_one_line(bundle, run_cli, monkeypatch):
    def fail(*arguments):
        raise MemoryError

    monkeypatch.setattr("tinylm.runtime.chat_model.read_manifest", fail)
    result = run_cli("chat", bundle, "--prompt", "Hi")
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: this machine has too little memory")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("std::bad_alloc"), RuntimeError("Failed to allocate 7")])
def test_the_ways_in_which_memory_runs_out(error, tmp_path):
    with pytest.raises(BundleError, match="too little memory"):
        explain_allocation(tmp_path, error)


def test_other_errors_are_not_about_memory(tmp_path):
    explain_allocation(tmp_path, ValueError("bad shape"))


@pytest.mark.parametrize("probe", PROBES, ids=lambda probe: probe.path.name)
def test_the_probes_are_those_that_onnx_makes_and_their_weights_stay_apart(probe):
    model = onnx.load(probe.path)
    assert model == probe_model(probe), "make kernel-probes writes it anew"
    onnx.checker.check_model(model)
    products = [node for node in model.graph.node if node.op_type.startswith(("MatMul", "Dynamic"))]
    assert len({node.input[1] for node in products}) == len(products) == probe.matrices
    assert probe.path.stat().st_size < 10_000
    # The rows of each matrix are equal, so that the product is known
    session = onnxruntime.InferenceSession(str(probe.path), providers=["CPUExecutionProvider"])
    [product] = session.run(None, {"x0": np.ones((1, probe.width), np.float32)})
    expected = math.prod((number + 1) / 16 for number in range(probe.matrices))
    assert product == pytest.approx(np.full((1, probe.width), expected), rel=0.02)


def test_every_size_has_a_probe_for_each_kind_of_cpu():
    for size in SIZES:
        for has_avx2 in (False, True):
            assert [probe.size for probe in probes_for(has_avx2, size)].count(size) == 1
    assert weights_per_second(PROBES[0], 1) > 0


def test_an_expectation_adds_weights_and_layers():
    expected = SpeedModel({2_000_000: 2e9, 30_000_000: 1e9}, layer_seconds=0.001)
    assert expected.tokens_per_second(2_000_000, 4) == pytest.approx(1 / 0.005)
    assert expected.tokens_per_second(100_000_000, 12) == pytest.approx(1 / 0.112)
