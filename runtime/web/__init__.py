"""The chat page with a model in it: `tinylm export --web`.

Files:
    writing.py  write a bundle as a page, or as a folder for a web host
    build.py    build dist/: `make web`

Folders:
    engine/   the model in the browser, in JavaScript: tokenizer, sampling, generation, onnxruntime's WebAssembly
    hosted/   what a folder for a web host holds beside the page: service worker, manifest, icons
    dist/     what `make web` builds of it, with what npm brings; not in the repository

Sources of dist/:
    build.mjs           what of it is done in Node
    package.json        the packages that it takes from npm; package-lock.json pins them
"""
