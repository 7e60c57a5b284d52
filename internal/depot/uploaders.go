package depot

import (
	"sync"

	"atoll.dev/atoll/internal/desired"
)

// maxUploads is how many uploads are remembered until an application names them,
// which it does a moment later.
const maxUploads = 1024

// uploaders remembers who uploaded contents to this hub, the latest last. A hub that
// starts knows of none: nobody is named rather than somebody who only said so.
type uploaders struct {
	mu    sync.Mutex
	by    map[upload]string
	order []upload
}

type upload struct {
	project string
	digest  desired.Digest
}

func (u *uploaders) note(project string, digest desired.Digest, who string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.by == nil {
		u.by = map[upload]string{}
	}
	what := upload{project, digest}
	if _, known := u.by[what]; !known {
		u.order = append(u.order, what)
	}
	u.by[what] = who
	for len(u.order) > maxUploads {
		delete(u.by, u.order[0])
		u.order = u.order[1:]
	}
}

func (u *uploaders) of(project string, digest desired.Digest) string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.by[upload{project, digest}]
}

// UploadedBy tells who uploaded a content of a project, as the hub authenticated it:
// the Revision that it becomes has that name.
func (d *Depot) UploadedBy(project string, digest desired.Digest, who string) {
	const most = 1024 // of RevisionSpec.Author
	if len(who) <= most {
		d.uploaders.note(project, digest, who)
	}
}
