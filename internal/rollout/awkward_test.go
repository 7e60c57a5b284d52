package rollout_test

import (
	"testing"
	"time"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/rollout"
)

func TestAHubThatWasAwayBlamesNobodyForItsOwnSilence(t *testing.T) {
	for _, policy := range []v1alpha1.FailurePolicy{v1alpha1.Halt, v1alpha1.Rollback} {
		s := newScene(t, v1alpha1.Rollout{OnFailure: policy}, fleet(3))
		s.step()
		s.after(time.Hour) // the hub is down, and nobody has spoken to the new one yet
		s.set(rollout.Member{}, "c01")
		world := rollout.World{Now: s.now, Since: s.now.Add(15 * time.Second), Members: s.members}
		out := rollout.Step(s.run, world)
		if out.Status.Phase != v1alpha1.RolloutProgressing {
			t.Fatalf("%s: %+v", policy, out.Status)
		}
		s.run.Status = out.Status
		world.Now = world.Now.Add(out.Wake) // when all can have spoken
		out = rollout.Step(s.run, world)
		if out.Status.Phase != v1alpha1.RolloutProgressing || out.Wake != rollout.DefaultDeadline {
			t.Fatalf("%s: %+v, again in %s", policy, out.Status, out.Wake)
		}
		s.run.Status, world.Now = out.Status, world.Now.Add(out.Wake)
		if out = rollout.Step(s.run, world); len(out.Status.Failed) != 1 {
			t.Errorf("%s: who stays silent to the new hub fails: %+v", policy, out.Status)
		}
	}
}

func TestAHubThatHasJustBegunWaitsForThoseWhoGoBack(t *testing.T) {
	s := newScene(t, v1alpha1.Rollout{}, fleet(2))
	s.step()
	s.run.Spec.Control.Aborted = true
	s.step()
	s.set(rollout.Member{}, "c01")
	world := rollout.World{Now: s.now, Since: s.now.Add(15 * time.Second), Members: s.members}
	out := rollout.Step(s.run, world)
	if out.Status.Phase != v1alpha1.RolloutRollingBack || out.Wake != 15*time.Second {
		t.Fatalf("nobody has said that it went back: %+v, again in %s", out.Status, out.Wake)
	}
	world.Now = world.Since
	if out = rollout.Step(s.run, world); out.Status.Phase != v1alpha1.RolloutRolledBack {
		t.Errorf("who is not heard is not waited for: %+v", out.Status)
	}
}

func TestAHubThatHasJustBegunDoesNotPassOverWhoWasAwayOnce(t *testing.T) {
	clusters := fleet(2)
	clusters[1].Connected = false
	s := newScene(t, v1alpha1.Rollout{Waves: []v1alpha1.Wave{{Count: number(1)}, {Share: "100%"}}}, clusters)
	s.step()
	s.pass("c01")
	s.set(rollout.Member{Connected: true}, "c02")
	s.step()
	s.note("c02 was away when it began; it came back, and the hub starts again")
	s.set(rollout.Member{}, "c02")
	world := rollout.World{Now: s.now, Since: s.now.Add(15 * time.Second), Members: s.members}
	out := rollout.Step(s.run, world)
	if out.Status.Phase != v1alpha1.RolloutProgressing || out.Wake != 15*time.Second {
		t.Fatalf("%+v, again in %s", out.Status, out.Wake)
	}
	world.Now = world.Since
	if out = rollout.Step(s.run, world); out.Status.Phase != v1alpha1.RolloutComplete {
		t.Errorf("who is away still is not waited for: %+v", out.Status)
	}
}

func TestAChangeDuringARollbackDoesNotBringTheBadVersionAgain(t *testing.T) {
	s := newScene(t, v1alpha1.Rollout{OnFailure: v1alpha1.Rollback}, fleet(3))
	s.step()
	s.fail("it crashes", "c01")
	s.step()
	s.after(rollout.Confirm)
	if out := s.step(); out.Status.Phase != v1alpha1.RolloutRollingBack {
		t.Fatalf("%+v", out.Status)
	}
	s.run.Status = rollout.Step(s.run, rollout.World{Now: s.now, Superseded: true}).Status
	plan, err := rollout.Begin(rollout.Request{Application: "shop", Target: version("c"), Last: s.run, Clusters: fleet(3)})
	if err != nil {
		t.Fatal(err)
	}
	if len(plan.Before) != 1 || !rollout.Same(plan.Before[0].Version, version("a")) {
		t.Errorf("they were told to go back, and the next change is told that they ran %+v", plan.Before)
	}
}

func TestARunThatGaveWayToNoneIsBegunAnew(t *testing.T) {
	s := newScene(t, v1alpha1.Rollout{}, fleet(3))
	s.step()
	s.run.Status = rollout.Step(s.run, rollout.World{Now: s.now, Superseded: true}).Status
	// The hub died before it recorded the next one, and the change was undone.
	if !rollout.Due(rollout.Request{Target: version("b"), Last: s.run, Clusters: fleet(3)}) {
		t.Error("what was asked for again reaches nobody any more")
	}
}

func TestAClockThatWasAheadKeepsNoWaveSoaking(t *testing.T) {
	s := newScene(t, v1alpha1.Rollout{Waves: []v1alpha1.Wave{{Count: number(1), Soak: soak(time.Minute)}, {Share: "100%"}}}, fleet(2))
	s.now = noon.Add(365 * 24 * time.Hour)
	s.step()
	s.pass("c01")
	s.step()
	s.now = noon
	s.step()
	s.after(time.Minute)
	if out := s.step(); out.Status.Started != 2 {
		t.Errorf("%+v", out.Status)
	}
}
