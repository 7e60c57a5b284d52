// Package bench is the arithmetic of `make bench` and `make bench-scale`:
// percentiles, when a change has arrived everywhere, what a process has used,
// and how a figure is written down beside its raw limit. It starts nothing;
// test/bench and internal/sandbox/simulate do.
package bench
