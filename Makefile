# The tools that are not part of the module are pinned here.
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2

# A count: with a duration, go test before 1.27 may report its own deadline as a failure (golang.org/issue/75804).
FUZZTIME  ?= 10000x
BENCHTIME ?= 1x
BENCHFLAGS ?= -short

.PHONY: help
help: ## Show this list.
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: ## Run the orders example.
	go run ./examples/orders

.PHONY: test
test: ## Run all tests and Examples under the race detector.
	go test -race ./...

.PHONY: lint
lint: ## Check formatting, go.mod, go vet and staticcheck.
	@unformatted=$$(gofmt -l .); if [ -n "$$unformatted" ]; then echo "run gofmt -w on: $$unformatted"; exit 1; fi
	go mod tidy -diff
	go vet ./...
	go run $(STATICCHECK) ./...

.PHONY: fuzz
fuzz: ## Run every fuzz target, FUZZTIME each (default 10000x).
	@set -e; for pkg in $$(go list ./...); do \
		for target in $$(go test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
			echo "$$pkg $$target"; \
			go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 100x $$pkg; \
		done; \
	done

.PHONY: soak
soak: ## Run the long forms of the tests under faults, for some minutes.
	HEADWATER_SOAK=1 go test -count=1 -v -timeout 60m -run 'Linear|Mutations|DamagedNode|FuzzedNames' ./eventstore
	HEADWATER_SOAK=1 go test -count=1 -v -timeout 60m -run 'DamagedSnapshots|SnapshotsChangeNothing|Killed|DamageThatPasses|SoundPagesForLong' ./internal/pages ./snapshot ./aggregate
	HEADWATER_SOAK=1 go test -count=1 -v -timeout 60m -run Memory ./cmd/headwater
	HEADWATER_SOAK=1 go test -count=1 -v -timeout 60m -run Faults ./service/timer
	HEADWATER_SOAK=1 go test -count=1 -v -timeout 60m -run 'MoneyIsConserved|RollingRestart' ./examples/orders
	HEADWATER_SOAK=1 go test -count=1 -v -timeout 60m -run 'Random|Chronicle|Killed|RebuildBesideLive|KVFaults' ./projection

.PHONY: bench
bench: ## Run every benchmark, BENCHTIME each (default 1x, small logs; for figures see bench/README.md).
	go test -run '^$$' -bench . -benchtime $(BENCHTIME) $(BENCHFLAGS) ./...

.PHONY: check
check: ## Run what continuous integration runs.
	.ci/run
