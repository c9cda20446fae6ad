"""llama.cpp beside `make test-cpus`: how it is fetched and built, what is measured, and what is made of it."""

import importlib
import io
import json
import os
import sys
import tarfile

import gguf
import pytest

from tinylm.errors import TinyLMError
from tinylm.runtime.chat_model import DEMO_BUNDLE

TOOLS = ("aarch64-linux-gnu-g++", "cmake", "ninja")
MARCHES = ("armv8-a", "armv8.2-a+dotprod+fp16")


@pytest.fixture
def tools(tmp_path, monkeypatch):
    """Stand-ins for the compiler and cmake, which keeps its arguments and builds what it was configured for."""
    folder = tmp_path / "tools"
    folder.mkdir()
    calls = tmp_path / "calls.txt"
    for tool in TOOLS:
        (folder / tool).write_text(f'#!/bin/sh\necho "$@" >> {calls}\n')
        (folder / tool).chmod(0o755)
    with (folder / "cmake").open("a") as script:
        script.write('[ "$1" = --build ] && tail -n 2 ' + str(calls) + ' > "$2/llama_loop"\nexit 0\n')
    monkeypatch.setenv("PATH", os.pathsep.join([str(folder), os.environ["PATH"]]))
    return calls


@pytest.fixture
def source(tmp_path):
    """A folder that looks like llama.cpp's sources."""
    (tmp_path / "llama.cpp" / "include").mkdir(parents=True)
    (tmp_path / "llama.cpp" / "include" / "llama.h").touch()
    return tmp_path / "llama.cpp"


def build(cpus, wanted, tmp_path, said=None):
    return cpus("llama_build").build_loops(
        str(wanted), MARCHES, tmp_path / "cache", ([] if said is None else said).append
    )


def test_each_kind_of_core_gets_a_program_of_its_own(cpus, tools, source, tmp_path):
    programs = build(cpus, source, tmp_path)
    assert set(programs) == {cpu.march for cpu in cpus("emulation").CPUS if cpu.part}
    for march, program in programs.items():
        configured, built = program.read_text().splitlines()
        for setting in (f"-DGGML_CPU_ARM_ARCH={march}", f"-DLLAMA_CPP={source}", "-DCMAKE_SYSTEM_PROCESSOR=aarch64"):
            assert setting in configured.split()
        assert "--target llama_loop" in built
    # One folder, so that what does not depend on the architecture is compiled once
    assert len({program.parent for program in programs.values()}) == 1


def test_sources_are_fetched_and_compiled_once(cpus, tools, tmp_path, monkeypatch):
    module = cpus("llama_build")
    fetched = []

    def fetch(command, mark, hint):
        fetched.append(command)
        (folder,) = [part.removeprefix("--dest=") for part in command if part.startswith("--dest=")]
        with tarfile.open(f"{folder}/llama_cpp_python-9.9.tar.gz", "w:gz") as archive:
            for name in ("README.md", "vendor/llama.cpp/include/llama.h", "vendor/llama.cpp/CMakeLists.txt"):
                entry = tarfile.TarInfo(f"llama_cpp_python-9.9/{name}")
                archive.addfile(entry, io.BytesIO())

    monkeypatch.setattr(module, "call", fetch)
    said = []
    programs = build(cpus, "9.9", tmp_path, said)
    assert fetched[0][1:4] == ["-m", "pip", "download"]
    assert fetched[0][-1] == "llama-cpp-python==9.9"
    source = tmp_path / "cache" / "llama-cpp-9.9"
    assert sorted(path.name for path in source.iterdir()) == ["CMakeLists.txt", "include"]
    assert len(tools.read_text().splitlines()) == 4
    assert len(said) == 3
    assert build(cpus, "9.9", tmp_path, said) == programs
    assert len(fetched) == 1
    assert len(tools.read_text().splitlines()) == 4
    assert len(said) == 3


def test_a_package_without_llama_leaves_nothing(cpus, tools, tmp_path, monkeypatch):
    module = cpus("llama_build")

    def fetch(command, mark, hint):
        (folder,) = [part.removeprefix("--dest=") for part in command if part.startswith("--dest=")]
        with tarfile.open(f"{folder}/llama_cpp_python-9.9.tar.gz", "w:gz"):
            pass

    monkeypatch.setattr(module, "call", fetch)
    with pytest.raises(TinyLMError, match=r"^llama_cpp_python-9\.9\.tar\.gz: llama\.cpp is not where it was"):
        build(cpus, "9.9", tmp_path)
    assert not list((tmp_path / "cache").iterdir())


def test_what_is_missing_is_one_line(cpus, source, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(TinyLMError, match=r"^aarch64-linux-gnu-g\+\+, cmake, ninja not found: ") as raised:
        build(cpus, source, tmp_path)
    assert str(raised.value).endswith("`apt-get install g++-aarch64-linux-gnu cmake ninja-build`")


def test_what_has_no_sources_is_refused(cpus, tools, tmp_path):
    with pytest.raises(TinyLMError, match=r"--llama-cpp .*nowhere: neither a version nor a folder"):
        build(cpus, tmp_path / "nowhere", tmp_path)


def test_the_compilers_reason_is_one_line(cpus, tools, source, tmp_path):
    cmake = tmp_path / "tools" / "cmake"
    cmake.write_text("#!/bin/sh\necho one\necho 'ggml.c:3: error: unknown type name' >&2\necho later\nexit 1\n")
    with pytest.raises(TinyLMError, match=r"cannot be compiled \(ggml\.c:3: error: .*\); .*log\.txt says") as raised:
        build(cpus, source, tmp_path)
    assert "\n" not in str(raised.value)


def test_llama_has_no_more_bytes_a_token(cpus, repository):
    shapes = importlib.import_module("benchmarks.shapes")
    for shape in shapes.SHAPES.values():
        assert shapes.like_llama(shape.config) == shape


def test_models_beside_llama(cpus, tmp_path):
    pairs = {pair.name: pair for pair in cpus("subjects").model_pairs(tmp_path)}
    assert set(pairs) == {"S", "demo"}
    assert pairs["demo"].folder == DEMO_BUNDLE
    for pair in pairs.values():
        reader = gguf.GGUFReader(pair.gguf)
        matrices = [tensor for tensor in reader.tensors if tensor.tensor_type == gguf.GGMLQuantizationType.Q8_0]
        read = sum(tensor.n_bytes for tensor in matrices if tensor.name != "token_embd.weight")
        assert read == pair.shape.llama_weights_per_token * 34 // 32
        assert 1 <= pair.shape.weights_per_token / read < 1.04


@pytest.fixture
def stand_in(tmp_path):
    """Makes a program in the place of llama.cpp's loop, which answers each line."""

    def make(answer):
        program = tmp_path / "stand_in"
        program.write_text(f"#!{sys.executable}\nimport sys\nfor _ in sys.stdin:\n    {answer}\n")
        program.chmod(0o755)
        return program

    return make


@pytest.fixture
def compare(cpus, tmp_path):
    """Compares the demo model with a program, both on this machine."""

    def run(program):
        emulation = cpus("emulation")
        (tmp_path / "work").mkdir()
        machine = emulation.Emulation(tmp_path / "work", tmp_path / "cache", None, None, lambda _: None)
        demo = importlib.import_module("benchmarks.shapes").like_llama(_demo_config())
        pair = cpus("comparison").Pair("demo", demo, DEMO_BUNDLE, tmp_path / "demo.gguf")
        return cpus("comparison").compare(machine, emulation.HOST, pair, program, tmp_path)

    return run


def _demo_config():
    from tinylm.manifest import read_manifest

    return read_manifest(DEMO_BUNDLE).model


def test_both_are_measured_in_turns(compare, stand_in, tmp_path):
    """Ours is the runtime, in a Python of its own."""
    asked = tmp_path / "asked.txt"
    answer = f'open("{asked}", "a").write(" ".join(sys.argv[1:]) + "\\n"); '
    answer += 'print(\'{"prefill_ms": 6400, "decode_ms": [90, 110]}\', flush=True)'
    figures = compare(stand_in(answer))
    assert figures["llama_cpp_prefill_ms"] == figures["llama_cpp_no_fa_decode_ms"] == 100
    for part in ("prefill", "decode"):
        assert 0 < figures[f"tinylm_graph_{part}_ms"] <= figures[f"tinylm_{part}_ms"]
        assert figures[f"{part}_over_llama_cpp"] == pytest.approx(100 / figures[f"tinylm_{part}_ms"], rel=1e-3)
    lines = asked.read_text().splitlines()
    assert {tuple(line.split()[4:]) for line in lines} == {("1", "f16"), ("0", "f16"), ("0", "f32")}
    assert all(line.split()[0] == str(tmp_path / "demo.gguf") for line in lines)
    assert all(line.split()[1:4] == ["64", "128", "12"] for line in lines)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("sys.exit('no such model')", "no such model"),
        ("print('model loaded', flush=True)", "model loaded"),
        ("sys.exit(1)", "it said nothing"),
    ],
)
def test_a_loop_that_fails_is_named(compare, stand_in, answer, reason):
    with pytest.raises(TinyLMError, match=rf"^llama_cpp(_\w+)? gives no times \({reason}\)$"):
        compare(stand_in(answer))


def test_the_best_rounds_and_the_faster_llama_count(cpus):
    rounds = {
        "tinylm": [_round(cpus, 640, 4, graph=True), _round(cpus, 320, 8, graph=True)],
        "llama_cpp": [_round(cpus, 1280, 12), _round(cpus, 1920, 10)],
        "llama_cpp_no_fa": [_round(cpus, 960, 20)],
        "llama_cpp_f32": [_round(cpus, 640, 6)],
    }
    figures = cpus("comparison").figures_of(rounds)
    assert figures["tinylm_prefill_ms"] == 5
    assert figures["tinylm_graph_prefill_ms"] == 2.5
    assert figures["tinylm_graph_decode_ms"] == 2
    assert figures["prefill_over_llama_cpp"] == 3
    assert figures["decode_over_llama_cpp"] == 2.5
    assert figures["prefill_over_llama_cpp_f32"] == 2
    assert figures["decode_over_llama_cpp_f32"] == 1.5


def _round(cpus, prefill, decode, graph=False):
    own = {"prefill_graph_ms": prefill / 2, "decode_graph_ms": [decode / 2]} if graph else {}
    return cpus("own_loop").Round(prefill_ms=prefill, decode_ms=[decode], **own)


def _figures(decode, prefill):
    times = {f"{name}_{part}_ms": 2.0 for name in ("tinylm", "llama_cpp", "llama_cpp_no_fa") for part in PARTS}
    ratios = {"decode_over_llama_cpp": decode, "prefill_over_llama_cpp": prefill}
    return times | ratios | {f"{name}_f32": 1.0 for name in ratios}


PARTS = ("prefill", "decode")


def test_ratios_are_added_to_the_verdict(cpus):
    module, every = cpus("comparison"), cpus("emulation").CPUS
    verdict = {"figures": {name: {"problems": []} for name in ("host", "cortex-a72", "cortex-a76")}, "problems": []}
    compared = {
        "cortex-a72": {"S": _figures(1.31, 1.5), "demo": _figures(2.0, 1.29)},
        "cortex-a76": {"S": _figures(1.7, 1.5), "demo": "llama_cpp gives no times (it said nothing)"},
    }
    module.add_comparison(verdict, every, compared)
    ratios = verdict["ratios"]["cortex-a72"]["S"]
    assert ratios["decode_over_llama_cpp"] == 1.31
    assert ratios["prefill_over_llama_cpp"] == 1.5
    assert "demo" not in verdict["ratios"]["cortex-a76"]
    assert verdict["figures"]["cortex-a72"]["llama_cpp"]["demo"]["tinylm_decode_ms"] == 2
    assert verdict["problems"] == [
        "cortex-a72: demo: prefill is 1.29 x as fast as llama.cpp's (asked: 1.3 x)",
        "cortex-a76: S: decode is 1.70 x as fast as llama.cpp's (asked: 1.8 x)",
        "cortex-a76: beside llama.cpp, demo: llama_cpp gives no times (it said nothing)",
    ]
    assert not verdict["passed"]
    json.dumps(verdict)
    lines = module.comparison_table(verdict, every).splitlines()
    assert [line.split()[:2] for line in lines[2:]] == [
        ["cortex-a72", "S"],
        ["cortex-a72", "demo"],
        ["cortex-a76", "S"],
    ]
    assert lines[2].split()[2:] == ["2.00", "2.00", "1.50", "1.00", "1.3", "2.00", "2.00", "1.31", "1.00", "1.3"]


def test_the_option_takes_a_version_or_none(cpus):
    main = importlib.import_module("benchmarks.cpus.__main__")
    assert main.parse_arguments([]).llama_cpp is None
    assert main.parse_arguments(["--llama-cpp"]).llama_cpp == "0.3.36"
    assert main.parse_arguments(["--llama-cpp", "vendor"]).llama_cpp == "vendor"
