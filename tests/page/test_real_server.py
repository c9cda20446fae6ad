"""The chat page from `tinylm serve` itself, with the demo model in the box."""

import os
import re
import subprocess
import sys

import pytest

expect = pytest.importorskip("playwright.sync_api", reason="needs a browser: pip install '.[dev]'").expect
pytest.importorskip("tinylm.runtime.server.app", reason="needs the server: pip install '.[serve]'")
KEY = "sesame"


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """The address of a server that asks for a key."""
    folder = tmp_path_factory.mktemp("served")
    process = subprocess.Popen(
        [sys.executable, "-m", "tinylm", "serve", "--port", "0", "--threads", "1"],
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env={**os.environ, "TINYLM_API_KEY": KEY, "XDG_CACHE_HOME": str(folder)},
    )
    with process:
        for line in process.stderr:
            address = re.search(r"http://127\.0\.0\.1:\d+", line)
            if address:
                break
        else:
            pytest.fail("the server did not say where it listens")
        yield address[0]
        process.terminate()


@pytest.fixture
def chat(open_page, served):
    chat = open_page(viewport={"width": 1280, "height": 800}, url=served)
    chat.page.get_by_label("Key", exact=True).fill(KEY)
    chat.press("Enter")
    expect(chat.page.get_by_text("Ready")).to_be_visible()
    return chat


def test_it_chats_remembers_and_shows_figures(chat):
    chat.set(Temperature="0")
    chat.talk("My name is Ada.", "What is my name?")

    expect(chat.texts.last).to_contain_text("Ada")
    expect(chat.figures.last).to_have_text(re.compile(r"^\d+ tokens · [\d.,]+ tokens/s · began after [\d.]+ m?s$"))
    chat.page.reload()
    expect(chat.texts.last).to_contain_text("Ada")


def test_a_long_talk_goes_on_beyond_the_context(chat):
    for number in range(12):
        chat.talk(f"Tell me about the weather in the garden, please, number {number}.")

    expect(chat.page.locator(".border")).to_be_visible()
    # No reply was cut short for want of room
    assert all(figures.startswith(tuple("123456789")) for figures in chat.figures.all_text_contents())


def test_what_is_too_long_by_itself_says_so(chat):
    chat.say("long words " * 400)

    expect(chat.notice).to_contain_text("This is too long for the model")
