"""Docs that must not drift from the code."""

import ast
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


FOLDERS = [path.parent for room in ROOMS for path in sorted((ROOT / room).rglob("__init__.py"))]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_readme_tree_names_every_folder(folder):
    tree = re.search(r"## The tree(.*?)\n## ", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)[1]
    assert re.search(rf"\b{folder.name}/ ", tree)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_the_docstring_of_a_folder_names_its_files_and_no_others(folder):
    listed = ast.get_docstring(ast.parse((folder / "__init__.py").read_text("utf-8"))) or ""
    files = {path.name for path in folder.glob("*.py") if path.name != "__init__.py"}
    assert set(re.findall(r"\b([a-z_]+\.py)\b", listed)) == files
    folders = {path.parent.name for path in folder.glob("*/__init__.py")}
    assert set(re.findall(r"^ *([a-z]+)/ ", listed, re.MULTILINE)) >= folders


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
