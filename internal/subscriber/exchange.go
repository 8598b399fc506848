package subscriber

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/openblustar/blustar/sipx"
)

// An Exchange is one SUBSCRIBE or PUBLISH until its outcome: sent again, with the
// next CSeq, where it is challenged or asks for too short a lifetime.
type Exchange struct {
	// Expires is the lifetime to ask for; 0 puts an end. A 423 raises it, once and
	// up to [MaxExpires].
	Expires time.Duration
	// Answer, which is mandatory, answers the challenge of a 401 or 407 to req, as [Digest] does. It is
	// called once for each of the two, and once more where the nonce was too old,
	// so that a wrong password cannot lock the account out.
	Answer func(req *sipx.Request, res *sipx.Response) (sipx.Field, error)
	// Refused, which may be nil, is called where the credentials were not taken.
	Refused func()

	raised      bool
	www, proxy  attempt
	credentials sipx.Header
}

// attempt is what became of one kind of challenge.
type attempt struct{ answered, stale bool }

// Failure is an outcome that is no 2xx, as an error.
type Failure struct {
	Status     int
	Reason     string        // at most 128 bytes
	RetryAfter time.Duration // an hour at most; 0 where there is none
	Err        error         // why a challenge was not answered
}

func (f *Failure) Error() string {
	text := fmt.Sprintf("subscriber: a request was answered %d %s", f.Status, f.Reason)
	if f.Err != nil {
		text += ": " + f.Err.Error()
	}
	return text
}

// Unwrap returns Err.
func (f *Failure) Unwrap() error { return f.Err }

// Refused reports whether the server has not taken the credentials.
func (f *Failure) Refused() bool { return (f.Status == 401 || f.Status == 407) && f.Err == nil }

// Complete adds Expires and credentials to a request that is to be sent.
func (x *Exchange) Complete(req *sipx.Request) {
	req.Header.Add("Expires", strconv.Itoa(int(x.Expires/time.Second)))
	req.Header = append(req.Header, x.credentials...)
}

// Again takes the final response to req, and reports whether there is to be
// another request. If not, the failure is nil for a 2xx.
func (x *Exchange) Again(req *sipx.Request, res *sipx.Response) (again bool, _ *Failure) {
	failure := newFailure(res)
	switch {
	case res.Status >= 200 && res.Status < 300:
		return false, nil
	case res.Status == 401:
		again, failure.Err = x.authenticate(req, res, &x.www)
	case res.Status == 407:
		again, failure.Err = x.authenticate(req, res, &x.proxy)
	case res.Status == 423 && !x.raised && x.Expires > 0:
		x.raised = true
		n, _ := sipx.Seconds(res.Header.Get("Min-Expires"))
		if least := time.Duration(n) * time.Second; least > x.Expires && least <= MaxExpires {
			x.Expires, again = least, true
		}
	}
	if again {
		return true, nil
	}
	if x.Refused != nil && failure.Refused() {
		x.Refused()
	}
	return false, failure
}

func (x *Exchange) authenticate(req *sipx.Request, res *sipx.Response, a *attempt) (bool, error) {
	if a.answered && (a.stale || !isStale(res)) {
		return false, nil
	}
	a.answered, a.stale = true, a.answered
	field, err := x.Answer(req, res)
	if err != nil {
		return false, err
	}
	for i := range x.credentials {
		if x.credentials[i].Name == field.Name {
			x.credentials[i] = field
			return true, nil
		}
	}
	x.credentials = append(x.credentials, field)
	return true, nil
}

// Granted is the lifetime that a 2xx grants: at most what was asked, and never
// nothing.
func (x *Exchange) Granted(res *sipx.Response) time.Duration {
	n, ok := sipx.Seconds(res.Header.Get("Expires"))
	if !ok {
		return x.Expires
	}
	return max(min(time.Duration(n)*time.Second, x.Expires), time.Second)
}

func newFailure(res *sipx.Response) *Failure {
	reason := res.ReasonPhrase()
	return &Failure{
		Status:     res.Status,
		Reason:     reason[:min(len(reason), 128)],
		RetryAfter: seconds(res.Header.Get("Retry-After"), maxRetryAfter),
	}
}

// EndsDialog reports whether a SUBSCRIBE within a dialog that got this status has
// ended the subscription (RFC 6665 §4.1.2.2, RFC 5057 §5.1).
func EndsDialog(status int) bool {
	switch status {
	case 404, 405, 410, 416, 480, 481, 482, 483, 484, 485, 489, 501, 604:
		return true
	}
	return false
}

// Contact is the URI for the Contact of requests to server, over flow where that
// is not zero.
func Contact(sender sipx.Sender, flow sipx.Flow, server sipx.URI, user string) sipx.URI {
	if flow.Transport == "" {
		flow.Transport = "udp"
		if t, ok := server.Param("transport"); ok {
			flow.Transport = strings.ToLower(t)
		} else if server.Scheme == "sips" {
			flow.Transport = "tls"
		}
	}
	contact, _ := sipx.ParseAddress(sender.Contact(flow)) // a field value, as a Sender promises
	contact.URI.User = user
	return contact.URI
}
