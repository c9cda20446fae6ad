"""The chat page: nothing from outside, and text stays text."""

import re

import pytest

expect = pytest.importorskip("playwright.sync_api", reason="needs a browser: pip install '.[dev]'").expect
HOSTILE = "<script>alert(1)</script><img src=x onerror=\"document.title='hit'\">"


def test_the_page_is_one_file_that_a_strict_policy_allows(page_source):
    assert len(re.findall(r"<style\b", page_source)) == len(re.findall(r"<script\b", page_source)) == 1
    markup = re.sub(r"<(style|script)>.*?</\1>", "", page_source, flags=re.DOTALL)
    assert not re.findall(r"\s(?:style|on\w+)=", markup)
    assert not re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function", page_source)
    # Only the name of SVG, which nothing fetches
    assert set(re.findall(r"https?://[^\"' ]+", page_source)) == {"http://www.w3.org/2000/svg"}


def test_markup_in_messages_names_and_errors_stays_text(chat, server):
    server.model = HOSTILE
    server.will_say(HOSTILE)
    server.will_fail(500, HOSTILE)
    chat.page.reload()
    chat.talk(HOSTILE)
    chat.say("And an error")

    expect(chat.notice).to_contain_text(HOSTILE)
    expect(chat.texts).to_have_text([HOSTILE, HOSTILE, "And an error"])
    expect(chat.page.locator("#model")).to_have_text(HOSTILE)
    expect(chat.kept).to_have_text(HOSTILE)
    chat.page.reload()
    expect(chat.texts.nth(1)).to_have_text(HOSTILE)
    assert chat.page.locator("script").count() == 1
    assert chat.page.locator("img").count() == 0
