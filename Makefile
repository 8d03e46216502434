# Every way to work on CapeControl. `make help` lists them.
# `make run` and `make demo` need the Rust toolchain and a C compiler; whatever else is missing, `make setup` installs.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:

export PATH := $(CURDIR)/.tools/bin:$(PATH)

.PHONY: help run run-edge demo unit test sim soak check bench fmt gen setup image-stages release-contract

help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-18s%s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## Serve on the embedded default: SQLite in ./data, no other server needed
	cargo run --locked -- serve

run-edge: ## The same behind Envoy, on 127.0.0.1:8000: gRPC, gRPC-Web and JSON
	scripts/setup envoy
	scripts/run-edge

demo: ## The main job end to end on an empty folder; DATABASE_URL=… DATABASE_OWNER_URL=… does it on PostgreSQL
	cargo run --locked --quiet --example demo

unit: ## The fast loop: unit tests, tidiness, and everything that needs no PostgreSQL
	cargo test --locked --lib
	cargo test --locked --test it -- sqlite tidy
	cargo test --locked --package capecontrol-client

test: ## Every test, on both engines: installs and starts what they need, and stops it again
	scripts/setup postgres nats buf envoy documents
	scripts/postgres run cargo test --locked --workspace --no-fail-fast

sim: ## Payments as a whole from seeds, for MINUTES=20, going on where it stopped; ENGINE=postgres; SEED=… plays one again
	scripts/sim

soak: ## Conversations between two nodes of which one dies, for MESSAGES=100000: nothing is lost; SEED=… for another network
	scripts/soak

check: ## Format, lints, contract, dependency rules, generated files, image and workflow files
	scripts/setup buf deny lint
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	cargo test --locked --quiet --test it generated
	cargo test --locked --quiet --package capecontrol-client generated
	buf format --diff --exit-code proto
	buf lint proto
	buf breaking proto --against proto/released.binpb
	hadolint Dockerfile
	scripts/check-schemas
	cargo deny --locked check --hide-inclusion-graph bans licenses sources

bench: ## What it costs beside bare controls, in one run: a table and a chart in target/bench; WHAT="sqlite fan-out" for some of it
	scripts/setup postgres
	scripts/postgres run --durable cargo bench --locked --bench load -- $(WHAT)

fmt: ## Format the code and the contract
	cargo fmt --all
	buf format --write proto

gen: ## Write what is generated again; `make check` fails when that changes anything
	CAPECONTROL_WRITE_GENERATED=1 cargo test --locked --quiet --test it generated
	CAPECONTROL_WRITE_GENERATED=1 cargo test --locked --quiet --package capecontrol-client generated

setup: ## Install what tests and checks need: PostgreSQL, NATS, buf, Envoy, readers of PDF, cargo-deny, linters
	scripts/setup

image-stages: ## What the Dockerfile's build does, without Docker: a release build, which takes minutes
	scripts/image-stages

release-contract: ## Only at a release: what `make check` guards against breaking is from now on the present contract
	buf build proto --output proto/released.binpb
