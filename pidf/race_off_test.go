//go:build !race

package pidf_test

const raceDetector = false
