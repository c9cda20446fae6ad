"""What `tinylm export` makes of its options: 4 bits, files for onnxruntime-genai, limits, and nothing half-written."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tinylm.errors import ConfigError
from tinylm.export import GateLimits, export_bundle
from tinylm.files import sha256_of
from tinylm.manifest import FileEntry, read_manifest
from tinylm.runtime import ChatModel
from tinylm.runtime.verification import verify_bundle

GENAI_FILES = {"genai_config.json", "tokenizer.json", "genai/tokenizer.json", "genai/tokenizer_config.json"}


def refused(result, code):
    """The one line of an error."""
    assert result.exit_code == code
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert "Traceback" not in result.output
    return line


@pytest.mark.parametrize("arch", ["classic", "modern"])
def test_a_bundle_of_4_bits_passes_its_gate_and_chats(arch, runs, bundles, tmp_path, must):
    out = tmp_path / "bundle"
    must("export", runs[arch], "--quantize", "--bits", "4", "--out", out)
    manifest = verify_bundle(out)
    assert manifest.graph.precision == "int4"
    assert manifest.graph.decode == {}
    # The tied output stays int8, as do rows of the embedding
    assert {"MatMulNBits", "MatMulIntegerToFloat"} < set(manifest.graph.contrib_operators)
    assert manifest.gate.greedy_agreement >= GateLimits.parse([], 4).greedy_agreement
    sizes = [folder / "model.onnx" for folder in (out, bundles[arch, "int8"])]
    assert sizes[0].stat().st_size < sizes[1].stat().st_size
    assert "int4" in must("info", out).stdout
    reply = json.loads(must("chat", out, "--prompt", "Hello!", "--temperature", "0", "--json").stdout)
    assert reply["completion_tokens"] > 0


@pytest.mark.parametrize(
    ("options", "way_out"),
    [
        (["--bits", "4"], "--quantize"),
        (["--bits", "4", "--portable"], "--quantize"),
        (["--bits", "4", "--quantize", "--portable"], "leave out --portable"),
        (["--bits", "5", "--quantize"], "'8', '4'"),
        (["--quantize", "--bits", "four"], "'8', '4'"),
    ],
)
def test_4_bits_where_they_do_not_go_are_a_usage_error(options, way_out, runs, tmp_path, run_cli):
    line = refused(run_cli("export", runs["classic"], *options, "--out", tmp_path / "place" / "bundle"), 2)
    assert "--bits" in line
    assert way_out in line
    assert list(tmp_path.iterdir()) == []


def test_limits_of_4_bits_are_wider_and_can_be_moved():
    wide, usual = GateLimits.parse([], 4), GateLimits.parse([], 8)
    assert usual == GateLimits()
    assert wide.quality_loss_percent > usual.quality_loss_percent
    assert wide.greedy_agreement < usual.greedy_agreement
    assert wide.fp32_logit_difference == usual.fp32_logit_difference
    assert wide.prefill_agreement == usual.prefill_agreement
    moved = GateLimits.parse(["quality_loss_percent=0.5"], 4)
    assert (moved.quality_loss_percent, moved.greedy_agreement) == (0.5, wide.greedy_agreement)


@pytest.mark.parametrize("options", [["--quantize", "--genai"], ["--quantize", "--bits", "4"]])
def test_a_limit_overrides_and_what_is_over_it_leaves_nothing_behind(options, runs, tmp_path, run_cli):
    out = tmp_path / "place" / "bundle"
    result = run_cli("export", runs["classic"], *options, "--limit", "greedy_agreement=1.01", "--out", out)
    line = refused(result, 1)
    assert "greedy_agreement is" in line
    assert "(limit 1.01)" in line
    assert not out.exists()
    assert list((tmp_path / "place").iterdir()) == []


@pytest.mark.parametrize("options", [["--quantize"], ["--portable"]])
def test_files_for_genai_are_in_the_manifest_with_their_hashes(options, runs, tmp_path, must):
    out = tmp_path / "bundle"
    must("export", runs["classic"], *options, "--genai", "--out", out)
    files = read_manifest(out).files
    assert set(files) > GENAI_FILES
    for name in GENAI_FILES:
        path = out / name
        assert files[name] == FileEntry(size=path.stat().st_size, sha256=sha256_of(path))
        json.loads(path.read_bytes())
    search = json.loads((out / "genai_config.json").read_bytes())["search"]
    assert search["past_present_share_buffer"] is ("--portable" not in options)
    verify_bundle(out)


def test_files_for_genai_come_only_when_asked_for(bundles):
    for folder in bundles.values():
        assert not GENAI_FILES & set(read_manifest(folder).files)
        assert not any((folder / name).exists() for name in GENAI_FILES)


def test_overwriting_leaves_no_file_of_the_old_bundle(runs, tmp_path, run_cli, must):
    out = tmp_path / "place" / "bundle"
    must("export", runs["classic"], "--quantize", "--genai", "--out", out)
    assert "--overwrite" in refused(run_cli("export", runs["classic"], "--out", out), 1)
    assert (out / "genai").is_dir()
    must("export", runs["classic"], "--overwrite", "--out", out)
    assert {path.name for path in out.iterdir()} == {"README.md", "manifest.json", "model.onnx", "tokenizer.model"}
    assert [path.name for path in out.parent.iterdir()] == ["bundle"]
    verify_bundle(out)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"bits": 4}, "--bits 4 goes with --quantize"),
        ({"bits": 4, "quantize": True, "portable": True}, "leave out --portable"),
        ({"bits": 3}, "--bits 3"),
        ({"limits": {"speed": 1.0}}, "--limit speed=1.0: known are"),
    ],
)
def test_arguments_of_export_bundle_that_make_no_sense(arguments, message, runs, tmp_path):
    with pytest.raises(ConfigError, match=message):
        export_bundle(runs["classic"], tmp_path / "bundle", **arguments)
    assert list(tmp_path.iterdir()) == []


def test_a_bundle_from_python_is_a_path(runs, tmp_path):
    bundle = export_bundle(runs["classic"], tmp_path / "bundle", quantize=True, limits={"greedy_agreement": 0.1})
    assert Path(bundle) == bundle.path == tmp_path / "bundle"
    assert ChatModel(bundle).manifest == bundle.manifest


def test_the_package_is_cheap_to_import():
    script = "import sys, tinylm.export; sys.exit(bool({'torch', 'onnx', 'numpy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
