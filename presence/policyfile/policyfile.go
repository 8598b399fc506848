// Package policyfile is a [presence.Policy] in a JSON file: rules, of which the first
// that names both the watcher and the user counts.
//
//	{"groups": {"board": ["DE\\ann", "sip:bob@example.com"]},
//	 "rules": [
//	   {"watchers": ["board"], "sight": "others"},
//	   {"users": ["board"], "sight": "busy-or-not"}],
//	 "default": "no-details"}
//
// A name in watchers and users is that of a group of the file, else an account, a sip: or
// tel: address, or the ID of a directory entry. "group:" and a value of
// [directory.Entry].Groups are all who have that value: "group:Sales", or
// "group:CN=Board,OU=Groups,DC=example,DC=com". Case does not count. A rule without
// watchers counts for all of them, one without users for all users. Where no rule counts,
// default does.
//
// A watcher is known by account, and by the directory entry of From, or where there is none
// by that of the account. Who has no account, because nobody must sign in, is taken at their
// word.
//
// The sights are "others" (everything but the details of private appointments), "own"
// (those too), "no-details", "no-lines", "busy-or-not", "blocked" and "refused"; see
// [consolidation.Sight].
package policyfile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/openblustar/blustar/directory"
	"github.com/openblustar/blustar/internal/strictjson"
	"github.com/openblustar/blustar/presence"
	"github.com/openblustar/blustar/presence/consolidation"
)

// Policy is what a file says. It does not change, and is safe for concurrent use.
type Policy struct {
	rules    []rule
	fallback consolidation.Sight
}

type rule struct {
	watchers, users names // nil: all
	sight           consolidation.Sight
}

// names are those of a list, its groups resolved, as key writes them.
type names map[string]bool

var sights = map[string]consolidation.Sight{
	"others": consolidation.SightOthers, "own": consolidation.SightOwn, "no-details": consolidation.SightNoDetails,
	"no-lines": consolidation.SightNoLines, "busy-or-not": consolidation.SightBusyOrNot,
	"blocked": consolidation.SightBlocked, "refused": consolidation.SightRefused,
}

// Read reads a policy. Unknown keys are errors; the error is of every rule that is
// wrong.
func Read(r io.Reader) (*Policy, error) {
	var file struct {
		Groups map[string][]string `json:"groups"`
		Rules  []struct {
			Watchers []string `json:"watchers"`
			Users    []string `json:"users"`
			Sight    string   `json:"sight"`
		} `json:"rules"`
		Default string `json:"default"`
	}
	if err := strictjson.Read(r, &file); err != nil {
		return nil, fmt.Errorf("policyfile: %w", err)
	}
	var wrong []error
	sight := func(key, name string) consolidation.Sight {
		s, ok := sights[name]
		if !ok {
			wrong = append(wrong, fmt.Errorf("policyfile: %s: %.40q is no sight", key, name))
		}
		return s
	}
	list := func(key string, given []string) names {
		if given == nil {
			return nil
		}
		all := names{}
		for i, name := range given {
			members, group := file.Groups[name]
			if !group {
				members = []string{name}
			}
			for _, m := range members {
				all[nameKey(m)] = true
			}
			if name == "" || slices.Contains(members, "") {
				wrong = append(wrong, fmt.Errorf("policyfile: %s[%d]: an empty name", key, i))
			}
		}
		if len(given) == 0 {
			wrong = append(wrong, fmt.Errorf("policyfile: %s: an empty list; without the key, all are meant", key))
		}
		return all
	}
	p := &Policy{}
	for i, r := range file.Rules {
		key := fmt.Sprintf("rules[%d].", i)
		p.rules = append(p.rules, rule{list(key+"watchers", r.Watchers), list(key+"users", r.Users),
			sight(key+"sight", r.Sight)})
	}
	if file.Default != "" {
		p.fallback = sight("default", file.Default)
	}
	if wrong != nil {
		return nil, errors.Join(wrong...)
	}
	return p, nil
}

// Load is [Read] for a file. The error names the file.
func Load(name string) (*Policy, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("policyfile: %w", err)
	}
	defer f.Close()
	p, err := Read(f)
	if err != nil {
		return nil, fmt.Errorf("%w (in %s)", err, name)
	}
	return p, nil
}

// Sight implements [presence.Policy].
func (p *Policy) Sight(_ context.Context, w presence.Watcher, whom directory.Entry) (consolidation.Sight, error) {
	watcher := []string{nameKey(w.Account)}
	if w.Account == "" {
		watcher[0] = nameKey(w.Address)
	}
	if w.Entry != nil {
		watcher = append(watcher, namesOf(w.Entry)...)
	}
	user := namesOf(&whom)
	for _, r := range p.rules {
		if r.watchers.has(watcher) && r.users.has(user) {
			return r.sight, nil
		}
	}
	return p.fallback, nil
}

// namesOf are the keys of all names that an entry has.
func namesOf(e *directory.Entry) []string {
	list := make([]string, 0, 2+len(e.SIP)+len(e.Tel)+len(e.Groups))
	list = append(list, nameKey(e.ID), nameKey(e.Account))
	for _, a := range e.SIP {
		list = append(list, nameKey("sip:"+a))
	}
	for _, a := range e.Tel {
		list = append(list, nameKey("tel:"+a))
	}
	for _, g := range e.Groups {
		list = append(list, nameKey("group:"+g))
	}
	return list
}

func (n names) has(any []string) bool {
	return n == nil || slices.ContainsFunc(any, func(key string) bool { return n[key] })
}

// nameKey writes a name as it is compared.
func nameKey(name string) string {
	if a, err := directory.ParseAddress(name); err == nil {
		return a.String()
	}
	return strings.ToLower(name)
}
