package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// AccessGrant gives people a role: in the project in whose namespace it stands, or,
// in the hub's own namespace, in the projects that it lists or in all of them and in
// the fleet itself.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Namespaced,shortName=atgr,categories=atoll
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name="Role",type=string,JSONPath=`.spec.role`
// +kubebuilder:printcolumn:name="Users",type=string,JSONPath=`.spec.users`
// +kubebuilder:printcolumn:name="Groups",type=string,JSONPath=`.spec.groups`
// +kubebuilder:printcolumn:name="Until",type=string,JSONPath=`.spec.until`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Reason",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
type AccessGrant struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   AccessGrantSpec   `json:"spec"`
	Status AccessGrantStatus `json:"status,omitempty"`
}

// AccessGrantSpec says who has which role, where and until when.
//
// +kubebuilder:validation:XValidation:rule="(has(self.users) && size(self.users) > 0) || (has(self.groups) && size(self.groups) > 0)",message="give users or groups: a grant to nobody gives nothing"
type AccessGrantSpec struct {
	Role Role `json:"role"`
	// Users are names of people, as the hub knows them when they sign in.
	// +kubebuilder:validation:MaxItems=256
	// +listType=set
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=253
	// +kubebuilder:validation:items:XValidation:rule="!self.startsWith('system:')",message="names that begin with system: belong to Kubernetes itself; name a person"
	Users []string `json:"users,omitempty"`
	// Groups are names of groups, as the hub hears of them when people sign in.
	// +kubebuilder:validation:MaxItems=256
	// +listType=set
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=253
	// +kubebuilder:validation:items:XValidation:rule="!self.startsWith('system:')",message="names that begin with system: belong to Kubernetes itself; name a group of your own"
	Groups []string `json:"groups,omitempty"`
	// Projects narrows a grant in the hub's own namespace to these.
	// +kubebuilder:validation:MaxItems=256
	// +listType=set
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=63
	Projects []string `json:"projects,omitempty"`
	// Until is when it ends by itself, by the hub's clock; absent means when it is
	// deleted.
	Until *metav1.Time `json:"until,omitempty"`
	// Reason is for those who find it later.
	// +kubebuilder:validation:MaxLength=1024
	Reason string `json:"reason,omitempty"`
}

// Role is what somebody may do.
//
// +kubebuilder:validation:Enum=viewer;developer;releaser;operator;secrets;auditor;admin
type Role string

// The roles; internal/access says what each allows.
const (
	RoleViewer    Role = "viewer"
	RoleDeveloper Role = "developer"
	RoleReleaser  Role = "releaser"
	RoleOperator  Role = "operator"
	RoleSecrets   Role = "secrets"
	RoleAuditor   Role = "auditor"
	RoleAdmin     Role = "admin"
)

// AccessGrantStatus is what the hub made of the grant.
type AccessGrantStatus struct {
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// Pending are the first ten projects in which it does not hold, with the reason.
	// +listType=map
	// +listMapKey=project
	Pending []PendingAccess `json:"pending,omitempty"`
}

// PendingAccess is a project in which a grant does not hold.
type PendingAccess struct {
	Project string `json:"project"`
	Reason  string `json:"reason"`
}

// AccessGrantList is a list of AccessGrants.
//
// +kubebuilder:object:root=true
type AccessGrantList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []AccessGrant `json:"items"`
}
