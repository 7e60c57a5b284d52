package deliver

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/notify"
)

// form is the body that GitHub's and Gitea's APIs share; GitLab's takes it too,
// with other words for states.
type form struct {
	State       string `json:"state"`
	Context     string `json:"context"`
	Description string `json:"description,omitempty"`
	TargetURL   string `json:"target_url,omitempty"`
}

// status is one POST, as the hosts document it:
//
//   - GitHub, "Create a commit status": POST /repos/{owner}/{repo}/statuses/{sha},
//     state one of error, failure, pending, success
//     (docs.github.com/en/rest/commits/statuses).
//   - GitLab, "Set commit pipeline status": POST /projects/:id/statuses/:sha, :id
//     the path with %2F, state one of pending, running, success, failed, canceled,
//     skipped (docs.gitlab.com/api/commits).
//   - Gitea and Forgejo, repoCreateStatus: POST /repos/{owner}/{repo}/statuses/{sha},
//     state one of pending, success, error, failure, warning
//     (docs.gitea.com/api, operation repoCreateStatus).
func (s *Sender) status(ctx context.Context, r notify.CommitReport) (*http.Request, error) {
	to := s.to.CommitStatus
	path, ok := notify.Repository(to, r.URL)
	if !ok {
		return nil, fmt.Errorf("the repository of commit %s is not on %s", r.SHA, s)
	}
	f := form{State: string(r.State), Context: r.Context, Description: r.Description, TargetURL: target(to.TargetURL, r.Context)}
	address := notify.API(to)
	if to.Provider == v1alpha1.GitLab {
		address += "/projects/" + url.PathEscape(path) + "/statuses/" + r.SHA
		if r.State == notify.CommitFailure {
			f.State = "failed"
		}
	} else {
		owner, name, _ := strings.Cut(path, "/")
		address += "/repos/" + url.PathEscape(owner) + "/" + url.PathEscape(name) + "/statuses/" + r.SHA
	}
	body, err := json.Marshal(f)
	if err != nil {
		return nil, fmt.Errorf("encode the status of commit %s: %w", r.SHA, err)
	}
	request, err := post(ctx, address, "application/json", body)
	if err != nil {
		return nil, err
	}
	s.show(request)
	return request, nil
}

// show adds the token where the host documents it.
func (s *Sender) show(r *http.Request) {
	_, password, _, bearer := s.credentials.Registry()
	token := cmp.Or(bearer, password)
	switch s.to.CommitStatus.Provider {
	case v1alpha1.GitLab:
		r.Header.Set("PRIVATE-TOKEN", token)
	case v1alpha1.Gitea:
		r.Header.Set("Authorization", "token "+token)
	default:
		r.Header.Set("Authorization", "Bearer "+token)
		r.Header.Set("Accept", "application/vnd.github+json")
		r.Header.Set("X-GitHub-Api-Version", "2022-11-28")
	}
}

// target puts the names into the address for people; of is the status' context.
func target(text, of string) string {
	parts := strings.Split(of, "/")
	if len(parts) != 3 {
		return text
	}
	return strings.NewReplacer("${project}", parts[1], "${application}", parts[2]).Replace(text)
}

// already tells that the commit has this very state: GitLab refuses to set it
// twice, and says that it cannot be changed into itself.
func already(p v1alpha1.GitProvider, code int, body []byte) bool {
	return p == v1alpha1.GitLab && code == http.StatusBadRequest && strings.Contains(string(body), "Cannot transition status")
}
