"""Docs that must not drift from the code."""

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ("tinylm", "data", "export", "runtime", "cli")
DOCS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def test_cli_reference_is_what_help_says():
    spec = importlib.util.spec_from_file_location("make_cli_reference", ROOT / "docs" / "make_cli_reference.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert (ROOT / "docs" / "cli.md").read_text("utf-8") == module.cli_reference(), "run `make docs`"


@pytest.mark.parametrize("room", ROOMS)
def test_readme_tree_names_every_file(room):
    tree = re.search(r"## The tree(.*?)\n## ", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)[1]
    files = {path.name for path in (ROOT / room).rglob("*.py") if path.name != "__init__.py"}
    listed = set(re.findall(r"([a-z_]+\.py)\b", tree))
    assert files <= listed, f"not in README's tree: {sorted(files - listed)}"


@pytest.mark.parametrize("doc", DOCS, ids=lambda path: path.name)
def test_links_between_docs_lead_somewhere(doc):
    for target in re.findall(r"\]\(([^)#]+)\)", doc.read_text("utf-8")):
        if "://" not in target:
            assert (doc.parent / target).exists(), f"{doc.name} links to {target}"


@pytest.mark.parametrize("doc", DOCS, ids=lambda path: path.name)
def test_documented_options_exist(doc):
    reference = (ROOT / "docs" / "cli.md").read_text("utf-8")
    for line in doc.read_text("utf-8").splitlines():
        for command in re.findall(
            r"\btinylm ((?:data |train|eval|export|info|chat|complete|serve|bench|doctor)[^`#|]*)", line
        ):
            for option in re.findall(r"(?<![\w-])--[a-z][a-z-]+", command):
                assert option in reference, f"{doc.name}: {option}"


def test_rooms_import_only_what_they_may():
    forbidden = {
        "tinylm": r"tinylm\.(cli|data|export|runtime)\b",
        "data": r"tinylm\.(cli|export|runtime)\b",
        "export": r"tinylm\.(cli|data)\b",
        "runtime": r"(tinylm\.(cli|data|export|model|optimizer|trainer|checkpoint|torch_decoder)\b|\btorch\b|\bonnx\b)",
    }
    for room, pattern in forbidden.items():
        for path in (ROOT / room).rglob("*.py"):
            for line in path.read_text("utf-8").splitlines():
                if re.match(r"\s*(from|import)\s", line) and re.search(pattern, line):
                    # The entry point of `python -m tinylm` is the one door from the core to the command line
                    assert path.name == "__main__.py", f"{path}: {line.strip()}"
