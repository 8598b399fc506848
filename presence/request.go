package presence

import (
	"strings"
	"time"

	"github.com/openblustar/blustar/sipx"
)

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
