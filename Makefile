# Atoll's tasks; `make help` lists them. Nothing but Go, git, make and a C
# compiler (for the race detector) is needed.

# A checkout without history still builds; the version then says so.
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)

# A link of Kubernetes takes 1 GB and a core: more than two at a time only swap.
PARALLEL ?= 2
FUZZTIME ?= 5s

DEMO_DIR ?= .demo
SYSTEM   := ./test/e2e/... ./test/hostile/... ./test/upgrade/...
# Those of them to which it matters where the hub stores.
STORED   := ./test/e2e/... ./test/hostile/...

# What ends in 1 to 2 minutes, because it links no Kubernetes server and starts
# no cluster but one.
LIGHT := ./api/... ./examples/... ./internal/agent/... ./internal/archtest/... ./internal/assign/... \
	./internal/blob/... ./internal/content/... ./internal/demo/... ./internal/desired/... ./internal/docs/... \
	./internal/drift/... ./internal/egress/... ./internal/explain/... ./internal/fleet/... ./internal/gateway/... ./internal/health/... ./internal/hook/... \
	./internal/join/... ./internal/link/... ./internal/observed/... ./internal/placement/... ./internal/policy/... \
	./internal/report/... ./internal/seal/... ./internal/trust/... ./internal/upgrade/... ./internal/validate/... ./internal/wire/...

# Packages whose goroutines share state, and which link no Kubernetes server:
# the race detector multiplies the time that such a link takes.
RACY := ./internal/agent/... ./internal/alert/... ./internal/apply/... ./internal/assign/... ./internal/audit/... ./internal/blob/... \
	./internal/controllers/application/... ./internal/demo/... ./internal/depot/... ./internal/desired/... ./internal/gateway/... ./internal/lease/... ./internal/link/... ./internal/localstore/... \
	./internal/observed/... ./internal/seal/... ./internal/signin/... ./internal/trust/... ./internal/wire/...

# $(call tested,FLAGS,PACKAGES) runs tests. With AGAIN, a folder, those that fail run
# once more, each alone, and are named in files there; more than four are no accident.
AGAIN ?=
ifeq ($(AGAIN),)
tested = go test $(1) $(2)
else
tested = go tool -modfile=tools/go.mod gotestsum --format standard-quiet --rerun-fails=1 --rerun-fails-max-failures=4 \
	--rerun-fails-report=$$(mktemp '$(AGAIN)/XXXXXX') --packages="$(2)" -- $(1)
endif

STATICCHECK    := go tool -modfile=tools/go.mod staticcheck
CONTROLLER_GEN := go tool -modfile=tools/go.mod controller-gen
GENERATED      := api/v1alpha1/zz_generated.deepcopy.go api/v1alpha1/crds

.DEFAULT_GOAL := help

# The Kubernetes version of go.mod, and bin/atoll-sandbox.
include internal/sandbox/build.mk
# bin/node, and the tests that need it.
include tools/node/build.mk

# Where the images of this build are pushed; "atoll join" writes it into
# manifests. Without it they go by their bare names.
IMAGE_REPOSITORY ?=

STAMP := -s -w -X atoll.dev/atoll/internal/version.Version=$(VERSION) \
	-X atoll.dev/atoll/internal/version.ImageRepository=$(IMAGE_REPOSITORY)

.PHONY: help
help: ## list the tasks
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: bin/atoll bin/atoll-agent bin/atoll-sandbox ## build bin/atoll, bin/atoll-agent and bin/atoll-sandbox

# go build knows what changed better than file times do, so these always run.
.PHONY: bin/atoll bin/atoll-agent
bin/atoll: # with the version of the Kubernetes API server that it embeds
	@echo "go build -o $@"
	@go build -ldflags '$(STAMP) $(sandbox_versions)' -o $@ ./cmd/atoll

bin/atoll-agent:
	@echo "go build -o $@"
	@go build -ldflags '$(STAMP)' -o $@ ./cmd/atoll-agent

# atoll links Kubernetes: compiling it once more for arm64 takes minutes. The
# agent alone is quick: make images IMAGES=atoll-agent PLATFORMS=linux/amd64
IMAGES    ?= atoll-agent,atoll
PLATFORMS ?= linux/amd64,linux/arm64
PUSH      ?=

.PHONY: images
images: ## container images and their SBOMs into dist/images, without Docker; PUSH=HOST/REPOSITORY pushes them
	@go run ./cmd/atoll-package images --version '$(VERSION)' --ldflags '$(STAMP) $(sandbox_versions)' \
		--images '$(IMAGES)' --platforms '$(PLATFORMS)' --push '$(PUSH)' --archive --out dist/images

.PHONY: chart
chart: ## the Helm charts of hub and agent into dist/charts; PUSH=HOST/REPOSITORY pushes them
	@go run ./cmd/atoll-package chart --version '$(VERSION)' --out dist/charts \
		--repository '$(IMAGE_REPOSITORY)' --push '$(PUSH)'

.PHONY: generate
generate: ## write deep copies and CRDs from the API types
	$(CONTROLLER_GEN) object paths=./api/... crd:maxDescLen=200 output:crd:dir=api/v1alpha1/crds

.PHONY: test
test: build ## unit and integration tests, on real clusters
	ATOLL_SANDBOX_REQUIRED=1 $(call tested,-p $(PARALLEL) -timeout 20m,$$(go list ./... | grep -v -e /test/e2e -e /test/hostile -e /test/upgrade -e /test/realnode | tr '\n' ' '))

.PHONY: check
check: bin/atoll-sandbox ## the quick loop: what links and runs fast
	go test -p $(PARALLEL) -timeout 10m $(LIGHT)

.PHONY: e2e
e2e: build ## system tests: hub, agents and clusters as processes
	ATOLL_SANDBOX_REQUIRED=1 ATOLL_E2E_REQUIRED=1 $(call tested,-p 1 -count=1 -timeout 25m,$(SYSTEM))

E2E_MODES ?= etcd kubernetes

.PHONY: e2e-modes
e2e-modes: build ## system tests with the hub's store outside the hub, in each of E2E_MODES
	@for mode in $(E2E_MODES); do echo "the hub stores in: $$mode"; \
		ATOLL_E2E_STORAGE=$$mode ATOLL_SANDBOX_REQUIRED=1 ATOLL_E2E_REQUIRED=1 $(call tested,-p 1 -count=1 -timeout 25m,$(STORED)) || exit 1; \
	done

# Quietly and alone it takes 8 minutes; BENCH_QUICK=1 takes 3. BENCH names
# figures, such as latency-5,throughput-500x5.
BENCH ?= all

.PHONY: bench
bench: build ## figures beside their raw limits, into bench/results
	ATOLL_SANDBOX_REQUIRED=1 ATOLL_E2E_REQUIRED=1 ATOLL_BENCH=$(BENCH) go test -count=1 -timeout 45m -v -run '^Test(Figures|TheChosen)' ./test/bench

# Each of these has a hub of its own and takes at most 6 minutes; BENCH_QUICK=1
# takes a tenth of the sizes.
DELIVERY ?= delivery-100x20x5,noop-1000,repo-10000

.PHONY: bench-delivery
bench-delivery: build ## figures of delivery from Git and charts, into bench/results
	ATOLL_SANDBOX_REQUIRED=1 ATOLL_E2E_REQUIRED=1 ATOLL_BENCH=$(DELIVERY) go test -count=1 -timeout 25m -v -run '^Test(FiguresOfDelivery|TheChosen)' ./test/bench

# A hub with agents over members in memory. SCALE is fleet (1000 agents, 1000
# applications on 100 clusters each), idle (10000 that do nothing) or growth (100 to
# 3000 agents), or several; SIZES=agents=300,apps=300,fanout=30 changes them.
SCALE ?= fleet
SIZES ?=

.PHONY: bench-scale
bench-scale: build ## figures of a thousand clusters, into bench/results
	ATOLL_SCALE=$(SCALE) ATOLL_SCALE_SIZES=$(SIZES) go test -count=1 -timeout 250m -v ./test/scale

# Each seed is a small fleet and 40 things that happen to it. LANES hubs share the
# seeds: a seed mostly waits.
SEED  ?= 1
N     ?= 20
LANES ?= 4

.PHONY: chaos
chaos: build ## random faults that a seed repeats: SEED=1 N=20; and the field's incidents
	ATOLL_E2E_REQUIRED=1 ATOLL_CHAOS=$(N) ATOLL_CHAOS_SEED=$(SEED) ATOLL_CHAOS_LANES=$(LANES) \
		go test -count=1 -timeout 0 -v ./test/chaos

.PHONY: race
race: bin/atoll-sandbox ## the race detector on what is concurrent
	ATOLL_SANDBOX_REQUIRED=1 CGO_ENABLED=1 go test -race -p $(PARALLEL) -timeout 20m $(RACY)

# One line each: go test fuzzes one function at a time.
.PHONY: fuzz
fuzz: ## every fuzz test for FUZZTIME (5s)
	@grep -rHo --include='*_test.go' '^func Fuzz[A-Za-z0-9_]*' api internal | while IFS=: read -r file name; do \
		echo "$${file%/*} $${name#func }"; \
		go test -run '^$$' -fuzz "^$${name#func }\$$" -fuzztime $(FUZZTIME) "./$${file%/*}" || exit 1; \
	done

.PHONY: lint
lint: ## gofmt, go vet, staticcheck, generated files
	@bad=$$(gofmt -l api cmd examples internal test); if [ -n "$$bad" ]; then echo "gofmt -w these:"; echo "$$bad"; exit 1; fi
	go vet ./...
	$(STATICCHECK) ./...
	@before=$$(find $(GENERATED) -type f | sort | xargs sha256sum); $(MAKE) --no-print-directory generate; \
	after=$$(find $(GENERATED) -type f | sort | xargs sha256sum); \
	if [ "$$before" != "$$after" ]; then echo "generated files were old; make generate has renewed them"; exit 1; fi

.PHONY: demo
demo: ## a hub, five clusters and a shop on this machine
	@missing=; for program in atoll atoll-agent atoll-sandbox; do [ -x bin/$$program ] || missing="$$missing $$program"; done; \
	if [ -n "$$missing" ]; then \
		echo "Building$$missing: about 8 minutes on two cores the first time, since Kubernetes is compiled; seconds later."; \
		began=$$(date +%s); $(MAKE) --no-print-directory build || exit 1; \
		echo "Built in $$(( $$(date +%s) - began )) s."; \
	fi
	@bin/atoll-sandbox demo up --dir $(DEMO_DIR)

.PHONY: demo-down
demo-down: ## end the demo and remove its files
	@if [ -x bin/atoll-sandbox ]; then bin/atoll-sandbox demo down --dir $(DEMO_DIR); else echo "there is no demo: bin/atoll-sandbox is not built"; fi

.PHONY: clean
clean: demo-down ## end the demo and remove what was built
	rm -rf bin dist
