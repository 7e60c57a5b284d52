package agent

import (
	"errors"
	"net/http"
	"net/url"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// passes tells an error of a member that is overloaded, restarting or out of
// reach from one that somebody has to mend: to end for the former would only
// cost the time in which a kubelet backs off.
func passes(err error) bool {
	var status apierrors.APIStatus
	if errors.As(err, &status) {
		code := status.Status().Code
		return code >= http.StatusInternalServerError || code == http.StatusTooManyRequests || code == http.StatusConflict
	}
	var noAnswer *url.Error
	return errors.As(err, &noAnswer)
}
