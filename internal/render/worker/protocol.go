// Package worker renders in processes of their own, since what others wrote can
// loop for ever or grow without end, and a template engine cannot be stopped.
//
// It decides how much time and memory one render may take, ends the process
// that takes more, and keeps a few idle ones, since to start one takes longer
// than most renders. Within the process nothing is dialled and no program is
// found. What is rendered, and how, is left to internal/render.
package worker

import (
	"time"

	"atoll.dev/atoll/internal/render"
)

// Verb is the command line argument that makes a program a worker.
const Verb = "render-worker"

// Limits are what one render may take.
type Limits struct {
	// CPU is processor time, so that a busy machine refuses nothing.
	CPU time.Duration
	// Memory is in bytes, beyond what the process has when it starts.
	Memory int64
	// Wall is when a render is given up whatever it waits for.
	Wall time.Duration
}

// DefaultLimits are far above what charts in use take.
var DefaultLimits = Limits{CPU: 30 * time.Second, Memory: 512 << 20, Wall: 5 * time.Minute}

// request and response are exchanged as gob over the process's standard input
// and output, one at a time; the process ends when its input does.
type request struct {
	Dir    string
	In     render.Inputs
	Limits Limits
}

type response struct {
	Out render.Output
	// Err is for the owner of the source; Fault for the operator of the hub.
	Err, Fault string
	// Unfit says that Err is a class.Unfit.
	Unfit bool
}

// The exit codes by which a worker says which limit it met.
const (
	exitOK       = 0
	exitFault    = 1
	exitOverTime = 70
)
