//go:build linux

package main

import (
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/presence/console"
)

// What is wrong with the bucket ends the program with one line that says it, and leaves
// those who use it alone; so does "check -online" (BSX-12).
func TestWrongBucket(t *testing.T) {
	c := startNATS(t, 1, "")
	conn, err := nats.Connect("nats://"+c.hosts[0]+":4222", nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1))
	require.NoError(t, err)
	defer conn.Close()
	js, err := jetstream.New(conn)
	require.NoError(t, err)
	folder := users(t, 2)
	a := startNodes(t, c, folder, "a")[0]
	for bucket, metadata := range map[string]map[string]string{"newer": {"blustar-format": "99"}, "foreign": nil} {
		_, err = js.CreateStream(t.Context(), jetstream.StreamConfig{Name: bucket, Subjects: []string{bucket + ".>"}, Metadata: metadata})
		require.NoError(t, err)
	}
	for name, test := range map[string]struct {
		change func(configuration)
		want   string
	}{
		"of a newer version": {func(c configuration) { c.nats()["bucket"] = "newer" }, `blustar-format is "99"; this program knows "1"`},
		"somebody else's":    {func(c configuration) { c.nats()["bucket"] = "foreign" }, `blustar-format is ""`},
		"another site's":     {func(c configuration) { c["domains"] = []string{"example.org"} }, `node "a" serves "example.com", this one "example.org"`},
	} {
		t.Run(name, func(t *testing.T) {
			n := newNode(t, c, folder, test.change, "b")
			ends(t, n, test.want)
		})
	}
	var list struct{ Items []console.Node }
	require.Eventually(t, func() bool { return a.get("/v1/nodes", &list) == nil }, patience, tick)
	require.Len(t, list.Items, 1, "who was there goes on")
	require.Equal(t, "alive", list.Items[0].State)
}

// NATS that wants other credentials than the program has is not waited for.
func TestWrongCredentials(t *testing.T) {
	c := startNATS(t, 1, `authorization { token: "secret" }`)
	conn, err := nats.Connect("nats://"+c.hosts[0]+":4222", nats.Token("secret"), nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1))
	require.NoError(t, err)
	defer conn.Close()
	require.Eventually(t, conn.IsConnected, patience, tick)
	ends(t, newNode(t, c, users(t, 2), nil, "a"), "Authorization Violation")
}

// ends runs a node, and its check, to the end.
func ends(t *testing.T, n *node, want string) {
	t.Helper()
	for _, args := range []string{"-config " + n.config, "check -online -config " + n.config} {
		code, output := run(t, args)
		require.Equal(t, 1, code, output)
		var said []string
		for line := range strings.Lines(output) {
			if strings.Contains(line, want) {
				said = append(said, line)
			}
		}
		require.Len(t, said, 1, "%s: %s", args, output)
	}
}

// Two nodes with one name are two nodes (BSX-12).
func TestOneNameTwice(t *testing.T) {
	nodes := startNodes(t, startNATS(t, 1, ""), users(t, 2), "a", "a")
	m := newMob(t, 2, nodes, nil)
	m.doing("two nodes have one name")
	for _, u := range m.users {
		m.subscribe(u, u.own)
		m.publish(u, "first of u"+string(rune('0'+u.i)))
		m.subscribe(u, u.watch)
	}
	m.settled()
	var list struct{ Items []console.Node }
	require.Eventually(t, func() bool { return nodes[0].get("/v1/nodes", &list) == nil && len(list.Items) == 2 },
		patience, tick, "%+v", &list) // one that had to start twice is over after its lease
	require.Equal(t, list.Items[0].Name, list.Items[1].Name)
	require.NotEqual(t, list.Items[0].ID, list.Items[1].ID)
	require.NotEqual(t, list.Items[0].This, list.Items[1].This)
}
