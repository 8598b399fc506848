//go:build unix

package stack

import "golang.org/x/sys/unix"

// maxFiles returns how many files the process may have open. The Go runtime has
// raised the soft limit to the hard one.
func maxFiles() int {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) != nil {
		return 1 << 15
	}
	return int(min(uint64(limit.Cur), 1<<24))
}
