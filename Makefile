# `make` alone lists the targets. `make check` is what CI runs.

GO       ?= go
BIN      := bin/tutti
FUZZTIME ?= 5m
# Empty without git; the program then says what the Go toolchain knows of it.
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null)
LINT_VERSION := $(shell sed -n '1s/^\# golangci-lint //p' .golangci.yml)
LINT     := .bin/golangci-lint-$(LINT_VERSION)
# vegeta's own program is measured in the version whose library we use.
VEGETA_VERSION := $(shell sed -n 's|^.*github.com/tsenart/vegeta/v12 \(v[^ ]*\).*|\1|p' go.mod)
VEGETA   := .bin/vegeta-$(VEGETA_VERSION)

# Modules of their own: what they depend on does not become the harness's.
MODULES  := targets/shop targets/stores
# Those of them that make an image, each by a target of its name.
IMAGES   := shop stores

# The packages with goroutines that share memory.
RACE     := ./lib/agent/... ./lib/driver/process/... ./lib/load/... ./lib/record/... ./lib/trial/... ./targets/...

.NOTPARALLEL:
.DEFAULT_GOAL := help

.PHONY: help
help: ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

.PHONY: quickstart
quickstart: build ## build tutti and run scenarios/quickstart.yaml with it (about a minute)
	$(BIN) run scenarios/quickstart.yaml

.PHONY: build
build: ## build bin/tutti, one static file
	CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false -ldflags '-s -w -X github.com/tutti-bench/tutti/cmd.version=$(VERSION)' -o $(BIN) ./cmd/tutti

.PHONY: stores
stores: ## build the image of targets/stores, the gateway to stores on their own
	@GO='$(GO)' targets/image.sh stores .

.PHONY: shop
shop: ## build the image of targets/shop, a web shop's nodes
	@GO='$(GO)' targets/image.sh shop ./cmd/shop

.PHONY: check
check: fmt-check vet lint build parts-try test race ## everything that CI runs, in its order

.PHONY: fmt-check
fmt-check: ## fail on files that gofmt would change, and show how
	@out="$$(find . -name '*.go' -not -path './.*' | xargs gofmt -d)"; \
	if [ -n "$$out" ]; then printf '%s\n' "$$out"; echo 'make fmt mends this'; exit 1; fi

.PHONY: fmt
fmt: $(LINT) ## format all Go files
	$(LINT) fmt

.PHONY: vet
vet: ## go vet
	$(GO) vet ./...
	@for m in $(MODULES); do echo "$$m"; (cd "$$m" && $(GO) vet ./...) || exit 1; done

.PHONY: lint
lint: $(LINT) ## golangci-lint, in the version that .golangci.yml names
	$(LINT) run
	@for m in $(MODULES); do echo "$$m"; (cd "$$m" && '$(CURDIR)/$(LINT)' run) || exit 1; done

# Built from its Go module, which takes some minutes once.
$(LINT):
	@echo 'building golangci-lint $(LINT_VERSION)'
	@mkdir -p .bin/tmp
	GOBIN='$(CURDIR)/.bin/tmp' GOFLAGS= CGO_ENABLED=0 $(GO) install -trimpath 'github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(LINT_VERSION)'
	@mv .bin/tmp/golangci-lint '$@' && rmdir .bin/tmp

# The tests of cmd hold measurements against arithmetic, so nothing else may run beside them.
# -count=1: the engine, on which some tests depend, is nothing that Go's cache of test results knows of.
.PHONY: test
test: ## all tests; those with an engine skip without one, but fail if CI is set
	$(GO) test -count=1 $$($(GO) list ./... | grep -v '/cmd$$')
	$(GO) test -count=1 -timeout 20m ./cmd
	@for m in $(MODULES); do echo "$$m"; (cd "$$m" && $(GO) test -count=1 ./...) || exit 1; done

.PHONY: parts
parts: ## build the images of real programs that targets use (minutes once, then seconds); NAMES="haproxy redis" for some
	@names='$(filter-out $(IMAGES),$(NAMES))'; if [ -n "$$names" ] || [ -z '$(NAMES)' ]; then $(GO) run ./targets/parts build $$names; fi
	@for i in $(if $(NAMES),$(filter $(IMAGES),$(NAMES)),$(IMAGES)); do $(MAKE) --no-print-directory $$i || exit 1; done

# Without an engine the tests that need parts skip, so that this is no error unless CI is set.
.PHONY: parts-try
parts-try:
	@$(GO) run ./targets/parts try
	@if docker version >/dev/null 2>&1; then for i in $(IMAGES); do $(MAKE) --no-print-directory $$i || exit 1; done; fi

.PHONY: parts-clean
parts-clean: ## remove these images again
	@names='$(filter-out $(IMAGES),$(NAMES))'; if [ -n "$$names" ] || [ -z '$(NAMES)' ]; then $(GO) run ./targets/parts clean $$names; fi
	@for i in $(if $(NAMES),$(filter $(IMAGES),$(NAMES)),$(IMAGES)); do docker image rm "localhost/tutti/$$i:parts" >/dev/null 2>&1 || true; done

.PHONY: kills
kills: ## SIGKILL the harness 20 times, with each driver (about 10 minutes)
	TUTTI_KILLS=20 $(GO) test -count=1 -v -timeout 30m -run '^TestKilledOn' ./cmd

.PHONY: leases
leases: ## SIGKILL harness, helpers and agents 200 times in the middle of faults (about an hour)
	TUTTI_LEASES=200 $(GO) test -count=1 -v -timeout 150m -run '^TestLeases$$' ./cmd

.PHONY: fidelity
fidelity: ## measure what every fault delivers; rewrites the table in lib/fault/README.md (about eight minutes, alone)
	TUTTI_FIDELITY='$(CURDIR)/lib/fault/README.md' $(GO) test -count=1 -v -timeout 30m -run '^TestFidelity$$' ./lib/fault/fidelity

.PHONY: fidelity-netem
fidelity-netem: ## the kernel's emulator, measured in a Debian kernel under QEMU (about three minutes)
	lib/netfault/netem/qemu.sh

SUITE := VERSION='$(VERSION)' $(GO) run ./scenarios/suite

.PHONY: scenarios
scenarios: ## run the shipped scenarios, what is not finished; rewrites the table in scenarios/README.md (NAMES="a b" REPEATS=n; hours)
	$(SUITE) scenarios -names '$(NAMES)' -repeats '$(or $(REPEATS),0)' -limit '$(or $(LIMIT),6h)'

.PHONY: defects
defects: ## find the planted defects; rewrites the table in scenarios/defects/README.md (NAMES="a b" REPEATS=n; about ten minutes)
	$(SUITE) defects -names '$(NAMES)' -repeats '$(or $(REPEATS),0)' -limit '$(or $(LIMIT),1h)'

.PHONY: check-engine
check-engine: ## only the tests that need an engine
	@for m in . $(MODULES); do ( cd "$$m" && \
	  files="$$(find . -name '*_engine_test.go' -not -path './.*' $(if $(MODULES),| grep -v $(patsubst %,-e '^./%/',$(MODULES))))"; \
	  if [ -z "$$files" ]; then echo "$$m: there is no *_engine_test.go"; [ "$$m" != . ]; exit; fi; \
	  names="$$(sed -n 's/^func \(Test[A-Za-z0-9_]*\)(.*/\1/p' $$files | sort -u | paste -sd '|')"; \
	  $(GO) test -count=1 -v -run "^($$names)\$$" $$(dirname $$files | sort -u) ) || exit 1; done

.PHONY: race
race: ## tests of the concurrent packages with the race detector (needs a C compiler)
	CGO_ENABLED=1 $(GO) test -race -skip '^TestParts$$' $(RACE)

.PHONY: fuzz
fuzz: ## every fuzz test, FUZZTIME (5m) each
	@grep -ro --include='*_test.go' '^func Fuzz[A-Za-z0-9_]*' . | sed 's|^\(.*\)/[^/]*:func |\1 |' | while read -r dir name; do \
	  echo "$$dir $$name"; $(GO) test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) "$$dir" </dev/null || exit 1; done

.PHONY: bench
bench: $(VEGETA) ## measure our load beside wrk, hey and vegeta; rewrites the table in lib/load/README.md (ROWS="speed stall" ROUNDS=9; about 33 minutes, alone)
	@for p in wrk hey; do command -v $$p >/dev/null || { echo "$$p is not installed; on Debian: apt-get install wrk hey"; exit 1; }; done
	TUTTI_BENCH='$(CURDIR)/lib/load/README.md' TUTTI_BENCH_ROWS='$(ROWS)' TUTTI_BENCH_ROUNDS='$(or $(ROUNDS),9)' TUTTI_BENCH_FLAT='$(FLAT)' \
	  TUTTI_BENCH_KEEP='$(CURDIR)/.bin/bench/rounds.jsonl' TUTTI_BENCH_VEGETA='$(CURDIR)/$(VEGETA)' \
	  $(GO) test -count=1 -v -timeout 3h -run '^TestBench$$' ./lib/load/loadbench

$(VEGETA):
	@echo 'building vegeta $(VEGETA_VERSION)'
	@mkdir -p .bin/tmp
	GOBIN='$(CURDIR)/.bin/tmp' GOFLAGS= CGO_ENABLED=0 $(GO) install -trimpath 'github.com/tsenart/vegeta/v12@$(VEGETA_VERSION)'
	@mv .bin/tmp/vegeta '$@' && rmdir .bin/tmp

.PHONY: bench-go
bench-go: ## Go's benchmarks, for benchstat
	$(GO) test -run '^$$' -bench . -benchmem -count 6 ./...

.PHONY: golden
golden: ## rewrite the golden files; read the diff before you commit it
	$(GO) test -count=1 $$(grep -rl --include='*_test.go' 'flag.Bool("update"' . | xargs -n1 dirname | sort -u) -update

.PHONY: schema
schema: ## rewrite scenarios/scenario.schema.json from the Go types
	$(GO) run ./cmd/tutti schema > scenarios/scenario.schema.json.new
	mv scenarios/scenario.schema.json.new scenarios/scenario.schema.json

.PHONY: cover
cover: ## test coverage by package, and coverage.html
	$(GO) test -count=1 -coverpkg=./... -coverprofile=cover.out ./...
	$(GO) tool cover -func=cover.out | tail -n 1
	$(GO) tool cover -html=cover.out -o coverage.html

.PHONY: tidy-check
tidy-check: ## fail if go.mod or go.sum would change
	$(GO) mod tidy -diff
	@for m in $(MODULES); do echo "$$m"; (cd "$$m" && $(GO) mod tidy -diff) || exit 1; done

.PHONY: clean
clean: ## remove what was built; runs/ stays
	rm -rf bin .bin cover.out coverage.html
