"""Markdown in replies: what is shown, and that nothing in it runs."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("playwright.sync_api", reason="needs a browser: pip install '.[dev]'")

# Called with texts: for each, what it looks like as HTML. Reading innerHTML is safe; the page itself never writes it
RENDER = """texts => texts.map(text => {
    const container = document.createElement("div");
    showMarkdown(container, text, () => {});
    for (const each of container.querySelectorAll("button, [dir]")) {
        each.removeAttribute("dir");
        if (each.localName === "button") each.remove();
    }
    return container.innerHTML;
})"""
# What of each text is not as it has to be
CHECK = """texts => texts.flatMap(text => {
    const allowed = {
        A: ["href", "target", "rel", "title"], BLOCKQUOTE: ["dir"], BUTTON: ["type", "class"], CODE: [], DIV: ["class"],
        EM: [], H3: ["dir", "class"], HR: [], LI: ["dir"], OL: ["start"], P: ["dir"], PRE: ["dir"], S: [], SPAN: [],
        STRONG: [], UL: [], svg: ["aria-hidden"], use: ["href"],
    };
    const problems = [];
    const whole = document.createElement("div");
    showMarkdown(whole, text, () => {});
    for (const element of whole.querySelectorAll("*")) {
        const names = element.getAttributeNames();
        if (!names.every(name => allowed[element.tagName]?.includes(name))) problems.push([text, element.outerHTML]);
        if (element.tagName !== "A") continue;
        const isSafe = ["http:", "https:"].includes(element.protocol) && element.rel.split(" ").includes("noopener");
        if (!isSafe || element.target !== "_blank") problems.push([text, element.outerHTML]);
    }
    const letters = string => string.replace(/[^a-z]/gi, "");
    const isPlain = !/\\]\\(|```|~~~/.test(text);
    if (isPlain && letters(whole.textContent) !== letters(text)) problems.push([text, "lost", whole.textContent]);
    // As it streams in
    const growing = document.createElement("div");
    for (let end = 0; end <= text.length; end += 3) showMarkdown(growing, text.slice(0, end), () => {});
    showMarkdown(growing, text, () => {});
    if (growing.innerHTML !== whole.innerHTML) problems.push([text, "streamed", growing.innerHTML, whole.innerHTML]);
    return problems;
})"""


@pytest.fixture(scope="module")
def page(browser, page_source):
    """The page's functions, without a server."""
    page = browser.new_page()
    page.route("**/*", lambda route: route.fulfill(content_type="text/html", body=page_source))
    page.goto("http://127.0.0.1:1/")
    yield page
    page.close()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("One.\nTwo.\n\nThree.", "<p>One.\nTwo.</p><p>Three.</p>"),
        ("**bold**, *italic*, __bold__, _italic_", None),
        ("***both*** and **bold with *italic* in it**", None),
        ("~~gone~~ a_b_c 2*3*4 * 5", "<p><s>gone</s> a_b_c 2<em>3</em>4 * 5</p>"),
        ("`a < b` and ``x ` y``", "<p><code>a &lt; b</code> and <code>x ` y</code></p>"),
        ("# One\n### Two", '<h3>One</h3><h3 class="lower">Two</h3>'),
        ("- a\n- b\n\n  more\n- c\n", "<ul><li>a</li><li>b<p>more</p></li><li>c</li></ul>"),
        ("3. a\n4. b", '<ol start="3"><li>a</li><li>b</li></ol>'),
        ("It began in\n1984. It was cold.", "<p>It began in\n1984. It was cold.</p>"),
        ("* a\n  * b\n    * c", "<ul><li>a<ul><li>b<ul><li>c</li></ul></li></ul></li></ul>"),
        ("> a\n> b\n\nc", "<blockquote><p>a\nb</p></blockquote><p>c</p>"),
        ("a\n\n---\n\nb", "<p>a</p><hr><p>b</p>"),
        ("\\*not italic\\*", "<p>*not italic*</p>"),
        ("**open and *not closed", "<p>**open and *not closed</p>"),
        ("<b>hi</b> &amp; <!-- x -->", "<p>&lt;b&gt;hi&lt;/b&gt; &amp;amp; &lt;!-- x --&gt;</p>"),
        ("[x](javascript:alert(1)) [y](data:text/html,z)", "<p>[x](javascript:alert(1)) [y](data:text/html,z)</p>"),
        ("![x](https://a.example/i.png)", None),
        ("", ""),
    ],
)
def test_what_is_shown(page, text, shown):
    (html,) = page.evaluate(RENDER, [text])
    expected = {
        "**bold**, *italic*, __bold__, _italic_": (
            "<p><strong>bold</strong>, <em>italic</em>, <strong>bold</strong>, <em>italic</em></p>"
        ),
        "***both*** and **bold with *italic* in it**": (
            "<p><strong><em>both</em></strong> and <strong>bold with <em>italic</em> in it</strong></p>"
        ),
    }
    if text.startswith("!["):
        # No picture is fetched: what is left is a link to it
        assert "<img" not in html
        assert 'href="https://a.example/i.png"' in html
    else:
        assert html == (expected[text] if shown is None else shown)


def test_code_keeps_its_text_and_says_its_language(page):
    (html,) = page.evaluate(RENDER, ["```html\n<script>alert(1)</script>\n\n  indented **not bold**\n```\nafter"])
    code = "&lt;script&gt;alert(1)&lt;/script&gt;\n\n  indented **not bold**"
    head = '<div class="code-head"><span>html</span></div>'
    assert html == f'<div class="code">{head}<pre><code>{code}</code></pre></div><p>after</p>'
    # While it is still coming
    assert "<pre><code>a</code></pre>" in page.evaluate(RENDER, ["```\na"])[0]


def test_a_link_is_http_and_opens_elsewhere_by_a_click(page):
    texts = ["See [the **docs**](https://a.example/x_(y)?q=1#z).", "At http://b.example/c, or https://d.example."]
    marked, bare = page.evaluate(RENDER, texts)
    about = 'target="_blank" rel="noopener noreferrer nofollow"'
    address = "https://a.example/x_(y)?q=1#z"
    link = f'<a href="{address}" {about} title="{address}">the <strong>docs</strong></a>'
    assert marked == f"<p>See {link}.</p>"
    assert f'<a href="http://b.example/c" {about} title="http://b.example/c">http://b.example/c</a>, or' in bare
    assert bare.endswith(">https://d.example</a>.</p>")


MARKS = [*"*_`~[]()<>#-+.!\\|&\"'= \n\t", "**", "***", "```", "~~~", "\n\n", "\n- ", "\n  - ", "\n1. ", "\n> ", "# "]
WORDS = ["](", "http://a.b", "https://", "javascript:", "data:", "word", "Grüße", "متى", "\u202e", "\0", "😀", "    "]
MARKUP = ["<script>", "<img src=x onerror=alert(1)>", "[a](https://x.y)", "[a](javascript:x)", "&lt;", "</p>", "<!--"]
PIECES = st.sampled_from([*MARKS, *WORDS, *MARKUP])


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(PIECES, max_size=40).map("".join), min_size=30, max_size=60))
def test_whatever_a_model_says_is_harmless_and_whole(page, texts):
    assert page.evaluate(CHECK, texts) == []


def test_long_and_deeply_nested_texts_come_to_an_end(page):
    size = 40_000
    units = [
        "*",
        "**a ",
        "_a",
        "`",
        "` `` ",
        "[",
        "[a](http://",
        "![",
        "> ",
        "- ",
        "1. ",
        "\n",
        "~",
        "<",
        "\\",
        "- a\n\n",
    ]
    units += ["***a*", "https://a.b/", "a*", "```\n", "-\n", "> - ", "(", "[a](https://a.b", "\n\n\n- ", "~~~a`\n", "#"]
    depths = page.evaluate(
        """texts => texts.map(text => {
            const container = document.createElement("div");
            showMarkdown(container, text, () => {});
            const depthOf = element => (element === container ? 0 : 1 + depthOf(element.parentNode));
            return [...container.querySelectorAll("*")].map(depthOf).reduce((most, depth) => Math.max(most, depth), 0);
        })""",
        [start + unit * (size // len(unit)) + end for unit in units for start, end in (("", ""), ("- a\n", "b`"))],
    )
    assert max(depths) < 40
