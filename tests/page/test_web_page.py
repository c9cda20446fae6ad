"""The page of `tinylm export --web`: opened from a file, without a network, it says what the device says."""

import http.server
import importlib
import json
import shutil
import sys
import threading
from functools import partial
from pathlib import Path

import pytest

from tinylm.files import sha256_of
from tinylm.manifest import MANIFEST_FILE, Golden, Manifest, encode_manifest, read_manifest
from tinylm.runtime import ChatModel, SamplingOptions
from tinylm.runtime.demo import DEMO_BUNDLE
from tinylm.runtime.web.writing import write_page

expect = pytest.importorskip("playwright.sync_api", reason="needs a browser: pip install '.[dev]'").expect
Axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe

pytestmark = pytest.mark.usefixtures("web_dist")
REPLIES = 100
# Milliseconds for a page to load, on a machine that does much else
LOADING = 240_000
PHONE, DESKTOP = {"width": 390, "height": 844}, {"width": 1280, "height": 800}
BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def worker():
    """The benchmarks' module that asks a page's worker."""
    sys.path.insert(0, str(BENCHMARKS))
    try:
        yield importlib.import_module("page_worker")
    finally:
        sys.path.remove(str(BENCHMARKS))


@pytest.fixture(scope="module")
def demo_page(tmp_path_factory, web_dist):
    """The demo model's page."""
    path = tmp_path_factory.mktemp("page") / "pip.html"
    write_page(DEMO_BUNDLE, path)
    return path


@pytest.fixture(scope="module")
def open_file(browser, chat_page, worker):
    """Open a page from a file, offline; what it asks for is listed in `requests`."""
    opened = []

    def open_file(path, **options):
        context = browser.new_context(offline=True, **options)
        context.set_default_timeout(LOADING)
        context.add_init_script(worker.CATCH_WORKER)
        requests = []
        context.on("request", lambda request: requests.append(request.url))
        chat = chat_page(context.new_page())
        chat.requests = requests
        chat.page.goto(path.as_uri())
        opened.append((context, chat))
        return chat

    yield open_file
    for context, _ in opened:
        context.close()


@pytest.fixture(scope="module")
def opened(open_file, demo_page):
    """The demo model's page, ready; shared, as loading it takes the longest."""
    chat = open_file(demo_page, viewport=DESKTOP)
    expect(chat.page.get_by_text("Ready")).to_be_visible(timeout=LOADING)
    yield chat
    assert chat.problems == []


def test_it_opens_from_a_file_and_asks_nobody_for_anything(opened, demo_page):
    assert opened.page.title().startswith("pip")
    opened.talk("Hello, who are you?")
    assert len(opened.texts.last.text_content()) > 3
    others = [url for url in opened.requests if not url.startswith((demo_page.as_uri(), "blob:", "data:"))]
    assert opened.requests
    assert others == []


def test_a_hundred_greedy_replies_are_the_device_s(opened, worker):
    model = ChatModel(threads=1)
    conversations = worker.greedy_conversations(model, REPLIES)
    answers = worker.ask(opened.page, *worker.greedy_requests(conversations))
    assert len(answers) == REPLIES
    for messages, answer in zip(conversations, answers, strict=True):
        assert answer["text"] == answer["result"]["reply"]
        if answer["text"] != messages[-1]["content"]:
            assert worker.is_close_call(model, messages, answer["text"])


def test_a_reply_stops_and_the_next_one_is_whole(opened, worker):
    message = {"role": "user", "content": "Tell me about the garden, please."}
    # As good as endless: where the browser sends the stop late, the reply still goes on
    endless = {"temperature": 100, "top_k": 0, "top_p": 1, "max_new_tokens": -1, "seed": 1}
    stopped, whole = worker.ask(
        opened.page,
        {"chat": {"messages": [message], "settings": endless}, "stopAtOnce": True},
        {"chat": {"messages": [message], "settings": {"temperature": 0}}},
    )
    assert stopped["result"]["finishReason"] == "cancelled"
    assert whole["result"]["finishReason"] == "stop"
    (alone,) = worker.ask(opened.page, {"chat": {"messages": [message], "settings": {"temperature": 0}}})
    assert whole["text"] == alone["text"]


@pytest.mark.parametrize(("settings", "word"), [({"temperature": -1}, "temperature"), ({"top_p": 7}, "top_p")])
def test_settings_out_of_range_are_refused(settings, word, opened, worker):
    messages = [{"role": "user", "content": "Hello"}]
    (answer,) = worker.ask(opened.page, {"chat": {"messages": messages, "settings": settings}})
    assert word in answer["error"]


def test_what_is_too_long_is_refused_in_the_page(opened):
    opened.button("New conversation").click()
    opened.say("much " * 2000)
    expect(opened.notice).to_contain_text("too long")
    assert Axe().run(opened.page).response["violations"] == []
    opened.button("New conversation").click()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_every_state_is_free_of_what_axe_finds(scheme, viewport, opened):
    opened.page.emulate_media(color_scheme=scheme)
    opened.page.set_viewport_size(viewport)
    opened.talk("What do you like?")
    assert Axe().run(opened.page).response["violations"] == []
    opened.screenshot(f"web-{scheme}-{viewport['width']}")
    opened.page.set_viewport_size(DESKTOP)
    opened.page.emulate_media(color_scheme="light")


def _with_golden(folder, **changes):
    """The demo bundle with another golden text."""
    shutil.copytree(DEMO_BUNDLE, folder, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    manifest = read_manifest(folder)
    fields = {name: getattr(manifest, name) for name in Manifest.__struct_fields__}
    golden = {name: getattr(manifest.golden, name) for name in Golden.__struct_fields__}
    changed = Manifest(**{**fields, "golden": Golden(**{**golden, **changes})})
    (folder / MANIFEST_FILE).write_bytes(encode_manifest(changed))
    return folder


@pytest.mark.parametrize(("part", "says"), [("ids", "other tokens"), ("continuation", "continues the golden text")])
def test_a_page_that_computes_something_else_does_not_talk(part, says, open_file, tmp_path):
    right = getattr(read_manifest(DEMO_BUNDLE).golden, part)
    path = tmp_path / "wrong.html"
    write_page(_with_golden(tmp_path / "bundle", **{part: [*right[:-1], right[-1] + 7]}), path)
    chat = open_file(path)
    expect(chat.notice).to_contain_text(says, timeout=LOADING)
    assert Axe().run(chat.page).response["violations"] == []
    chat.page.close()


@pytest.mark.parametrize("kind", [("modern", "int8"), ("classic", "fp32")], ids="-".join)
def test_bundles_of_other_shapes_compute_the_same_in_the_page(kind, bundles, open_file, worker, tmp_path):
    path = tmp_path / "other.html"
    write_page(bundles[kind], path)
    chat = open_file(path)
    expect(chat.page.get_by_text("Ready")).to_be_visible(timeout=LOADING)
    assert chat.problems == []
    model = ChatModel(bundles[kind], threads=1)
    expected = "".join(model.start_chat(None, SamplingOptions(**worker.GREEDY)).send("Hello!"))
    conversation = [{"role": "user", "content": "Hello!"}, {"role": "assistant", "content": expected}]
    (answer,) = worker.ask(chat.page, *worker.greedy_requests([conversation]))
    assert answer["text"] == expected or worker.is_close_call(model, conversation, answer["text"])
    chat.page.close()


class _Host(http.server.ThreadingHTTPServer):
    """A web host of a folder."""

    daemon_threads = True

    def __init__(self, folder):
        super().__init__(("127.0.0.1", 0), partial(_Quiet, directory=folder))
        self.url = f"http://127.0.0.1:{self.server_port}/"
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self):
        self.shutdown()
        self.server_close()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def test_a_folder_on_a_web_host_opens_again_without_it(browser, chat_page, tmp_path):
    folder = tmp_path / "talking-pip"
    write_page(DEMO_BUNDLE, folder)
    host = _Host(folder)
    context = browser.new_context()
    context.set_default_timeout(LOADING)
    chat = chat_page(context.new_page())
    chat.page.goto(host.url)
    expect(chat.page.get_by_text("Ready")).to_be_visible(timeout=LOADING)
    chat.page.evaluate("navigator.serviceWorker.ready.then(() => true)")
    web_manifest = json.loads((folder / "manifest.webmanifest").read_text("utf-8"))
    assert web_manifest["name"] == "talking-pip"
    for icon in web_manifest["icons"]:
        assert (folder / icon["src"]).is_file()
    host.stop()
    chat.page.reload()
    expect(chat.page.get_by_text("Ready")).to_be_visible(timeout=LOADING)
    chat.talk("Hello!")
    assert chat.problems == []
    context.close()


def test_the_page_carries_the_files_that_were_verified(demo_page):
    assert sha256_of(DEMO_BUNDLE / "model.onnx") == read_manifest(DEMO_BUNDLE).files["model.onnx"].sha256
    assert demo_page.stat().st_size < 9_000_000
