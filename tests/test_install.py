"""What an installation brings: the wheel alone, without extras, in an environment of its own."""

import json
import os
import shutil
import subprocess
import sys
import zipfile

import pytest

ROOMS = ("tinylm", "cli", "data", "export", "runtime")


def run(*command, cwd, **variables):
    environment = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "PYTHONHOME"}}
    return subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        timeout=600,
        cwd=cwd,
        env={**environment, **variables},
        check=False,
    )


def must_run(*command, cwd, **variables):
    result = run(*command, cwd=cwd, **variables)
    assert result.returncode == 0, result.stdout + result.stderr
    return result


@pytest.fixture(scope="module")
def wheel(repository, tmp_path_factory):
    """The wheel, built from a copy, as building leaves things in the source tree."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in (*ROOMS, "pyproject.toml", "README.md", "LICENSE"):
        path = repository / name
        if path.is_dir():
            shutil.copytree(path, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(path, source / name)
    must_run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", folder, source, cwd=folder)
    (built,) = folder.glob("tinylm-*.whl")
    return built


@pytest.fixture(scope="module")
def environment(wheel, repository, tmp_path_factory):
    """A clean environment with the wheel and nothing that its base requirements do not ask for."""
    folder = tmp_path_factory.mktemp("environment")
    must_run(sys.executable, "-m", "venv", folder, cwd=folder)
    scripts = folder / ("Scripts" if os.name == "nt" else "bin")
    constraints = repository / "constraints.txt"
    must_run(scripts / "python", "-m", "pip", "install", "--quiet", "-c", constraints, wheel, cwd=folder)
    return scripts


def test_the_wheel_holds_every_file(wheel, repository):
    names = set(zipfile.ZipFile(wheel).namelist())
    for room in ROOMS:
        inside = "tinylm" if room == "tinylm" else f"tinylm/{room}"
        for path in (repository / room).rglob("*"):
            kept = (
                path.suffix == ".py"
                or path.parent.name in {"samples", "demo"}
                or path.name in {"py.typed", "page.html"}
            )
            if path.is_file() and "__pycache__" not in path.parts and kept:
                assert f"{inside}/{path.relative_to(repository / room).as_posix()}" in names
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"tinylm"}
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_it_chats_without_torch(environment, bundle, tmp_path):
    result = must_run(environment / "tinylm", "chat", bundle, "--prompt", "hello", "--json", cwd=tmp_path)
    assert json.loads(result.stdout)["completion_tokens"] > 0
    assert "verified" in must_run(environment / "tinylm", "info", bundle, "--verify", "--json", cwd=tmp_path).stdout


def test_the_demo_model_in_the_box_answers_at_once(environment, tmp_path):
    result = must_run(environment / "tinylm", "chat", "--prompt", "Hello, who are you?", "--json", cwd=tmp_path)
    assert "Pip" in json.loads(result.stdout)["reply"]


def test_it_completes_evaluates_and_reads_data(environment, bundle, tmp_path, samples):
    tinylm = environment / "tinylm"
    must_run(tinylm, "complete", bundle, "--prompt", "Pip", cwd=tmp_path)
    scored = must_run(tinylm, "eval", bundle, "--data", samples / "raw.txt", "--json", cwd=tmp_path)
    assert json.loads(scored.stdout)["bits_per_byte"] > 0
    must_run(tinylm, "data", "world", "world", "--conversations", "5", "--documents", "5", cwd=tmp_path)
    for name in ("world/world.txt", "world/chats.jsonl", samples / "turns.csv"):
        assert json.loads(must_run(tinylm, "data", "inspect", name, "--json", cwd=tmp_path).stdout)["ok"] is True
    for name, extra in (("messages.parquet", "parquet"), ("corpus.yml", "yaml")):
        result = run(tinylm, "data", "inspect", samples / name, cwd=tmp_path)
        assert result.returncode == 1
        assert f"tinylm[{extra}]" in result.stdout


@pytest.mark.parametrize("name", ["torch", "onnx", "safetensors", "cli", "data", "export", "runtime", "tests"])
def test_what_is_not_importable_there(name, environment, tmp_path):
    result = run(environment / "python", "-c", f"import {name}", cwd=tmp_path)
    assert result.returncode == 1
    assert "ModuleNotFoundError" in result.stderr


def test_help_there(environment, tmp_path):
    for command in ((), ("train",), ("chat",), ("data", "world")):
        assert must_run(environment / "tinylm", *command, "--help", cwd=tmp_path).stdout.startswith("Usage: tinylm")


@pytest.mark.parametrize("command", ["train", "export"])
def test_training_there_says_what_to_install(command, environment, tmp_path, samples, runs):
    arguments = {
        "train": ["--pretrain", samples / "raw.txt", "--steps", "1"],
        "export": [runs["classic"], "--out", "bundle"],
    }
    result = run(environment / "tinylm", command, *arguments[command], cwd=tmp_path)
    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 1, result.stderr
    assert "pip install 'tinylm[train]'" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_serving_there_says_what_to_install(environment, tmp_path):
    result = run(environment / "tinylm", "serve", cwd=tmp_path)
    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 1, result.stderr
    assert "pip install 'tinylm[serve]'" in result.stderr


def test_from_the_root_of_the_source_tree_too(environment, repository):
    result = must_run(environment / "python", "-m", "tinylm", "--help", cwd=repository, PYTHONDONTWRITEBYTECODE="1")
    assert "train" in result.stdout
