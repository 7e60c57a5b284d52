// Package bench is the arithmetic of `make bench`: percentiles, when a change
// has arrived everywhere, and how a figure is written down beside its raw limit.
// It starts nothing and measures nothing; test/bench does.
package bench
