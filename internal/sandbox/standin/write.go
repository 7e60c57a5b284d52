package standin

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	utiljson "k8s.io/apimachinery/pkg/util/json"
)

func (req request) dryRun() bool { return req.URL.Query().Get("dryRun") != "" }

func (req request) manager() string {
	if name := req.URL.Query().Get("fieldManager"); name != "" {
		return name
	}
	return "unknown"
}

// room refuses what lies in a namespace that does not exist.
func (m *Member) room(req request) error {
	if req.namespaced && m.find(namespacesResource, "", req.namespace) == nil {
		return apierrors.NewNotFound(namespacesResource.GroupResource(), req.namespace)
	}
	return nil
}

func (m *Member) create(req request) (*http.Response, error) {
	u, err := req.decode()
	if err != nil {
		return nil, err
	}
	if err := m.room(req); err != nil {
		return nil, err
	}
	if m.find(req.gvr, req.namespace, u.GetName()) != nil {
		return nil, apierrors.NewAlreadyExists(req.gvr.GroupResource(), u.GetName())
	}
	u, err = managed(req.empty(u.GetName()), u, req.manager())
	if err != nil {
		return nil, err
	}
	return m.finish(req, http.StatusCreated, nil, u)
}

func (m *Member) update(req request) (*http.Response, error) {
	u, err := req.decode()
	if err != nil {
		return nil, err
	}
	old := m.find(req.gvr, req.namespace, req.name)
	if old == nil {
		return nil, apierrors.NewNotFound(req.gvr.GroupResource(), req.name)
	}
	if v := u.GetResourceVersion(); v != "" && v != strconv.FormatUint(old.version, 10) {
		return nil, apierrors.NewConflict(req.gvr.GroupResource(), req.name, errors.New("the object has been modified; please apply your changes to the latest version and try again"))
	}
	u, err = managed(old.object(), u, req.manager())
	if err != nil {
		return nil, err
	}
	return m.finish(req, http.StatusOK, old, u)
}

func (m *Member) patch(req request) (*http.Response, error) {
	switch kind := types.PatchType(req.Header.Get("Content-Type")); kind {
	case types.ApplyYAMLPatchType:
		m.requests["apply"]++
		return m.apply(req)
	case types.JSONPatchType, types.MergePatchType:
		m.requests["patch"]++
		return m.alter(req, kind)
	default:
		return nil, apierrors.NewGenericServerResponse(http.StatusUnsupportedMediaType, "patch", req.gvr.GroupResource(), req.name,
			fmt.Sprintf("patches of type %s are not taken here", kind), 0, false)
	}
}

func (m *Member) apply(req request) (*http.Response, error) {
	patch, err := req.decode()
	if err != nil {
		return nil, err
	}
	if err := m.room(req); err != nil {
		return nil, err
	}
	live, code := req.empty(req.name), http.StatusCreated
	old := m.find(req.gvr, req.namespace, req.name)
	if old != nil {
		live, code = old.object(), http.StatusOK
		if uid := patch.GetUID(); uid != "" && uid != old.uid {
			return nil, apierrors.NewConflict(req.gvr.GroupResource(), req.name, fmt.Errorf("the UID in the precondition is %s, and that of the object %s", uid, old.uid))
		}
	} else if patch.GetUID() != "" {
		return nil, apierrors.NewConflict(req.gvr.GroupResource(), req.name, errors.New("an apply with a UID makes no object"))
	}
	u, err := applied(live, patch, req.manager(), req.URL.Query().Get("force") == "true")
	if err != nil {
		return nil, err
	}
	return m.finish(req, code, old, u)
}

// alter does a JSON patch or a merge patch.
func (m *Member) alter(req request, kind types.PatchType) (*http.Response, error) {
	old := m.find(req.gvr, req.namespace, req.name)
	if old == nil {
		return nil, apierrors.NewNotFound(req.gvr.GroupResource(), req.name)
	}
	body, err := patched(old.body, req.body, kind)
	if err != nil {
		return nil, apierrors.NewGenericServerResponse(http.StatusUnprocessableEntity, "patch", req.gvr.GroupResource(), req.name, err.Error(), 0, false)
	}
	u := &unstructured.Unstructured{}
	if err := utiljson.Unmarshal(body, &u.Object); err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	u, err = managed(old.object(), u, req.manager())
	if err != nil {
		return nil, err
	}
	return m.finish(req, http.StatusOK, old, u)
}

func patched(body, patch []byte, kind types.PatchType) ([]byte, error) {
	if kind == types.MergePatchType {
		return jsonpatch.MergePatch(body, patch)
	}
	p, err := jsonpatch.DecodePatch(patch)
	if err != nil {
		return nil, err
	}
	return p.Apply(body)
}

// finish stores what a write makes, unless it is a dry run.
func (m *Member) finish(req request, code int, old *record, u *unstructured.Unstructured) (*http.Response, error) {
	if req.dryRun() {
		return req.answer(code, &record{body: encode(m.stamped(old, u))})
	}
	return req.answer(code, m.store(req.gvr, old, u))
}

func (m *Member) delete(req request) (*http.Response, error) {
	old := m.find(req.gvr, req.namespace, req.name)
	if old == nil || !req.single {
		return nil, apierrors.NewNotFound(req.gvr.GroupResource(), req.name)
	}
	var options metav1.DeleteOptions
	if len(req.body) > 0 {
		if err := utiljson.Unmarshal(req.body, &options); err != nil {
			return nil, apierrors.NewBadRequest(fmt.Sprintf("the options of the deletion cannot be read: %v", err))
		}
	}
	if p := options.Preconditions; p != nil && p.UID != nil && *p.UID != old.uid {
		return nil, apierrors.NewConflict(req.gvr.GroupResource(), req.name, fmt.Errorf("the UID in the precondition is %s, and that of the object %s", *p.UID, old.uid))
	}
	if !req.dryRun() && len(options.DryRun) == 0 {
		m.remove(req.gvr, old)
	}
	return answerJSON(req.Request, http.StatusOK, metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusSuccess})
}

// empty is the object before it exists.
func (req request) empty(name string) *unstructured.Unstructured {
	return newObject(req.gvr.GroupVersion().String(), req.kind, req.namespace, name)
}
