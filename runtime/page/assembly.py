"""Assemble the chat page from its sources: one HTML file with one style and one script, which a strict policy allows.

The script is made of ES modules of this folder, joined without a tool of JavaScript's: each module becomes a function
that is called at once and returns what it exports, and it comes after those that it imports. What that takes is
checked: an import is one line, `import { a, b } from "./x.js";`, of names that the other module exports; `export`
stands before a `const`, `function` or `class` at the beginning of a line; no two modules export the same name; no
circles. A page is made for one backend: `./backend.js` stands for `backend_server.js` (`tinylm serve`) or for another
that the caller names.
"""

from __future__ import annotations

import base64
import hashlib
import html
import re
from collections.abc import Mapping
from importlib.resources import files
from importlib.resources.abc import Traversable

_IMPORT = re.compile(r'^import \{ (\w+(?:, \w+)*) \} from "\./(\w+\.js)";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export ((?:async )?(?:const|class|function\*?) (\w+)\b)", re.MULTILINE)
_DECLARED = re.compile(r"^(?:async )?(?:const|let|class|function\*?) (\w+)\b", re.MULTILINE)
_REST = re.compile(r"^(?:import|export)\b.*", re.MULTILINE)
_DATA_ID = re.compile(r"[a-z][a-z0-9-]*")
_BLOCK = re.compile(rb"<(style|script)>(.*?)</\1\s*>", re.DOTALL | re.IGNORECASE)
_POLICY_MARK = '<meta charset="utf-8">\n'

BASE_POLICY: Mapping[str, str] = {
    "default-src": "'none'",
    "img-src": "data:",
    "base-uri": "'none'",
    "form-action": "'none'",
}
"""What a page may do beside running its own style and script: nothing but show images that it holds itself."""


def bundle_modules(entry: str, folder: Traversable | None = None, backend: str = "backend_server.js") -> str:
    """Join ES modules to one script without `import` and `export`.

    Args:
        entry: the file name of the module to begin with; all that it imports come before it.
        folder: of the modules; default: the chat page's.
        backend: the module that `./backend.js` stands for.

    Raises:
        ValueError: a module breaks one of the rules above.
    """
    modules = _Modules(files(__package__) if folder is None else folder, backend)
    modules.add(entry)
    return '"use strict";\n\n' + "\n".join(modules.texts.values())


class _Modules:
    """Modules in the order in which they run, as parts of one script.

    Attributes:
        texts: of the parts, by the modules' file names.
    """

    def __init__(self, folder: Traversable, backend: str) -> None:
        self._folder, self._backend = folder, backend
        self.texts: dict[str, str] = {}
        self._exporters: dict[str, str] = {}

    def add(self, name: str, path: tuple[str, ...] = ()) -> None:
        """Add a module after all that it imports; `path`: by which modules it is imported."""
        if name in path:
            raise ValueError(f"a circle of imports: {' -> '.join((*path, name))}")
        if name in self.texts:
            return
        source = self._folder.joinpath(name).read_text("utf-8")
        imported = [self._imported(found, name, path) for found in _IMPORT.finditer(source)]
        text = _EXPORT.sub(r"\1", _IMPORT.sub("", source)).strip()
        if odd := _REST.search(text):
            raise ValueError(f"{name}: not understood: {odd[0]}")
        if twice := {each for names in imported for each in names} & {*_DECLARED.findall(text)}:
            raise ValueError(f"{name} imports and declares {', '.join(sorted(twice))}")
        exported = [declared for _, declared in _EXPORT.findall(source)]
        for each in exported:
            if other := self._exporters.get(each):
                raise ValueError(f"{name} and {other} both export {each}")
            self._exporters[each] = name
        names = ", ".join(exported)
        opening, closing = (f"const {{ {names} }} = ", f"\nreturn {{ {names} }};") if exported else ("", "")
        self.texts[name] = f"// ---- {name}\n{opening}(() => {{\n{text}\n{closing}\n}})();\n"

    def _imported(self, found: re.Match[str], name: str, path: tuple[str, ...]) -> list[str]:
        target = self._backend if found[2] == "backend.js" else found[2]
        self.add(target, (*path, name))
        names = found[1].split(", ")
        for each in names:
            if self._exporters.get(each) != target:
                raise ValueError(f"{name}: {target} does not export {each}")
        return names


def assemble_page(
    backend: str = "backend_server.js",
    data: Mapping[str, str] | None = None,
    policy: Mapping[str, str] | None = None,
) -> str:
    """The chat page as one HTML file.

    Args:
        backend: the module that answers; its `createBackend()` is described in `backend_server.js`.
        data: texts by element id, which the page carries in `<script type="text/plain">` elements at its end: it is
            shown while they are still read, and its script finds them once the document is complete.
        policy: directives of a Content-Security-Policy to put into the page itself, beside its own style and script;
            None: none, whoever serves the page sends one.

    Raises:
        ValueError: a source or an id cannot be put into a page.
    """
    sources = files(__package__)
    script = bundle_modules("main.js", sources, backend)
    style = sources.joinpath("page.css").read_text("utf-8")
    for kind, text in (("style", style), ("script", script)):
        if f"</{kind}" in text.lower() or "<!--" in text:
            raise ValueError(f"the {kind} would end before its end")
    page = sources.joinpath("page.html").read_text("utf-8")
    page = page.replace("<style></style>", f"<style>\n{style}</style>", 1)
    page = page.replace(
        "<script></script>", f"<script>\n{script}</script>\n{_data_elements(data or {})}".rstrip("\n"), 1
    )
    if policy is not None:
        said = html.escape(content_security_policy(page.encode(), policy))
        page = page.replace(
            _POLICY_MARK, f'{_POLICY_MARK}<meta http-equiv="Content-Security-Policy" content="{said}">\n', 1
        )
    return page


def content_security_policy(page: bytes, more: Mapping[str, str]) -> str:
    """A policy with which a page can run only its own inline style and script.

    Args:
        page: the HTML.
        more: further directives, or others in place of `BASE_POLICY`'s; what they add to `script-src` or `style-src`
            follows the hashes.
    """
    hashes: dict[str, list[str]] = {"style-src": [], "script-src": []}
    for kind, text in _BLOCK.findall(page):
        digest = base64.b64encode(hashlib.sha256(text).digest()).decode()
        hashes[f"{kind.decode().lower()}-src"].append(f"'sha256-{digest}'")
    policy = {**BASE_POLICY, **more}
    for name, found in hashes.items():
        policy[name] = " ".join((*found, *policy.get(name, "").split())) or "'none'"
    return "; ".join(f"{name} {value}" for name, value in policy.items())


def _data_elements(data: Mapping[str, str]) -> str:
    """Elements that hold texts and run nothing."""
    for name, text in data.items():
        if not _DATA_ID.fullmatch(name):
            raise ValueError(f"not an id for data: {name}")
        if "<" in text:
            raise ValueError(f"{name}: data must not contain <: base64, or JSON with \\u003c")
    return "".join(f'<script type="text/plain" id="{name}">{text}</script>\n' for name, text in data.items())
