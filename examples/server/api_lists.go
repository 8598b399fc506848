package main

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/openblustar/blustar/directory"
)

// Lists are paged with ?limit= and ?offset=.
const (
	defaultPage = 100
	maxPage     = 1000
)

// page is a part of a list.
type page[T any] struct {
	Total  int    `json:"total"` // in the whole list
	Limit  int    `json:"limit"`
	Offset int    `json:"offset"`
	Next   string `json:"next,omitempty"` // path of the next page
	Items  []T    `json:"items"`
}

func (s *server) getSubscriptions(w http.ResponseWriter, r *http.Request) error {
	return writePage(w, r, s.presence.Subscriptions())
}

func (s *server) getClients(w http.ResponseWriter, r *http.Request) error {
	return writePage(w, r, s.presence.Clients())
}

func (s *server) getPublications(w http.ResponseWriter, r *http.Request) error {
	return writePage(w, r, s.presence.Publications())
}

// getForwardings is GET /v1/forwardings: what the controller recorded.
func (s *server) getForwardings(w http.ResponseWriter, r *http.Request) error {
	return writePage(w, r, s.forwards.list())
}

func writePage[T any](w http.ResponseWriter, r *http.Request, all []T) error {
	query := r.URL.Query()
	limit, err := number(query, "limit", defaultPage, 1, maxPage)
	if err != nil {
		return err
	}
	offset, err := number(query, "offset", 0, 0, 1<<31-1)
	if err != nil {
		return err
	}
	p := page[T]{Total: len(all), Limit: limit, Offset: offset, Items: []T{}}
	if offset < len(all) {
		end := min(offset+limit, len(all))
		p.Items = all[offset:end]
		if end < len(all) {
			p.Next = fmt.Sprintf("%s?limit=%d&offset=%d", r.URL.Path, limit, end)
		}
	}
	writeJSON(w, http.StatusOK, p)
	return nil
}

func number(query url.Values, key string, value, least, most int) (int, error) {
	text := query.Get(key)
	if text == "" {
		return value, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < least || n > most {
		return 0, &fieldError{key, fmt.Sprintf("%q: want %d to %d", printable(text), least, most)}
	}
	return n, nil
}

// entityOf writes an address as documents have it.
func entityOf(address string) string {
	a, err := directory.ParseAddress(address)
	if err != nil {
		return address
	}
	return a.String()
}
