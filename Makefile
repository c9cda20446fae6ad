# `make demo` and `make test` do their own set-up: nothing is needed beforehand but Python 3.11 to 3.13.
PYTHON ?= python3
VENV ?= .venv
DEMO ?= runs/demo
BIN := $(VENV)/bin
INSTALL := -m pip --disable-pip-version-check install --quiet --constraint constraints.txt
PIP := $(BIN)/python $(INSTALL)
PACKAGE := $(VENV)/package
NPM := $(VENV)/web
WEB := runtime/web

.PHONY: demo test test-cpus lint docs web wheel demo-model kernel-probes clean

# Install in editable mode what training needs: an edit needs no new installation.
$(VENV)/.train: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) --editable '.[train]'
	touch $@

# The tools for tests and docs on top of it.
$(VENV)/.dev: $(VENV)/.train
	$(PIP) --editable '.[train,serve,dev]'
	touch $@

# Train both stages on the bundled world, export, quantize, measure and chat: some ten minutes on two cores.
demo: $(VENV)/.train
	rm -rf $(DEMO)
	$(BIN)/tinylm data world $(DEMO)/world
	$(BIN)/tinylm train --config data/world/demo.toml --pretrain $(DEMO)/world/world.txt \
		--finetune $(DEMO)/world/chats.jsonl --out $(DEMO)/run
	$(BIN)/tinylm export $(DEMO)/run --quantize --out $(DEMO)/bundle
	$(BIN)/tinylm eval $(DEMO)/bundle --world
	$(BIN)/python docs/examples/scripted_chat.py $(DEMO)/bundle
	@echo
	@echo "Go on chatting:  $(BIN)/tinylm chat $(DEMO)/bundle"

test: $(VENV)/.dev web lint
	$(BIN)/pytest --numprocesses auto --maxprocesses 4 --dist loadfile

# Whether bundles are right and fast on a Pi's cores and on older x86, emulated: see docs/other-cpus.md. Some ten minutes.
test-cpus: $(VENV)/.dev
	$(BIN)/python -m benchmarks.cpus $(CPUS_OPTIONS)

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	# mypy and import-linter do not follow package-dir: give them the package as a wheel holds it
	rm -rf $(PACKAGE) && mkdir -p $(PACKAGE) && cp -Rp tinylm $(PACKAGE)
	cp -Rp cli data export runtime $(PACKAGE)/tinylm
	cd $(PACKAGE) && $(abspath $(BIN))/mypy --config-file $(CURDIR)/pyproject.toml -p tinylm
	cd $(PACKAGE) && $(abspath $(BIN))/lint-imports $(CURDIR)/pyproject.toml

# Write the CLI reference anew; a test compares it with --help.
docs: $(VENV)/.dev
	$(BIN)/python docs/make_cli_reference.py

# Build what `tinylm export --web` puts into a page: our engine and onnxruntime's WebAssembly, from npm.
web: $(WEB)/dist/worker.js

$(WEB)/dist/worker.js: $(VENV)/.dev $(WEB)/build.mjs $(WEB)/package-lock.json $(wildcard $(WEB)/engine/*.js)
	$(BIN)/python -m tinylm.runtime.web.build $(NPM)

# Build the source distribution and, from it, the wheel; chat with the wheel alone in an environment of its own.
wheel: $(VENV)/.dev web
	rm -rf dist $(VENV)/wheel
	$(BIN)/python -m build --quiet --outdir dist .
	$(BIN)/python -m twine check --strict dist/*
	$(BIN)/python -m venv $(VENV)/wheel
	$(VENV)/wheel/bin/python $(INSTALL) dist/tinylm-*.whl
	cd dist && $(abspath $(VENV))/wheel/bin/tinylm chat --prompt 'Hello, who are you?'
	@echo
	@ls dist/*

# Train the demo model in the box anew. Commit the result only when it must change.
demo-model: $(VENV)/.train
	rm -rf runs/demo-model
	$(BIN)/tinylm data world runs/demo-model/world --conversations 128000 --documents 20000
	$(BIN)/tinylm train --config data/world/demo_model.toml --pretrain runs/demo-model/world/world.txt \
		--finetune runs/demo-model/world/chats.jsonl --out runs/demo-model/first
	$(BIN)/tinylm data world runs/demo-model/more --conversations 40000 --seed 1
	$(BIN)/tinylm train --config data/world/demo_model.toml --init runs/demo-model/first \
		--finetune runs/demo-model/more/chats.jsonl --steps 1600 \
		--set train.finetune_learning_rate=0.001 --out runs/demo-model/run
	$(BIN)/tinylm export runs/demo-model/run --quantize --out runs/demo-model/bundle
	$(BIN)/tinylm eval runs/demo-model/bundle --world
	cp runs/demo-model/bundle/* runtime/demo/

# Write the ONNX files with which `tinylm doctor` measures int8 kernels; a test compares them with what onnx makes.
kernel-probes: $(VENV)/.train
	$(BIN)/python -m tinylm.export.kernel_probes

clean:
	rm -rf $(VENV) build dist $(WEB)/dist tinylm.egg-info runs/demo runs/demo-model .mypy_cache .ruff_cache .pytest_cache .hypothesis
