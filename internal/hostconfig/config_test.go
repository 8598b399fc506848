package hostconfig_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/internal/hostconfig"
	"github.com/openblustar/blustar/internal/strictjson"
)

// write writes a configuration file.
func write(t *testing.T, text string) string {
	name := filepath.Join(t.TempDir(), "server.json")
	require.NoError(t, os.WriteFile(name, []byte(text), 0o600))
	return name
}

// What counts without a file, and without a key in it.
func TestDefaults(t *testing.T) {
	name := write(t, `{"tls":{"cert":"a.pem","key":"/k.pem"},
		"directory":{"ldap":{"url":"ldaps://h","base_dn":"dc=x","ca_file":"ca.pem"}},"active_directory":null}`)
	folder := filepath.Dir(name)
	c, err := hostconfig.Load(name, nil)
	require.NoError(t, err)
	require.Equal(t, []string{"udp:127.0.0.1:5060", "tcp:127.0.0.1:5060"}, c.Listen)
	require.Equal(t, "127.0.0.1:8080", c.HTTP.Listen)
	require.Equal(t, hostconfig.Auth{
		Mode: "required", Cipher: "tuz", Session: hostconfig.Duration(8 * time.Hour), ChallengeLifetime: hostconfig.Duration(5 * time.Minute),
		MaxFailures: 4, FailureWindow: hostconfig.Duration(15 * time.Minute),
	}, c.Auth)
	require.Equal(t, hostconfig.Limits{
		MaxSubscribeExpires: 300, MaxPublishExpires: 3600, MinExpires: 60, MaxNote: 1024, MaxBody: 65536, MaxList: 500, MaxSubscriptions: 200000, HeapRoom: 128,
	}, c.Limits) // BSP-4.1-2, BSP-4.3-1
	require.Nil(t, c.ActiveDirectory)

	l := c.Directory.LDAP
	require.Equal(t, hostconfig.URLs{"ldaps://h"}, l.URL)
	require.Equal(t, "(objectClass=person)", l.Filter)
	require.Equal(t, []string{"mail"}, l.SIPAttributes)
	require.Equal(t, []string{"telephoneNumber"}, l.TelAttributes)
	require.Equal(t, []string{"telephoneNumber"}, l.LineAttributes)
	require.Equal(t, "entryUUID uid mail displayName", strings.Join([]string{l.IDAttribute, l.AccountAttribute, l.MailAttribute, l.NameAttribute}, " "))
	require.Equal(t, hostconfig.Duration(5*time.Minute), *l.Cache)

	require.Equal(t, filepath.Join(folder, "a.pem"), c.TLS.Cert, "relative to the configuration file")
	require.Equal(t, "/k.pem", c.TLS.Key)
	require.Equal(t, filepath.Join(folder, "ca.pem"), l.CAFile)
}

// The documented example is a good one, but for the files that it names.
func TestDocumentedExample(t *testing.T) {
	name := write(t, `{
	  "listen": ["udp:127.0.0.1:5060", "tcp:127.0.0.1:5060", "tls:127.0.0.1:5061"],
	  "tls": {"cert": "server.pem", "key": "server.key"},
	  "domains": ["example.com"],
	  "dialect": "auto",
	  "auth": {"mode": "required", "cipher": "tuz", "session": "8h", "challenge_lifetime": "5m",
	           "allow_basic": false, "require_tls": false, "max_failures": 4, "failure_window": "15m"},
	  "accounts": "accounts.json",
	  "directory": {"file": "users.json"},
	  "active_directory": null,
	  "limits": {"max_subscribe_expires": 300, "max_publish_expires": 3600, "min_expires": 60,
	             "max_note": 1024, "max_body": 65536, "max_list": 500, "max_subscriptions": 200000, "heap_room": 128},
	  "http": {"listen": "127.0.0.1:8080", "token_file": ""},
	  "log": {"level": "info", "format": "text"}
	}`)
	_, err := hostconfig.Load(name, nil)
	require.NoError(t, err)
}

func FuzzConfig(f *testing.F) {
	f.Add([]byte(`{"listen":["udp:127.0.0.1:0"],"auth":{"allow_basic":"insecure"},"directory":{"ldap":{"url":["a"]}}}`))
	f.Add([]byte(`{"limits":{"max_body":1e3},"auth":{"session":"1h"}}`))
	f.Add([]byte(`[{"id":"1","from":"2026-01-02T10:00:00Z"}]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		c := hostconfig.Default()
		if err := strictjson.Decode(data, c); err == nil {
			if err := c.Check(); err != nil {
				require.NotEmpty(t, err.Error())
			}
		} else {
			require.NotContains(t, err.Error(), "\n")
		}
	})
}
