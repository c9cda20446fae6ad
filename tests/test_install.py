"""What an installation brings: the wheel alone, without extras, in an environment of its own."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile

import pytest

import tinylm

ROOMS = ("tinylm", "cli", "data", "export", "runtime")
FOLDERS = (*ROOMS, "benchmarks", "deploy", "docs", "tests")
# No version that the source tree has: what is of the one and what of the other is seen by it
VERSION = "97.98.99"
# Hyperparameters that `make` gives to `tinylm train`
NOT_INSTALLED = {"data/world/demo.toml", "data/world/demo_model.toml"}
MODULES = """
import importlib.util, pkgutil, sys
for room in ("cli", "data", "export", "report", "runtime", "training"):
    places = importlib.util.find_spec(f"tinylm.{room}").submodule_search_locations
    for module in pkgutil.walk_packages(places, f"tinylm.{room}."):
        try:
            importlib.import_module(module.name)
        except ModuleNotFoundError as error:
            print(module.name, error.name)
for name, module in sys.modules.items():
    if name.split(".")[0] == "tinylm":
        print("from", module.__file__)
"""


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
def built(repository, tmp_path_factory):
    """The source distribution and the wheel built from it, in a folder; of a copy, as building leaves files there."""
    source = tmp_path_factory.mktemp("build") / "source"
    source.mkdir()
    for path in repository.iterdir():
        if path.name in FOLDERS or path.name == ".ci":
            shutil.copytree(path, source / path.name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        elif path.is_file() and path.name != ".git":
            shutil.copy(path, source / path.name)
    package = source / "tinylm" / "__init__.py"
    package.write_text(package.read_text("utf-8").replace(f'"{tinylm.__version__}"', f'"{VERSION}"'), "utf-8")
    must_run(sys.executable, "-m", "build", "--outdir", source / "dist", source, cwd=source)
    return source / "dist"


@pytest.fixture(scope="module")
def wheel(built):
    return built / f"tinylm-{VERSION}-py3-none-any.whl"


@pytest.fixture(scope="module")
def unpacked(built, tmp_path_factory):
    """The source distribution, unpacked."""
    folder = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(built / f"tinylm-{VERSION}.tar.gz") as archive:
        archive.extractall(folder, filter="data")
    return folder / f"tinylm-{VERSION}"


@pytest.fixture(scope="module")
def environment(wheel, repository, tmp_path_factory):
    """A clean environment with the wheel and nothing that its base requirements do not ask for."""
    folder = tmp_path_factory.mktemp("environment")
    must_run(sys.executable, "-m", "venv", folder, cwd=folder)
    scripts = folder / ("Scripts" if os.name == "nt" else "bin")
    constraints = repository / "constraints.txt"
    must_run(scripts / "python", "-m", "pip", "install", "--quiet", "-c", constraints, wheel, cwd=folder)
    return scripts


def test_it_can_be_uploaded(built):
    assert sorted(path.suffix for path in built.iterdir()) == [".gz", ".whl"]
    must_run(sys.executable, "-m", "twine", "check", "--strict", *built.iterdir(), cwd=built)


def files_of(repository, folder):
    """The files of a folder, by their paths in the repository, without what Python has left there."""
    paths = (path for path in (repository / folder).rglob("*") if path.is_file())
    return {path.relative_to(repository).as_posix() for path in paths if "__pycache__" not in path.parts}


def test_the_wheel_holds_every_file(wheel, repository):
    names = set(zipfile.ZipFile(wheel).namelist())
    for room in ROOMS:
        inside = "" if room == "tinylm" else "tinylm/"
        assert {inside + path for path in files_of(repository, room) - NOT_INSTALLED} <= names
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"tinylm"}
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_the_source_distribution_holds_every_file(unpacked, repository):
    expected = {path for folder in (*FOLDERS, ".ci") for path in files_of(repository, folder)}
    expected |= {path.name for path in repository.iterdir() if path.is_file() and path.name != ".git"}
    there = {path.relative_to(unpacked).as_posix() for path in unpacked.rglob("*") if path.is_file()}
    assert expected - there == set()
    assert {name for name in there - expected if "egg-info" not in name} == {"PKG-INFO", "setup.cfg"}


def test_tests_run_from_the_source_distribution(unpacked):
    tests = ("test_docs.py", "test_files.py", "test_readers_tagged.py", "test_demo_model.py")
    command = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *(f"tests/{name}" for name in tests))
    said = must_run(*command, cwd=unpacked, PYTHONPATH=str(unpacked)).stdout
    assert " passed" in said
    version = (sys.executable, "-m", "tinylm", "--version")
    assert VERSION in must_run(*version, cwd=unpacked, PYTHONPATH=str(unpacked)).stdout


def test_it_chats_without_torch(environment, bundle, tmp_path):
    result = must_run(environment / "tinylm", "chat", bundle, "--prompt", "hello", "--json", cwd=tmp_path)
    assert json.loads(result.stdout)["completion_tokens"] > 0
    assert "verified" in must_run(environment / "tinylm", "info", bundle, "--verify", "--json", cwd=tmp_path).stdout


def test_the_demo_model_in_the_box_answers_at_once(environment, tmp_path):
    options = ("--prompt", "Hello, who are you?", "--temperature", "0", "--json")
    result = must_run(environment / "tinylm", "chat", *options, cwd=tmp_path)
    assert "Pip" in json.loads(result.stdout)["reply"]


def test_it_completes_evaluates_and_reads_data(environment, bundle, tmp_path, samples, wheel):
    tinylm = environment / "tinylm"
    must_run(tinylm, "complete", bundle, "--prompt", "Pip", cwd=tmp_path)
    scored = must_run(tinylm, "eval", bundle, "--data", samples / "raw.txt", "--json", cwd=tmp_path)
    assert json.loads(scored.stdout)["bits_per_byte"] > 0
    must_run(tinylm, "data", "world", "world", "--conversations", "5", "--documents", "5", cwd=tmp_path)
    for name in ("world/world.txt", "world/chats.jsonl", samples / "turns.csv"):
        assert json.loads(must_run(tinylm, "data", "inspect", name, "--json", cwd=tmp_path).stdout)["ok"] is True
    for name, extra in (("messages.parquet", "parquet"), ("corpus.yml", "yaml")):
        result = run(tinylm, "data", "inspect", samples / name, "--json", cwd=tmp_path)
        assert result.returncode == 1
        assert f"pip install '{wheel}[{extra}]'" in result.stdout


def test_every_module_imports_there_or_needs_an_extra(environment, repository, tmp_path):
    extras = tomllib.loads((repository / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    packages = {
        re.split(r"[>; ]", each)[0] for name in ("train", "report", "serve", "tensorboard") for each in extras[name]
    }
    lines = [line.split() for line in must_run(environment / "python", "-c", MODULES, cwd=tmp_path).stdout.splitlines()]
    missing = [(module, package) for module, package in lines if module != "from"]
    assert len(lines) > 80
    assert {package.replace("_", "-") for _, package in missing} <= packages | {"h11"}
    wings = ("tinylm.training", "tinylm.export", "tinylm.report", "tinylm.runtime.server", "tinylm.cli.train")
    assert [module for module, _ in missing if not module.startswith(wings)] == []


@pytest.mark.parametrize("name", ["torch", "onnx", "safetensors", "cli", "data", "export", "runtime", "tests"])
def test_what_is_not_importable_there(name, environment, tmp_path):
    result = run(environment / "python", "-c", f"import {name}", cwd=tmp_path)
    assert result.returncode == 1
    assert "ModuleNotFoundError" in result.stderr


def test_help_there(environment, tmp_path):
    for command in ((), ("train",), ("chat",), ("data", "world")):
        assert must_run(environment / "tinylm", *command, "--help", cwd=tmp_path).stdout.startswith("Usage: tinylm")


@pytest.mark.parametrize("command", ["train", "export"])
def test_training_there_says_what_to_install(command, environment, tmp_path, samples, runs, wheel):
    arguments = {
        "train": ["--pretrain", samples / "raw.txt", "--steps", "1"],
        "export": [runs["classic"], "--out", "bundle"],
    }
    result = run(environment / "tinylm", command, *arguments[command], cwd=tmp_path)
    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 1, result.stderr
    assert f"pip install '{wheel}[train]'" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_serving_there_says_what_to_install(environment, tmp_path, wheel):
    result = run(environment / "tinylm", "serve", cwd=tmp_path)
    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 1, result.stderr
    assert f"pip install '{wheel}[serve]'" in result.stderr


def test_what_it_prints_installs_the_extra(environment, tmp_path, samples, repository):
    """In an environment of its own, which the others must not see."""
    printed = run(environment / "tinylm", "data", "inspect", samples / "corpus.yml", "--json", cwd=tmp_path).stdout
    command = shlex.split(re.search(r"pip install '[^']+'", printed)[0])
    must_run(sys.executable, "-m", "venv", "--system-site-packages", "other", cwd=tmp_path)
    scripts = tmp_path / "other" / environment.name
    constraints = ("--quiet", "--no-deps", "--no-index", "-c", repository / "constraints.txt")
    must_run(scripts / "python", "-m", *command, *constraints, cwd=tmp_path)
    assert VERSION in must_run(scripts / "tinylm", "--version", cwd=tmp_path).stdout


def test_from_the_root_of_the_source_tree_no_two_versions_are_mixed(environment, repository):
    """Python looks in the working folder first for `python -m`, and not for the installed script."""
    for command, version, place in (
        ((environment / "python", "-m", "tinylm"), tinylm.__version__, repository),
        ((environment / "tinylm",), VERSION, environment.parent),
    ):
        options = {"cwd": repository, "PYTHONDONTWRITEBYTECODE": "1"}
        assert must_run(*command, "--version", **options).stdout.split()[-1] == version
        reply = must_run(*command, "chat", "--prompt", "Hello, who are you?", "--temperature", "0", **options).stdout
        assert "Pip" in reply
        isolated = ("-c",) if place == repository else ("-P", "-c")
        lines = must_run(environment / "python", *isolated, MODULES, **options).stdout.splitlines()
        files = [line.removeprefix("from ") for line in lines if line.startswith("from ")]
        assert len(files) > 80
        assert [file for file in files if not file.startswith(f"{place}/")] == []
