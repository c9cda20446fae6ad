"""`tinylm export --web`: what is written, what is refused in one line, and nothing half-written."""

import base64
import gzip
import html
import json
import re
import shutil

import pytest

from tinylm.manifest import MANIFEST_FILE, read_manifest
from tinylm.runtime.demo import DEMO_BUNDLE
from tinylm.runtime.page.assembly import content_security_policy
from tinylm.runtime.web import writing
from tinylm.runtime.web.writing import write_page

HOSTED = {"icon-192.png", "icon-512.png", "index.html", "manifest.webmanifest", "service-worker.js"}


pytestmark = pytest.mark.usefixtures("web_dist")


def refused(result, *parts, code=1):
    """The command has failed with one line, which has these parts."""
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    for part in parts:
        assert part in line


def carried(page):
    """The files that a page carries, by name, and the model's name."""
    data = dict(re.findall(r'<script type="text/plain" id="web-([a-z0-9-]+)">([^<]*)</script>', page))
    model = json.loads(data["model"])
    packed = (base64.b64decode(data[f"file-{number}"]) for number in range(len(model["files"])))
    return model["name"], dict(zip(model["files"], map(gzip.decompress, packed), strict=True))


def test_the_demo_model_as_one_file(tmp_path, must):
    out = tmp_path / "say <hello> & 'bye'.html"
    said = must("export", "--web", out).stderr
    page = out.read_text("utf-8")
    assert out.stat().st_size < 9_000_000
    for part in ("onnxruntime", "model", "tokenizer", "card", "page"):
        assert re.search(rf"\b{part} \d", said)
    name, contents = carried(page)
    assert name == out.stem
    for file in ("model.onnx", "decode.onnx", "tokenizer.model", "manifest.json", "README.md"):
        assert contents[file] == (DEMO_BUNDLE / file).read_bytes()
    assert contents["onnxruntime.wasm"].startswith(b"\0asm")
    assert b"MIT License" in contents["NOTICES.txt"]


def test_its_policy_allows_no_connection_and_no_other_script(tmp_path):
    out = tmp_path / "page.html"
    write_page(DEMO_BUNDLE, out)
    page = out.read_bytes()
    policy = html.unescape(re.search(rb'http-equiv="Content-Security-Policy" content="(.*?)"', page)[1].decode())
    assert policy == content_security_policy(page, writing._POLICY)
    directives = dict(part.split(" ", 1) for part in policy.split("; "))
    assert directives["default-src"] == directives["connect-src"] == "'none'"
    assert re.fullmatch(r"'sha256-\S+' 'wasm-unsafe-eval'", directives["script-src"])
    assert "unsafe-inline" not in policy


def test_a_run_as_a_folder_beside_its_bundle(runs, tmp_path, must):
    out, web = tmp_path / "bundle", tmp_path / "site"
    must("export", runs["classic"], "--quantize", "--out", out, "--web", web)
    assert {path.name for path in web.iterdir()} == HOSTED
    name, contents = carried((web / "index.html").read_text("utf-8"))
    assert name == "site"
    assert contents["model.onnx"] == (out / "model.onnx").read_bytes()
    assert "VERSION" not in (web / "service-worker.js").read_text("utf-8")
    assert json.loads((web / "manifest.webmanifest").read_text("utf-8"))["name"] == "site"


def test_a_run_as_a_page_alone(runs, tmp_path, must):
    web = tmp_path / "page.html"
    must("export", runs["modern"], "--quantize", "--web", web)
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]
    assert carried(web.read_text("utf-8"))[1]["decode.onnx"]


def test_a_bundle_goes_into_a_page_as_it_is(bundle, tmp_path, must, run_cli):
    web = tmp_path / "page.html"
    must("export", bundle, "--web", web)
    first = web.read_bytes()
    refused(run_cli("export", bundle, "--web", web), "exists", "--overwrite")
    must("export", bundle, "--web", web, "--overwrite")
    assert web.read_bytes() == first
    refused(run_cli("export", bundle, "--web", web, "--quantize"), "leave out --quantize", code=2)
    refused(run_cli("export", bundle, "--web", web, "--out", tmp_path / "x"), "leave out --out", code=2)


def test_what_is_no_page_is_never_replaced(bundle, tmp_path, run_cli):
    (tmp_path / "diary").mkdir()
    (tmp_path / "diary" / "today.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder.html").mkdir()
    for name in ("diary", "file", "folder.html"):
        refused(run_cli("export", bundle, "--web", tmp_path / name, "--overwrite"), "is no page")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["diary", "file", "folder.html", "today.txt"]


def test_a_run_and_a_place_are_needed(run_cli, bundle):
    refused(run_cli("export"), "--web", code=2)
    refused(run_cli("export", bundle), "--out", code=2)


def test_a_bundle_too_large_for_a_tab_is_refused_with_what_fits(bundle, tmp_path, run_cli, monkeypatch):
    size = read_manifest(bundle).files["model.onnx"].size
    monkeypatch.setattr(writing, "MOST_MODEL_BYTES", size - 1)
    refused(run_cli("export", bundle, "--web", tmp_path / "page.html"), "too large for a browser tab", "at most", "4")
    assert list(tmp_path.iterdir()) == []


def test_what_a_page_cannot_run_is_refused(runs, text_bundle, bundle, tmp_path, run_cli, must):
    web = tmp_path / "page.html"
    refused(run_cli("export", text_bundle, "--web", web), "never fine-tuned")
    refused(run_cli("export", runs["classic"], "--portable", "--web", web), "--portable", code=2)
    portable = tmp_path / "portable"
    must("export", runs["classic"], "--portable", "--out", portable)
    refused(run_cli("export", portable, "--web", web), "--portable")
    broken = shutil.copytree(bundle, tmp_path / "broken")
    (broken / "model.onnx").write_bytes(b"\0" * read_manifest(bundle).files["model.onnx"].size)
    refused(run_cli("export", broken, "--web", web), "changed since it was written")
    (broken / MANIFEST_FILE).write_text("{}")
    refused(run_cli("export", broken, "--web", web), "not a manifest")
    assert not web.exists()


def test_without_what_make_web_builds_it_says_so(tmp_path, run_cli, monkeypatch):
    monkeypatch.setattr(writing, "files", lambda _: tmp_path / "nothing")
    refused(run_cli("export", "--web", tmp_path / "page.html"), "make web")
    assert list(tmp_path.iterdir()) == []
