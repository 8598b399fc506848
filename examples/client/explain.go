package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"text/tabwriter"
	"time"
)

// explanation is the answer of GET /v1/explain/{address}.
type explanation struct {
	Entity  string `json:"entity"`
	Status  string `json:"status"`
	Note    string `json:"note"`
	Rule    string `json:"rule"`
	Sources []struct {
		Source   string `json:"source"`
		Value    string `json:"value"`
		Owner    string `json:"owner"`
		Age      string `json:"age"`
		Lifetime string `json:"lifetime"`
		Counts   bool   `json:"counts"`
		Won      bool   `json:"won"`
	} `json:"sources"`
	NextChange *time.Time `json:"next_change"`
}

// maxAnswer bounds what is read of an answer, in bytes.
const maxAnswer = 4 << 20

// explain asks the control API why a status is what it is.
func explain(ctx context.Context, fs *flag.FlagSet, args []string, e env) error {
	api := fs.String("api", "http://127.0.0.1:8080", "`URL` of the server's control API")
	tokenFile := fs.String("token-file", "", "`file` with the API's bearer token")
	rest, err := parse(fs, args, e)
	if err != nil {
		return err
	}
	if len(rest) != 1 {
		return usageError("explain: want one address")
	}
	base, err := url.Parse(*api)
	if err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https" {
		return usageError(fmt.Sprintf("-api %q is no http: or https: URL", *api))
	}
	target := strings.TrimSuffix(base.String(), "/") + "/v1/explain/" + url.PathEscape(rest[0])
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return err
	}
	if *tokenFile != "" {
		token, err := os.ReadFile(*tokenFile)
		if err != nil {
			return fmt.Errorf("-token-file: %w", err)
		}
		req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	}
	answer, err := ask(req)
	if err != nil {
		return err
	}
	return answer.print(e.stdout)
}

func ask(req *http.Request) (*explanation, error) {
	api := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, Proxy: http.ProxyFromEnvironment}}
	res, err := api.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		var failure struct{ Error string }
		if json.Unmarshal(body, &failure) != nil || failure.Error == "" {
			failure.Error = "no reason given"
		}
		return nil, fmt.Errorf("the control API answered %s: %s", res.Status, failure.Error)
	}
	answer := new(explanation)
	if err := json.Unmarshal(body, answer); err != nil || answer.Status == "" {
		return nil, errors.New("the control API's answer is no explanation")
	}
	return answer, nil
}

// print writes the explanation for people: the result, then what each source
// says, the one that won marked.
func (x *explanation) print(w io.Writer) error {
	fmt.Fprintf(w, "%s is %s", printable(x.Entity), printable(x.Status))
	if x.Note != "" {
		fmt.Fprintf(w, " (%q)", x.Note)
	}
	fmt.Fprintf(w, " by rule %q\n", x.Rule)
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if len(x.Sources) > 0 {
		fmt.Fprintln(table, "  \tSOURCE\tVALUE\tOWNER\tAGE\tLIFETIME")
	}
	for _, s := range x.Sources {
		mark := "  "
		switch {
		case s.Won:
			mark = "* "
		case !s.Counts:
			mark = "- "
		}
		cells := []string{s.Source, s.Value, s.Owner, s.Age, s.Lifetime}
		for i, c := range cells {
			cells[i] = printable(c)
		}
		fmt.Fprintln(table, mark+"\t"+strings.Join(cells, "\t"))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if len(x.Sources) > 0 {
		fmt.Fprintln(w, "* won   - does not count")
	}
	next := "nothing changes it by itself"
	if x.NextChange != nil {
		next = "next change by itself at " + x.NextChange.Local().Format(time.DateTime)
	}
	_, err := fmt.Fprintln(w, next)
	return err
}
