# Everything a newcomer types. `make` alone lists the targets.
SHELL := /bin/sh
.DEFAULT_GOAL := help

PYTHON ?= python3
UV_VERSION := 0.13.9
VENV := .venv
UV := $(VENV)/uv/bin/uv
RUN := $(VENV)/bin
STAMP := $(VENV)/.installed
# A file's tests run in one process, in their order, so that what they share is made once.
PARALLEL := -n auto --dist loadfile --no-loadscope-reorder --durations=20

.PHONY: help install demo dev test test-long soak docs screenshots check audit bench refresh-all-mv clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(STAMP) ## Make .venv with exactly the packages of uv.lock; COMPILE=1 for a server
	@# Every run is a process of its own. Python keeps the bytecode of what it imports; a service's user may not write it.
	@$(if $(COMPILE),$(RUN)/python -m compileall -q mv_pipeline)

$(STAMP): pyproject.toml uv.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed; say which by make PYTHON=python3.12 …")'
	@test -x $(UV) || { $(PYTHON) -m venv --clear $(VENV) && $(RUN)/python -m pip install --quiet --disable-pip-version-check --target $(VENV)/uv "uv==$(UV_VERSION)"; }
	$(UV) sync --frozen --quiet $(if $(COMPILE),--compile-bytecode)
	@touch $@

demo: install ## Made-up files through the real path, then every view in a table
	$(RUN)/mv-pipeline demo

dev: install ## Server, web UI, sensor and schedule on 127.0.0.1:3000 until Ctrl-C
	$(RUN)/mv-pipeline dev

test: install ## The whole test suite, on real PostgreSQL servers, one for each core
	$(RUN)/pytest $(PARALLEL)

test-long: install ## Over a thousand random histories, and hundreds of kills at random moments; takes long
	MV_PIPELINE_TESTS_PROFILE=long $(RUN)/pytest -n auto --dist worksteal mv_pipeline_tests/test_histories.py \
		mv_pipeline_tests/test_concurrent.py mv_pipeline_tests/checks/test_news.py mv_pipeline_tests/faults \
		mv_pipeline_tests/soak mv_pipeline_tests/database/test_session.py mv_pipeline_tests/cli/test_services.py \
		mv_pipeline_tests/operations/test_run_life.py mv_pipeline_tests/migrate/test_swap.py mv_pipeline_tests/migrate/adopt/test_move_in.py

soak: install ## Half an hour of files, faults, readers and others beside a real daemon; ARGS="--minutes 3" for less
	$(RUN)/python -m mv_pipeline_tests.soak $(ARGS)

docs: install ## Write what docs/ takes from the code: graph, settings, problems, alert rules, reasons for a rejection
	$(RUN)/python -m mv_pipeline_tests.docs.generated

screenshots: install ## Take the pictures of the UI in docs/ anew, in a real browser
	MV_PIPELINE_TESTS_SCREENSHOTS="$(CURDIR)/docs" $(RUN)/pytest mv_pipeline_tests/browser

bench: install ## Ours against the rivals, in ratios; ARGS="--quick" for a short run
	$(UV) run --frozen python -m bench $(ARGS)

check: install ## Format, lint (Python and SQL), types, secrets, and whether the definitions load
	$(RUN)/ruff format --check .
	$(RUN)/ruff check .
	$(RUN)/mypy
	MV_PIPELINE_SQL_DIR="$(CURDIR)/sql" $(RUN)/mv-pipeline lint
	git ls-files -z | xargs -0 $(RUN)/detect-secrets-hook --no-verify
	@mkdir -p $(VENV)/validate && touch $(VENV)/validate/dagster.yaml
	DAGSTER_HOME="$(CURDIR)/$(VENV)/validate" $(RUN)/dagster definitions validate -w workspace.yaml

audit: install ## Known vulnerabilities in the pinned packages; asks osv.dev, so it needs the network
	$(UV) audit --frozen --preview-features audit-command

refresh-all-mv: install ## Refresh every materialized view now
	$(RUN)/mv-pipeline refresh --all

clean: ## Remove what make made; the data in .mv_pipeline stays
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
