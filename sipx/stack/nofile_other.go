//go:build !unix

package stack

// maxFiles returns how many files the process may have open.
func maxFiles() int { return 1 << 24 }
