package fleet

import (
	"context"
	"net/http"
	"net/url"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/plan"
)

// PlanRequest is a change that is not made. The caller needs the rights with
// which it could be.
type PlanRequest struct {
	// Objects of atoll.dev as they would be; Applications are of the project that
	// is asked.
	Applications []v1alpha1.Application `json:"applications,omitempty"`
	Projects     []v1alpha1.Project     `json:"projects,omitempty"`
	Placements   []v1alpha1.Placement   `json:"placements,omitempty"`
	Clusters     []v1alpha1.Cluster     `json:"clusters,omitempty"`
	// Names are applications to plan as they stand.
	Names []string `json:"names,omitempty"`
	// Upload would be the content of the one application given. It is kept in
	// memory for the time of the call.
	Upload *Upload `json:"upload,omitempty"`
}

// PlanAnswer has a plan for each application given or named, and for each that
// another object given changes.
type PlanAnswer struct {
	Plans []plan.Plan `json:"plans"`
	// Unknown are whole projects of which nothing can be said.
	Unknown []plan.Unknown `json:"unknown,omitempty"`
}

// Plan asks what a change would do in a project.
func (c *Client) Plan(ctx context.Context, project string, r PlanRequest) (*PlanAnswer, error) {
	return call[PlanAnswer](ctx, c, http.MethodPost, "/namespaces/"+url.PathEscape(project)+"/plans", r)
}
