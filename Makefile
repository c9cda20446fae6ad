# `make demo` and `make test` do their own set-up; nothing else is needed but Python 3.11 to 3.13.
PYTHON ?= python3
VENV ?= .venv
DEMO ?= runs/demo
PIP = $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
SOURCES := $(shell find tinylm cli data export runtime -type f -not -path '*/__pycache__/*') pyproject.toml constraints.txt README.md

.PHONY: demo demo-model test lint docs clean

# What the person who trains has: the package with its extra [train].
$(VENV)/.train: $(SOURCES)
	@test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing TinyLM and what training needs into $(VENV) …"
	@rm -rf build
	@$(PIP) '.[train]'
	@$(PIP) --no-deps --force-reinstall --no-index --no-build-isolation . 2>/dev/null || $(PIP) --no-deps --force-reinstall .
	@touch $@
