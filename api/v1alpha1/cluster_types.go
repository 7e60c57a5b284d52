package v1alpha1

import (
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Cluster is one independent Kubernetes cluster of the organization.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Cluster,shortName=atcl,categories=atoll
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name="Connection",type=string,JSONPath=`.status.connection.state`
// +kubebuilder:printcolumn:name="Since",type=date,JSONPath=`.status.connection.since`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Cordoned",type=boolean,JSONPath=`.spec.unschedulable`
// +kubebuilder:printcolumn:name="Provider",type=string,JSONPath=`.spec.provider`
// +kubebuilder:printcolumn:name="Region",type=string,JSONPath=`.spec.region`
// +kubebuilder:printcolumn:name="Version",type=string,JSONPath=`.status.facts.kubernetesVersion`
// +kubebuilder:printcolumn:name="Nodes",type=integer,JSONPath=`.status.facts.nodes`
// +kubebuilder:printcolumn:name="Owner",type=string,JSONPath=`.spec.owner`
// +kubebuilder:printcolumn:name="Agent",type=string,priority=1,JSONPath=`.status.facts.agent.version`
// +kubebuilder:printcolumn:name="Image",type=string,priority=1,JSONPath=`.status.facts.agent.image`
// +kubebuilder:printcolumn:name="Reason",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:validation:XValidation:rule="size(self.metadata.name) <= 63 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",message="metadata.name: a cluster's name is a DNS label: lower-case letters, digits and '-', at most 63 characters, starting with a letter"
type Cluster struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   ClusterSpec   `json:"spec"`
	Status ClusterStatus `json:"status,omitempty"`
}

// Confirmed tells whether the cluster's agent may be served: it was accepted,
// and, where the hub was restored since, confirmed again.
func (c *Cluster) Confirmed() bool {
	return c.Spec.Accepted && c.Annotations[AnnotationUnconfirmed] == ""
}

// ClusterSpec is what people say of a cluster. Jurisdiction, region and tenant
// decide where data may live: changing them needs the verb "classify" on
// clusters.atoll.dev beside "update".
type ClusterSpec struct {
	// Owner is the team that answers for the cluster.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Owner string `json:"owner"`
	// Purpose says why the cluster exists.
	// +kubebuilder:validation:MaxLength=1024
	Purpose string `json:"purpose,omitempty"`
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="self.matches('^([a-z0-9]([-_.a-z0-9]*[a-z0-9])?)?$')",message="must be lower-case letters, digits, '-', '_' and '.', with a letter or digit at both ends"
	Provider string `json:"provider,omitempty"`
	// +kubebuilder:validation:MaxLength=253
	Account string `json:"account,omitempty"`
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="self.matches('^([a-z0-9]([-_.a-z0-9]*[a-z0-9])?)?$')",message="must be lower-case letters, digits, '-', '_' and '.', with a letter or digit at both ends"
	Region string `json:"region,omitempty"`
	// Jurisdiction is the law that data in the cluster is under, such as "eu".
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="self.matches('^([a-z0-9]([-_.a-z0-9]*[a-z0-9])?)?$')",message="must be lower-case letters, digits, '-', '_' and '.', with a letter or digit at both ends"
	Jurisdiction string `json:"jurisdiction,omitempty"`
	// Tenant, when set, dedicates the cluster to projects of that tenant.
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="self.matches('^([a-z0-9]([-_.a-z0-9]*[a-z0-9])?)?$')",message="must be lower-case letters, digits, '-', '_' and '.', with a letter or digit at both ends"
	Tenant string `json:"tenant,omitempty"`
	// Frameworks are the compliance frameworks the cluster is certified for.
	// +kubebuilder:validation:MaxItems=32
	// +listType=set
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=63
	// +kubebuilder:validation:items:XValidation:rule="self.matches('^[a-z0-9]([-_.a-z0-9]*[a-z0-9])?$')",message="must be lower-case letters, digits, '-', '_' and '.', with a letter or digit at both ends"
	Frameworks []string `json:"frameworks,omitempty"`
	// +kubebuilder:validation:MaxLength=253
	HardwareProfile string `json:"hardwareProfile,omitempty"`

	// Agent is the agent that the cluster should run (`atoll upgrade agents`);
	// without it the cluster's own Deployment alone says so. Changing it needs
	// the verb "upgrade" on clusters.atoll.dev.
	Agent *AgentWish `json:"agent,omitempty"`

	// Accepted is the hub's half of the double opt-in: an enrolled agent gets
	// no certificate before it is true.
	Accepted bool `json:"accepted,omitempty"`
	// Unschedulable keeps new applications away (`atoll cordon`); what runs stays.
	Unschedulable bool `json:"unschedulable,omitempty"`
	// Taints keep away applications whose placement does not tolerate them.
	// +kubebuilder:validation:MaxItems=32
	// +listType=map
	// +listMapKey=key
	// +listMapKey=effect
	Taints []Taint `json:"taints,omitempty"`
	// Profile is the access the agent was installed with; it is the member's
	// own RBAC that enforces it.
	// +kubebuilder:validation:Enum=read;namespaces;full
	// +kubebuilder:default=full
	Profile Profile `json:"profile,omitempty"`
	// Direct, when set, reaches the cluster by kubeconfig: the same agent code
	// runs inside the hub.
	Direct *DirectAccess `json:"direct,omitempty"`
}

// Profile is an agent's level of access in its member.
type Profile string

// The profiles of `atoll join --profile`.
const (
	ProfileRead       Profile = "read"
	ProfileNamespaces Profile = "namespaces"
	ProfileFull       Profile = "full"
)

// AgentWish is the agent that a cluster should run. The agent changes its own
// Deployment, and puts the former image back when the new one does not take over.
type AgentWish struct {
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	Image string `json:"image"`
	// Attempt tells a wish from an earlier one for the same image: what was
	// rolled back is tried again only when it is another.
	// +kubebuilder:validation:MaxLength=64
	Attempt string `json:"attempt,omitempty"`
}

// DirectAccess names where the hub finds a member's kubeconfig.
type DirectAccess struct {
	// SecretName is a Secret in atoll-system with the key "kubeconfig".
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$`
	SecretName string `json:"secretName"`
}

// Taint repels applications, as a node's taint repels pods.
type Taint struct {
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$`
	Key string `json:"key"`
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$`
	Value string `json:"value,omitempty"`
	// NoSelect keeps new applications away; NoExecute also withdraws running ones.
	// +kubebuilder:validation:Enum=NoSelect;NoExecute
	Effect TaintEffect `json:"effect"`
}

// TaintEffect says what a Taint does to an application that does not tolerate it.
type TaintEffect string

// The effects of a Taint.
const (
	TaintNoSelect  TaintEffect = "NoSelect"
	TaintNoExecute TaintEffect = "NoExecute"
)

// ClusterStatus is what the hub knows, each part with its age.
type ClusterStatus struct {
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	Connection Connection         `json:"connection,omitempty"`
	// Identity is the enrolled agent; nil before it has joined.
	Identity *AgentIdentity `json:"identity,omitempty"`
	// Facts is the last inventory the agent sent.
	Facts *Facts `json:"facts,omitempty"`
	// Report is the last stored summary, so that an offline cluster shows with
	// its age after a hub restart: zstd-compressed CBOR, at most 16 KB.
	Report *StoredReport `json:"report,omitempty"`
}

// ConnectionState is the state of the link between hub and agent.
type ConnectionState string

// The states of a link.
const (
	// Connected: a heartbeat arrived within three periods.
	Connected ConnectionState = "Connected"
	// Stale: the link is open but heartbeats are late.
	Stale ConnectionState = "Stale"
	// Disconnected: there is no link.
	Disconnected ConnectionState = "Disconnected"
	// Pending: no agent has connected yet.
	Pending ConnectionState = "Pending"
)

// Connection is one axis of a cluster's status.
type Connection struct {
	State ConnectionState `json:"state,omitempty"`
	// LastContact is when the hub last heard from the agent.
	LastContact *metav1.Time `json:"lastContact,omitempty"`
	// Since is when State was entered.
	Since *metav1.Time `json:"since,omitempty"`
}

// AgentIdentity is what the hub pins of an enrolled agent. Only the hub writes it.
type AgentIdentity struct {
	// ClusterUID is the UID of the member's kube-system namespace.
	ClusterUID string `json:"clusterUID"`
	// KeyFingerprint is the hex SHA-256 of the agent's public key (PKIX DER).
	KeyFingerprint string `json:"keyFingerprint"`
	// PendingKeyFingerprint is a rotated key not yet used for a connection.
	PendingKeyFingerprint string `json:"pendingKeyFingerprint,omitempty"`
	// SealingKey is the agent's HPKE public key (X25519, base64), to which
	// secret values are sealed.
	SealingKey string `json:"sealingKey"`
	// CertificateExpires is the end of the last certificate signed.
	CertificateExpires *metav1.Time `json:"certificateExpires,omitempty"`
	AgentVersion       string       `json:"agentVersion,omitempty"`
}

// Facts is a cluster's inventory as its agent observed it.
type Facts struct {
	ObservedAt        metav1.Time `json:"observedAt"`
	KubernetesVersion string      `json:"kubernetesVersion,omitempty"`
	Platform          string      `json:"platform,omitempty"`
	Nodes             int32       `json:"nodes,omitempty"`
	NodesReady        int32       `json:"nodesReady,omitempty"`
	// Provider, Regions, Zones and InstanceTypes are read from the nodes.
	Provider      string   `json:"provider,omitempty"`
	Regions       []string `json:"regions,omitempty"`
	Zones         []string `json:"zones,omitempty"`
	InstanceTypes []string `json:"instanceTypes,omitempty"`
	// Capacity and Allocatable sum the nodes; Requested sums the pods.
	Capacity    map[string]resource.Quantity `json:"capacity,omitempty"`
	Allocatable map[string]resource.Quantity `json:"allocatable,omitempty"`
	Requested   map[string]resource.Quantity `json:"requested,omitempty"`
	Pods        int32                        `json:"pods,omitempty"`
	Namespaces  int32                        `json:"namespaces,omitempty"`
	// StorageClasses and IngressClasses are names; the default comes first.
	StorageClasses []string `json:"storageClasses,omitempty"`
	IngressClasses []string `json:"ingressClasses,omitempty"`
	// APIGroups are the served group/versions beyond built-in Kubernetes.
	APIGroups []string `json:"apiGroups,omitempty"`
	// Limits lists what the member forbids the hub, in words.
	Limits []string `json:"limits,omitempty"`
	// Agent is the agent that acts.
	Agent *AgentFacts `json:"agent,omitempty"`
}

// AgentFacts is what an agent says of itself.
type AgentFacts struct {
	Version string `json:"version,omitempty"`
	// Image is that of its pod; empty when it is not run by its Deployment.
	Image string `json:"image,omitempty"`
	// Upgrade is what became of the last wish for another image.
	Upgrade *AgentUpgrade `json:"upgrade,omitempty"`
}

// UpgradeState is how far an agent's upgrade is.
type UpgradeState string

// The states of an upgrade.
const (
	// UpgradeRunning: the new agent has been asked for and does not act yet.
	UpgradeRunning UpgradeState = "Running"
	// UpgradeDone: the agent that acts is the one that was asked for.
	UpgradeDone UpgradeState = "Done"
	// UpgradeRolledBack: the new agent did not take over; the former image is back.
	UpgradeRolledBack UpgradeState = "RolledBack"
	// UpgradeRefused: nothing was changed, for the reason in the message.
	UpgradeRefused UpgradeState = "Refused"
)

// AgentUpgrade is what became of an AgentWish.
type AgentUpgrade struct {
	Image   string       `json:"image"`
	Attempt string       `json:"attempt,omitempty"`
	State   UpgradeState `json:"state"`
	Message string       `json:"message,omitempty"`
}

// StoredReport is an agent's last report as kept in the hub's store.
type StoredReport struct {
	// ReceivedAt is by the hub's clock.
	ReceivedAt metav1.Time `json:"receivedAt"`
	Data       []byte      `json:"data,omitempty"`
}

// ClusterList is a list of Clusters.
//
// +kubebuilder:object:root=true
type ClusterList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []Cluster `json:"items"`
}
