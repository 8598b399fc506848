//go:build race

package ews_test

const raceDetector = true
