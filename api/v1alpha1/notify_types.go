package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Notification has somebody told of what becomes of a project's applications, by
// exactly one of its ways.
//
// +kubebuilder:validation:XValidation:rule="has(self.webhook) != has(self.commitStatus)",message="give webhook or commitStatus"
// +kubebuilder:validation:XValidation:rule="!has(self.commitStatus) || !has(self.events)",fieldPath=".events",message="a commit has one status, which no events choose; leave events out"
type Notification struct {
	// Name is for people who read how the deliveries go.
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	Name string `json:"name"`
	// Events are types without "dev.atoll.", in which * stands for anything, such
	// as "application.rollout.*". Default: all.
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:MinItems=1
	// +listType=set
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=64
	// +kubebuilder:validation:items:Pattern=`^[a-z*][a-z.*-]*$`
	Events []string `json:"events,omitempty"`
	// Applications is a label selector in kubectl's syntax. Default: all of them.
	// With it, nothing is told of clusters.
	// +kubebuilder:validation:MaxLength=1024
	Applications string `json:"applications,omitempty"`
	// Webhook is sent CloudEvents.
	Webhook *Webhook `json:"webhook,omitempty"`
	// CommitStatus tells a Git host what became of each commit.
	CommitStatus *CommitStatus `json:"commitStatus,omitempty"`
}

// Webhook is an address that is sent CloudEvents 1.0, each as the JSON of one
// POST.
type Webhook struct {
	// +kubebuilder:validation:Pattern=`^https://[^/@?#\s]+([/?][^#\s]*)?$`
	// +kubebuilder:validation:MaxLength=2048
	URL string `json:"url"`
	// SecretRef names a Secret in the project's namespace of the hub: hmacKey, by
	// which each body is signed; username and password, or bearerToken; and ca.crt.
	SecretRef *SecretReference `json:"secretRef,omitempty"`
}

// GitProvider names whose API a Git host has.
type GitProvider string

// The providers. Forgejo has Gitea's API.
const (
	GitHub GitProvider = "GitHub"
	GitLab GitProvider = "GitLab"
	Gitea  GitProvider = "Gitea"
)

// CommitStatus is a Git host's API.
//
// +kubebuilder:validation:XValidation:rule="self.provider != 'Gitea' || has(self.url)",fieldPath=".url",message="give the URL of the API, such as https://git.example.com/api/v1"
type CommitStatus struct {
	// +kubebuilder:validation:Enum=GitHub;GitLab;Gitea
	Provider GitProvider `json:"provider"`
	// URL is that of the API, such as https://git.example.com/api/v3 of a GitHub
	// of one's own. Default: that of github.com or gitlab.com. Only commits of
	// repositories on the same host are told of.
	// +kubebuilder:validation:Pattern=`^https://[^/@?#\s]+(/[^?#\s]*)?$`
	// +kubebuilder:validation:MaxLength=2048
	URL string `json:"url,omitempty"`
	// SecretRef names a Secret in the project's namespace of the hub, with a token
	// that may write statuses: bearerToken, or password; and ca.crt.
	SecretRef SecretReference `json:"secretRef"`
	// TargetURL is where the status leads people; ${application} and ${project}
	// stand for the names.
	// +kubebuilder:validation:Pattern=`^https?://[^/@?#\s]+([/?#][^\s]*)?$`
	// +kubebuilder:validation:MaxLength=2048
	TargetURL string `json:"targetURL,omitempty"`
}

// NotificationStatus is how the deliveries of a Notification go.
type NotificationStatus struct {
	// +kubebuilder:validation:MaxLength=63
	Name string `json:"name"`
	// ToldUntil is the time until which all that changed has been delivered. A hub
	// that starts goes on from there.
	ToldUntil metav1.Time `json:"toldUntil"`
	// Delivered is when something was delivered last.
	Delivered *metav1.Time `json:"delivered,omitempty"`
	// Pending is how many wait.
	Pending int32 `json:"pending,omitempty"`
	// Dropped counts what was given up since the hub began to lead: because too
	// many waited, or because the receiver can take none such.
	Dropped int64 `json:"dropped,omitempty"`
	// Failure is why the last delivery failed; absent once one succeeds.
	Failure *NotificationFailure `json:"failure,omitempty"`
}

// NotificationFailure is why a delivery failed.
type NotificationFailure struct {
	At metav1.Time `json:"at"`
	// Event is the type of what was not delivered.
	// +kubebuilder:validation:MaxLength=128
	Event string `json:"event,omitempty"`
	// +kubebuilder:validation:MaxLength=1024
	Message string `json:"message"`
}
