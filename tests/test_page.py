"""The chat page in real headless Chromium, before a server that says what each test wants to hear."""

import base64
import hashlib
import json
import os
import re
import shutil
import socket
import struct
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from pathlib import Path

import pytest

PAGE = files("tinylm.runtime.server").joinpath("page.html").read_text(encoding="utf-8")
REQUIRED = os.environ.get("TINYLM_REQUIRE_BROWSER") == "1"
SCREENSHOTS = os.environ.get("TINYLM_SCREENSHOTS")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PHONE, DESKTOP = {"width": 390, "height": 844}, {"width": 1280, "height": 800}
HOSTILE = "<script>alert(1)</script><img src=x onerror=\"document.title='hit'\">"

try:
    from axe_playwright_python.sync_playwright import Axe
    from playwright.sync_api import expect, sync_playwright
except ImportError:
    if REQUIRED:
        raise
    pytest.skip("the page needs a browser: pip install '.[dev]' and apt-get install chromium", allow_module_level=True)


def _policy(page):
    """The Content-Security-Policy under which the page has to work."""

    def digest(tag):
        (content,) = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        return "sha256-" + base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()

    return (
        f"default-src 'none'; connect-src 'self'; img-src 'self' data:; style-src '{digest('style')}'; "
        f"script-src '{digest('script')}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


@dataclass
class Answer:
    """What the server says to one request: an error, or pieces of a reply."""

    pieces: list[str] = field(default_factory=lambda: ["I hear ", "you."])
    status: int = 200
    code: str | None = None
    message: str = "Not now."
    headers: dict[str, str] = field(default_factory=dict)
    # The rest comes once this is set
    hold: threading.Event | None = None
    # The connection breaks instead of ending
    drop: bool = False
    finish_reason: str = "stop"

    @classmethod
    def of(cls, text):
        """The text word by word."""
        return cls(re.findall(r"\s*\S+", text))


class FakeServer(ThreadingHTTPServer):
    """An OpenAI-compatible server without a model."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, port=0):
        super().__init__(("127.0.0.1", port), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}/"
        self.model = "pip-demo"
        self.key = None
        self.answers = deque()
        # Requests of more messages do not fit the context
        self.most_messages = None
        self.requests = []
        self.left = threading.Event()
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def will_say(self, *answers):
        self.answers.extend(Answer.of(answer) if isinstance(answer, str) else answer for answer in answers)

    def handle_error(self, request, client_address):
        """Clients that leave are what some tests are about."""

    def stop(self):
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    def log_message(self, *arguments):
        pass

    def do_GET(self):
        if self.path == "/v1/models":
            if self._authorized():
                self._json(200, {"object": "list", "data": [{"id": self.server.model, "object": "model"}]})
        elif self.path == "/":
            self._send(200, PAGE.encode(), "text/html; charset=utf-8", {"Content-Security-Policy": _policy(PAGE)})
        else:
            self._json(404, {"error": {"message": "There is no such path."}})

    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if not self._authorized():
            return
        self.server.requests.append(request)
        too_many = self.server.most_messages is not None and len(request["messages"]) > self.server.most_messages
        if too_many:
            answer = Answer(status=400, code="context_length_exceeded", message="Too long for 64 tokens.")
        else:
            answer = self.server.answers.popleft() if self.server.answers else Answer()
        if answer.status != 200:
            self._json(answer.status, {"error": {"message": answer.message, "code": answer.code}}, answer.headers)
        else:
            self._stream(answer)

    def _authorized(self):
        if self.server.key is None or self.headers["Authorization"] == f"Bearer {self.server.key}":
            return True
        self._json(401, {"error": {"message": "The API key is not right.", "code": "invalid_api_key"}})
        return False

    def _json(self, status, content, headers=None):
        self._send(status, json.dumps(content).encode(), "application/json", headers or {})

    def _send(self, status, body, content_type, headers):
        self.send_response(status)
        for name, value in {"Content-Type": content_type, "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _stream(self, answer):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        self._event({"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]})
        for number, piece in enumerate(answer.pieces):
            if number == 1 and answer.hold:
                self._wait(answer.hold)
            self._event({"choices": [{"index": 0, "delta": {"content": piece}, "finish_reason": None}]})
            time.sleep(0.01)
        if answer.drop:
            # A reset instead of an end
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.wfile.flush()
            self.connection.close()
            return
        self._event({"choices": [{"index": 0, "delta": {}, "finish_reason": answer.finish_reason}]})
        self._event({"choices": [], "usage": {"prompt_tokens": 21, "completion_tokens": len(answer.pieces)}})
        self.wfile.write(b"data: [DONE]\n\n")

    def _event(self, content):
        self.wfile.write(f"data: {json.dumps(content)}\n\n".encode())

    def _wait(self, hold):
        while not hold.wait(0.02):
            try:
                self.wfile.write(b": waiting\n\n")
            except OSError:
                self.server.left.set()
                raise


@pytest.fixture(scope="module")
def browser():
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        if REQUIRED:
            pytest.fail("TINYLM_REQUIRE_BROWSER is set and there is no chromium")
        pytest.skip("the page needs a browser: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def server():
    server = FakeServer()
    yield server
    server.stop()


@pytest.fixture
def context(browser):
    context = browser.new_context(viewport=DESKTOP)
    context.set_default_timeout(5000)
    yield context
    context.close()


@pytest.fixture
def page(context, server):
    """The page, open; what goes wrong in its scripts fails the test."""
    page = context.new_page()
    problems = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("dialog", lambda dialog: (problems.append(dialog.message), dialog.dismiss()))
    # Chromium itself logs answers such as 401, and connections that break
    page.on(
        "console",
        lambda line: (
            line.type in ("error", "warning")
            and not line.text.startswith("Failed to load resource")
            and problems.append(line.text)
        ),
    )
    page.goto(server.url)
    yield page
    assert not problems


def _field(page):
    return page.get_by_role("textbox", name="Message")


def _button(page, name):
    return page.get_by_role("button", name=name, exact=True)


def _say(page, text):
    _field(page).fill(text)
    _field(page).press("Enter")


def _texts(page):
    return page.locator("article .text")


def _talk(page, *texts):
    """Say these one after the other and wait for each reply."""
    for text in texts:
        before = _texts(page).count()
        _say(page, text)
        expect(_texts(page)).to_have_count(before + 2)
        expect(_button(page, "Send")).to_be_visible()


def _notice(page):
    return page.get_by_role("group", name="Notice")


def _spoken(page):
    return page.locator("#spoken p").all_text_contents()


def _wait(page, condition):
    """Until a JavaScript expression is true; the policy lets only the test itself evaluate one."""
    deadline = time.monotonic() + 5
    while not page.evaluate(condition):
        assert time.monotonic() < deadline, condition
        time.sleep(0.02)


def _screenshot(page, name):
    if SCREENSHOTS:
        Path(SCREENSHOTS).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=Path(SCREENSHOTS) / f"{name}.png")


def test_the_page_is_one_file_that_a_strict_policy_allows():
    assert len(re.findall(r"<style\b", PAGE)) == len(re.findall(r"<script\b", PAGE)) == 1
    markup = re.sub(r"<(style|script)>.*?</\1>", "", PAGE, flags=re.DOTALL)
    assert not re.findall(r"\s(?:style|on\w+)=", markup)
    assert not re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function", PAGE)
    # Only the name of SVG, which nothing fetches
    assert set(re.findall(r"https?://[^\"' ]+", PAGE)) == {"http://www.w3.org/2000/svg"}


def test_a_reply_streams_in_and_shows_its_figures(page, server):
    hold = threading.Event()
    server.will_say(Answer(["Once ", "upon a time\nthere was a rover."], hold=hold))
    expect(page).to_have_title("pip-demo")
    expect(page.get_by_text("Ready")).to_be_visible()

    _say(page, "A story, please.")

    expect(_texts(page)).to_have_text(["A story, please.", "Once "])
    expect(_button(page, "Stop the reply")).to_be_visible()
    expect(page.locator("#state")).to_have_text("Replying")
    hold.set()
    expect(_texts(page).last).to_have_text("Once upon a time\nthere was a rover.", use_inner_text=True)
    expect(page.locator(".figures")).to_have_text(re.compile(r"^2 tokens · [\d.,]+ tokens/s · prompt 21$"))
    assert server.requests == [
        {
            "model": "pip-demo",
            "messages": [{"role": "user", "content": "A story, please."}],
            "stream": True,
            "stream_options": {"include_usage": True},
        }
    ]


def test_the_conversation_is_sent_with_each_message(page, server):
    server.will_say("One.", "Two.")

    _talk(page, "First", "Second")

    assert [message["content"] for message in server.requests[1]["messages"]] == ["First", "One.", "Second"]


def test_shift_and_enter_makes_a_line_and_an_empty_message_is_not_sent(page, server):
    _say(page, "   ")
    _field(page).fill("One")
    _field(page).press("Shift+Enter")
    _field(page).press_sequentially("two")
    _field(page).press("Enter")

    expect(_texts(page)).to_have_text(["One\ntwo", "I hear you."], use_inner_text=True)
    assert [request["messages"][0]["content"] for request in server.requests] == ["One\ntwo"]


@pytest.mark.parametrize("by", ["button", "Escape"])
def test_stop_keeps_what_there_is_and_leaves_the_server(page, server, by):
    server.will_say(Answer(["Once ", "upon"], hold=threading.Event()))
    _say(page, "A story, please.")
    expect(_texts(page).last).to_have_text("Once ")

    if by == "button":
        _button(page, "Stop the reply").click()
    else:
        page.keyboard.press("Escape")

    expect(page.locator(".figures")).to_have_text("Stopped")
    expect(_texts(page)).to_have_text(["A story, please.", "Once "])
    expect(_field(page)).to_be_focused()
    assert server.left.wait(5)


def test_retry_asks_the_same_again_and_replaces_the_reply(page, server):
    server.will_say("First try.", "Second try.")
    _talk(page, "Hello")

    _button(page, "Retry").click()

    expect(_texts(page)).to_have_text(["Hello", "Second try."])
    assert server.requests[0] == server.requests[1]


def test_a_retry_that_fails_gives_the_old_reply_back(page, server):
    server.will_say("First try.", Answer(status=500, message="The model is tired."))
    _talk(page, "Hello")

    _button(page, "Retry").click()

    expect(_notice(page)).to_contain_text("The model is tired.")
    expect(_texts(page)).to_have_text(["Hello", "First try."])


def test_the_last_message_can_be_edited(page, server):
    server.will_say("One.", "Two.", "Three.")
    _talk(page, "First", "Secnod")

    _field(page).press("ArrowUp")
    expect(_field(page)).to_have_value("Secnod")
    page.keyboard.press("Escape")
    expect(_field(page)).to_have_value("")
    _button(page, "Edit").click()
    _say(page, "Second")

    expect(_texts(page)).to_have_text(["First", "One.", "Second", "Three."])
    assert [message["content"] for message in server.requests[-1]["messages"]] == ["First", "One.", "Second"]


def test_settings_reach_the_request_and_stay(page, server):
    _button(page, "Settings").click()
    page.get_by_label("System message").fill("Your name is Nova.")
    page.get_by_label("Temperature").fill("0.3")
    page.get_by_label("Longest reply, in tokens").fill("64")
    _button(page, "Done").click()
    _talk(page, "Hello")
    page.reload()
    _button(page, "New conversation").click()
    _talk(page, "Hello again")

    for request, text in zip(server.requests, ("Hello", "Hello again"), strict=True):
        assert request["temperature"] == 0.3
        assert request["max_tokens"] == 64
        assert request["messages"] == [
            {"role": "system", "content": "Your name is Nova."},
            {"role": "user", "content": text},
        ]


def test_a_setting_out_of_range_is_refused_and_not_sent(page, server):
    _button(page, "Settings").click()
    page.get_by_label("Temperature").fill("7")
    _button(page, "Done").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    _talk(page, "Hello")

    assert "temperature" not in server.requests[0]


def test_a_busy_server_is_asked_again_when_it_said(page, server):
    server.will_say(Answer(status=429, headers={"Retry-After": "1"}), "Here I am.")

    _say(page, "Hello")

    expect(_notice(page)).to_contain_text("The server is busy with others. Trying again in 1 s.")
    expect(_texts(page)).to_have_text(["Hello", "Here I am."])
    expect(_notice(page)).to_be_hidden()
    assert len(server.requests) == 2


def test_waiting_for_a_busy_server_can_be_cut_short_or_cancelled(page, server):
    busy = Answer(status=429, headers={"Retry-After": "3600"})
    server.will_say(busy, "Here I am.", busy)
    _say(page, "Hello")
    _button(page, "Try now").click()
    expect(_texts(page)).to_have_text(["Hello", "Here I am."])
    _say(page, "And now?")
    _button(page, "Cancel").click()

    expect(_notice(page)).to_be_hidden()
    expect(_button(page, "Get a reply")).to_be_visible()
    _button(page, "Get a reply").click()
    expect(_texts(page).last).to_have_text("I hear you.")


def test_what_no_longer_fits_is_dropped_by_whole_exchanges_and_the_page_says_so(page, server):
    _button(page, "Settings").click()
    page.get_by_label("System message").fill("Be brief.")
    _button(page, "Done").click()
    _talk(page, "One", "Two", "Three")
    server.most_messages = 4

    _talk(page, "Four")

    sent = [message["content"] for message in server.requests[-1]["messages"]]
    assert sent == ["Be brief.", "Three", "I hear you.", "Four"]
    expect(page.locator(".border")).to_have_text(re.compile("no longer fit the model"))
    below = page.locator(".border ~ article .text")
    expect(below).to_have_text(["Three", "I hear you.", "Four", "I hear you."])
    expect(_texts(page).first).to_have_text("One")
    assert any("no longer fit" in line for line in _spoken(page))
    # The next message begins from there
    asked = len(server.requests)
    _talk(page, "Five")
    assert len(server.requests) == asked + 2


def test_a_message_that_is_too_long_by_itself_can_be_edited(page, server):
    _talk(page, "One")
    server.most_messages = 0
    _say(page, "Much too long")
    expect(_notice(page)).to_contain_text("too long for this model. Too long for 64 tokens.")
    server.most_messages = None

    _button(page, "Edit the message").click()
    _say(page, "Short")

    expect(_texts(page)).to_have_text(["One", "I hear you.", "Short", "I hear you."])
    expect(page.locator(".border")).to_have_count(0)


def test_the_key_is_asked_once_kept_and_can_be_forgotten(page, server):
    server.key = "right"
    page.reload()
    page.get_by_label("Key", exact=True).fill("wrong")
    page.keyboard.press("Enter")
    expect(page.get_by_text("The server does not take the key")).to_be_visible()
    page.get_by_label("Key", exact=True).fill("right")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Ready")).to_be_visible()
    page.reload()
    _talk(page, "Hello")
    expect(page.get_by_role("dialog")).to_be_hidden()

    _button(page, "Settings").click()
    _button(page, "Forget the key").click()
    _button(page, "Done").click()
    _say(page, "And now?")
    expect(page.get_by_role("dialog", name="API key")).to_be_visible()
    page.keyboard.press("Escape")
    expect(_notice(page)).to_contain_text("This server asks for an API key.")
    _button(page, "Enter the key").click()
    page.get_by_label("Key", exact=True).fill("right")
    page.keyboard.press("Enter")
    expect(_texts(page)).to_have_text(["Hello", "I hear you.", "And now?", "I hear you."])


def test_conversations_survive_a_reload_and_there_can_be_several(page, server):
    server.will_say("One.", Answer(["Tw", "o."], hold=threading.Event()))
    _talk(page, "First")
    _button(page, "New conversation").click()
    _say(page, "Second")
    expect(_texts(page)).to_have_text(["Second", "Tw"])

    page.reload()

    expect(_texts(page)).to_have_text(["Second", "Tw"])
    expect(page.locator(".figures")).to_have_text("Broken off")
    expect(page.locator("#conversations .open")).to_have_text(["Second", "First"])
    _button(page, "First").click()
    expect(_texts(page)).to_have_text(["First", "One."])
    page.reload()
    expect(_texts(page)).to_have_text(["First", "One."])


def test_a_deleted_conversation_can_be_had_back(page, server):
    _talk(page, "Precious")
    _button(page, "Delete this conversation").click()
    expect(_texts(page)).to_have_count(0)
    expect(page.locator("#conversations .open")).to_have_count(0)

    _button(page, "Undo").click()

    expect(_texts(page)).to_have_text(["Precious", "I hear you."])
    page.reload()
    expect(_texts(page)).to_have_text(["Precious", "I hear you."])


def test_another_conversation_stops_the_reply_and_keeps_it_where_it_was(page, server):
    server.will_say("One.", Answer(["Tw", "o."], hold=threading.Event()))
    _talk(page, "First")
    _button(page, "New conversation").click()
    _say(page, "Second")
    expect(_texts(page).last).to_have_text("Tw")

    _button(page, "First").click()

    assert server.left.wait(5)
    expect(_texts(page)).to_have_text(["First", "One."])
    _talk(page, "Third")
    _button(page, "Second").click()
    expect(_texts(page)).to_have_text(["Second", "Tw"])


def test_export_and_import_round_trip(page, server, context, tmp_path):
    server.will_say("One.", HOSTILE)
    _button(page, "Settings").click()
    page.get_by_label("System message").fill("Be brief.")
    _button(page, "Done").click()
    _talk(page, "First")
    _button(page, "New conversation").click()
    _talk(page, "Zweitens: Grüße 🐞\nund mehr")
    with page.expect_download() as download:
        _button(page, "Export all").click()
    exported = tmp_path / "all.json"
    download.value.save_as(exported)

    system = {"role": "system", "content": "Be brief."}
    assert json.loads(exported.read_text("utf-8")) == [
        {
            "messages": [
                system,
                {"role": "user", "content": "Zweitens: Grüße 🐞\nund mehr"},
                {"role": "assistant", "content": HOSTILE},
            ]
        },
        {"messages": [system, {"role": "user", "content": "First"}, {"role": "assistant", "content": "One."}]},
    ]
    page.evaluate("localStorage.clear()")
    page.reload()
    page.locator("#file").set_input_files(exported)
    expect(_notice(page)).to_contain_text("Imported 2 conversations.")
    expect(_texts(page)).to_have_text(["Zweitens: Grüße 🐞\nund mehr", HOSTILE], use_inner_text=True)
    expect(page.locator("#conversations .open")).to_have_text(["Zweitens: Grüße 🐞 und mehr", "First"])
    _talk(page, "Go on")
    assert server.requests[-1]["messages"][0] == system
    # A second time, only what has changed meanwhile is new
    page.locator("#file").set_input_files(exported)
    expect(_notice(page)).to_contain_text("Imported 1 conversation; 1 was here already.")


def test_a_chat_of_the_command_line_and_a_lone_conversation_can_be_imported(page, tmp_path):
    lines, lone = tmp_path / "chats.jsonl", tmp_path / "lone.json"
    turns = [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}, {"role": "assistant", "content": "Ho"}]
    lines.write_text("\n".join(json.dumps({"messages": [*turns, *turns[:number]]}) for number in range(2)) + "\n")
    lone.write_text(json.dumps([*turns, *turns]))

    page.locator("#file").set_input_files(lines)
    expect(_notice(page)).to_contain_text("Imported 2 conversations.")
    page.locator("#file").set_input_files(lone)
    expect(_notice(page)).to_contain_text("Imported 1 conversation.")
    expect(_texts(page)).to_have_text(["Hi", "Ho", "Hi", "Ho"])


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("not JSON", "it is not JSON."),
        ("[]", "it holds no conversation."),
        ("7", "conversation 1 has no list of “messages”."),
        ('[{"messages": [{"role": "user", "content": "Hi"}]}, {"messages": 3}]', "conversation 2 has no list of"),
        ('{"messages": [{"role": "tool", "content": "Hi"}]}', "message 1: the role must be system, user or assistant"),
        ('{"messages": [{"role": "user", "content": {"a": 1}}]}', "message 1: the content must be text"),
        ('{"messages": [{"role": "assistant", "content": "Hi"}]}', "has no message of a user"),
        ('{"messages": [{"role": "user", "content": "Hi"}]}\n{"messages"\n', "line 2 is not JSON"),
    ],
)
def test_a_broken_import_is_refused_in_one_line_and_loses_nothing(page, tmp_path, content, complaint):
    broken = tmp_path / "broken.json"
    broken.write_text(content, encoding="utf-8")
    _talk(page, "Precious")
    before = page.evaluate("JSON.stringify(localStorage)")

    page.locator("#file").set_input_files(broken)

    expect(_notice(page)).to_contain_text("Nothing was imported from broken.json: ")
    expect(_notice(page)).to_contain_text(complaint)
    expect(_texts(page)).to_have_text(["Precious", "I hear you."])
    assert page.evaluate("JSON.stringify(localStorage)") == before


def test_an_import_that_the_browser_cannot_hold_leaves_all_as_it_was(page, tmp_path):
    large = tmp_path / "large.json"
    conversation = {"messages": [{"role": "user", "content": "x" * 3_000_000}]}
    large.write_text(json.dumps([conversation, {"messages": [{"role": "user", "content": "y" * 3_000_000}]}]))
    _talk(page, "Precious")
    before = page.evaluate("JSON.stringify(localStorage)")

    page.locator("#file").set_input_files(large)

    expect(_notice(page)).to_contain_text("storage is full")
    assert page.evaluate("JSON.stringify(localStorage)") == before


def test_markup_in_messages_names_and_errors_stays_text(page, server):
    server.model = HOSTILE
    server.will_say(Answer([HOSTILE[:12], HOSTILE[12:]]), Answer(status=500, message=HOSTILE))
    page.reload()
    _talk(page, HOSTILE)
    _say(page, "And an error")

    expect(_notice(page)).to_contain_text(HOSTILE)
    expect(_texts(page)).to_have_text([HOSTILE, HOSTILE, "And an error"])
    expect(page.locator("#model")).to_have_text(HOSTILE)
    expect(page.locator("#conversations .open")).to_have_text(HOSTILE)
    page.reload()
    expect(_texts(page).nth(1)).to_have_text(HOSTILE)
    assert page.locator("script").count() == 1
    assert page.locator("img").count() == 0


@pytest.mark.parametrize("begun", [True, False])
def test_a_connection_that_breaks_loses_no_text(page, server, begun):
    server.will_say(Answer(["Once ", "upon"] if begun else [], drop=True))
    _say(page, "A story, please.")

    expect(_notice(page)).to_contain_text("The connection to the server is lost. Your message is kept.")
    if begun:
        expect(_texts(page)).to_have_text(["A story, please.", "Once upon"])
        expect(page.locator(".figures")).to_have_text("Broken off")
        _button(page, "Retry").click()
    else:
        _button(page, "Get a reply").click()
    expect(_texts(page)).to_have_text(["A story, please.", "I hear you."])
    expect(_notice(page)).to_be_hidden()


def test_a_server_that_is_gone_and_comes_back_is_noticed(page, server):
    expect(page.get_by_text("Ready")).to_be_visible()
    server.stop()
    _say(page, "Hello")
    expect(page.get_by_text("Not reachable")).to_be_visible()

    back = FakeServer(server.server_port)
    try:
        expect(page.get_by_text("Ready")).to_be_visible()
        expect(_notice(page)).to_be_hidden()
        _button(page, "Get a reply").click()
        expect(_texts(page)).to_have_text(["Hello", "I hear you."])
    finally:
        back.stop()


def test_a_stream_that_reports_an_error_shows_it(page, server, context):
    page.route(
        "**/v1/chat/completions",
        lambda route: route.fulfill(
            content_type="text/event-stream",
            body='data: {"choices":[{"delta":{"content":"Half"}}]}\n\ndata: {"error":{"message":"Out of time."}}\n\n',
        ),
    )
    _say(page, "Hello")

    expect(_notice(page)).to_contain_text("Out of time.")
    expect(_texts(page)).to_have_text(["Hello", "Half"])


def test_a_reply_at_the_token_limit_says_so(page, server):
    server.will_say(Answer(["Once upon"], finish_reason="length"))
    _talk(page, "A story, please.")

    expect(page.locator(".figures")).to_have_text(re.compile("^Cut at the longest allowed · "))


def test_a_screen_reader_hears_whole_sentences_once(page, server):
    pieces = ["The rover ", "went out. ", "It found", " beans. ", "Then it ", "slept"]
    server.will_say(Answer(pieces))
    _talk(page, "A story, please.")

    heard = _spoken(page)
    assert " ".join(heard) == "".join(pieces)
    assert len(heard) < len(pieces)
    # The growing text itself is no live region
    assert page.locator("#log").get_attribute("aria-live") is None


def _tab_stops(page, most=40):
    """The names of what Tab reaches, from the top of the page once around."""
    page.locator(".skip").focus()
    names = []
    for _ in range(most):
        name = page.evaluate(
            "(e => e === document.body ? '' : e.labels?.[0]?.textContent ?? e.ariaLabel ?? e.textContent.trim())"
            "(document.activeElement)"
        )
        if not name or name in names:
            break
        names.append(name)
        page.keyboard.press("Tab")
    return names


def test_everything_is_reached_by_keyboard_in_reading_order(page):
    _talk(page, "First")
    page.reload()
    expect(page.get_by_text("Ready")).to_be_visible()

    assert _tab_stops(page) == [
        "Skip to the message",
        "New conversation",
        "First",
        "Export this conversation",
        "Delete this conversation",
        "Import",
        "Export all",
        "Settings",
        "Messages",
        "Edit",
        "Copy",
        "Retry",
        "Message",
    ]


def test_a_whole_session_by_keyboard_alone(page, server):
    hold = threading.Event()
    server.will_say("One.", Answer(["Tw", "o"], hold=hold), "Three.", "Four.")

    def press(*keys):
        for key in keys:
            page.keyboard.press(key)

    expect(_field(page)).to_be_focused()
    page.keyboard.type("First")
    press("Enter")
    expect(_texts(page)).to_have_text(["First", "One."])
    # Stop, then retry by its button
    page.keyboard.type("Second")
    press("Enter")
    expect(_texts(page).last).to_have_text("Tw")
    press("Escape")
    expect(page.locator(".figures").last).to_have_text("Stopped")
    press("Shift+Tab", "Enter")
    expect(_texts(page).last).to_have_text("Three.")
    # Edit
    press("ArrowUp", "End", *"!", "Enter")
    expect(_texts(page)).to_have_text(["First", "One.", "Second!", "Four."])
    # Settings: the dialog keeps the focus and gives it back
    _button(page, "Settings").focus()
    press("Enter")
    expect(page.get_by_label("System message")).to_be_focused()
    press("Tab", "Tab", "Tab", "ArrowRight", "ArrowRight")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    press("Escape")
    expect(_button(page, "Settings")).to_be_focused()
    # Delete, undo
    _button(page, "Delete this conversation").focus()
    press("Space")
    expect(_texts(page)).to_have_count(0)
    press("Shift+Tab", "Shift+Tab", "Enter")
    expect(_texts(page).last).to_have_text("Four.")


def test_focus_is_seen_wherever_it_goes(page):
    _talk(page, "First")
    page.locator(".skip").focus()
    for _ in range(12):
        page.keyboard.press("Tab")
        seen = page.evaluate(
            "(e => getComputedStyle(e).outlineStyle !== 'none' || getComputedStyle(e.form ?? e).boxShadow !== 'none')"
            "(document.activeElement)"
        )
        assert seen, page.evaluate("document.activeElement.outerHTML")


def test_the_phone_has_a_drawer_for_conversations(page, server):
    page.set_viewport_size({"width": 360, "height": 640})
    _talk(page, "First")
    expect(_button(page, "Import")).to_be_hidden()

    _button(page, "Conversations").click()
    expect(_button(page, "Close the list")).to_be_focused()
    page.keyboard.press("Escape")
    expect(_button(page, "Conversations")).to_be_focused()
    expect(_button(page, "Import")).to_be_hidden()
    _button(page, "Conversations").click()
    page.locator("#side").get_by_role("button", name="New conversation").click()

    expect(_button(page, "Import")).to_be_hidden()
    expect(_texts(page)).to_have_count(0)


@pytest.mark.parametrize("width", [320, 360, 1280])
def test_nothing_is_cut_off_at_any_width(page, server, width):
    page.set_viewport_size({"width": width, "height": 640})
    server.will_say("verylongword" * 40)
    _talk(page, "unbroken" * 30)
    server.will_say(Answer(status=429, headers={"Retry-After": "3600"}))
    _say(page, "Hello")
    expect(_notice(page)).to_be_visible()

    wide = page.evaluate(
        "[...document.querySelectorAll('main *')].filter(e => e.checkVisibility() && !e.closest('.unseen-label, svg')"
        " && (e.getBoundingClientRect().right > innerWidth + 0.5 || e.getBoundingClientRect().left < -0.5))"
        ".map(e => e.outerHTML.slice(0, 80))"
    )
    assert wide == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    expect(_field(page)).to_be_in_viewport()


def test_fingers_get_large_targets(browser, server):
    context = browser.new_context(viewport=PHONE, has_touch=True, is_mobile=True)
    page = context.new_page()
    page.goto(server.url)
    _field(page).fill("Hello")
    _button(page, "Send").tap()
    expect(_texts(page)).to_have_count(2)
    # The keyboard would cover the reply
    expect(_field(page)).not_to_be_focused()

    sizes = page.evaluate(
        "[...document.querySelectorAll('button')].filter(e => e.checkVisibility({visibilityProperty: true}))"
        ".map(e => Math.min(e.offsetWidth, e.offsetHeight))"
    )
    assert len(sizes) > 5
    assert min(sizes) >= 40
    # Smaller text in fields makes iOS zoom in
    assert page.evaluate("parseFloat(getComputedStyle(document.getElementById('text')).fontSize)") >= 16
    context.close()


def test_the_view_follows_the_reply_unless_the_reader_scrolls_up(page, server):
    page.set_viewport_size({"width": 390, "height": 500})
    hold = threading.Event()
    server.will_say(Answer(["line\n" * 80, "the end"], hold=hold))
    _say(page, "Long, please")
    expect(_texts(page).last).to_contain_text("line")
    at_end = "(e => e.scrollHeight - e.scrollTop - e.clientHeight < 2)(document.getElementById('log'))"
    _wait(page, at_end)

    page.evaluate("document.getElementById('log').scrollTop = 100")
    expect(_button(page, "Latest")).to_be_visible()
    hold.set()
    expect(_texts(page).last).to_contain_text("the end")
    assert page.evaluate("document.getElementById('log').scrollTop") == 100
    _button(page, "Latest").click()
    _wait(page, at_end)
    expect(_button(page, "Latest")).to_be_hidden()


def test_the_theme_follows_the_device_until_it_is_set(page):
    html = page.locator("html")
    page.emulate_media(color_scheme="dark")
    expect(html).to_have_attribute("data-theme", "dark")
    _button(page, "Settings").click()
    page.get_by_label("Light").check()
    _button(page, "Done").click()
    expect(html).to_have_attribute("data-theme", "light")
    page.reload()
    expect(html).to_have_attribute("data-theme", "light")


def test_reduced_motion_is_respected(page, server):
    page.emulate_media(reduced_motion="reduce")
    server.will_say(Answer(status=429, headers={"Retry-After": "3600"}))
    _say(page, "Hello")
    expect(page.locator(".dots")).to_be_visible()
    assert page.evaluate("document.getAnimations().length") == 0


def _scenes(page, server):
    """The page in each of its states, by name."""
    expect(page.get_by_text("Ready")).to_be_visible()
    yield "welcome"
    server.will_say(
        "You can call me Pip. I live on a small board under the desk, next to the tomato seedlings.",
        "Water the plants in the evening, when the sun is low. Tomatoes like a deep drink twice a week more than a sip "
        "every day.\n\nPush a finger into the soil first: if it is damp to the second knuckle, wait a day.",
        HOSTILE,
    )
    _talk(page, "Hello, who are you?", "How do I water tomatoes?")
    yield "talk"
    _talk(page, "Write some HTML")
    server.most_messages = 3
    _talk(page, "And what about beans?")
    server.will_say(Answer(status=429, headers={"Retry-After": "30"}))
    _say(page, "Is anyone else here?")
    expect(_notice(page)).to_be_visible()
    yield "busy"
    _button(page, "Cancel").click()
    _button(page, "Settings").click()
    yield "settings"
    page.keyboard.press("Escape")
    if _button(page, "Conversations").is_visible():
        _button(page, "Conversations").click()
        _wait(page, "!document.getAnimations().length")
        yield "drawer"
        page.keyboard.press("Escape")
    server.key = "right"
    page.reload()
    expect(page.get_by_role("dialog", name="API key")).to_be_visible()
    yield "key"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("device", "size"), [("phone", PHONE), ("desktop", DESKTOP)])
def test_every_state_is_accessible_in_light_and_dark(page, server, scheme, device, size):
    """By axe-core: contrast, names, roles, landmarks."""
    page.set_viewport_size(size)
    page.emulate_media(color_scheme=scheme)
    for scene in _scenes(page, server):
        _screenshot(page, f"{scene}-{device}-{scheme}")
        violations = Axe().run(page).response["violations"]
        assert [(v["id"], [node["html"][:100] for node in v["nodes"]]) for v in violations] == [], scene
