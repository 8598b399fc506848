package main

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/internal/rig"
)

// check runs the command and returns what it prints.
func check(t *testing.T, code int, args ...string) string {
	t.Helper()
	var out strings.Builder
	require.Equal(t, code, run(t.Context(), append([]string{"check"}, args...), &out), &out)
	require.NotContains(t, out.String(), "canary")
	return out.String()
}

// A configuration is looked at without asking anybody.
func TestCheck(t *testing.T) {
	name := write(t, configuration(nil), nil)
	require.Equal(t, "ok: "+name+"\n", check(t, 0, "-config", name))
	name = write(t, configuration(func(c object) { c["log"] = object{"level": "loud"} }), nil)
	require.Contains(t, check(t, 2, "-config", name), `log.level: "loud"`)
}

// Who does not answer is named, each of them.
func TestCheckOnlineDown(t *testing.T) {
	down := newCloud(t)
	down.server.Close()
	out := check(t, 1, "-config", write(t, down.configuration(nil), nil), "-online", "-user", "sip:alice@example.test")
	require.Contains(t, out, "failed: directory: bind and base: ")
	require.Contains(t, out, "failed: microsoft: token: ")
	require.Contains(t, out, "failed: directory: sip:alice@example.test: ")
}

// onSlapd has the configuration use a real directory.
func onSlapd(slapd map[string]string) func(object) {
	return func(c object) {
		c["domains"] = []string{slapd["SIP_DOMAIN"]}
		c["directory"] = object{"ldap": object{
			"url": slapd["URL_TLS"], "ca_file": slapd["CA_FILE"], "base_dn": slapd["BASE_DN"],
			"bind_dn": slapd["BIND_DN"], "bind_password_file": "ldap-password", "sip_attributes": []string{slapd["SIP_ATTR"]},
		}}
	}
}

// Everybody is asked: a bind, a user, a calendar, a token, the presence in Teams.
func TestCheckOnline(t *testing.T) {
	t.Parallel()
	slapd := rig.Start(t, "slapd")
	cloud := newCloud(t)
	cloud.meets(true)
	cloud.calls(true)
	name := write(t, cloud.configuration(onSlapd(slapd)), map[string]string{"ldap-password": slapd["BIND_PW"] + "\n"})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var out strings.Builder
	require.Zero(t, run(ctx, []string{"check", "-config", name, "-online", "-user", "sip:alice@example.test"}, &out), &out)
	for _, want := range []string{
		"ok: directory: bind and base\n", "ok: microsoft: token\n", "ok: directory: sip:alice@example.test is ", " has 1 appointments\n",
		"ok: teams: sip:alice@example.test is \"busy\"\n",
	} {
		require.Contains(t, out.String(), want)
	}
	require.NotContains(t, out.String(), slapd["BIND_PW"])
}
