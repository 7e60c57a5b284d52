package apply

import (
	"context"
	"errors"
	"time"

	"atoll.dev/atoll/internal/desired"
)

const (
	// savePause lets the changes of one moment become one write, after what
	// caused them and not beside it.
	savePause = time.Second
	// longestPause is for what goes on changing, as an application that is being
	// delivered: to write a growing inventory every second would cost the member
	// as much as many of its objects. An agent that dies applies once more what
	// it forgot.
	longestPause = 5 * time.Second
	// calm is how long nothing has changed before a save begins, so that it runs
	// between the changes of somebody who makes many and not beside them.
	calm = 150 * time.Millisecond
)

func (e *Engine) wakeSave() {
	e.woken.Store(time.Now().UnixNano())
	select {
	case e.saves <- struct{}{}:
	default:
	}
}

// save keeps the inventories until ctx ends. What was not saved when the agent
// dies is found again by its field manager, at the price of one apply each.
func (e *Engine) save(ctx context.Context) {
	var saved time.Time
	for failures := 0; ; {
		select {
		case <-ctx.Done():
			e.saveLast()
			return
		case <-e.saves:
		}
		pause := max(savePause, longestPause-time.Since(saved))
		e.collect(ctx, max(pause, backoff(failures, savePause, 30*time.Second)))
		if e.reach.Wait(ctx) != nil {
			continue
		}
		err := e.saveOnce(ctx)
		saved = time.Now()
		if err != nil {
			e.log.Warn("inventories cannot be saved", "error", err)
			failures++
			e.wakeSave()
		} else {
			failures = 0
		}
	}
}

// collect waits for pause, and while something is being delivered or has just
// changed longer, but not without end.
func (e *Engine) collect(ctx context.Context, pause time.Duration) {
	last := time.Now().Add(max(pause, longestPause) + calm)
	for wait := pause; ctx.Err() == nil; wait = calm {
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
		changed := time.Unix(0, e.woken.Load())
		if now := time.Now(); now.After(last) || now.Sub(changed) >= calm && !e.delivering() {
			return
		}
	}
}

func (e *Engine) delivering() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, en := range e.entries {
		if en.left != [2]int{} {
			return true
		}
	}
	return false
}

// saveLast spares the next start the re-applies.
func (e *Engine) saveLast() {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	if _, down := e.reach.Since(); down {
		return
	}
	if err := e.saveOnce(ctx); err != nil {
		e.log.Warn("inventories cannot be saved", "error", err)
	}
}

func (e *Engine) saveOnce(ctx context.Context) error {
	e.saving.Lock()
	defer e.saving.Unlock()
	e.mu.Lock()
	changed := map[desired.Key][]byte{}
	var errs []error
	for key := range e.unsaved {
		en, ok := e.entries[key]
		if !ok || en.gone {
			changed[key] = nil
			continue
		}
		data, err := en.inventory().encode()
		if err != nil {
			errs = append(errs, err)
			continue
		}
		changed[key] = data
	}
	e.unsaved = map[desired.Key]bool{}
	e.mu.Unlock()
	if len(changed) == 0 {
		return errors.Join(errs...)
	}
	err := e.memory.SaveInventories(ctx, changed)

	e.mu.Lock()
	defer e.mu.Unlock()
	if err != nil {
		for key := range changed {
			e.unsaved[key] = true
			if en, ok := e.entries[key]; ok {
				e.touch(en) // what was said meanwhile took it for saved
			}
		}
	}
	if unreachable(err) && ctxOrOutage(ctx, e.reach) {
		return err // said already, and no fault of the store
	}
	if (err == nil) != (e.storeErr == nil) {
		e.touchAllLocked()
	}
	e.storeErr = err
	return errors.Join(append(errs, err)...)
}

// ctxOrOutage tells that a save failed for want of time or of a member.
func ctxOrOutage(ctx context.Context, r *reach) bool {
	_, down := r.Since()
	return down || ctx.Err() != nil
}

func (en *entry) inventory() inventory {
	inv := inventory{UID: en.want.UID, Pruning: en.pruning, Corrections: en.corrections, Changes: en.changes, Generation: en.generation, Installing: en.installing, Installed: en.installed}
	for _, o := range en.objects {
		if o.rec != nil {
			inv.Records = append(inv.Records, *o.rec)
		}
	}
	for _, r := range en.runs {
		inv.Runs = append(inv.Runs, *r)
	}
	return inv
}
