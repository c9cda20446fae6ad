"""report.html in a browser: it fits, asks for nothing, runs nothing, can be read, and follows light and dark."""

import pytest

from tinylm.report.report import write_report
from tinylm.run_folder import RunFolder
from tinylm.run_log import append_metrics

Axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe

SIZES = {"desktop": {"width": 1200, "height": 900}, "phone": {"width": 360, "height": 740}}


@pytest.fixture(scope="module")
def report(runs, tmp_path_factory):
    """The report of a run on files far down in folders, with a sample that would like to be more than text."""
    folder = tmp_path_factory.mktemp("report") / "a-run-with-a-name-that-is-long-enough-to-be-cut-on-a-phone"
    (folder / "checkpoints" / "last").mkdir(parents=True)
    for name in ("config.toml", "metrics.jsonl", "provenance.json", "checkpoints/last/state.json"):
        content = (runs["classic"] / name).read_text("utf-8")
        (folder / name).write_text(content.replace("/data/samples/", f"/{'deep' * 20}/data/samples/"), "utf-8")
    run = RunFolder(folder)
    evil = "<script>document.title = 'taken'</script><img src='http://127.0.0.1:9/x' onerror='document.title = 1'>"
    append_metrics(run.metrics, stage="finetune", step=16, prompt="word" * 80, sample=evil)
    return write_report(run)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_the_report(browser, report, size, scheme):
    context = browser.new_context(viewport=SIZES[size], color_scheme=scheme)
    page = context.new_page()
    requests, said = [], []
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda message: said.append(message.text))
    page.goto(report.as_uri())
    assert requests == [report.as_uri()]
    assert said == []
    assert page.title().startswith("a-run-with")
    assert page.locator("text=document.title = 'taken'").count() == 1
    assert page.evaluate("document.documentElement.scrollWidth") <= SIZES[size]["width"]
    # Charts take the page's colours and are as large as their place
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    text = page.evaluate("getComputedStyle(document.querySelector('figure svg text')).fill")
    assert (background, text) == (
        ("rgb(255, 255, 255)", "rgb(32, 27, 36)") if scheme == "light" else ("rgb(23, 21, 26)", "rgb(237, 233, 240)")
    )
    for figure in page.locator("figure").all():
        assert figure.locator("svg").bounding_box()["height"] > 100
    problems = Axe().run(page).response["violations"]
    assert [(problem["id"], problem["nodes"][0]["html"]) for problem in problems] == []
    context.close()


def test_it_prints(browser, report):
    page = browser.new_page()
    page.goto(report.as_uri())
    assert page.pdf().startswith(b"%PDF")
    page.close()
