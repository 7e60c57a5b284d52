// Package demo runs Atoll on one machine as a person would: a hub, five sandbox
// clusters in the shape of three providers, an agent for each, and the sample
// shop on those in production.
//
// It decides which clusters there are and in what order things happen. Every
// step is a command of bin/atoll, so that the demo shows the product and not a
// way around it. Clusters are left to package sandbox. What it started it
// records, with start times, and it ends only that.
package demo
