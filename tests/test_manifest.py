"""Bundles that are changed, cut, old, new or none at all."""

import hashlib
import json
import os
import random
import shutil

import msgspec
import pytest

from tinylm.errors import BundleError
from tinylm.export.bundle import GOLDEN_TEXTS
from tinylm.manifest import encode_manifest, read_manifest, verify_files, verify_files_once
from tinylm.runtime import ChatModel
from tinylm.runtime.session import Session
from tinylm.runtime.verification import verify_bundle
from tinylm.user_cache import cache_folder

FILES = ("model.onnx", "decode.onnx", "tokenizer.model", "manifest.json")


@pytest.fixture
def copy(bundle, tmp_path, monkeypatch):
    """A bundle that may be changed, on a machine that has seen none."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return shutil.copytree(bundle, tmp_path / "bundle")


def refused(run_cli, folder, *more):
    """The one line with which `info --verify` refuses."""
    result = run_cli("info", folder, "--verify", *more)
    assert result.exit_code == 1
    lines = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert len(lines) == 1
    assert "Traceback" not in result.output
    return lines[0]


def rewrite(folder, **changes):
    """Another manifest with its own right hash."""
    manifest = msgspec.structs.replace(read_manifest(folder), **changes)
    (folder / "manifest.json").write_bytes(encode_manifest(manifest))


def rewrite_values(folder, change):
    """The same for what no `Manifest` can hold."""
    path = folder / "manifest.json"
    values = json.loads(path.read_bytes())
    values.pop("manifest_sha256")
    change(values)
    canonical = json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    values["manifest_sha256"] = hashlib.sha256(canonical.encode()).hexdigest()
    path.write_text(json.dumps(values))


def test_a_whole_bundle_verifies(bundles, text_bundle, must):
    for folder in (*bundles.values(), text_bundle):
        verify_bundle(folder)
        assert "Verified" in must("info", folder, "--verify").stderr


def test_a_manifest_survives_its_own_encoding(bundle):
    manifest = read_manifest(bundle)
    assert encode_manifest(manifest) == (bundle / "manifest.json").read_bytes()
    assert set(manifest.files) == {"model.onnx", "decode.onnx", "tokenizer.model"}
    assert {path.name for path in bundle.iterdir()} == {*FILES, "README.md"}


@pytest.mark.parametrize("name", FILES)
def test_any_changed_byte_is_found_and_its_file_named(name, copy, run_cli):
    path = copy / name
    whole = path.read_bytes()
    draw = random.Random(name)
    for number in range(40):
        position = draw.randrange(len(whole))
        changed = bytearray(whole)
        changed[position] ^= 1 << draw.randrange(8) if number % 2 else draw.randrange(1, 256)
        path.write_bytes(changed)
        if name == "manifest.json" and same_json(changed, whole):
            continue
        assert name in refused(run_cli, copy), f"byte {position}"
    path.write_bytes(whole)
    verify_bundle(copy)


def same_json(one, other):
    try:
        return json.loads(one) == json.loads(other)
    except ValueError:
        return False


def test_the_readme_may_change(copy, must):
    (copy / "README.md").write_text("Mine.")
    (copy / "notes.txt").write_text("Mine too.")
    must("info", copy, "--verify")
    (copy / "README.md").unlink()
    must("info", copy, "--verify")


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(name, copy, run_cli):
    (copy / name).unlink()
    assert name in refused(run_cli, copy)
    assert run_cli("chat", copy, "--prompt", "Hi").exit_code == 1


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("share", [0, 0.5, 0.999])
def test_a_cut_file_is_named(name, share, copy, run_cli):
    data = (copy / name).read_bytes()
    (copy / name).write_bytes(data[: int(len(data) * share)])
    assert name in refused(run_cli, copy)
    # Sizes are looked at on every load, not only where it is asked for
    with pytest.raises(BundleError, match=name):
        read_manifest(copy)


@pytest.mark.parametrize(
    ("version", "way_out"), [(2, "update TinyLM"), (0, "export it again"), ("1", "export it again")]
)
def test_a_bundle_of_another_schema_is_refused(version, way_out, copy, run_cli):
    rewrite_values(copy, lambda values: values.update(schema_version=version))
    line = refused(run_cli, copy)
    assert way_out in line
    assert "manifest.json" in line


def test_a_newer_schema_is_recognized_whatever_else_it_holds(copy, run_cli):
    (copy / "manifest.json").write_text(json.dumps({"schema_version": 7, "manifest_sha256": "?", "new": {"form": 1}}))
    assert "update TinyLM" in refused(run_cli, copy)


def test_another_chat_format_is_refused(copy, run_cli):
    rewrite_values(copy, lambda values: values.update(chat_format_version=2))
    assert "chat format 2" in refused(run_cli, copy)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", "7", '"text"', "{}", "[" * 100_000, "\ufeff{}", '{"schema_version": 1}', "not json", "NaN"],
)
def test_garbage_for_a_manifest(text, copy, run_cli):
    (copy / "manifest.json").write_text(text)
    assert "manifest.json" in refused(run_cli, copy)


def test_bytes_for_a_manifest(copy, run_cli):
    (copy / "manifest.json").write_bytes(bytes(range(256)) * 20)
    assert "manifest.json" in refused(run_cli, copy)


@pytest.mark.parametrize(
    "change",
    [
        lambda values: values.pop("model"),
        lambda values: values["model"].update(d_model=7),
        lambda values: values["model"].update(surprise=1),
        lambda values: values["files"]["model.onnx"].update(size="big"),
        lambda values: values.update(golden=None),
    ],
)
def test_a_manifest_of_other_fields(change, copy, run_cli):
    rewrite_values(copy, change)
    assert "manifest.json" in refused(run_cli, copy)


def test_what_is_no_bundle(tmp_path, run_cli, runs):
    assert "no such bundle" in refused(run_cli, tmp_path / "nowhere")
    (tmp_path / "file").write_text("x")
    assert "no such bundle" in refused(run_cli, tmp_path / "file")
    (tmp_path / "empty").mkdir()
    assert "not a bundle" in refused(run_cli, tmp_path / "empty")
    line = refused(run_cli, runs["classic"])
    assert "run folder" in line
    assert "tinylm export" in line


def test_a_file_that_onnxruntime_refuses(copy, run_cli):
    (copy / "model.onnx").write_bytes(b"no model" * 10)
    entry = read_manifest_files(copy)
    rewrite_values(copy, lambda values: values["files"].update({"model.onnx": entry}))
    result = run_cli("chat", copy, "--prompt", "Hi")
    assert result.exit_code == 1
    assert "onnxruntime" in result.stderr
    assert "decode.onnx" in result.stderr  # its weights are in model.onnx
    assert len(result.stderr.splitlines()) == 1


def read_manifest_files(folder):
    data = (folder / "model.onnx").read_bytes()
    return {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def test_json_of_a_changed_bundle_says_so(copy, run_cli):
    data = bytearray((copy / "model.onnx").read_bytes())
    data[len(data) // 2] ^= 1
    (copy / "model.onnx").write_bytes(data)
    result = run_cli("info", copy, "--verify", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["verified"] is False
    assert "model.onnx" in result.stderr


def test_hashes_are_checked_when_a_bundle_is_first_loaded_and_after_a_change(copy, monkeypatch):
    calls = []
    real = verify_files
    monkeypatch.setattr("tinylm.manifest.verify_files", lambda *args: calls.append(args) or real(*args))
    manifest = read_manifest(copy)
    verify_files_once(copy, manifest)
    verify_files_once(copy, manifest)
    assert len(calls) == 1
    ChatModel(copy)
    assert len(calls) == 1
    status = (copy / "model.onnx").stat()
    data = bytearray((copy / "model.onnx").read_bytes())
    data[100] ^= 1
    (copy / "model.onnx").write_bytes(data)
    # Not even with its time put back
    os.utime(copy / "model.onnx", ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(BundleError, match=r"model\.onnx"):
        ChatModel(copy)
    with pytest.raises(BundleError, match=r"model\.onnx"):
        ChatModel(copy)
    data[100] ^= 1
    (copy / "model.onnx").write_bytes(data)
    ChatModel(copy)


def test_a_moved_bundle_is_verified_again(copy, tmp_path, monkeypatch):
    verify_files_once(copy, read_manifest(copy))
    moved = copy.rename(tmp_path / "moved")
    calls = []
    monkeypatch.setattr("tinylm.manifest.verify_files", lambda *args: calls.append(args))
    verify_files_once(moved, read_manifest(moved))
    assert len(calls) == 1


@pytest.mark.parametrize("error", [PermissionError(13, "denied"), OSError(30, "read-only")])
def test_a_cache_that_cannot_be_used_is_no_reason_to_refuse(error, copy, monkeypatch):
    from pathlib import Path

    def refuse(self, *args, **kwargs):
        raise error

    for method in ("mkdir", "touch", "exists"):
        monkeypatch.setattr(Path, method, refuse)
    manifest = read_manifest_of(copy)
    verify_files_once(copy, manifest)
    data = bytearray((copy / "model.onnx").read_bytes())
    data[100] ^= 1
    (copy / "model.onnx").write_bytes(data)
    with pytest.raises(BundleError, match=r"model\.onnx"):
        verify_files_once(copy, manifest)


def read_manifest_of(folder):
    values = json.loads((folder / "manifest.json").read_bytes())
    values.pop("manifest_sha256")
    from tinylm.manifest import Manifest

    return msgspec.convert(values, Manifest)


def test_a_cache_folder_that_is_a_file(copy, tmp_path):
    (tmp_path / "cache").write_text("in the way")
    ChatModel(copy)


def test_no_home_at_all(copy, monkeypatch):
    import pwd

    def homeless(user):
        raise KeyError(user)

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(pwd, "getpwuid", homeless)
    with pytest.raises(RuntimeError):
        cache_folder()
    ChatModel(copy)


def test_other_golden_ids_are_found(copy, run_cli):
    golden = read_manifest(copy).golden
    ids = [*golden.ids[:-2], golden.ids[-2] ^ 1, golden.ids[-1]]
    rewrite(copy, golden=msgspec.structs.replace(golden, ids=ids))
    assert "golden text has other token ids" in refused(run_cli, copy)


def test_another_golden_continuation_is_found(copy, run_cli):
    golden = read_manifest(copy).golden
    rewrite(copy, golden=msgspec.structs.replace(golden, continuation=[*golden.continuation, 299]))
    assert "continue the golden text differently" in refused(run_cli, copy)


def test_a_processor_that_computes_wrongly_is_found(copy, run_cli, monkeypatch):
    golden = read_manifest(copy).golden
    if not golden.continuation:
        rewrite(copy, golden=msgspec.structs.replace(golden, continuation=[9]))
    real = Session.append

    def wrong(self, ids):
        return real(self, ids)[::-1].copy()

    monkeypatch.setattr(Session, "append", wrong)
    assert "continue the golden text differently" in refused(run_cli, copy)


def test_golden_text_is_our_own_and_its_continuation_is_clear(bundles, text_bundle):
    for folder in bundles.values():
        manifest = read_manifest(folder)
        assert manifest.chat
        assert manifest.golden.conversation == [{"role": "user", "content": manifest.golden.text}]
        assert manifest.golden.text in GOLDEN_TEXTS
        assert manifest.golden.continuation
    assert read_manifest(text_bundle).golden.conversation == []
    assert not read_manifest(text_bundle).chat


def test_the_bundle_quotes_no_training_text(bundles, samples):
    lines = [line for name in ("tagged.txt", "raw.txt") for line in (samples / name).read_text().splitlines()]
    lines = [line.split("> ")[-1] for line in lines if len(line) > 30 and not line.startswith("#")]
    assert len(lines) > 30
    for folder in bundles.values():
        for name in ("manifest.json", "README.md"):
            text = (folder / name).read_text()
            assert not [line for line in lines if line in text]
            assert str(samples) not in text
