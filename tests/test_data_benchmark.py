"""The data benchmark's own code: the text it makes, and that it measures what it says."""

import importlib
import json
import sys
from pathlib import Path

import pytest

from tinylm.data import iter_documents

FOLDER = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def benchmark():
    sys.path.insert(0, str(FOLDER))
    # Its name is that of a room of the product
    spec = importlib.util.spec_from_file_location("data_benchmark", FOLDER / "data.py")
    module = sys.modules["data_benchmark"] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        yield module
    finally:
        sys.path.remove(str(FOLDER))
        del sys.modules["data_benchmark"]


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("\n\n".join(f"the {number} frogs of pond {number * 7 % 31}" for number in range(200)))
    return path


def test_text_of_a_size_is_made_of_what_there_is(benchmark, text, tmp_path):
    benchmark.write_text(text, 0.1, tmp_path / "made.txt")
    assert 100_000 <= (tmp_path / "made.txt").stat().st_size < 100_100
    made, given = list(iter_documents(tmp_path / "made.txt")), list(iter_documents(text))
    assert len(set(made)) == len(made) > 10 * len(given)
    assert made[:2] == [f"{given[0]} 0", f"{given[1]} 0"]
    assert made[200] == f"{given[0]} 1"


@pytest.mark.parametrize(("megabytes", "name"), [(10, "10mb"), (0.5, "0.5mb"), (1000, "1gb"), (2000, "2gb")])
def test_names_of_sizes(megabytes, name, benchmark):
    assert benchmark.size_name(megabytes) == name


def test_speeds(benchmark, text, tmp_path):
    ratios, figures = benchmark.speeds(text, 2, 1, tmp_path)
    assert set(ratios) == {"tokenize_and_pack", "survey_tokenize_and_pack", "again"}
    assert all(value > 0 for value in (*ratios.values(), *figures.values()))


TRAIN = """#!{python}
import os, sys
text = sys.argv[sys.argv.index("--pretrain") + 1]
assert sys.argv[1] == "train" and os.environ["TINYLM_DATA_CACHE"]
held = bytearray({megabytes} * 2**20 + 1000 * os.path.getsize(text))
"""


def test_memory_is_that_of_the_command(benchmark, text, tmp_path, monkeypatch, capsys):
    command = tmp_path / "tinylm"
    command.write_text(TRAIN.format(python=sys.executable, megabytes=300))
    command.chmod(0o755)
    monkeypatch.setattr(benchmark, "TINYLM", str(command))
    arguments = ["--data", text, "--repeats", 0, "--sizes", 0.01, 0.11, "--out", tmp_path / "out.json"]
    assert benchmark.main(list(map(str, arguments))) == 0
    figures = json.loads((tmp_path / "out.json").read_text())["figures"]
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["figures"] == figures
    assert figures["rss_0.01mb"] > 300
    assert figures["rss_growth_mb"] == pytest.approx(100e6 / 2**20, abs=15)
    assert figures["again_rss_0.11mb"] == pytest.approx(figures["rss_0.11mb"], abs=15)


def test_what_cannot_be_measured_is_said(benchmark, tmp_path, capsys):
    assert benchmark.main(["--data", str(tmp_path / "nowhere"), "--repeats", "0", "--sizes", "1"]) == 1
    assert "nowhere" in capsys.readouterr().err
