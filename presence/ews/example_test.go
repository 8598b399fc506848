package ews_test

import (
	"crypto/tls"
	"log"
	"time"

	"github.com/openblustar/blustar/presence"
	"github.com/openblustar/blustar/presence/ews"
)

// A service account with the role ApplicationImpersonation is told of changes in all
// calendars; who is out of office is shown as well.
func ExampleNew() {
	monitor, err := ews.New(ews.Config{
		URL:         "https://mail.example.com/EWS/Exchange.asmx",
		Credentials: ews.PasswordFile(`EXAMPLE\presence`, "/run/secrets/exchange"),
		TLS:         &tls.Config{MinVersion: tls.VersionTLS12}, // RootCAs: those of the company
		OutOfOffice: &ews.OutOfOffice{Subject: "Out of office"},
	})
	if err != nil {
		log.Fatal(err)
	}
	var _ presence.CalendarMonitor = monitor // for presence.Config
}

// Without any right, free and busy times of many mailboxes are asked for at once.
func ExampleNew_availability() {
	_, err := ews.New(ews.Config{
		Autodiscover: []string{"example.com"},
		Credentials:  ews.PasswordFile("presence@example.com", "/run/secrets/exchange"),
		Access:       ews.Availability,
		Interval:     2 * time.Minute,
	})
	if err != nil {
		log.Fatal(err)
	}
}
