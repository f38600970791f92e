# The commands of the project; docs/development.md explains them. Works on a fresh Debian 12 or Ubuntu, root or not.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SUDO_APT := $(if $(filter 0,$(shell id -u)),apt-get,)

.PHONY: demo test containers lint types layers check test-alyx mutants bench format clean install uninstall

demo: $(VENV)/.installed
	$(BIN)/labferry demo

test: check containers
	$(BIN)/python -m pytest

# The service's tests boot a container; without the package they are skipped and say so. The version is that of systemd
# here, so that no test changes the systemd of the machine.
containers:
	@command -v systemd-nspawn >/dev/null || $(if $(SUDO_APT),{ export DEBIAN_FRONTEND=noninteractive; \
	  apt-get update -qq && \
	  { apt-get install -y -qq --no-install-recommends systemd-container="$$(dpkg-query -W -f '$${Version}' systemd)" || \
	    apt-get install -y -qq --no-install-recommends systemd-container; }; } || )echo "no systemd-container: tests/service is skipped"

check: lint types layers

lint: $(VENV)/.tested
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/.tested
	$(BIN)/mypy
	$(BIN)/mypy benchmarks

layers: $(VENV)/.tested
	$(BIN)/lint-imports

test-alyx: $(VENV)/.tested
	@test -n "$(ALYX_URL)" || { echo "usage: make test-alyx ALYX_URL=http://… ALYX_USER=… ALYX_PASSWORD=…" >&2; exit 2; }
	@ALYX_URL="$(ALYX_URL)" ALYX_USER="$(ALYX_USER)" ALYX_PASSWORD="$(ALYX_PASSWORD)" $(BIN)/python -m pytest tests/contract

mutants: $(VENV)/.tested
	$(BIN)/python tests/mutants/run.py $(ONLY)

bench: $(VENV)/.tested
	@command -v rsync >/dev/null || $(if $(SUDO_APT),{ export DEBIAN_FRONTEND=noninteractive; \
	  apt-get update -qq && apt-get install -y -qq --no-install-recommends rsync; } || )echo "no rsync: archive_directory is skipped"
	$(BIN)/python benchmarks/run.py $(ONLY)

# An interpreter that was named is passed on; the default here may be one that only its owner can run.
install uninstall:
	@$(if $(filter command line environment,$(origin PYTHON)),PYTHON="$(PYTHON)") PURGE="$(PURGE)" etc/install.sh $@

format: $(VENV)/.tested
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV)

# --- the environment -------------------------------------------------------------------------------------------

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { $(if $(SUDO_APT),apt-get update -qq && apt-get install -y -qq python3 python3-venv,echo "Python 3.11 or newer is needed: install python3 and python3-venv" >&2; exit 1); }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
	  { $(if $(SUDO_APT),apt-get update -qq && apt-get install -y -qq python3-venv,echo "The venv module is missing: install python3-venv" >&2; exit 1); }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'

$(VENV)/.installed: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/.tested: pyproject.toml | $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --editable . --group test
	touch $@ $(VENV)/.installed
