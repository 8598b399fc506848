package console_test

import (
	"context"
	"fmt"
	"log"
	"net/http/httptest"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/openblustar/blustar/directory"
	"github.com/openblustar/blustar/presence"
	"github.com/openblustar/blustar/presence/console"
	"github.com/openblustar/blustar/presence/promstats"
	"github.com/openblustar/blustar/sipx/sipxtest"
)

// A server with its live page, its API and its metrics.
func Example() {
	users, err := directory.NewMemory([]directory.Entry{{ID: "tom", SIP: []string{"tom@example.com"}, Lines: []string{"2719"}}})
	if err != nil {
		log.Fatal(err)
	}
	stream, metrics := new(console.Stream), promstats.New()
	server, err := presence.New(presence.Config{
		Sender: new(sipxtest.NullSender), Directory: users, // a stack, usually
		Hooks: metrics.Hooks(presence.Hooks{Changed: stream.Changed}),
	})
	if err != nil {
		log.Fatal(err)
	}
	defer server.Shutdown(context.Background())
	metrics.Watch(promstats.Parts{Server: server})
	registry := prometheus.NewRegistry()
	registry.MustRegister(metrics)

	handler, err := console.New(console.Config{
		Server: server, Stream: stream, Users: users.All,
		Metrics: promhttp.HandlerFor(registry, promhttp.HandlerOpts{}),
	})
	if err != nil {
		log.Fatal(err)
	}
	web := httptest.NewServer(handler) // http.ListenAndServe("127.0.0.1:8080", handler), usually
	defer web.Close()
	defer stream.Close() // before the web server: browsers hold on to it

	for _, path := range []string{"/", "/v1/explain/sip:tom@example.com", "/metrics"} {
		answer, err := web.Client().Get(web.URL + path)
		if err != nil {
			log.Fatal(err)
		}
		answer.Body.Close()
		fmt.Println(path, answer.Status)
	}
	// Output:
	// / 200 OK
	// /v1/explain/sip:tom@example.com 200 OK
	// /metrics 200 OK
}
