package calendar

import (
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"
)

const (
	maxZones    = 1024 // names that are remembered
	maxZoneName = 128
)

// Zones finds time zones by name and remembers them, those that do not exist too: the
// same few are named by each appointment. The zero value is ready. It is safe for
// concurrent use.
type Zones struct {
	mu    sync.Mutex
	known map[string]*time.Location // nil: there is none
}

// Find returns the zone of the tz database that a name can only mean, in any letter
// case: one of its own, with or without the prefix of a vendor; one of Windows, with
// or without the number that some programs add; the text by which Windows shows a zone
// to people, "(UTC+01:00) Amsterdam, Berlin, Bern"; UTC by any of its names. It is nil
// where there is none.
func (z *Zones) Find(name string) *time.Location { return z.once("full", name, named) }

// FindShort is for what Find does not know: names without a slash such as "EST" and
// "Cuba", and offsets such as "UTC+01:00". They could be meant otherwise: a definition
// that came with the name goes first.
func (z *Zones) FindShort(name string) *time.Location { return z.once("short", name, short) }

func (z *Zones) once(kind, name string, get func(string) *time.Location) *time.Location {
	name = strings.TrimSpace(name)
	if len(name) > maxZoneName {
		return nil
	}
	key := kind + " " + name
	z.mu.Lock()
	defer z.mu.Unlock()
	if l, ok := z.known[key]; ok {
		return l
	}
	if z.known == nil || len(z.known) >= maxZones {
		z.known = make(map[string]*time.Location)
	}
	l := get(name)
	z.known[key] = l
	return l
}

// named is what Find does.
func named(id string) *time.Location {
	id = strings.Trim(id, "\" ")
	if name, ok := windowsZone(unnumbered(id)); ok {
		return load(name)
	}
	switch strings.ToLower(id) {
	case "utc", "gmt", "z", "zulu", "coordinated universal time", "tzone://microsoft/utc":
		return time.UTC
	}
	// "/mozilla.org/20050126_1/Europe/Berlin", "/softwarestudio.org/…/America/Indiana/Knox"
	for name := strings.TrimPrefix(unnumbered(id), "/"); strings.Contains(name, "/"); _, name, _ = strings.Cut(name, "/") {
		if l := load(strings.ReplaceAll(name, " ", "_")); l != nil {
			return l
		}
	}
	return shown(id)
}

// short is what FindShort does.
func short(id string) *time.Location {
	id = strings.Trim(id, "\" ")
	if l := load(id); l != nil {
		return l
	}
	if seconds, rest, ok := offset(id); ok && (rest == "" || strings.HasPrefix(id, "(")) {
		return time.FixedZone(id, seconds)
	}
	return nil
}

// unnumbered returns a name without the number that some programs add to tell copies
// of a zone apart: "GMT Standard Time 1".
func unnumbered(name string) string {
	base := strings.TrimRight(name, "0123456789")
	if cut := strings.TrimRight(base, " "); cut != base && cut != "" && !isWindows(name) {
		return cut
	}
	return name
}

// isWindows reports whether a name of Windows ends in a number of its own: "Russia Time
// Zone 3".
func isWindows(name string) bool {
	_, ok := windowsZone(name)
	return ok
}

// shown returns the zone of the text by which Windows shows it to people: the offset in
// winter, and places. Programs shorten the list, translate some of its names and have
// punctuation of their own, so the first place that is known tells.
func shown(text string) *time.Location {
	seconds, list, hasOffset := offset(text)
	if hasOffset && !strings.HasPrefix(text, "(") {
		return nil // an offset with something behind it: who knows
	}
	if !hasOffset {
		list = text
	}
	list = strings.ToLower(strings.ReplaceAll(list, "&amp;", "&"))
	if list == "" {
		return nil
	}
	for _, place := range append([]string{list}, strings.FieldsFunc(list, func(r rune) bool { return strings.ContainsRune(",;/", r) })...) {
		name, ok := placeZone(strings.TrimSpace(place))
		if !ok {
			continue
		}
		if l := load(name); l != nil && (!hasOffset || inWinter(l, seconds)) {
			return l
		}
	}
	return nil
}

// inWinter reports whether the offset of a zone is this one in any part of the year.
// Which one is winter differs by hemisphere and, in Ireland and Morocco, by law.
func inWinter(l *time.Location, seconds int) bool {
	year := time.Now().Year()
	_, january := time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC).In(l).Zone()
	_, july := time.Date(year, 7, 1, 0, 0, 0, 0, time.UTC).In(l).Zone()
	return seconds == january || seconds == july
}

// offset reads "(UTC+01:00) Berlin", "(GMT-05.00) …", "UTC+1", "GMT+0100" and "+01:00":
// seconds east of UTC, and the rest of the text.
func offset(text string) (seconds int, rest string, ok bool) {
	text, parenthesis := strings.CutPrefix(text, "(")
	number := text
	upper := strings.ToUpper(text)
	if strings.HasPrefix(upper, "UTC") || strings.HasPrefix(upper, "GMT") {
		number = strings.TrimLeft(text[len("UTC"):], " ")
		if parenthesis && strings.HasPrefix(number, ")") {
			return 0, strings.TrimSpace(number[1:]), true // "(UTC) Coordinated Universal Time"
		}
	}
	if number == "" || number[0] != '+' && number[0] != '-' {
		return 0, "", false
	}
	end := 1
	for end < len(number) && strings.IndexByte("0123456789:.", number[end]) >= 0 {
		end++
	}
	digits := strings.Replace(strings.Replace(number[1:end], ":", "", 1), ".", "", 1)
	if len(digits) <= 2 {
		digits += "00"
	}
	n, err := strconv.Atoi(digits)
	if end == 1 || err != nil || len(digits) > 4 || n/100 > 14 || n%100 > 59 {
		return 0, "", false
	}
	seconds = n/100*3600 + n%100*60
	if number[0] == '-' {
		seconds = -seconds
	}
	rest = number[end:]
	if parenthesis {
		if rest, ok = strings.CutPrefix(rest, ")"); !ok {
			return 0, "", false
		}
	}
	return seconds, strings.TrimSpace(rest), true
}

// load loads a zone of the tz database, whose name may be in any letter case; nil where
// there is none.
func load(name string) *time.Location {
	// time.LoadLocation gives "" and "Local" a meaning of their own.
	if name == "" || strings.EqualFold(name, "local") {
		return nil
	}
	for _, spelled := range []string{name, canonical(name), strings.ToUpper(name)} {
		if l, err := time.LoadLocation(spelled); err == nil {
			return l
		}
	}
	return nil
}

// canonical spells a name of the tz database as that does.
func canonical(name string) string {
	if spelled, ok := lookUp(oddNames, strings.ToLower(name)); ok {
		return spelled
	}
	begins := true
	name = strings.Map(func(r rune) rune {
		if begins {
			r = unicode.ToUpper(r)
		} else {
			r = unicode.ToLower(r)
		}
		begins = r == '/' || r == '_' || r == '-'
		return r
	}, name)
	for _, upper := range []string{"Etc/Gmt", "Etc/Utc", "Etc/Uct", "Us/", "Australia/Act", "Australia/Lhi", "Australia/Nsw"} {
		if rest, ok := strings.CutPrefix(name, upper); ok {
			if upper != "Us/" {
				return upper[:strings.Index(upper, "/")+1] + strings.ToUpper(upper[strings.Index(upper, "/")+1:]) + rest
			}
			return "US/" + rest
		}
	}
	return name
}

// oddNames are those that canonical would not spell right by rule.
const oddNames = `
africa/dar_es_salaam	Africa/Dar_es_Salaam
america/argentina/comodrivadavia	America/Argentina/ComodRivadavia
america/knox_in	America/Knox_IN
america/port-au-prince	America/Port-au-Prince
america/port_of_spain	America/Port_of_Spain
antarctica/dumontdurville	Antarctica/DumontDUrville
antarctica/mcmurdo	Antarctica/McMurdo
brazil/denoronha	Brazil/DeNoronha
chile/easterisland	Chile/EasterIsland
europe/isle_of_man	Europe/Isle_of_Man
gb-eire	GB-Eire
mexico/bajanorte	Mexico/BajaNorte
mexico/bajasur	Mexico/BajaSur
`
