package cli

import (
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"pgregory.net/rapid"

	"github.com/google/go-cmp/cmp"

	"atoll.dev/atoll/api/v1alpha1"
)

var escape = regexp.MustCompile("\x1b\\[[0-9;]*m")

func TestARefIsReadInEveryFormThatPeopleType(t *testing.T) {
	for _, arg := range []string{"shop", "app/shop", "apps/shop", "application/shop", "applications/shop", "applications.atoll.dev/shop", "atapp/shop"} {
		if name, err := parseRef(arg, applicationKind); err != nil || name != "shop" {
			t.Errorf("%s: %q, %v", arg, name, err)
		}
	}
}

func TestAMeantWordIsFoundAndAStrangeOneIsNot(t *testing.T) {
	among := []string{"clusters", "projects", "apps", "status"}
	for typed, want := range map[string]string{"clsuters": "clusters", "project": "projects", "statsu": "status", "xyzzy": "", "deployments": ""} {
		if got := closest(typed, among); got != want {
			t.Errorf("%s: %q, not %q", typed, got, want)
		}
	}
}

func TestWrappingLosesNoWord(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		words := rapid.SliceOf(rapid.StringMatching(`[a-zäß]{1,12}`)).Draw(t, "words")
		width := rapid.IntRange(1, 40).Draw(t, "width")
		lines := wrap(strings.Join(words, " "), width)
		if got := strings.Fields(strings.Join(lines, " ")); strings.Join(got, " ") != strings.Join(words, " ") {
			t.Fatalf("%q became %q", words, lines)
		}
		for _, line := range lines {
			if utf8.RuneCountInString(line) > width && strings.Contains(line, " ") {
				t.Fatalf("%q is wider than %d", line, width)
			}
		}
	})
}

func TestWaitingTrustsNoStatusOfAnOlderGeneration(t *testing.T) {
	app := &v1alpha1.Application{ObjectMeta: metav1.ObjectMeta{Generation: 2}}
	app.Status.ObservedGeneration = 1
	app.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionSynced, Status: metav1.ConditionTrue, ObservedGeneration: 1}}
	if got := applicationMissing(app, []string{"synced"}); len(got) != 1 {
		t.Error("a condition of generation 1 was taken for generation 2")
	}
	app.Status.ObservedGeneration, app.Status.Conditions[0].ObservedGeneration = 2, 2
	if got := applicationMissing(app, []string{"synced"}); len(got) != 0 {
		t.Errorf("still missing %v", got)
	}
	if got := applicationMissing(app, []string{"synced", "deleted"}); len(got) != 1 {
		t.Errorf("an object that is there is not deleted: %v", got)
	}
}

// TestDeployingAgainKeepsWhatItDoesNotSpeakOf, and only what deploy set itself.
func TestDeployingAgainKeepsWhatItDoesNotSpeakOf(t *testing.T) {
	live := newObject(applicationKind, "demo", "shop", map[string]any{
		"source":    map[string]any{"content": map[string]any{"digest": "old"}},
		"placement": map[string]any{"clusters": "stage=production"},
		"adopt":     true,
	})
	live.SetManagedFields([]metav1.ManagedFieldsEntry{{
		Manager: fieldManager, Operation: metav1.ManagedFieldsOperationApply, APIVersion: v1alpha1.GroupVersion.String(), FieldsType: "FieldsV1",
		FieldsV1: metav1.NewFieldsV1(`{"f:spec":{"f:source":{"f:content":{"f:digest":{}}},"f:placement":{"f:clusters":{}}}}`),
	}})
	kept, err := owned(live, fieldManager)
	if err != nil {
		t.Fatal(err)
	}
	o := deployOptions{count: 2}
	source := map[string]any{"content": map[string]any{"digest": "new", "origin": "here"}}
	o.overlay(kept.Object["spec"].(map[string]any), source)
	want := map[string]any{
		"source":    source,
		"placement": map[string]any{"count": int64(2)},
	}
	if d := cmp.Diff(want, kept.Object["spec"]); d != "" {
		t.Errorf("a new rule must replace the old one whole, and adopt is not ours: %s", d)
	}
	again, err := owned(live, fieldManager)
	if err != nil {
		t.Fatal(err)
	}
	(&deployOptions{}).overlay(again.Object["spec"].(map[string]any), source)
	if got, _, _ := unstructured.NestedString(again.Object, "spec", "placement", "clusters"); got != "stage=production" {
		t.Errorf("the placement was lost: %v", again.Object)
	}
}
