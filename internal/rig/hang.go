package rig

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// awaitStopped waits until each thread of the server is stopped. On a busy machine
// that takes a while after the signal, in which requests are still answered.
func (r Rig) awaitStopped(limit time.Duration) error {
	poll := time.NewTicker(2 * time.Millisecond)
	defer poll.Stop()
	timeout := time.After(limit)
	for {
		running, err := r.running()
		if err != nil || running == 0 {
			return err
		}
		select {
		case <-poll.C:
		case <-timeout:
			return fmt.Errorf("rig: %d threads still run after %v", running, limit)
		}
	}
}

// running returns how many threads of the server's processes are not stopped.
func (r Rig) running() (int, error) {
	pidFiles, _ := filepath.Glob(filepath.Join(r["DIR"], "*.pid"))
	if len(pidFiles) != 1 {
		return 0, fmt.Errorf("rig: no process number in %s", r["DIR"])
	}
	text, err := os.ReadFile(pidFiles[0])
	if err != nil {
		return 0, err
	}
	tree := []string{strings.Fields(string(text))[0]}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for i := 0; i < len(tree); i++ {
		for _, name := range stats {
			if pid := filepath.Base(filepath.Dir(name)); procStat(name, 1) == tree[i] && !slices.Contains(tree, pid) {
				tree = append(tree, pid)
			}
		}
	}
	running := 0
	for _, pid := range tree {
		threads, _ := filepath.Glob("/proc/" + pid + "/task/*/stat")
		for _, name := range threads {
			if state := procStat(name, 0); state != "" && state != "T" {
				running++
			}
		}
	}
	return running, nil
}

// procStat returns a field of a stat file: 0 is the state, 1 the parent's number.
// They follow the name in parentheses, which may hold anything.
func procStat(name string, field int) string {
	text, err := os.ReadFile(name)
	if err != nil {
		return "" // it has ended
	}
	fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
	if len(fields) <= field {
		return ""
	}
	return string(fields[field])
}
