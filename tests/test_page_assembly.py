"""The chat page from its sources: modules joined to one script, data, policy."""

import base64
import hashlib
import re
from importlib.resources import files

import pytest

from tinylm.runtime import page as page_package
from tinylm.runtime.page.assembly import assemble_page, bundle_modules, content_security_policy


def write(folder, **modules):
    for name, text in modules.items():
        (folder / f"{name}.js").write_text(text, "utf-8")
    return folder


def test_modules_come_after_those_that_they_import_and_each_once(tmp_path):
    folder = write(
        tmp_path,
        main='import { one } from "./one.js";\nimport { two, Three } from "./two.js";\n\nconst own = one + two;\n',
        one="export const one = 1;\nconst own = 2;\n",
        two='import { one } from "./one.js";\nexport async function* two() {}\nexport class Three {}\n',
    )
    script = bundle_modules("main.js", folder)
    assert re.findall(r"^// ---- (\w+\.js)$", script, re.MULTILINE) == ["one.js", "two.js", "main.js"]
    assert not re.search(r"^\s*(import|export)\b", script, re.MULTILINE)
    assert "const { two, Three } = (() => {" in script
    assert "return { two, Three };" in script


@pytest.mark.parametrize(
    ("modules", "complaint"),
    [
        (
            {"main": 'import { a } from "./b.js";\n', "b": 'import { c } from "./main.js";\n'},
            "circle of imports: main.js -> b",
        ),
        ({"main": 'import { a } from "./b.js";\n', "b": "const a = 1;\n"}, "main.js: b.js does not export a"),
        ({"main": 'import { a } from "./b.js";\nlet a = 2;\n', "b": "export const a = 1;\n"}, "imports and declares a"),
        ({"main": "export default 3;\n"}, "main.js: not understood: export default 3;"),
        ({"main": "export let a = 3;\n"}, "main.js: not understood: export let a = 3;"),
        ({"main": 'import a from "./b.js";\n', "b": "export const a = 1;\n"}, "not understood: import a from"),
        (
            {
                "main": 'import { a } from "./b.js";\nexport function a() {}\n',
                "b": "export const a = 1;\n",
            },
            "main.js imports and declares a",
        ),
        (
            {
                "main": 'import { a } from "./b.js";\nimport { c } from "./c.js";\n',
                "b": "export const a = 1;\n",
                "c": "export const c = 1;\nexport const a = 2;\n",
            },
            "c.js and b.js both export a",
        ),
    ],
)
def test_what_cannot_be_joined_is_refused(tmp_path, modules, complaint):
    with pytest.raises(ValueError, match=re.escape(complaint)):
        bundle_modules("main.js", write(tmp_path, **modules))


def test_another_backend_takes_the_place_of_the_server(tmp_path):
    folder = write(
        tmp_path,
        main='import { createBackend } from "./backend.js";\ncreateBackend();\n',
        backend_local="export function createBackend() { return 7; }\n",
    )
    assert "return 7;" in bundle_modules("main.js", folder, "backend_local.js")


def test_the_policy_allows_the_one_style_and_the_one_script_by_their_hashes():
    page = assemble_page(data={"weights": "AAAA"}, policy={"connect-src": "'none'", "script-src": "'wasm-unsafe-eval'"})
    policy = re.search(r'<meta http-equiv="Content-Security-Policy" content="(.*?)">', page)[1].replace("&#x27;", "'")
    for tag in ("style", "script"):
        (text,) = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        assert f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" in policy
    assert policy.startswith("default-src 'none'; ")
    assert re.search(r"script-src 'sha256-[^']+' 'wasm-unsafe-eval';", policy)
    assert "connect-src 'none'" in policy
    # As it is without a policy in it, but for that
    assert policy == content_security_policy(
        assemble_page(data={"weights": "AAAA"}).encode(), {"connect-src": "'none'", "script-src": "'wasm-unsafe-eval'"}
    )


def test_data_comes_after_the_script_as_text_that_runs_nothing():
    page = assemble_page(data={"tokenizer": "dG9r", "model-card": "Pip"})
    assert page.index("</script>\n<script") < page.index('<script type="text/plain" id="tokenizer">dG9r</script>')
    assert page.index("tokenizer") < page.index('<script type="text/plain" id="model-card">Pip</script>\n</body>')


@pytest.mark.parametrize("data", [{"a b": "x"}, {'"': "x"}, {"a": "</script><script>alert(1)"}])
def test_data_that_would_be_markup_is_refused(data):
    with pytest.raises(ValueError, match="data"):
        assemble_page(data=data)


def test_the_list_of_sources_names_all_and_no_others():
    there = {path.name for path in files(page_package).iterdir() if path.name.endswith((".js", ".css", ".html"))}
    assert set(re.findall(r"^    (\w+\.(?:js|css|html)) ", page_package.__doc__, re.MULTILINE)) == there


def test_no_module_is_too_long_to_be_taken_in():
    modules = [path for path in files(page_package).iterdir() if path.name.endswith(".js")]
    assert [path.name for path in modules if len(path.read_text("utf-8").splitlines()) > 400] == []
