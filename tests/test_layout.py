"""The size of files and functions, which a reader should be able to take in at a glance."""

import ast
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = ("tinylm", "data", "export", "runtime", "cli", "tests", "benchmarks", "docs")
FILES = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]
LINES_OF_A_FILE, LINES_OF_A_FUNCTION, PARAMETERS = 400, 60, 7


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_files_and_functions_are_short(path):
    text = path.read_text("utf-8")
    assert len(text.splitlines()) <= LINES_OF_A_FILE
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            arguments = [each.arg for each in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
            parameters = [name for name in arguments if name not in {"self", "cls"}]
            assert node.end_lineno - node.lineno < LINES_OF_A_FUNCTION, node.name
            assert len(parameters) <= PARAMETERS, node.name


def test_no_two_public_classes_have_one_name():
    product = [path for path in FILES if path.relative_to(ROOT).parts[0] not in {"tests", "benchmarks", "docs"}]
    names = Counter(
        node.name
        for path in product
        for node in ast.parse(path.read_text("utf-8")).body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    )
    assert [name for name, count in names.items() if count > 1] == []
