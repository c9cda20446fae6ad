"""Open WebUI as installed, in a browser: the first message of a new chat is answered, by both connections.

Arguments: the server's address, the folder with the command `open-webui`. Runs with the project's own Python, for
playwright, and Debian's chromium.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from tempfile import TemporaryDirectory

from playwright.sync_api import expect, sync_playwright

_STARTS_IN = 300


def start(url: str, programs: Path, folder: str, port: int) -> subprocess.Popen[bytes]:
    """Start Open WebUI, without accounts, with this server as its OpenAI and its Ollama."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": folder,
        "DATA_DIR": folder,
        "WEBUI_AUTH": "False",
        "WEBUI_SECRET_KEY": "of no importance, as nobody signs in",
        "OPENAI_API_BASE_URL": f"{url}/v1",
        "OPENAI_API_KEY": "none",
        "OLLAMA_BASE_URL": url,
        # Nothing is looked up or downloaded
        "OFFLINE_MODE": "true",
        "HF_HUB_OFFLINE": "1",
        "RAG_EMBEDDING_ENGINE": "openai",
        "ENABLE_VERSION_UPDATE_CHECK": "False",
        "ANONYMIZED_TELEMETRY": "False",
        "DO_NOT_TRACK": "1",
        "SCARF_NO_ANALYTICS": "true",
    }
    command = [str(programs / "open-webui"), "serve", "--host", "127.0.0.1", "--port", str(port)]
    process = subprocess.Popen(
        command, env=environment, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + _STARTS_IN
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health").close()
        except OSError:
            time.sleep(1)
        else:
            return process
    process.kill()
    raise SystemExit("Open WebUI did not start")


def chat(port: int) -> None:
    """Ask each model in a new chat."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for model in ("demo", "demo:latest"):
            page = browser.new_page()
            page.goto(f"http://127.0.0.1:{port}/?models={model}", wait_until="domcontentloaded")
            welcome = page.get_by_text("Okay, Let's Go!")
            field = page.locator("#chat-input")
            expect(welcome.or_(field).first).to_be_visible(timeout=60_000)
            page.wait_for_timeout(3_000)
            if welcome.is_visible():
                welcome.click()
            field.click()
            page.keyboard.type("Hello! Who are you?")
            page.keyboard.press("Enter")
            expect(page.locator("#messages-container")).to_contain_text(re.compile(r"\bPip\b"), timeout=60_000)
            page.close()
        browser.close()


with TemporaryDirectory(ignore_cleanup_errors=True) as data, socket.create_server(("127.0.0.1", 0)) as probe:
    free = probe.getsockname()[1]
    probe.close()
    running = start(sys.argv[1], Path(sys.argv[2]), data, free)
    try:
        chat(free)
    finally:
        running.terminate()
        running.wait(60)
