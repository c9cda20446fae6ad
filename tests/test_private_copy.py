"""Bundles whose files are overwritten while they are in use."""

import os
import shutil
import sys
from pathlib import Path

import pytest

from tinylm.errors import BundleError
from tinylm.manifest import MODEL_FILE, read_manifest
from tinylm.runtime import ChatModel, SamplingOptions
from tinylm.runtime.demo import DEMO_BUNDLE
from tinylm.runtime.private_copy import private_copy
from tinylm.user_cache import cache_folder


@pytest.fixture
def copy(tmp_path):
    folder = tmp_path / "bundle"
    shutil.copytree(DEMO_BUNDLE, folder, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def reply(model):
    return "".join(model.start_chat(options=SamplingOptions(temperature=0)).send("Hello! Who are you?"))


def copies():
    return [*cache_folder().glob("bundle-*")]


def test_what_is_loaded_privately_stays_as_it_is(copy):
    model = ChatModel(copy, threads=1, private=True)
    expected = reply(model)
    for file in copy.iterdir():
        with file.open("r+b") as opened:
            opened.truncate(0)
    assert reply(model) == expected
    assert not copies()


@pytest.mark.parametrize("size", [0, 1000, None], ids=["empty", "shorter", "as long"])
def test_what_is_mapped_is_not_touched_once_it_was_overwritten(copy, size):
    model = ChatModel(copy, threads=1)
    assert reply(model)
    file = copy / MODEL_FILE
    data = bytes(file.stat().st_size if size is None else size)
    with file.open("r+b") as opened:
        opened.truncate(0)
        opened.write(data)
    os.utime(file, ns=(1, 1))
    for _ in range(2):
        with pytest.raises(BundleError, match=r"model\.onnx: was overwritten while the model was in use"):
            reply(model)


def test_a_file_that_was_replaced_or_removed_stays_mapped_as_it_is(copy):
    model = ChatModel(copy, threads=1)
    expected = reply(model)
    (copy / "other").write_bytes(b"")
    (copy / "other").replace(copy / MODEL_FILE)
    assert reply(model) == expected
    shutil.rmtree(copy)
    assert reply(model) == expected


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_nothing_of_the_bundle_is_mapped(bundles, precision, tmp_path):
    bundle = shutil.copytree(bundles["classic", precision], tmp_path / "bundle")  # other tests map the bundle itself
    model = ChatModel(bundle, threads=1, private=True)
    model.session.append([1])
    assert str(bundle) not in Path("/proc/self/maps").read_text()


def test_a_file_that_is_not_the_manifest_s_is_not_loaded(copy):
    manifest = read_manifest(copy)
    data = bytearray((copy / MODEL_FILE).read_bytes())
    data[-1] ^= 1
    (copy / MODEL_FILE).write_bytes(data)
    with (
        pytest.raises(BundleError, match=r"model\.onnx: changed since it was written"),
        private_copy(copy, manifest, {"model.onnx", "decode.onnx"}),
    ):
        pass
    assert not copies()


def test_where_no_copy_can_be_made_the_bundle_itself_is_loaded(copy, monkeypatch, caplog):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(0, 0, 0))
    with private_copy(copy, read_manifest(copy), {"model.onnx", "decode.onnx"}) as folder:
        assert folder == copy
    assert "do not overwrite" in caplog.text


def test_errors_name_the_bundle_and_not_the_copy(copy, monkeypatch):
    def refuse(path, *_, **__):
        raise BundleError(f"{path}: no")

    monkeypatch.setattr("tinylm.runtime.session.load_onnx", refuse)
    with pytest.raises(BundleError) as refusal:
        ChatModel(copy, threads=1, private=True)
    assert str(refusal.value) == f"{copy / 'decode.onnx'}: no"
