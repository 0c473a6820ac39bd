# How this tree is built and checked. Everything here is a short form of commands that also work by
# hand: plain "go build ./..." and "go test ./..." need no flag, no tag and no other program. What is
# released is built with giouring, which does not link without -checklinkname=0 (internal/uring says why).

GO        ?= go
FUZZTIME  ?= 10s
TEST_MAX  ?= 25m # for one package: Go's own 10m are too few for cmd/ayder on a slow machine
CLUSTER   ?= # flags of tools/cluster: make cluster CLUSTER='-ports 7000,8000,9000,10000,11000'
VM        ?= # flags of tools/vm: make arm64-vm VM='-suite trixie -package linux-image-arm64-16k'
VERSION   ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
REVISION  ?= $(shell git rev-parse HEAD 2>/dev/null)

# giouring exists on Linux only.
RING_TAGS := $(if $(filter linux,$(shell $(GO) env GOOS)),giouring)
LDFLAGS   := -checklinkname=0 -s -w -X main.version=$(VERSION) -X main.revision=$(REVISION)
LINT_TOOL := $(GO) tool -modfile=tools/lint.mod

# What of the tests for arm64 is quick enough for CI; arm64-all is the whole.
ARM64_ENV      := CGO_ENABLED=0 GOOS=linux GOARCH=arm64 AYDER_TEST_EXEC=qemu-aarch64-static
ARM64_ALL      ?= ./...
ARM64_PACKAGES := ./httpparse ./internal/record ./internal/mailbox ./internal/timing ./internal/testkit/proc ./aof ./engine

.DEFAULT_GOAL := help
.PHONY: help build test race lint fuzz bench cluster verify release giouring arm64 arm64-all arm64-vm openapi-lint golangci clean

help: ## list the targets
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1|/p' $(MAKEFILE_LIST) | while IFS='|' read -r name text; do \
		printf '  make %-10s %s\n' "$$name" "$$text"; done

build: ## build bin/ayder, static, with giouring
	CGO_ENABLED=0 $(GO) build -trimpath -tags '$(RING_TAGS)' -ldflags='$(LDFLAGS)' -o bin/ayder ./cmd/ayder

test: ## run all tests
	$(GO) test -timeout $(TEST_MAX) ./...

race: ## run all tests under the race detector
	$(GO) test -timeout $(TEST_MAX) -race ./...

lint: ## vet (also the module that measures etcd), format, staticcheck, builds for arm64 and darwin, go.mod is tidy
	$(GO) vet ./...
	$(GO) vet -tags giouring,invariants ./...
	@unformatted=$$($(LINT_TOOL) gofumpt -l .); if [ -n "$$unformatted" ]; then \
		echo "gofumpt would change:"; echo "$$unformatted"; exit 1; fi
	$(LINT_TOOL) staticcheck ./...
	GOOS=linux GOARCH=arm64 $(GO) build ./...
	GOOS=darwin GOARCH=arm64 $(GO) vet ./...
	$(GO) -C bench/peers/etcd vet ./...
	$(GO) mod tidy -diff

fuzz: ## run every fuzz target for FUZZTIME (10s) each
	@grep -rEo --include='*_test.go' '^func Fuzz[A-Za-z0-9_]+' . | sort | while IFS=: read -r file fn; do \
		name=$${fn#func }; package=$$(dirname "$$file"); echo "$$package $$name"; \
		$(GO) test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 20x "$$package" || exit 1; done

bench: build ## run the standard set of benchmarks against servers that it starts itself
	bench/run.sh

cluster: build ## start a cluster of three on this machine; ^C stops it
	$(GO) build -o bin/cluster ./tools/cluster
	@exec bin/cluster -bin bin/ayder $(CLUSTER)

verify: build lint test giouring ## all that must pass before a change is handed in
	$(MAKE) fuzz FUZZTIME=3s

release: ## archives, packages and checksums of all targets, in dist
	$(GO) run ./tools/release -version "$(VERSION)" -revision "$(REVISION)" -out dist

giouring: ## run the tests of everything that touches a ring, over giouring
	$(GO) test -tags giouring -ldflags=-checklinkname=0 ./internal/uring ./netpoll ./aof

arm64: ## run the portable packages' tests for arm64 under qemu-user
	@command -v qemu-aarch64-static >/dev/null || { echo "skipped: there is no qemu-aarch64-static"; exit 0; }; \
		$(ARM64_ENV) $(GO) test -vet=off -short -exec qemu-aarch64-static $(ARM64_PACKAGES)

arm64-all: ## run every package's tests for arm64 under qemu-user, one after the other; an hour
	@command -v qemu-aarch64-static >/dev/null || { echo "skipped: there is no qemu-aarch64-static"; exit 0; }; \
		status=0; for package in $$($(GO) list $(ARM64_ALL)); do \
		$(ARM64_ENV) $(GO) test -vet=off -timeout 3600s -exec qemu-aarch64-static $$package || status=1; done; exit $$status

arm64-vm: ## boot Debian's ARM64 kernel in qemu: the server on io_uring there is killed, the machine is killed, nothing is lost
	$(GO) run ./tools/vm $(VM)

openapi-lint: ## lint docs/openapi.yaml by redocly, which npm fetches into a temporary directory
	@command -v npm >/dev/null || { echo "skipped: there is no npm"; exit 0; }; \
		dir=$$(mktemp -d) && trap 'rm -rf "$$dir"' EXIT && cp tools/openapi/package*.json "$$dir" && \
		npm --prefix "$$dir" ci --silent --no-audit --no-fund && \
		REDOCLY_TELEMETRY=off "$$dir/node_modules/.bin/redocly" lint --config tools/openapi/redocly.yaml docs/openapi.yaml

golangci: ## run golangci-lint with .golangci.yml; slow to build the first time
	$(GO) tool -modfile=tools/golangci.mod golangci-lint run ./...

clean: ## remove what was built
	rm -rf bin
