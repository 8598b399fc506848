package caldav

import (
	"cmp"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"time"
)

const (
	maxObservances = 64
	maxTransitions = 2000
	// lastYear is until when the rules of a definition are followed. A fixed year
	// keeps a definition good for as long as it is remembered.
	lastYear = 2100
)

var errDefinition = errors.New("caldav: VTIMEZONE: malformed or not supported")

// transition is when the offset of a zone changes.
type transition struct {
	at     int64 // Unix time
	offset int   // from then on, seconds east of UTC
}

// define makes a zone of a VTIMEZONE (RFC 5545 §3.6.5).
func define(c *component, b *budget) (*time.Location, error) {
	if len(c.children) == 0 || len(c.children) > maxObservances {
		return nil, errDefinition
	}
	var all []transition
	first, firstAt := 0, int64(1)<<62 // the offset before all of them
	for _, o := range c.children {
		before, after, onsets, err := observance(o, b)
		if err != nil {
			return nil, err
		}
		for _, clock := range onsets {
			at := clock.Unix() - int64(before)
			if at < firstAt {
				first, firstAt = before, at
			}
			all = append(all, transition{at, after})
		}
		if len(all) > maxTransitions {
			return nil, errDefinition
		}
	}
	slices.SortStableFunc(all, func(x, y transition) int { return cmp.Compare(x.at, y.at) })
	all = slices.CompactFunc(all, func(x, y transition) bool { return x.at == y.at })
	l, err := time.LoadLocationFromTZData("VTIMEZONE", zoneFile(first, all))
	if err != nil {
		return nil, errDefinition
	}
	return l, nil
}

// observance reads a STANDARD or DAYLIGHT: the offsets before and after it
// begins, and when it begins, on the clock before.
func observance(o *component, b *budget) (before, after int, onsets []time.Time, err error) {
	from, to := o.get(propOffsetFrom), o.get(propOffsetTo)
	begin := o.get(propStart)
	if from == nil || to == nil || begin == nil {
		return 0, 0, nil, errDefinition
	}
	before, ok := parseOffset(from.value)
	after, ok2 := parseOffset(to.value)
	clock := time.FixedZone("", before)
	start, err := parseMoment(begin.value, false, clock, clock)
	if !ok || !ok2 || err != nil {
		return 0, 0, nil, errDefinition
	}
	onsets = []time.Time{start.clock}
	for _, p := range o.all(propExtra) {
		for s := range strings.SplitSeq(p.value, ",") {
			m, err := parseMoment(s, false, clock, clock)
			if err != nil {
				return 0, 0, nil, errDefinition
			}
			if onsets = append(onsets, m.clock); len(onsets) > maxTransitions {
				return 0, 0, nil, errDefinition
			}
		}
	}
	rules := o.all(propRule)
	end := time.Date(lastYear, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, p := range rules[:min(len(rules), maxRules)] {
		err := repeat(p.value, start, start.clock, end, b, func(t time.Time) bool {
			onsets = append(onsets, t)
			return len(onsets) <= maxTransitions
		})
		if err != nil {
			return 0, 0, nil, inProperty("VTIMEZONE: "+propRule, err)
		}
	}
	return before, after, onsets, nil
}

// parseOffset reads a UTC-OFFSET (RFC 5545 §3.3.14) in seconds.
func parseOffset(s string) (int, bool) {
	s = strings.TrimSpace(s)
	if len(s) != 5 && len(s) != 7 || s[0] != '+' && s[0] != '-' {
		return 0, false
	}
	sign := 1
	if s[0] == '-' {
		sign = -1
	}
	n := 0
	for i, unit := 1, 3600; i < len(s); i, unit = i+2, unit/60 {
		if s[i] < '0' || s[i] > '9' || s[i+1] < '0' || s[i+1] > '9' {
			return 0, false
		}
		n += (int(s[i]-'0')*10 + int(s[i+1]-'0')) * unit
	}
	return sign * n, n < 24*3600
}

// zoneFile writes a TZif file (RFC 8536), which is what package time makes a
// Location of.
func zoneFile(first int, all []transition) []byte {
	offsets := []int{first}
	index := make([]byte, len(all))
	for i, t := range all {
		// The first is for before the first transition alone: package time takes it
		// for that where no transition leads to it.
		k := slices.Index(offsets[1:], t.offset)
		if k < 0 {
			offsets = append(offsets, t.offset)
			k = len(offsets) - 2
		}
		index[i] = byte(k + 1)
	}
	const abbreviation = "\x00"
	header := func(b []byte, times, types, chars int) []byte {
		b = append(b, "TZif2"...)
		b = append(b, make([]byte, 15+3*4)...) // reserved; no UT, standard and leap indicators
		b = binary.BigEndian.AppendUint32(b, uint32(times))
		b = binary.BigEndian.AppendUint32(b, uint32(types))
		return binary.BigEndian.AppendUint32(b, uint32(chars))
	}
	b := header(nil, 0, 0, 0) // the block for readers of version 1, who are not here
	b = header(b, len(all), len(offsets), len(abbreviation))
	for _, t := range all {
		b = binary.BigEndian.AppendUint64(b, uint64(t.at))
	}
	b = append(b, index...)
	for _, offset := range offsets {
		b = binary.BigEndian.AppendUint32(b, uint32(int32(offset)))
		b = append(b, 0, 0) // daylight saving time or not is all one here; name
	}
	b = append(b, abbreviation...)
	return append(b, "\n\n"...) // no rule for the time after the last transition
}
