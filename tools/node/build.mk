# The programs of a real node of the sandbox; included by the Makefile at the
# module's root. They are no part of `make build`: compiling them takes minutes.
# Kubernetes and containerd have module files of their own, so that neither
# chooses a version for atoll; Kubernetes' are those of the root's go.mod.
NODE_LDFLAGS := -s -w $(sandbox_versions)

.PHONY: node
node: ## what a real node of the sandbox consists of, into bin/node
	go build -modfile=tools/node/containerd/go.mod -ldflags '-s -w' -o bin/node/ \
		github.com/containerd/containerd/v2/cmd/containerd \
		github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2 \
		github.com/containerd/containerd/v2/cmd/ctr
	go build -modfile=tools/node/kubernetes/go.mod -ldflags '$(NODE_LDFLAGS)' -o bin/node/ \
		k8s.io/kubernetes/cmd/kubelet k8s.io/kubernetes/cmd/kube-proxy
	CGO_ENABLED=0 go build -ldflags '-s -w' -o bin/node/pause ./internal/sandbox/realnode/pause

# The hub as an image can hold it: bin/atoll, but that it links the C library in.
# That takes half a minute; without cgo, as in a release, most of Kubernetes would be
# compiled once more. What the library says it would miss, no hub asks of it.
.PHONY: bin/static/atoll
bin/static/atoll:
	@echo "go build -o $@"
	@go build -ldflags '$(STAMP) $(sandbox_versions) -linkmode external -extldflags "-static -Wl,--no-warnings"' -o $@ ./cmd/atoll

# Its machine needs packages, too; the error of a missing one names them.
.PHONY: e2e-node
e2e-node: build node bin/static/atoll ## system tests on a real node; needs root, runc and CNI plugins
	ATOLL_SANDBOX_REQUIRED=1 ATOLL_REALNODE_REQUIRED=1 $(call tested,-count=1 -timeout 15m,./test/realnode/...)
