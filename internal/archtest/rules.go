package archtest

// module is the prefix of our own import paths.
const module = "atoll.dev/atoll/"

// deciding are the packages that decide: what they are given comes in as
// arguments, what they conclude goes out as values.
var deciding = []string{
	"api/v1alpha1", "internal/access", "internal/assign", "internal/content", "internal/desired", "internal/drift", "internal/explain",
	"internal/health", "internal/managed", "internal/marks", "internal/observed", "internal/override", "internal/phase", "internal/placement", "internal/plan", "internal/policy", "internal/recovery", "internal/refusal", "internal/report", "internal/rollout", "internal/source", "internal/syncoption", "internal/upgrade",
	"internal/validate", "internal/valuesfrom", "internal/wire",
	"internal/generate", "internal/importer", "internal/notify", "internal/alert", "internal/certificates",
	"internal/compliance", "internal/compliance/starter",
}

// arrow forbids imports.
type arrow struct {
	// from are packages of this module; a trailing "/..." takes those below too,
	// and "*" all.
	from []string
	// not are import paths, or prefixes of them ending in "/...". Those of this
	// module begin with "./".
	not []string
	// deep forbids them in everything that is imported by what is imported, too.
	deep bool
	// but are packages of this module that are free to.
	but []string
	why string
}

// arrows are the architecture.
var arrows = []arrow{
	{
		from: deciding,
		not:  []string{"net/http", "net", "os", "os/exec", "os/signal", "io/ioutil", "syscall", "math/rand", "math/rand/v2", "crypto/rand", "log", "log/slog"},
		why:  "deciding packages do no I/O and roll no dice, so that preview, explain and the hub give the same answer",
	},
	{
		from: deciding, deep: true,
		not: []string{"k8s.io/client-go/rest", "k8s.io/client-go/kubernetes/...", "k8s.io/client-go/dynamic", "sigs.k8s.io/controller-runtime/..."},
		why: "deciding packages read no cluster: controllers gather and carry out",
	},
	{
		from: []string{"api/v1alpha1"}, not: []string{"./..."},
		why: "the types are what all else stands on",
	},
	{
		from: []string{"*"}, not: []string{"./internal/hub"}, but: []string{"cmd/atoll"},
		why: "the hub is wiring: whatever else needs belongs in a package of its own",
	},
	{
		from: []string{"*"}, not: []string{"./internal/apiserver"}, but: []string{"internal/hub"},
		why: "the embedded control plane is a minute of compiling and 100 MB of program; only the hub serves it",
	},
	{
		from: []string{"*"}, not: []string{"./internal/sandbox/component"}, but: []string{"cmd/atoll-sandbox"},
		why: "it links etcd, four Kubernetes servers and KWOK; the other packages start them as programs",
	},
	{
		from: []string{"internal/cli"}, deep: true,
		not: []string{"./internal/hub", "./internal/apiserver/...", "./internal/agent", "./internal/apply", "./internal/server", "k8s.io/kubernetes/...", "k8s.io/apiserver/pkg/server"},
		why: "the command line speaks to the hub by its API, like anyone",
	},
	{
		from: []string{"internal/agent"}, deep: true,
		not: []string{"./internal/hub", "./internal/apiserver/...", "./internal/depot", "./internal/gateway", "./internal/registry", "./internal/controllers/...", "./internal/cli", "k8s.io/kubernetes/...", "go.etcd.io/etcd/server/...", "sigs.k8s.io/controller-runtime/..."},
		why: "the agent is small, and has nothing of the hub in it",
	},
	{
		from: []string{"internal/sandbox", "internal/demo", "internal/testfleet"}, deep: true,
		not: []string{"k8s.io/kubernetes/...", "go.etcd.io/etcd/server/...", "./internal/hub", "./internal/agent"},
		why: "tests and the demo start programs, so that what imports these links quickly",
	},
	{
		from: []string{"internal/controllers/..."},
		not:  []string{"./internal/gateway", "./internal/link", "./internal/trust", "net/http", "os"},
		why:  "controllers turn objects into intent; who is connected reaches them as observed facts",
	},
	{
		from: []string{"internal/gateway", "internal/link", "internal/trust", "internal/wire", "internal/blob/...", "internal/seal"}, deep: true,
		not: []string{"k8s.io/client-go/rest", "k8s.io/client-go/kubernetes/...", "sigs.k8s.io/controller-runtime/...", "k8s.io/kubernetes/..."},
		why: "ten thousand links are served without a Kubernetes API in the way",
	},
	{
		from: []string{"cmd/atoll", "cmd/atoll-agent"}, deep: true,
		not: []string{"./internal/release", "./internal/imagebuild", "./internal/testfleet", "helm.sh/helm/v4/pkg/action", "helm.sh/helm/v4/pkg/pusher", "github.com/google/go-containerregistry/...", "github.com/CycloneDX/cyclonedx-go"},
		why: "what packages a release is no part of it: the programs build and push no charts, images or bills of materials",
	},
	{
		from: []string{"*"}, not: []string{"helm.sh/helm/...", "sigs.k8s.io/kustomize/api/..."},
		but: []string{"internal/render/helm", "internal/render/kustomize", "internal/release"},
		why: "templates of others are rendered in one place, which knows what they may reach",
	},
	{
		from: []string{"cmd/atoll-agent", "internal/cli"}, deep: true,
		not: []string{"helm.sh/helm/..."},
		why: "the hub renders, and members get objects",
	},
	{
		from: []string{"cmd/atoll-agent"}, deep: true,
		not: []string{"oras.land/oras-go/..."},
		why: "content reaches an agent by its hub; it knows no registry",
	},
	{
		from: []string{"cmd/atoll-agent"}, deep: true,
		not: []string{"./internal/compliance/...", "k8s.io/pod-security-admission/..."},
		why: "what judges policies is megabytes, and the member's API server has it already",
	},
	{
		from: []string{"*"}, not: []string{"./internal/kubectl"}, but: []string{"cmd/atoll"},
		why: "kubectl is inside for people; programs call APIs",
	},
	{
		from: []string{"*"}, not: []string{"testing", "pgregory.net/rapid", "github.com/google/go-cmp/cmp"}, but: []string{"internal/sandbox", "internal/testfleet"},
		why: "what serves tests stays out of the programs",
	},
}
