# Each target works on a fresh machine: it first installs what is missing (see `make setup`).

.DEFAULT_GOAL := help
.PHONY: help ready setup demo examples test test-repeat lint bench docs lock clean test-pythons test-frameworks test-debian12 test-debian13 first-result random-mix
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
export PYTHON

# Elixir warns under a latin1 locale, and prints escapes for what is not ASCII.
export LC_ALL := $(if $(filter Darwin,$(shell uname)),en_US.UTF-8,C.UTF-8)

# Erlang libraries that the system's own Erlang does not bring (scripts/toolchain.sh).
export ERL_LIBS := $(CURDIR)/.cache/erlang:$(ERL_LIBS)

venv := .cache/venv/bin

elixir_tests := mix test
python_tests := $(venv)/python -m pytest --numprocesses auto --dist worksteal
N ?= 20

help: ## list these targets
	@sed -n 's/^\([a-z0-9-]*\):[^#]*## \(.*\)/  make \1	\2/p' Makefile | expand -t 24

ready: .cache/toolchain.stamp .cache/venv.stamp .cache/uvloop.stamp

setup: ready ## install what is missing: Elixir, Erlang, Python (system packages), .cache/venv (from the lock file); compile
	@mix compile

demo: ready ## a tour in the terminal
	@mix run examples/demo.exs

examples: ready ## all examples, in the terminal; ARGS="erlang callbacks" runs some
	@mix compile
	@scripts/examples.sh $(ARGS)

test: ready .cache/libraries.stamp ## the Elixir and Erlang tests with the examples, then the Python tests
	$(elixir_tests)
	$(python_tests)

test-repeat: ready .cache/libraries.stamp ## the tests of `make test` 20 times, with times and failures in .cache/test-repeat; N=5 runs fewer
	@scripts/test_repeat.sh $(N) .cache/test-repeat "$(elixir_tests)" "$(python_tests)"

random-mix: ready ## a minute of everything at once, under a seed that is printed; RANDOM_MIX_SEED and RANDOM_MIX_SECONDS
	mix test --only random_mix

lint: ready ## formatting, compiler warnings, Dialyzer, ruff, mypy
	mix format --check-formatted
	mix compile --warnings-as-errors --force
	MIX_ENV=test mix compile --warnings-as-errors --force
	scripts/dialyzer.sh
	$(venv)/ruff check
	$(venv)/ruff format --check
	$(venv)/mypy

bench: ready ## the benchmarks, with their baselines in the same run; ARGS="--quick latency" runs less
	@MIX_ENV=prod mix run bench/run.exs $(ARGS)

# On more than this machine's Elixir and Python.

test-pythons: .cache/toolchain.stamp ## the worker's tests and the core Elixir tests on each Python that is here; ARGS="3.9 3.12"
	@mix run --no-start scripts/test_pythons.exs $(ARGS)

test-frameworks: ready ## tensors of PyTorch, JAX and TensorFlow, of a Python that has them: PYTHON=/venv/bin/python
	FRAMEWORKS_PYTHON=$(PYTHON) mix test --only frameworks

test-debian12: ## `make demo` and `make test` on a Debian 12 of its own with nothing but git and make (as root); FRESH=1
	@scripts/debian.sh bookworm make demo test

test-debian13: ## `make lint` and `make test` on a Debian 13 of its own with nothing but git and make (as root); FRESH=1
	@scripts/debian.sh trixie make lint test

first-result: .cache/toolchain.stamp ## time from nothing to the first result in IEx, Mix, Livebook and a release; ARGS=--debian
	@elixir bench/first_result.exs $(ARGS)

docs: ready .cache/docs-venv.stamp ## the documentation and API pages as a static site in doc/
	@scripts/docs.sh

lock: .cache/venv.stamp ## write the lock files of the Python packages anew
	@scripts/lock.sh

clean: ## remove what was built and downloaded
	rm -rf _build doc .cache

.cache/toolchain.stamp: scripts/toolchain.sh
	@scripts/toolchain.sh
	@touch $@

.cache/venv.stamp: requirements/dev.lock scripts/venv.sh | .cache/toolchain.stamp
	@scripts/venv.sh requirements/dev.lock .cache/venv
	@touch $@

.cache/libraries.stamp: requirements/libraries.lock scripts/venv.sh | .cache/toolchain.stamp
	@scripts/venv.sh requirements/libraries.lock .cache/libraries
	@touch $@

.cache/uvloop.stamp: requirements/uvloop.lock scripts/venv.sh | .cache/toolchain.stamp
	@scripts/venv.sh requirements/uvloop.lock .cache/uvloop
	@touch $@

.cache/docs-venv.stamp: requirements/docs.lock scripts/venv.sh | .cache/toolchain.stamp
	@scripts/venv.sh requirements/docs.lock .cache/docs-venv
	@touch $@
