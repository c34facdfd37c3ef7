# `make demo` and `make test` are all that a newcomer needs; each sets up what it uses.
SHELL := /bin/bash
VENV := .venv/bin
PYTEST := $(VENV)/python -m pytest
MACHINE ?= local
MINUTES ?= 5

.PHONY: help demo test setup lint types unit e2e kill-loop torture module bench-capture bench-sync bench-hostile bench-million clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

demo:  ## half a minute of real readings and files, a cut network, a killed module; MACHINE=viam-server for the real one
	@module/environment.sh requirements-demo.txt
	@PYTHONPATH=src:. $(VENV)/python -m demo.main --machine "$(MACHINE)"

test: lint types unit e2e  ## everything: ruff, mypy, unit, property, fault and end-to-end tests

setup:
	@module/environment.sh requirements-dev.txt

lint: setup
	$(VENV)/python -m ruff check .
	$(VENV)/python -m ruff format --check .

types: setup
	$(VENV)/python -m mypy

unit: setup
	$(PYTEST) -q -n 4 --ignore=tests/e2e --ignore=tests/faults

e2e: setup  ## the module in the real viam-server, which is built once (needs Go; skipped without), and killed (needs strace), with faults (needs root)
	$(PYTEST) -q -n 2 --dist loadfile tests/e2e tests/faults

kill-loop: setup  ## 500 kills of the module and of viam-server, and what they cost
	PYTHONPATH=src:. $(VENV)/python -m tests.faults.kill_loop --rounds 450 --seed 1
	VIAM_SERVER=$$(tests/viam_server/build.sh) PYTHONPATH=src:. $(VENV)/python -m tests.faults.kill_loop --rounds 50 --seed 1 --machine viam-server

torture: setup  ## faults of every kind in random order on viam-server, judged reading by reading; MINUTES=n SEED=s
	VIAM_SERVER=$$(tests/viam_server/build.sh) PYTHONPATH=src:. $(VENV)/python -m tests.faults.torture --minutes "$(MINUTES)" $(if $(SEED),--seed "$(SEED)")

bench-capture: setup  ## what capture costs and how exactly it keeps its rates, on the real viam-server; BENCH="--minutes 20"
	PYTHONPATH=src:. $(VENV)/python -m bench.capture $(BENCH)

bench-sync: setup  ## how fast sync is beside the builtin, both in the real viam-server, over links of all kinds; BENCH="--only drain,large --quick"
	PYTHONPATH=src:. $(VENV)/python -m bench.sync $(BENCH)

bench-hostile: setup  ## how long hostile components, callers and a hostile cloud hold the event loop; BENCH="--minutes 1 --seed 7"
	PYTHONPATH=src:. $(VENV)/python -m bench.hostile.main $(BENCH)

bench-million: setup  ## a million files in one folder: memory, the time to the first call, CPU while they wait; BENCH="--files 100000"
	PYTHONPATH=src:. $(VENV)/python -m bench.million $(BENCH)

module:  ## dist/archive.tar.gz, to be uploaded with `viam module upload`
	./build.sh

clean:  ## removes what the commands above made here
	rm -rf .venv .venv-build dist build src/*.egg-info demo-output .mypy_cache .ruff_cache .pytest_cache .hypothesis
