# Each target sets up what it needs; a second call finds it done.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:

BIN := .venv/bin
INSTALLED := .venv/.installed
# Further arguments: make test ARGS="-k leases -x", make demo ARGS=--again
ARGS ?=

.PHONY: help
help: ## Show this list
	@echo "make <target>:"
	@sed -n 's/^\([a-z-]*\):.*## /  \1\t/p' $(MAKEFILE_LIST) | expand -t 14
	@echo 'Further arguments go in ARGS: make test ARGS="-k leases -x"; PYTHON=... names the interpreter for .venv.'

$(INSTALLED): pyproject.toml constraints.txt
	@infra/install

.PHONY: install
install: $(INSTALLED) ## Make .venv with everything in it (5 GB; minutes the first time)

.PHONY: demo
demo: $(INSTALLED) ## Train and measure several backbones on this machine and print the leaderboard
	@$(BIN)/platform demo $(ARGS)

.PHONY: lint
lint: $(INSTALLED) ## Check style, formatting, types and who imports whom
	@infra/step "ruff check" $(BIN)/ruff check
	@infra/step "ruff format" $(BIN)/ruff format --check
	@infra/step "mypy" $(BIN)/mypy
	@infra/step "import-linter" $(BIN)/lint-imports

.PHONY: browser
browser:
	@infra/chromium

.PHONY: test
test: $(INSTALLED) browser ## Run the tests, but for the long ones
	@infra/step "tests (not the long ones)" $(BIN)/python -m pytest -m "not slow" $(ARGS)

.PHONY: test-all
test-all: $(INSTALLED) browser ## Run every test, the long ones too; those of a GPU where there is one
	@infra/step "all tests" $(BIN)/python -m pytest $(ARGS)

.PHONY: clean
clean: ## Remove .venv and what the checks and builds left; results in .convoy stay
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
	@if [ -d .convoy ]; then echo "Runs and results stay in .convoy (remove it yourself to begin anew)."; fi
