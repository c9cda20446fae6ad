"""A bundle of which a byte was flipped anywhere is refused by name: it never answers, and it never crashes."""

import json
import random
import shutil

import pytest

from tinylm.errors import BundleError
from tinylm.manifest import read_manifest
from tinylm.runtime import ChatModel
from tinylm.runtime.verification import verify_bundle

FLIPS = 1000


@pytest.fixture(scope="module")
def whole(runs, tmp_path_factory, must):
    """An int8 bundle with all files that there can be."""
    out = tmp_path_factory.mktemp("whole") / "bundle"
    must("export", runs["classic"], "--quantize", "--genai", "--out", out)
    return out


@pytest.fixture
def copy(whole, tmp_path, monkeypatch):
    """A bundle that may be changed, on a machine that has seen none."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return shutil.copytree(whole, tmp_path / "bundle")


def files_of(folder):
    """All that a manifest vouches for, and it itself."""
    return [*read_manifest(folder).files, "manifest.json"]


def flipped(data, draw):
    changed = bytearray(data)
    changed[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    return bytes(changed)


def says_the_same(name, changed, data):
    """Whether a flip left the manifest's values as they were, as one in its line breaks may."""
    try:
        return name == "manifest.json" and json.loads(changed) == json.loads(data)
    except ValueError:
        return False


def test_every_file_has_a_hash(whole):
    present = {path.relative_to(whole).as_posix() for path in whole.rglob("*") if path.is_file()}
    assert set(files_of(whole)) == present - {"README.md"}
    assert {"model.onnx", "decode.onnx", "tokenizer.model", "genai/tokenizer.json"} < present


def test_a_thousand_flipped_bytes_are_all_found(copy):
    draw = random.Random(3)
    contents = {name: (copy / name).read_bytes() for name in files_of(copy)}
    names = draw.choices(list(contents), k=FLIPS)
    assert set(names) == set(contents)
    found = 0
    for name in names:
        changed = flipped(contents[name], draw)
        if says_the_same(name, changed, contents[name]):
            continue
        (copy / name).write_bytes(changed)
        for read in (verify_bundle, ChatModel):
            with pytest.raises(BundleError) as caught:
                read(copy)
            assert f"{copy / name}: " in str(caught.value)
            assert "\n" not in str(caught.value)
        (copy / name).write_bytes(contents[name])
        found += 1
    assert found > 0.98 * FLIPS
    verify_bundle(copy)
    ChatModel(copy)


def test_the_command_line_names_the_flipped_file_in_one_line(copy, run_cli, must):
    draw = random.Random(4)
    for name in files_of(copy):
        data = (copy / name).read_bytes()
        changed = flipped(data, draw)
        while says_the_same(name, changed, data):
            changed = flipped(data, draw)
        (copy / name).write_bytes(changed)
        for command in (("info", copy, "--verify"), ("chat", copy, "--prompt", "Hi"), ("chat", copy, "--json")):
            result = run_cli(*command, input="Hi\n")
            assert result.exit_code == 1
            assert name in result.stderr
            assert [line.startswith("Error: ") for line in result.stderr.splitlines()] == [True]
        (copy / name).write_bytes(data)
    must("info", copy, "--verify")


@pytest.mark.parametrize("name", ["genai/tokenizer.json", "genai_config.json", "decode.onnx"])
@pytest.mark.parametrize("change", [lambda path: path.unlink(), lambda path: path.write_bytes(b"{}")])
def test_a_file_that_is_missing_or_cut_is_named(name, change, copy, run_cli):
    change(copy / name)
    result = run_cli("info", copy, "--verify")
    assert result.exit_code == 1
    assert name in result.stderr
