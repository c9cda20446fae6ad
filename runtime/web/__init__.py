"""The chat page with a model in it: `tinylm export --web`.

Files:
    build.py  builds dist/: `make web`

Folders:
    engine/   the model in the browser, in JavaScript: tokenizer, sampling, generation, onnxruntime's WebAssembly
    dist/     what `make web` builds of it, with what npm brings; not in the repository

Sources of dist/:
    build.mjs           what of it is done in Node
    package.json        the packages that it takes from npm; package-lock.json pins them
"""
