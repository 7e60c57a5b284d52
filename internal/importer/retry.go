package importer

import (
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"atoll.dev/atoll/api/v1alpha1"
)

// What the hub admits of spec.sync.retry.
const (
	mostRetries = 1000
	mostFactor  = 10
	leastWait   = 100 * time.Millisecond
	mostWait    = 24 * time.Hour
)

// argoRetry reads syncPolicy.retry, which has the same words. Argo CD tries the whole
// sync again and Atoll each object.
func (f *fields) argoRetry(out *v1alpha1.ApplicationSpec) {
	if !f.has("retry") {
		return
	}
	r := f.sub("retry")
	made := &v1alpha1.Retry{Limit: r.limit("limit"), Backoff: &v1alpha1.Backoff{}}
	r.skip("refresh")
	b := r.sub("backoff")
	if n, ok := b.number("factor"); ok {
		factor := int32(min(max(n, 1), mostFactor))
		made.Backoff.Factor = &factor
	}
	made.Backoff.Duration, made.Backoff.MaxDuration = b.wait("duration"), b.wait("maxDuration")
	if first, most := made.Backoff.Duration, made.Backoff.MaxDuration; first != nil && most != nil && most.Duration < first.Duration {
		made.Backoff.Duration = most
	}
	b.done()
	r.done()
	out.Sync = &v1alpha1.Sync{Retry: made}
}

// every is trying again after the same wait each time.
func every(wait *metav1.Duration) *v1alpha1.Backoff {
	if wait == nil {
		return nil
	}
	factor := int32(1)
	return &v1alpha1.Backoff{Duration: wait, Factor: &factor, MaxDuration: wait}
}

// fluxRetry reads of an install or upgrade of a HelmRelease how often, or after which
// wait, what failed is tried again.
func (f *fields) fluxRetry() *v1alpha1.Retry {
	made := &v1alpha1.Retry{Limit: f.sub("remediation").limit("retries")}
	if strategy := f.sub("strategy"); strategy.text("name") == "RetryOnFailure" {
		made.Limit, made.Backoff = nil, every(strategy.wait("retryInterval"))
	}
	if made.Limit == nil && made.Backoff == nil {
		return nil
	}
	return made
}

// limit is a number of attempts; nil where there is none, or no end.
func (f *fields) limit(key string) *int32 {
	n, ok := f.number(key)
	if !ok || n < 0 {
		return nil
	}
	limit := int32(min(n, mostRetries))
	return &limit
}

func (f *fields) number(key string) (int, bool) {
	text := f.text(key)
	if text == "" {
		return 0, false
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		f.lose(key, "is no whole number")
	}
	return n, err == nil
}

// wait is a duration, as Argo CD and Flux write them; a number alone is seconds.
func (f *fields) wait(key string) *metav1.Duration {
	text := f.text(key)
	if text == "" {
		return nil
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		d, err = time.ParseDuration(text + "s")
	}
	if err != nil {
		f.lose(key, "is no duration")
		return nil
	}
	return &metav1.Duration{Duration: min(max(d, leastWait), mostWait)}
}
