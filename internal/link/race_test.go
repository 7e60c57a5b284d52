//go:build race

package link

// raceEnabled makes tests of many links smaller: the detector costs tenfold.
const raceEnabled = true
