package depot

import (
	"fmt"
	"testing"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/desired"
)

func TestAnUploadHasItsUploaderInItsProjectAndAmongTheLatest(t *testing.T) {
	d := &Depot{}
	digest := desired.Sum([]byte("content"))
	d.UploadedBy("shop", digest, "ann")
	d.UploadedBy("bank", digest, "bob")
	d.UploadedBy("shop", digest, "cleo")
	if got := d.uploaders.of("shop", digest) + " " + d.uploaders.of("bank", digest) + " " + d.uploaders.of("else", digest); got != "cleo bob " {
		t.Errorf("uploaded by %q", got)
	}
	for i := range 2 * maxUploads {
		d.UploadedBy("shop", desired.Sum(fmt.Append(nil, i)), "many")
	}
	if len(d.uploaders.by) != maxUploads || len(d.uploaders.order) != maxUploads || d.uploaders.of("bank", digest) != "" {
		t.Errorf("%d are remembered", len(d.uploaders.by))
	}
	app := &v1alpha1.Application{}
	app.Name = "web"
	if r := (Content{Digest: digest, Author: "ann"}).Revision(app); r.Spec.Author != "ann" {
		t.Errorf("the Revision is by %q", r.Spec.Author)
	}
}
