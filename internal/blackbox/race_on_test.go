//go:build race

package blackbox_test

// raceEnabled makes the server a race build where the tests are one.
const raceEnabled = true
