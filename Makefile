# The two commands that do everything:   make lab   and   make test
# On Windows without make, README.md describes the way with conda.

# Which Python makes .venv (only then; `make clean` first to change it), and which build of PyTorch goes into it.
ifeq ($(OS),Windows_NT)
PYTHON ?= python
else
PYTHON ?= python3
endif
TORCH ?=

# SETUP=no installs nothing and runs everything with PYTHON as it is, for instance in an active conda environment.
SETUP ?= yes
ifeq ($(SETUP),no)
RUN := $(PYTHON)
else ifeq ($(OS),Windows_NT)
RUN := .venv/Scripts/python.exe
else
RUN := .venv/bin/python
endif

# Passed on to the command of a verb, as in: make lab ARGS="--port 9999 --no-browser"
ARGS ?=
WORKERS ?= 2

NOTEBOOKS = notebooks/*.ipynb
SOURCES = course_utils tests data notebooks
# Cell ids stay: exercises and their checks are found by them. The kernelspec stays: without it JupyterLab asks every
# reader which kernel to start.
STRIP = $(RUN) -m nbstripout --keep-id --extra-keys "metadata.language_info"

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help lab test setup lint unit notebooks browser doctor download results bench lock format filter clean

# $(call step,NAME,COMMAND): say what runs, run it, and name it when it fails.
define step
@printf '\n=== %s\n' '$(1)'
@$(2) || { printf '\nThe step "%s" failed: read the first error above.\n' '$(1)'; exit 1; }
endef

help: ## List these verbs
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' Makefile

lab: setup ## Open JupyterLab on the first notebook (TORCH=cpu, PYTHON=python3.12, ARGS="--port 9999")
	@$(RUN) -m course_utils lab $(ARGS)

test: lint unit notebooks browser ## Run every check
	@printf '\nAll checks passed.\n'

setup: ## Create .venv and install the locked packages, where that is not yet done
ifneq ($(SETUP),no)
	@command -v $(PYTHON) >/dev/null || { \
	    echo "There is no command '$(PYTHON)'. Install Python 3.12 from https://www.python.org/downloads/,"; \
	    echo "or name the Python you have: make lab PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -m course_utils.workshop.set_up $(if $(TORCH),--torch $(TORCH))
endif

lint: setup ## Check style, the import rules, and that no notebook holds outputs
	$(call step,ruff check,$(RUN) -m ruff check $(SOURCES))
	$(call step,ruff format,$(RUN) -m ruff format --check $(SOURCES))
	$(call step,import rules,$(RUN) -c "from importlinter.cli import lint_imports_command as run; run()")
	$(call step,notebooks hold no outputs,$(STRIP) --verify $(NOTEBOOKS))

unit: setup ## Run the tests of the package (ARGS="-k download")
	$(call step,tests of the package,$(RUN) -m pytest tests/unit tests/faults tests/notebooks -n $(WORKERS) $(ARGS))

notebooks: setup ## Run every notebook on the small data
	$(call step,notebooks run,COURSE_PROFILE=tiny OMP_NUM_THREADS=1 $(RUN) -m pytest --nbval-lax --nbval-current-env \
	    --nbval-cell-timeout=120 -n $(WORKERS) --dist loadscope notebooks/)

browser: setup ## Open the notebooks in a real browser (needs Chromium)
	$(call step,notebooks in the browser,$(RUN) -m pytest tests/browser -n $(WORKERS))

doctor: ## Check this computer and say what to do about what is missing
	@$(if $(wildcard $(RUN)),$(RUN),$(PYTHON)) -m course_utils doctor

download: setup ## Get the real data (ARGS=cifar10 or ARGS=all; default: mnist)
	@$(RUN) -m course_utils download $(ARGS)

results: setup ## Measure the course's results on the full data (ARGS=--tables only writes the tables again)
	@$(RUN) -m course_utils results $(ARGS)

bench: setup ## Time the shared code
	@$(RUN) tests/bench/bench.py $(ARGS)

lock: ## Renew requirements.txt from pyproject.toml (needs uv; ARGS=--upgrade takes the newest versions)
	@if $(PYTHON) -m uv --version >/dev/null 2>&1; then uv="$(PYTHON) -m uv"; \
	elif command -v uv >/dev/null; then uv=uv; \
	else echo "make lock needs uv. Install it with: $(PYTHON) -m pip install uv"; exit 1; fi; \
	$$uv pip compile --quiet --universal --extra test pyproject.toml -o requirements.txt \
	    --python-version 3.11 --no-header --no-annotate $(ARGS)

format: setup ## Format the code, strip the notebooks' outputs, copy right answers into their solution cells
	@$(RUN) -m ruff check --fix --exit-zero --quiet $(SOURCES)
	@$(RUN) -m ruff format $(SOURCES)
	@$(STRIP) $(NOTEBOOKS)
	@$(RUN) -m course_utils.workshop.solutions

filter: setup ## Let git strip the notebooks' outputs whenever you commit (once for each clone)
	@git config filter.nbstripout.clean '$(STRIP)'
	@echo "git now strips the notebooks' outputs when you add or commit them; your own files keep theirs."

clean: ## Remove .venv and all caches; the data you downloaded stay
	@rm -rf .venv .venv.replaced .pytest_cache .ruff_cache .hypothesis .import_linter_cache *.egg-info
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
	@find . -name .ipynb_checkpoints -type d -prune -exec rm -rf {} +
