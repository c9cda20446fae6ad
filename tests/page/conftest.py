"""A browser, the chat page in it, and behind it a server that says what each test wants to hear."""

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
from pathlib import Path

import pytest

from tinylm.runtime.page.assembly import assemble_page, content_security_policy

# Set, a missing browser is a failure and no skip
REQUIRED = os.environ.get("TINYLM_REQUIRE_BROWSER") == "1"
# A folder for pictures of the page
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
PAGE = assemble_page()
# As `tinylm serve` sends it
POLICY = content_security_policy(PAGE.encode(), {"connect-src": "'self'", "frame-ancestors": "'none'"})

try:
    from playwright.sync_api import expect, sync_playwright
except ImportError:
    if REQUIRED:
        raise


@dataclass
class _Answer:
    """What the server says to one request: an error, or pieces of a reply, each a token."""

    pieces: list[str]
    status: int = 200
    code: str | None = None
    message: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    # What comes after the first piece, or the break, waits for this
    hold: threading.Event | None = None
    # The connection breaks instead of ending
    drop: bool = False
    finish_reason: str = "stop"


class FakeServer(ThreadingHTTPServer):
    """An OpenAI-compatible server without a model, which says "I hear you." unless told otherwise.

    Attributes:
        requests: the bodies of the requests for a reply.
        key: the API key that it asks for.
        more_models: names of others that it serves.
        defaults: of sampling, as it tells them.
        most_messages: requests of more of them do not fit the context.
        context_length: as it tells it; every character is a token.
        left: set when a client has left a reply that was held.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self, port=0):
        super().__init__(("127.0.0.1", port), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}/"
        self.model = "pip-demo"
        self.more_models = []
        self.defaults = {"temperature": 0.7, "top_k": 40, "seed": None}
        self.key = None
        self.most_messages = None
        self.context_length = None
        self.requests = []
        self.left = threading.Event()
        self._answers = deque()
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def will_say(self, *texts, finish_reason="stop"):
        self._answers.extend(_Answer(re.findall(r"\s*\S+", text), finish_reason=finish_reason) for text in texts)

    def will_begin(self, *pieces):
        """A reply that goes on after its first piece when the event that comes back is set."""
        hold = threading.Event()
        self._answers.append(_Answer(list(pieces), hold=hold))
        return hold

    def will_break(self, *pieces):
        """A reply whose connection breaks after these pieces, when the event that comes back is set."""
        hold = threading.Event()
        self._answers.append(_Answer(list(pieces), hold=hold, drop=True))
        return hold

    def will_fail(self, status, message, code=None, **headers):
        self._answers.append(_Answer([], status, code, message, headers))

    def will_be_busy(self, seconds):
        self._answers.append(_Answer([], 429, message="Busy.", headers={"Retry-After": str(seconds)}))

    def answer(self, request):
        """The answer to this request."""
        self.requests.append(request)
        if self.most_messages is not None and len(request["messages"]) > self.most_messages:
            return _Answer([], 400, "context_length_exceeded", "Too long for 64 tokens.")
        return self._answers.popleft() if self._answers else _Answer(["I hear ", "you."])

    def handle_error(self, request, client_address):
        """Clients that leave are what some tests are about."""

    def stop(self):
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    def log_message(self, *arguments):
        pass

    def do_GET(self):
        if self.path == "/":
            self._send(200, PAGE.encode(), "text/html; charset=utf-8", {"Content-Security-Policy": POLICY})
        elif self.path == "/health":
            self._json(200, {"status": "ok"})
        elif self.path != "/v1/models":
            self._json(404, {"error": {"message": "There is no such path."}})
        elif self._authorized():
            about = {"object": "model", "context_length": self.server.context_length, "defaults": self.server.defaults}
            models = [{"id": model, **about} for model in (self.server.model, *self.server.more_models)]
            self._json(200, {"object": "list", "data": models})

    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if not self._authorized():
            return
        if request["model"] not in (self.server.model, *self.server.more_models):
            self._json(404, {"error": {"message": "There is no such model.", "code": "model_not_found"}})
            return
        answer = self.server.answer(request)
        if answer.status == 200:
            self._stream(answer, sum(len(message["content"]) for message in request["messages"]))
        else:
            self._json(answer.status, {"error": {"message": answer.message, "code": answer.code}}, answer.headers)

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

    def _stream(self, answer, prompt_tokens):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        self._event({"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]})
        for number, piece in enumerate(answer.pieces):
            if number == 1 and answer.hold and not answer.drop:
                self._wait(answer.hold)
            self._event({"choices": [{"index": 0, "delta": {"content": piece}, "finish_reason": None}]})
            time.sleep(0.01)
        if answer.drop:
            answer.hold.wait(5)
            # A reset instead of an end
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            return
        self._event({"choices": [{"index": 0, "delta": {}, "finish_reason": answer.finish_reason}]})
        times = {"time_to_first_token_s": 0.25, "decode_tokens_per_second": 45.6}
        usage = {"prompt_tokens": prompt_tokens, "completion_tokens": len(answer.pieces), **times}
        self._event({"choices": [], "usage": usage})
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


class ChatPage:
    """The page as its user sees it.

    Attributes:
        page: Playwright's.
        problems: what went wrong in the page's scripts.
    """

    def __init__(self, page):
        self.page = page
        self.problems = []
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("dialog", self._dismiss)
        page.on("console", self._read_console)

    def _dismiss(self, dialog):
        self.problems.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _read_console(self, line):
        # Chromium itself logs answers such as 401, and connections that break
        if line.type in {"error", "warning"} and not line.text.startswith("Failed to load resource"):
            self.problems.append(line.text)

    @property
    def field(self):
        return self.page.get_by_role("textbox", name="Message", exact=True)

    @property
    def editor(self):
        """The field of the message that is being changed."""
        return self.page.get_by_role("textbox", name="Your message", exact=True)

    @property
    def texts(self):
        """The messages of the conversation."""
        return self.page.locator("article .text")

    @property
    def figures(self):
        return self.page.locator(".figures")

    @property
    def notice(self):
        return self.page.get_by_role("group", name="Notice")

    @property
    def kept(self):
        """The list of conversations."""
        return self.page.locator("#conversations .open")

    def button(self, name):
        return self.page.get_by_role("button", name=name, exact=True)

    def say(self, text):
        self.field.fill(text)
        self.field.press("Enter")

    def talk(self, *texts):
        """Say these one after the other and wait for each reply."""
        for text in texts:
            before = self.texts.count()
            self.say(text)
            expect(self.texts).to_have_count(before + 2)
            expect(self.button("Send")).to_be_visible()

    def set(self, **settings):
        """Change settings by the beginnings of their labels."""
        self.button("Settings").click()
        for label, value in settings.items():
            self.page.get_by_label(label.replace("_", " ")).fill(value)
        self.button("Done").click()

    def import_file(self, path):
        self.page.locator("#file").set_input_files(path)

    def press(self, *keys):
        for key in keys:
            self.page.keyboard.press(key)

    def spoken(self):
        """What a screen reader has been told since the last message was sent."""
        return self.page.locator("#spoken p").all_text_contents()

    def storage(self):
        """All that the browser keeps of the page."""
        return self.page.evaluate(
            """async () => ({...localStorage, conversations: await allConversations(), summaries: latestFirst()})"""
        )

    def forget(self):
        """Clear all of it, as by the browser's own settings, and open the page anew."""
        self.page.evaluate(
            """async () => {
                localStorage.clear();
                for (const { id } of latestFirst()) await removeConversation(id);
            }"""
        )
        self.page.reload()

    def wait(self, condition):
        """Wait until a JavaScript expression is true; the policy lets no script of the page evaluate one."""
        deadline = time.monotonic() + 5
        while not self.page.evaluate(condition):
            assert time.monotonic() < deadline, condition
            time.sleep(0.02)

    def screenshot(self, name):
        if SCREENSHOTS:
            Path(SCREENSHOTS).mkdir(parents=True, exist_ok=True)
            self.page.screenshot(path=Path(SCREENSHOTS) / f"{name}.png")


# Of a module, not of the session: while it is there, Playwright has an event loop running, which others cannot start
@pytest.fixture(scope="module")
def browser():
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        if REQUIRED:
            pytest.fail("TINYLM_REQUIRE_BROWSER is set, and there is no chromium")
        pytest.skip("needs a browser: apt-get install chromium")
    with sync_playwright() as playwright:
        # Each launch has a new user data folder
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def start_fake_server():
    """Start a server; on a port if it has to be that one."""
    servers = []

    def start(port=0):
        servers.append(FakeServer(port))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def server(start_fake_server):
    return start_fake_server()


@pytest.fixture
def open_page(browser, server):
    """Open the page with options of Playwright's `new_context`; an error in its scripts fails the test."""
    opened = []

    def open_page(url=server.url, **options):
        context = browser.new_context(**options)
        context.set_default_timeout(5000)
        chat = ChatPage(context.new_page())
        chat.page.goto(url)
        opened.append((context, chat))
        return chat

    yield open_page
    for context, _ in opened:
        context.close()
    assert [chat.problems for _, chat in opened if chat.problems] == []


@pytest.fixture
def open_tab(server):
    """Open the page once more in the browser of one that is open."""
    opened = []

    def open_tab(chat):
        tab = ChatPage(chat.page.context.new_page())
        tab.page.goto(server.url)
        opened.append(tab)
        return tab

    yield open_tab
    assert [tab.problems for tab in opened if tab.problems] == []


@pytest.fixture
def chat(open_page):
    """The page on a desktop."""
    return open_page(viewport={"width": 1280, "height": 800})


@pytest.fixture(scope="session")
def chat_page():
    return ChatPage


@pytest.fixture(scope="session")
def page_source():
    return PAGE
