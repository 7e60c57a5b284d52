package registry

import "sync"

// roll is which clusters have enrolled: whoever joins is held against all of
// them, and to look through ten thousand for each would be most of a join.
type roll struct {
	mu     sync.Mutex
	called bool              // the clusters of before are on it
	byUID  map[string]string // cluster by kube-system UID
	uidOf  map[string]string // and the reverse
}

// enter makes uid the only one of its cluster.
func (r *roll) enter(cluster, uid string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.write(cluster, uid)
}

func (r *roll) write(cluster, uid string) {
	if r.byUID == nil {
		r.byUID, r.uidOf = map[string]string{}, map[string]string{}
	}
	if old, ok := r.uidOf[cluster]; ok && r.byUID[old] == cluster {
		delete(r.byUID, old)
	}
	r.byUID[uid], r.uidOf[cluster] = cluster, uid
}

// strike takes a cluster off that is not what was entered any more.
func (r *roll) strike(cluster, uid string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.byUID[uid] == cluster {
		delete(r.byUID, uid)
		delete(r.uidOf, cluster)
	}
}

// find names the cluster entered with uid, "" without one. Those of before are
// asked for once; what was entered meanwhile is newer.
func (r *roll) find(uid string, before func() (byCluster map[string]string, err error)) (string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.called {
		all, err := before()
		if err != nil {
			return "", err
		}
		for cluster, uid := range all {
			if _, newer := r.uidOf[cluster]; !newer {
				r.write(cluster, uid)
			}
		}
		r.called = true
	}
	return r.byUID[uid], nil
}

// turns are locks by name: who enrols waits only for those who enrol the same.
type turns struct {
	mu   sync.Mutex
	held map[string]*turn
}

type turn struct {
	sync.Mutex
	wanted int
}

// take waits for the name's turn; done ends it.
func (t *turns) take(name string) (done func()) {
	t.mu.Lock()
	mine := t.held[name]
	if mine == nil {
		if t.held == nil {
			t.held = map[string]*turn{}
		}
		mine = &turn{}
		t.held[name] = mine
	}
	mine.wanted++
	t.mu.Unlock()
	mine.Lock()
	return func() {
		mine.Unlock()
		t.mu.Lock()
		defer t.mu.Unlock()
		if mine.wanted--; mine.wanted == 0 {
			delete(t.held, name)
		}
	}
}
