# How atoll-sandbox is built; included by the Makefile at the module's root.
# The version is that of k8s.io/kubernetes in go.mod: its release build would
# stamp it, ours has to. A test compares /version with it.
KUBERNETES_VERSION := $(shell go list -m -f '{{.Version}}' k8s.io/kubernetes)
KUBERNETES_NUMBERS := $(subst ., ,$(KUBERNETES_VERSION:v%=%))
sandbox_versions := $(foreach package,k8s.io/component-base/version k8s.io/client-go/pkg/version, \
	-X $(package).gitVersion=$(KUBERNETES_VERSION) \
	-X $(package).gitMajor=$(word 1,$(KUBERNETES_NUMBERS)) \
	-X $(package).gitMinor=$(word 2,$(KUBERNETES_NUMBERS)) \
	-X $(package).gitTreeState=clean)
SANDBOX_LDFLAGS := -s -w $(sandbox_versions)

.PHONY: bin/atoll-sandbox
bin/atoll-sandbox:
	@echo "go build -o $@"
	@go build -ldflags '$(SANDBOX_LDFLAGS)' -o $@ ./cmd/atoll-sandbox
