package client_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/bcrypt"

	"github.com/openblustar/blustar/auth"
	"github.com/openblustar/blustar/directory"
	"github.com/openblustar/blustar/pidf/aa"
	"github.com/openblustar/blustar/presence"
	"github.com/openblustar/blustar/presence/client"
	"github.com/openblustar/blustar/sipx/sipxtest"
)

// office is the library's own server with tom, ann and an AMCC.
func office(t *testing.T, network *sipxtest.Network) *presence.Server {
	users, err := directory.NewMemory([]directory.Entry{
		{ID: "tom", Account: `DE\tom`, SIP: []string{"tom@example.com"}, Tel: []string{"200"}},
		{ID: "ann", Account: `DE\ann`, SIP: []string{"ann@example.com"}},
	})
	require.NoError(t, err)
	cheap, err := bcrypt.GenerateFromPassword([]byte(`p:a\ss`), bcrypt.MinCost)
	require.NoError(t, err)
	hash := string(cheap)
	accounts, err := auth.NewLocalAccounts([]auth.Account{
		{Account: `DE\tom`, PasswordHash: hash}, {Account: `DE\ann`, PasswordHash: hash},
		{Account: "amcc", PasswordHash: hash, AMCC: true},
	})
	require.NoError(t, err)
	guard, err := auth.New(auth.Config{Verifier: accounts, AMCC: accounts})
	require.NoError(t, err)
	stack := network.NewStack(serverAddr)
	server, err := presence.New(presence.Config{
		Sender: stack, Directory: users, Guard: guard, Domains: []string{"example.com"},
	})
	require.NoError(t, err)
	go func() { _ = stack.Serve(context.Background(), server) }()
	t.Cleanup(func() {
		_ = server.Shutdown(within(t, time.Minute))
		require.NoError(t, stack.Shutdown(within(t, time.Minute)))
	})
	return server
}

// phone is a client of the office.
func phone(t *testing.T, network *sipxtest.Network, addr, address, account string) (*client.Client, *inbox) {
	stack, in := network.NewStack(addr), new(inbox)
	cfg := config(stack)
	cfg.Address, cfg.Notify = address, in.put
	var err error
	cfg.Credentials, err = auth.NewCredentials(account, []byte(`p:a\ss`))
	require.NoError(t, err)
	if account == "amcc" {
		cfg.ContactUser = "fmc"
	}
	c, err := client.New(cfg)
	require.NoError(t, err)
	go func() { _ = stack.Serve(context.Background(), c) }()
	t.Cleanup(func() {
		c.Abandon()
		require.NoError(t, stack.Shutdown(within(t, time.Minute)))
	})
	return c, in
}

// within is a context for a cleanup, when that of the test has ended.
func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// newest returns the last status of an entity in the inbox.
func newest(in *inbox, entity string) string {
	status := ""
	for _, n := range in.take() {
		if n.Entity == entity && n.Presence != nil {
			s := n.Summary()
			status = s.Status + " " + s.Note
		}
	}
	return status
}

// A day with the library's server: sign-in with the real challenge, hours of
// refreshes, a change by each of two clients of one user, and their ends.
func TestWithTheServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := sipxtest.NewNetwork(sipxtest.Config{})
		office(t, network)
		tomPhone, toms := phone(t, network, "192.0.2.10:5060", tom, `DE\tom`)
		annPhone, anns := phone(t, network, "192.0.2.11:5060", ann, `DE\ann`)
		annMobile, _ := phone(t, network, "192.0.2.12:5060", ann, "amcc")

		require.NoError(t, tomPhone.Watch(t.Context(), ann))
		require.Equal(t, "signed out Signed out", newest(toms, ann))
		require.NoError(t, annPhone.SignIn(t.Context()))
		require.NoError(t, annPhone.Publish(t.Context(), client.Publication{Status: aa.StatusBusy, Note: "HELLO"}))
		require.Equal(t, "busy HELLO", newest(toms, ann))
		require.Equal(t, "busy HELLO", newest(anns, ann))

		// BSP-2.4-3: what a second client says at its start does not count, unless
		// its user means it.
		require.NoError(t, annMobile.SignIn(t.Context()))
		require.NoError(t, annMobile.Publish(t.Context(), client.Publication{AsDefault: true}))
		time.Sleep(time.Second)
		require.NotContains(t, newest(toms, ann), "vailable")
		require.NoError(t, annMobile.Publish(t.Context(), client.Publication{Status: aa.StatusDoNotDisturb}))
		require.Equal(t, "unavailable Unavailable", newest(toms, ann))

		time.Sleep(26 * time.Hour)
		for _, n := range append(toms.take(), anns.take()...) {
			require.NoError(t, n.Err)
			require.Equal(t, client.Active, n.State, "nothing ends in a day of refreshes")
		}
		n, err := tomPhone.Fetch(t.Context(), ann)
		require.NoError(t, err)
		require.Equal(t, "unavailable", n.Summary().Status)
		n, err = tomPhone.Fetch(t.Context(), "tel:200")
		require.NoError(t, err)
		require.Equal(t, "tel:200", n.Entity)
		_, err = tomPhone.Fetch(t.Context(), tom)
		require.NoError(t, err)
		require.Empty(t, toms.lines(), "asking for oneself does not end the client")

		require.NoError(t, annPhone.SignOut(t.Context()))
		ended := anns.take()
		require.NotEmpty(t, ended)
		require.Equal(t, client.Terminated, ended[len(ended)-1].State)
		require.NotContains(t, newest(toms, ann), "signed out", "BSP-2.2-4: another client remains")
		require.NoError(t, annMobile.Close(t.Context()))
		require.Equal(t, "signed out Signed out", newest(toms, ann), "BSP-2.2-3")
		require.NoError(t, tomPhone.Close(t.Context()))
	})
}

// However much is lost, what the watcher knows in the end is the newest state
// (BSX-3).
func TestWithTheServerAndLoss(t *testing.T) {
	for seed := range uint64(5) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dice := rand.New(rand.NewPCG(seed, 1))
				rolls := make(chan *rand.Rand, 1)
				rolls <- dice
				network := sipxtest.NewNetwork(sipxtest.Config{OnPacket: func(sipxtest.Packet) sipxtest.Fate {
					r := <-rolls
					defer func() { rolls <- r }()
					return sipxtest.Fate{Drop: r.IntN(4) == 0, Copies: r.IntN(2), Delay: time.Duration(r.IntN(1000)) * time.Millisecond}
				}})
				t.Cleanup(func() { time.Sleep(time.Minute) }) // until all has arrived that is under way
				office(t, network)
				tomPhone, toms := phone(t, network, "192.0.2.10:5060", tom, `DE\tom`)
				annPhone, _ := phone(t, network, "192.0.2.11:5060", ann, `DE\ann`)
				require.NoError(t, tomPhone.Watch(t.Context(), ann))
				last := ""
				for i := range 20 {
					last = fmt.Sprint("note ", i)
					require.NoError(t, annPhone.Publish(t.Context(), client.Publication{Status: aa.StatusBusy, Note: last}))
				}
				time.Sleep(time.Minute)
				require.Equal(t, "busy "+last, newest(toms, ann))
			})
		})
	}
}
