package presence

import (
	"strings"
	"time"

	"github.com/openblustar/blustar/sipx"
)

// oneContact returns the Contact of a request, which must be one.
func oneContact(req *sipx.Request) (sipx.Address, error) {
	if req.Header.Count("Contact") != 1 {
		return sipx.Address{}, sipx.Errorf(400, "one Contact is mandatory")
	}
	list, err := sipx.ParseAddresses(req.Header.Get("Contact"), 2)
	if err != nil || len(list) != 1 {
		return sipx.Address{}, sipx.Errorf(400, "one Contact is mandatory")
	}
	if scheme := list[0].URI.Scheme; scheme != "sip" && scheme != "sips" {
		return sipx.Address{}, sipx.Errorf(400, "Contact must be a sip URI")
	}
	return list[0], nil
}

// Bounds of what a dialog keeps of the request that opened it.
const (
	maxRoutes    = 16      // elements of its route set
	maxRouteSize = 8 << 10 // bytes of all of them
	maxToken     = 256     // bytes of its tag, and of the id of its event
)

func recordRoutes(req *sipx.Request) ([]string, error) {
	var routes []string
	size := 0
	for value := range req.Header.Values("Record-Route") {
		list, err := sipx.ParseAddresses(value, maxRoutes)
		if err != nil || len(routes)+len(list) > maxRoutes {
			return nil, sipx.Errorf(400, "bad Record-Route")
		}
		for _, a := range list {
			route := a.String()
			if size += len(route); size > maxRouteSize {
				return nil, sipx.Errorf(400, "Record-Route is too long")
			}
			routes = append(routes, route)
		}
	}
	return routes, nil
}

// granted returns the lifetime that a request gets (BSP-4.1-2, BSP-4.3-1).
func (s *Server) granted(req *sipx.Request, most time.Duration) (time.Duration, error) {
	value, ok := req.Header.Lookup("Expires")
	if !ok {
		return most, nil
	}
	n, ok := sipx.Seconds(value)
	if !ok {
		return 0, sipx.Errorf(400, "bad Expires")
	}
	asked := time.Duration(n) * time.Second
	if asked != 0 && asked < s.cfg.MinExpires {
		return 0, tooBrief(s.cfg.MinExpires)
	}
	return min(asked, most), nil
}

// accepts reports whether a watcher takes documents of this type. It need not
// say so of that which its event package has by default.
func accepts(h sipx.Header, media string) bool {
	if h.Count("Accept") == 0 {
		return true
	}
	for t := range h.Tokens("Accept") {
		switch strings.ToLower(t) {
		case media, "application/*", "*/*":
			return true
		}
	}
	return false
}

// contact is our Contact on a flow, as a field value. There are few different
// ones, which dialogs share.
func (s *Server) contact(f sipx.Flow) string {
	text := s.cfg.Sender.Contact(f)
	if shared, ok := s.contacts.Load(text); ok {
		return shared.(string)
	}
	if s.contactCount.Add(1) <= maxContacts {
		s.contacts.Store(text, text)
	}
	return text
}

// maxContacts bounds how many of our own Contacts are kept.
const maxContacts = 256
