//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/presence/console"
)

const mobUsers = 8

// users writes the directory of the tests, and returns its folder.
func users(t testing.TB, n int) string {
	var list []map[string]any
	for i := range n {
		list = append(list, map[string]any{"id": fmt.Sprint("u", i), "sip": []string{fmt.Sprintf("u%d@example.com", i)}})
	}
	text, err := json.Marshal(map[string]any{"users": list})
	require.NoError(t, err)
	folder := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(folder, "users.json"), text, 0o600))
	return folder
}

// BSX-12: three nodes and three NATS servers under load. Whatever ends, hangs or is cut
// off, no acknowledged publication is lost, no CSeq is used twice or after a later one,
// nobody is told that a subscription or a user has ended, and all see the newest status.
// BLUSTAR_ROUNDS is how often everything happens.
func TestNodesUnderLoad(t *testing.T) {
	rounds := 1
	_, _ = fmt.Sscan(os.Getenv("BLUSTAR_ROUNDS"), &rounds)
	nats := startNATS(t, 3, "")
	nodes := startNodes(t, nats, users(t, mobUsers), "a", "b", "c")
	m := newMob(t, mobUsers, nodes, nil)
	m.doing("all is well")
	for _, u := range m.users {
		m.subscribe(u, u.own)
		m.publish(u, fmt.Sprintf("first of u%d", u.i))
		m.subscribe(u, u.watch)
	}
	m.settled()

	var list struct{ Items []console.Node }
	for _, n := range nodes { // each tells of all, and their dialogs are those that there are
		require.Eventually(t, func() bool {
			dialogs, here := 0, ""
			if err := n.get("/v1/nodes", &list); err != nil {
				return false
			}
			for _, other := range list.Items {
				dialogs += other.Dialogs
				if other.This {
					here = other.Name
				}
			}
			return len(list.Items) == 3 && dialogs == 2*mobUsers && here == n.name
		}, patience, 100*time.Millisecond, "%s: %+v", n.name, &list)
	}
	require.NoError(t, nodes[0].get("/readyz", new(map[string]any)))

	for round := range rounds {
		if t.Failed() {
			return
		}
		victim := func(i int) *node { return nodes[(round+i)%len(nodes)] }
		settle := m.load()
		m.doing("a node is killed")
		victim(0).end(syscall.SIGKILL)
		heirs(t, victim(1), 2)
		victim(0).start()
		victim(0).serves()
		settle()

		settle = m.load()
		m.doing("a node is stopped for longer than its lease, and goes on")
		before := victim(0).started()
		victim(0).signal(syscall.SIGSTOP)
		heirs(t, victim(1), 2)
		victim(0).signal(syscall.SIGCONT)
		victim(0).startsAgain(before) // it has noticed
		settle()

		settle = m.load()
		m.doing("a node is cut off from NATS for longer than its lease")
		before = victim(1).started()
		for _, l := range victim(1).links {
			l.cut()
		}
		heirs(t, victim(2), 2)
		for _, l := range victim(1).links {
			l.heal()
		}
		victim(1).startsAgain(before)
		settle()

		settle = m.load()
		m.doing("the NATS server that leads is killed")
		leader := nats.leader("blustar")
		nats.kill(leader)
		require.NotEqual(t, leader, nats.leader("blustar"))
		settle()
		nats.start(leader)

		settle = m.load()
		m.doing("all nodes are restarted, one after the other")
		for _, n := range nodes {
			n.end(syscall.SIGTERM)
			n.start()
			n.serves()
		}
		settle()
	}
}

// heirs waits until there are so many nodes.
func heirs(t testing.TB, n *node, want int) {
	t.Helper()
	var list struct{ Items []console.Node }
	require.Eventually(t, func() bool { return n.get("/v1/nodes", &list) == nil && len(list.Items) == want },
		patience, 50*time.Millisecond, "%+v", &list)
}
