package server

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A bad configuration is one line that names file, key and reason, and exit 2.
func TestBadConfigurations(t *testing.T) {
	for _, c := range []struct{ text, key, reason string }{
		{``, "", "no complete JSON value"},
		{`{`, "", "no complete JSON value"},
		{"{\n\"listen\": [}", "", "line 2: invalid character"},
		{`{} {}`, "", "text after the end"},
		{`[]`, "", "want an object"},
		{`null`, "", "want an object"},
		{`{"listn":[]}`, "listn", "unknown key"},
		{`{"":[]}`, `""`, "unknown key"},
		{`{"Listen":[]}`, "Listen", "unknown key"},
		{`{"auth":{"modus":"off"}}`, "auth.modus", "unknown key"},
		{`{"listen":["udp:127.0.0.1:0"],"listen":["udp:127.0.0.1:0"]}`, "listen", "twice"},
		{`{"auth":{"require_tls":true,"require\u005ftls":false}}`, "auth.require_tls", "twice"},
		{`{"directory":{"ldap":{"uri":"x"}}}`, "directory.ldap.uri", "unknown key"},
		{`{"listen":[]}`, "listen", "empty"},
		{`{"listen":"udp:127.0.0.1:0"}`, "listen", "want a list"},
		{`{"listen":["udp:127.0.0.1:0",7]}`, "listen[1]", "want a string"},
		{`{"listen":["sctp:127.0.0.1:0"]}`, "listen[0]", "want udp, tcp"},
		{`{"listen":["udp:127.0.0.1"]}`, "listen[0]", "want host:port"},
		{`{"listen":["udp:127.0.0.1:70000"]}`, "listen[0]", "port"},
		{`{"listen":["udp:127.0.0.1:5","udp:127.0.0.1:5"]}`, "listen[1]", "twice"},
		{`{"listen":["tls:127.0.0.1:0"]}`, "tls", "needs tls.cert"},
		{`{"advertise":["tcp:x:y"]}`, "advertise[0]", "want a host"},
		{`{"advertise":[""]}`, "advertise[0]", "want a host"},
		{`{"advertise":["sip.example.com","a b"]}`, "advertise[1]", "want a host"},
		{`{"domains":["sip:example.com"]}`, "domains[0]", "want a host name"},
		{`{"dialect":"klingon"}`, "dialect", "want auto, blustar or standard"},
		{`{"dialect":null}`, "dialect", "want a string"},
		{`{"nat":"maybe"}`, "nat", "want auto"},
		{`{"auth":{"mode":"maybe"}}`, "auth.mode", "want required"},
		{`{"auth":{"cipher":"rot13"}}`, "auth.cipher", "no cipher"},
		{`{"auth":{"session":"soon"}}`, "auth.session", "want a duration"},
		{`{"auth":{"session":8}}`, "auth.session", "want a duration"},
		{`{"auth":{"session":"0s"}}`, "auth.session", "more than 0"},
		{`{"auth":{"challenge_lifetime":"-5m"}}`, "auth.challenge_lifetime", "want a duration"},
		{`{"auth":{"allow_basic":"yes"}}`, "auth.allow_basic", "want false, true"},
		{`{"auth":{"allow_old_digest":1}}`, "auth.allow_old_digest", "want false, true"},
		{`{"auth":{"allow_old_digest":true,"digest_algorithms":["SHA-256"]}}`, "auth.allow_old_digest", "needs MD5"},
		{`{"auth":{"digest_algorithms":["MD5","SHA-1"]}}`, "auth.digest_algorithms[1]", "want SHA-256 or MD5"},
		{`{"auth":{"digest_algorithms":["MD5","MD5"]}}`, "auth.digest_algorithms[1]", "each once"},
		{`{"auth":{"require_tls":"yes"}}`, "auth.require_tls", "want true or false"},
		{`{"auth":{"shared_sources":"192.0.2.0/24"}}`, "auth.shared_sources", "want a list"},
		{`{"auth":{"shared_sources":[7]}}`, "auth.shared_sources[0]", "want a network"},
		{`{"auth":{"shared_sources":["::1","192.0.2.0/33"]}}`, "auth.shared_sources[1]", "want a network"},
		{`{"auth":{"user_agents":["BSCpc",""]}}`, "auth.user_agents[1]", "want a word"},
		{`{"auth":{"max_failures":-1}}`, "auth.max_failures", "want 0 to 100"},
		{`{"auth":{"max_failures":1.5}}`, "auth.max_failures", "whole number"},
		{`{"limits":{"max_list":0}}`, "limits.max_list", "want 1 to"},
		{`{"limits":{"max_body":"64k"}}`, "limits.max_body", "whole number"},
		{`{"limits":{"max_body":99999999}}`, "limits.max_body", "want 1 to"},
		{`{"limits":{"max_subscribe_expires":99999999999}}`, "limits.max_subscribe_expires", "want"},
		{`{"accounts":"none.json"}`, "accounts", "none.json"},
		{`{"accounts":"bad.json"}`, "accounts", "password_hash"},
		{`{"directory":{}}`, "directory", "want file or ldap"},
		{`{"directory":{"file":"a","ldap":{}}}`, "directory", "exclude"},
		{`{"directory":{"file":"none.json"}}`, "directory.file", "none.json"},
		{`{"directory":{"file":"bad.json"}}`, "directory.file", "accounts"},
		{`{"directory":{"ldap":{"base_dn":"dc=x"}}}`, "directory.ldap.url", "missing"},
		{`{"directory":{"ldap":{"url":"ldap://h"}}}`, "directory.ldap.base_dn", "missing"},
		{`{"directory":{"ldap":{"url":"http://h","base_dn":"dc=x"}}}`, "directory.ldap", "URLs[0]"},
		{`{"directory":{"ldap":{"url":[],"base_dn":"dc=x"}}}`, "directory.ldap.url", "want a URL"},
		{`{"directory":{"ldap":{"url":"ldap://h","base_dn":"dc=x","filter":"(("}}}`, "directory.ldap", "Filter"},
		{`{"directory":{"ldap":{"url":"ldap://h","base_dn":"dc=x","bind_dn":"cn=a"}}}`, "directory.ldap.bind_password_file", "missing"},
		{`{"directory":{"ldap":{"url":"ldap://h","base_dn":"dc=x","bind_dn":"cn=a","bind_password_file":"none"}}}`, "directory.ldap.bind_password_file", "no such file"},
		{`{"directory":{"ldap":{"url":"ldaps://h","base_dn":"dc=x","ca_file":"bad.json"}}}`, "directory.ldap.ca_file", "no PEM"},
		{`{"store":{}}`, "store.file", "missing"},
		{`{"store":{"file":"a.db","node":"a"}}`, "store.node", "needs store.nats"},
		{`{"store":{"file":"a.db","nats":{"url":"nats://h"}}}`, "store", "exclude"},
		{`{"store":{"sync":"always","nats":{"url":"nats://h"}}}`, "store.sync", "is for store.file"},
		{`{"store":{"nats":{}}}`, "store.nats.url", "missing"},
		{`{"store":{"nats":{"url":"http://h"}}}`, "store.nats.url[0]", "want a URL"},
		{`{"store":{"nats":{"url":["nats://h","nats://u:canary@h"]}}}`, "store.nats.url[1]", "without a user"},
		{`{"store":{"nats":{"url":"nats://h:x"}}}`, "store.nats.url[0]", "want a URL"},
		{`{"store":{"nats":{"url":"nats://h:99999"}}}`, "store.nats.url[0]", "want a URL"},
		{`{"store":{"nats":{"url":"nats://h:"}}}`, "store.nats.url[0]", "want a URL"},
		{`{"store":{"nats":{"url":"nats://:4222"}}}`, "store.nats.url[0]", "want a URL"},
		{`{"store":{"nats":{"url":["nats://h:4222","tls://[::1]:4222","nats://[::1]"],"credentials_file":"none"}}}`, "store.nats.credentials_file", "no such file"},
		{`{"store":{"nats":{"url":"nats://h","credentials_file":"."}}}`, "store.nats.credentials_file", "is a folder"},
		{`{"store":{"nats":{"url":"nats://h","ca_file":"bad.json"}}}`, "store.nats.ca_file", "no PEM"},
		{`{"store":{"nats":{"url":"nats://h","ca_file":"none"}}}`, "store.nats.ca_file", "no such file"},
		{`{"store":{"nats":{"url":"nats://h","bucket":"a.b"}}}`, "store.nats.bucket", "want letters"},
		{`{"store":{"nats":{"url":"nats://h","replicas":7}}}`, "store.nats.replicas", "want 1 to 5"},
		{`{"store":{"nats":{"url":"nats://h","lease":"1h"}}}`, "store.nats.lease", "want 1s to 30s"},
		{`{"store":{"nats":{"url":"nats://h"},"node":"a"}}`, "store.nats", "examples/cluster/server"},
		{`{"active_directory":{}}`, "active_directory.url", "missing"},
		{`{"active_directory":{"url":"ldap://dc"}}`, "active_directory", "ldaps or StartTLS"},
		{`{"active_directory":{"url":"ldaps://dc","ca_file":"none"}}`, "active_directory.ca_file", "none"},
		{`{"tls":{"cert":"a"}}`, "tls.key", "missing"},
		{`{"tls":{"key":"a"}}`, "tls.cert", "missing"},
		{`{"tls":{"cert":"none","key":"bad.json"}}`, "tls.cert", "no such file"},
		{`{"tls":{"cert":"bad.json","key":"none"}}`, "tls.key", "no such file"},
		{`{"tls":{"cert":"bad.json","key":"bad.json"}}`, "tls", "PEM"},
		{`{"http":{"listen":"8080"}}`, "http.listen", "want host:port"},
		{`{"http":{"listen":"0.0.0.0:0"}}`, "http.listen", "needs http.token_file"},
		{`{"http":{"listen":":0"}}`, "http.listen", "needs http.token_file"},
		{`{"http":{"token_file":"none"}}`, "http.token_file", "no such file"},
		{`{"http":{"token_file":"empty"}}`, "http.token_file", "want one word"},
		{`{"tls":{"ca_file":"none"}}`, "tls.ca_file", "no such file"},
		{`{"pbx":{}}`, "pbx.uri", `"": `},
		{`{"pbx":{"uri":"pbx.example.com","from":"sip:a@example.com"}}`, "pbx.uri", `"pbx.example.com": `},
		{`{"pbx":{"uri":"sip:pbx.example.com"}}`, "pbx.from", `"": `},
		{`{"pbx":{"uri":"sip:pbx.example.com","from":"sip:a@example.com","expires":"0.5s"}}`, "pbx", "Expires"},
		{`{"pbx":{"uri":"sip:pbx.example.com","from":"sip:a@example.com","expires":300}}`, "pbx.expires", "want a duration"},
		{`{"pbx":{"uri":"sip:pbx.example.com","from":"sip:a@example.com","password_file":"bad.json"}}`, "pbx.password_file", "goes with a user name"},
		{`{"pbx":{"uri":"sip:pbx.example.com","from":"sip:a@example.com","username":"a","password_file":"empty"}}`, "pbx.password_file", "is empty"},
		{`{"calendar":{}}`, "calendar.url", "want one with {mail} or {user}"},
		{`{"calendar":{"url":"https://dav.example.com/"}}`, "calendar.url", "want one with {mail} or {user}"},
		{`{"calendar":{"url":"dav.example.com/{user}"}}`, "calendar", "URL"},
		{`{"calendar":{"url":"https://dav.example.com/{user}","username":"a","password_file":"none"}}`, "calendar.password_file", "no such file"},
		{`{"calendar":{"url":"https://dav.example.com/{user}","username":"a"}}`, "calendar.password_file", "goes with a user name"},
		{`{"calendar":{"url":"https://dav.example.com/{user}","ca_file":"bad.json"}}`, "calendar.ca_file", "no PEM"},
		{`{"calendar":{"url":"https://dav.example.com/{user}","basic":true}}`, "calendar.kind", "for kind ews"},
		{`{"calendar":{"url":"https://dav.example.com/{user}","schedules":"a@example.com"}}`, "calendar.schedules", "for kind graph"},
		{`{"calendar":{"kind":"exchange"}}`, "calendar.kind", "want caldav, ews or graph"},
		{`{"calendar":{"kind":"ews"}}`, "calendar.username", "missing"},
		{`{"calendar":{"kind":"ews","username":"a","password_file":"bad.json"}}`, "calendar", "URL"},
		{`{"calendar":{"kind":"ews","url":"https://h","access":"root","username":"a","password_file":"bad.json"}}`, "calendar", "Access"},
		{`{"calendar":{"kind":"graph"}}`, "microsoft", "missing"},
		{`{"calendar":{"kind":"graph","url":"https://graph.example.com"},"microsoft":{}}`, "calendar.url", "takes its account from microsoft"},
		{`{"microsoft":{}}`, "microsoft", "Tenant"},
		{`{"teams":{}}`, "microsoft", "missing"},
		{`{"teams":{"write":true},"microsoft":{}}`, "teams.write", "needs pbx"},
		{`{"log":{"level":"loud"}}`, "log.level", "want debug"},
		{`{"log":{"format":"xml"}}`, "log.format", "want text or json"},
	} {
		t.Run(c.text, func(t *testing.T) {
			folder := files(t, map[string]string{
				"server.json": c.text, "empty": "\n",
				"bad.json": `{"accounts":[{"account":"x","password_hash":"plain"}]}`,
			})
			name := filepath.Join(folder, "server.json")
			for _, args := range [][]string{{"-config", name}, {"check", "-config", name}} {
				code, _, stderr := call(t, "", args...)
				require.Equal(t, 2, code, stderr)
				want := "server: " + name + ": "
				if c.key != "" {
					want += c.key + ": "
				}
				line := lastLine(stderr)
				require.True(t, strings.HasPrefix(line, want), "%q, want %q", line, want)
				require.Contains(t, line, c.reason)
				require.NotContains(t, stderr, "plain")
			}
		})
	}
}

// lastLine is the message; the log may have had warnings before it.
func lastLine(s string) string {
	lines := strings.Split(strings.TrimSuffix(s, "\n"), "\n")
	return lines[len(lines)-1]
}

func TestConfigFileProblems(t *testing.T) {
	folder := t.TempDir()
	code, _, stderr := call(t, "", "-config", filepath.Join(folder, "none.json"))
	require.Equal(t, 2, code)
	require.Contains(t, stderr, "none.json: no such file")

	code, _, stderr = call(t, "", "-config", folder)
	require.Equal(t, 2, code)
	require.Contains(t, stderr, "is a folder")

	name := filepath.Join(folder, "big.json")
	require.NoError(t, os.WriteFile(name, make([]byte, 1<<20+1), 0o600))
	code, _, stderr = call(t, "", "-config", name)
	require.Equal(t, 2, code)
	require.Contains(t, stderr, "larger than")
}
