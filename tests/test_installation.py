"""The command that installs an extra: from where TinyLM came, and never by its name alone."""

import json
import re
import shlex
import shutil
import tomllib
from types import SimpleNamespace

import pytest

from tinylm import installation
from tinylm.cli import main
from tinylm.installation import install_command


@pytest.fixture
def recorded(monkeypatch):
    """Lets pip have recorded something, or nothing, about where TinyLM came from."""

    def record(text):
        found = SimpleNamespace(read_text=lambda name: text if name == "direct_url.json" else None)
        monkeypatch.setattr(installation.metadata, "distribution", lambda _: found)

    return record


def requirement(command):
    """What pip is told to install."""
    *words, last = shlex.split(command)
    assert words == ["pip", "install"]
    return last


@pytest.mark.parametrize("editable", [True, False])
def test_a_copy_of_the_repository(editable, recorded, tmp_path):
    folder = tmp_path / "my {copy} of TinyLM's"
    folder.mkdir()
    (folder / "pyproject.toml").touch()
    recorded(json.dumps({"url": folder.as_uri(), "dir_info": {"editable": editable}}))
    assert requirement(install_command("train")) == f"{folder}[train]"
    shutil.rmtree(folder)
    assert "where PATH is TinyLM's wheel or a copy of its repository" in install_command("train")


def test_a_wheel(recorded, tmp_path):
    wheel = tmp_path / "tinylm-0.1.0-py3-none-any.whl"
    wheel.touch()
    recorded(json.dumps({"url": wheel.as_uri(), "archive_info": {}}))
    assert requirement(install_command("serve")) == f"{wheel}[serve]"
    wheel.unlink()
    assert install_command("serve").startswith("pip install 'PATH[serve]', where PATH is")


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (
            {"url": "https://example.org/tinylm.git", "vcs_info": {"vcs": "git", "commit_id": "0f3a"}},
            "tinylm[zstd] @ git+https://example.org/tinylm.git@0f3a",
        ),
        (
            {"url": "file:///srv/tinylm.git", "vcs_info": {"vcs": "git", "commit_id": "0f3a"}},
            "tinylm[zstd] @ git+file:///srv/tinylm.git@0f3a",
        ),
        (
            {"url": "https://example.org/tinylm-1.whl", "archive_info": {}},
            "tinylm[zstd] @ https://example.org/tinylm-1.whl",
        ),
    ],
)
def test_an_address(record, expected, recorded):
    recorded(json.dumps(record))
    assert requirement(install_command("zstd")) == expected


@pytest.mark.parametrize("text", [None, "", "no JSON", "[]", "{}"])
def test_the_source_tree_where_nothing_is_recorded(text, recorded, repository):
    recorded(text)
    assert requirement(install_command("yaml")) == f"{repository}[yaml]"


def test_not_installed_and_no_source_tree(monkeypatch, tmp_path):
    def missing(name):
        raise installation.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(installation.metadata, "distribution", missing)
    monkeypatch.setattr(installation, "__file__", str(tmp_path / "tinylm" / "installation.py"))
    assert install_command("yaml").startswith("pip install 'PATH[yaml]', where PATH is")


def test_no_page_and_no_message_installs_tinylm_by_its_name(repository):
    """Nothing is published under it: whoever registers it first would be installed."""
    by_name = re.compile(r"(?:pipx?|uvx?)\b[^\n`]*\s'?\"?tinylm(?![\w/.-])(?!\[\w+\] @)")
    folders = ("benchmarks", "cli", "data", "deploy", "docs", "export", "runtime", "tinylm")
    texts = [path for path in repository.iterdir() if path.is_file()]
    texts += [path for folder in folders for path in (repository / folder).rglob("*") if path.is_file()]
    assert len(texts) > 150
    found = [
        f"{path}: {line}"
        for path in texts
        if path.suffix not in {".pyc", ".onnx", ".model", ".parquet", ".gz", ".png"}
        for line in path.read_text("utf-8").splitlines()
        if by_name.search(line)
    ]
    assert found == []


def test_every_package_of_an_extra_is_known_by_the_name_that_is_imported(repository):
    """Or its absence would be a traceback."""
    extras = tomllib.loads((repository / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    for extra in ("train", "serve"):
        packages = {re.split(r"[>; \[]", requirement)[0].lower().replace("-", "_") for requirement in extras[extra]}
        packages -= {"tinylm"}  # another extra
        assert packages <= {name for name, brings in main._EXTRAS.items() if brings == extra}
