package natsstore_test

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/presence/natsstore"
)

// With the accounts that SECURING prints, the nodes have all that they need, and another program at
// the same NATS reads nothing of theirs, calls nobody, and does not see the bucket.
func TestAccount(t *testing.T) {
	t.Setenv("BLUSTAR_PASSWORD", "one")
	t.Setenv("OTHER_PASSWORD", "two")
	t.Setenv("ADMIN_PASSWORD", "three")
	text, err := os.ReadFile("../../auth/SECURING.md")
	require.NoError(t, err)
	accounts := regexp.MustCompile(`(?s)\n    accounts \{.*?\n    \}\n`).FindString(string(text))
	require.NotEmpty(t, accounts)
	file := filepath.Join(t.TempDir(), "nats.conf")
	config := "host: 127.0.0.1\nport: -1\njetstream { store_dir: " + filepath.ToSlash(t.TempDir()) + " }\n" + accounts
	require.NoError(t, os.WriteFile(file, []byte(config), 0o600))
	o, err := server.ProcessConfigFile(file)
	require.NoError(t, err)
	o.NoSigs, o.NoLog = true, true
	s, err := server.NewServer(o)
	require.NoError(t, err)
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	require.True(t, s.ReadyForConnections(time.Minute))

	a := open(t, natsstore.Config{Conn: connect(t, s, nats.UserInfo("presence", "one")), Node: "a"})
	b := open(t, natsstore.Config{Conn: connect(t, s, nats.UserInfo("presence", "one")), Node: "b"})
	a.Answer(func(context.Context, []byte) []byte { return []byte("answer") })
	other := connect(t, s, nats.UserInfo("other", "two"))
	_, err = other.Request("_blustar.call.blustar."+a.Node(), nil, time.Minute)
	require.ErrorIs(t, err, nats.ErrNoResponders)
	js, err := jetstream.New(other)
	require.NoError(t, err)
	_, err = js.Stream(t.Context(), natsstore.DefaultBucket)
	require.ErrorIs(t, err, jetstream.ErrJetStreamNotEnabledForAccount)
	heard, err := other.SubscribeSync(">")
	require.NoError(t, err)
	require.NoError(t, other.Flush())
	answer, err := b.Call(t.Context(), a.Node(), []byte("question"))
	require.NoError(t, err)
	require.Equal(t, "answer", string(answer))
	require.NoError(t, other.Flush())
	m, err := heard.NextMsg(time.Millisecond)
	require.ErrorIs(t, err, nats.ErrTimeout, "%v", m)
}
