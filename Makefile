# Thin over `uv run`; CI calls the same targets. `make help` lists them.
UV := scripts/uv
RUN := $(UV) run --no-sync
UNIT = $(RUN) pytest -q --randomly-dont-reset-seed -m 'not hypothesis and not soak'
SYNC := $(UV) sync --locked --quiet --extra haproxy
RELEASE := 12

.DEFAULT_GOAL := help
.PHONY: help setup demo test unit laws repo coverage integration lint type arch fmt soak mutate bench docs build image sidecar deb clean

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

setup: ## uv and the locked dependencies, in .venv
	@$(SYNC)

demo: setup ## the main job on toy backends, under a minute
	@$(RUN) confsync demo

test: setup lint arch type unit laws repo coverage integration ## everything that must pass

# Two plain runs cost less than one that hands out each test: every file is read once. What tests write
# goes to memory where it can, since some of them wait for the disk.
unit: setup ## unit tests, in seconds, without the laws
	@memory=$$(mktemp -d /dev/shm/cs.XXXXXX 2>/dev/null) \
	  && trap 'rm -rf "$$memory"' EXIT HUP INT TERM && export TMPDIR="$$memory"; \
	$(MAKE) --no-print-directory --jobs=2 --output-sync=target unit-adapters unit-rest
unit-adapters:
	$(UNIT) tests/unit/adapters
unit-rest:
	$(UNIT) --ignore=tests/unit/adapters tests/unit

laws: setup ## the laws among the unit tests, on 100 examples each
	$(RUN) pytest -q -n 2 --dist worksteal --hypothesis-profile=laws -m 'hypothesis or soak' tests/unit

repo: setup ## the project's own pages and examples
	$(RUN) pytest -q tests/repo

coverage: setup ## the branch coverage that core and domain must have from their own tests
	$(RUN) coverage run -m pytest -q -p no:randomly tests/unit/core tests/golden
	$(RUN) coverage report --include='confsync/core/*,confsync/domain/*' --fail-under=95 --skip-covered

integration: setup ## against real Consul, HAProxy, systemd (what the machine lacks is skipped, with its reason)
	$(RUN) pytest -q -n 3 --dist loadfile --ignore=tests/unit --ignore=tests/repo --ignore=tests/golden tests

lint: setup ## ruff
	$(RUN) ruff check .
	$(RUN) ruff format --check .

arch: setup ## who may import whom
	$(RUN) lint-imports --no-cache

type: setup ## mypy --strict
	$(RUN) mypy

fmt: setup ## format
	$(RUN) ruff check --fix --quiet .
	$(RUN) ruff format .

soak: mutate ## mutation testing, and the long tests whole; figures into benchmarks/results
	$(RUN) python -m benchmarks.soak

mutate: setup ## mutation testing of planning, guards and the typing of text
	$(UV) run --extra haproxy --group soak python -m benchmarks.mutation

bench: setup ## speed, as ratios within one run; figures into benchmarks/results
	$(RUN) python -m benchmarks.run
	$(RUN) python -m benchmarks.failover

docs: setup ## make the generated pages anew
	@$(RUN) python -c 'from confsync.settings import page; page.write()' > docs/settings.md.new
	@mv docs/settings.md.new docs/settings.md
	@$(RUN) python -m scripts.manual

build: setup ## wheel and sdist
	$(UV) build

image: ## the whole load balancer in one image: make image BASE=debian:trixie-slim IMAGE=confsync-lb
	docker build --file deploy/image/Dockerfile --tag $(or $(IMAGE),confsync-lb) \
	  --build-arg BASE=$(or $(BASE),debian:trixie-slim) --build-arg PIP_INDEX_URL .

sidecar: ## the sidecar's image, on the HAProxy image in use: make sidecar BASE=haproxy:3.0 IMAGE=confsync
	docker build --file deploy/sidecar/Dockerfile --tag $(or $(IMAGE),confsync) \
	  --build-arg BASE=$(or $(BASE),haproxy:3.0) --build-arg PIP_INDEX_URL .

deb: setup ## Debian package, in dist; RELEASE=13 for Debian 13
	@scripts/deb --release $(RELEASE)

clean: ## what was built or cached here
	rm -rf .venv .tools dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage .import_linter_cache mutants
