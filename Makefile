# make help says what there is. What development needs is installed into .venv, by whichever target needs it first.

PYTHON ?= python3
PORT ?= 1234
TOOLS := .venv/.installed
BIN := .venv/bin
MINUTES := 7
export CHAT_SEED := $(or $(SEED),$(CHAT_SEED))
export CHAT_EXAMPLES := $(or $(EXAMPLES),$(CHAT_EXAMPLES))

.DEFAULT_GOAL := help
.PHONY: run test check fuzz crash soak sim cluster scorecard bench attack readme dist help

run: ## start a server in this folder: make run PORT=1234
	$(PYTHON) server.py $(PORT)

test: $(TOOLS) ## run all tests, with line and branch coverage (below 90 % fails); SEED=random, EXAMPLES=10000
	@rm -f .coverage .coverage.*
	@echo "All tests run: that takes about $(MINUTES) minutes on 2 cores."
	@begun=$$(date +%s); $(BIN)/coverage run -m pytest -n 2 --dist worksteal; status=$$?; \
	taken=$$(($$(date +%s) - begun)); echo "They took $$((taken / 60)) minutes and $$((taken % 60)) seconds."; exit $$status
	@$(BIN)/coverage combine -q 2>/dev/null; rm -f .coverage.*  # what a killed program was writing cannot be read
	@$(BIN)/coverage report > .test-coverage.txt; status=$$?; tail -n 3 .test-coverage.txt; exit $$status

check: $(TOOLS) ## lint, types, the architecture, and whether README is up to date
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python tests/readme.py --check
	$(BIN)/pytest tests/test_architecture.py

fuzz: ## say anything to servers, and to clients as a server; SEED=random, SECONDS=3600
	$(PYTHON) -m tests.proofs.fuzz --seconds $(or $(SECONDS),60)

crash: ## damage a home everywhere (a minute or two), then kill -9 the server and its children under load; SEED=random, CYCLES=1000 (Linux)
	$(PYTHON) -m tests.proofs.damage
	$(PYTHON) -m tests.proofs.crash --cycles $(or $(CYCLES),50)

soak: ## 200 people use a server for a while: its memory, descriptors and latency, drawn in soak.svg; SECONDS=600 (Linux)
	$(PYTHON) -m tests.proofs.soak --seconds $(or $(SECONDS),60)

sim: ## run stories on a simulated machine, whose disk, network and power fail: SEED=random, SCHEDULES=10000 (a minute)
	$(PYTHON) -m tests.proofs.sim --schedules $(or $(SCHEDULES),0)

cluster: $(TOOLS) ## break three servers with one world, and their engine, in all known ways (twenty minutes; Linux); LIST=1, SEED=random, ONLY="leader-kill"
	$(BIN)/python -m tests.cluster.matrix $(if $(LIST),--list) $(if $(ONLY),--only $(ONLY))

scorecard: ## run all proofs short, and the bench, and write the figures into README.md (ten minutes; Linux, gcc)
	$(PYTHON) -m tests.proofs.scorecard

bench: ## measure speed and size against the aims (a few minutes; needs gcc); ROWS="latency cluster"
	$(PYTHON) tests/bench/bench.py $(if $(ROWS),--only $(ROWS))

attack: ## attack a server in every known way, and measure what the others notice (eight minutes; Linux)
	$(PYTHON) tests/bench/attack.py $(if $(ROWS),--only $(ROWS))

readme: ## write README's generated parts and para.txt anew
	$(PYTHON) tests/readme.py

dist: ## make dist/chat-server.pyz and dist/chat-client.pyz: one file each, to be copied and run anywhere
	$(PYTHON) tests/dist.py

$(TOOLS): tests/requirements.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -r tests/requirements.txt
	@touch $@

help: ## say what there is
	@sed -n 's/^\([a-z]*\):.*## /\1	/p' $(MAKEFILE_LIST) | expand -t 11
