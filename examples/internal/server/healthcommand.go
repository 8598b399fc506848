package server

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"time"
)

// healthCommand asks a server on this machine whether it is well: for containers that
// have no other program.
func healthCommand(ctx context.Context, args []string, e env) error {
	fs := flag.NewFlagSet("health", flag.ContinueOnError)
	address := fs.String("http", "127.0.0.1:8080", "`host:port` of its control API")
	if err := parse(fs, args, e); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+*address+"/healthz", nil)
	if err != nil {
		return usageError("health: -http: " + err.Error())
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("not well: %s", res.Status)
	}
	return nil
}
