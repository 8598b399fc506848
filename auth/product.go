package auth

import (
	"strconv"
	"strings"
)

// Product is software as a User-Agent names it, from a version on.
type Product struct {
	// Name is compared without regard to case, and as whole words: "BluStar" is
	// found in "Aastra BluStar Client/3.0.1.0".
	Name string
	// Version is the lowest one, up to four numbers with dots. The header's is the
	// number that follows the name: "3.1.0" in "Aastra BluStar PC Client/3.1.0".
	// "" means any, also none.
	Version string
}

// Matches reports whether a User-Agent names the product, in that version or a
// later one.
func (p Product) Matches(userAgent string) bool {
	const maxUserAgent = 1024
	if p.Name == "" || len(userAgent) > maxUserAgent {
		return false
	}
	// ASCII folding only, so that both strings keep their offsets.
	agent, name := asciiLower(userAgent), asciiLower(p.Name)
	for at := 0; ; {
		i := strings.Index(agent[at:], name)
		if i < 0 {
			return false
		}
		start := at + i
		end := start + len(name)
		if (start == 0 || strings.ContainsRune(" \t(", rune(agent[start-1]))) && p.after(agent[end:]) {
			return true
		}
		at = start + 1
	}
}

// after looks at what follows the name: the rest of the product's words, and its
// version after a slash, or as a word if there is no slash.
func (p Product) after(rest string) bool {
	if rest != "" && !strings.ContainsRune("/ \t;,)", rune(rest[0])) {
		return false // the name goes on: another product
	}
	if p.Version == "" {
		return true
	}
	if end := strings.IndexAny(rest, "(),;"); end >= 0 {
		rest = rest[:end]
	}
	words := strings.Fields(rest)
	if _, found, ok := strings.Cut(rest, "/"); ok {
		words = strings.Fields(found)[:min(1, len(strings.Fields(found)))]
	}
	for _, w := range words {
		w = strings.TrimPrefix(w, "v")
		if w != "" && isDigit(w[0]) && strings.Trim(w, ".0123456789") == "" {
			return compareVersions(version(w), version(p.Version)) >= 0
		}
	}
	return false
}

// version reads the leading numbers: "3.0.1.0 (x)" is 3, 0, 1, 0.
func version(s string) (v [4]int) {
	for i := range v {
		n := 0
		for n < len(s) && isDigit(s[n]) {
			n++
		}
		if n == 0 {
			break
		}
		v[i], _ = strconv.Atoi(s[:min(n, 9)])
		if s = s[n:]; s == "" || s[0] != '.' {
			break
		}
		s = s[1:]
	}
	return v
}

func compareVersions(a, b [4]int) int {
	for i := range a {
		if a[i] != b[i] {
			return a[i] - b[i]
		}
	}
	return 0
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func asciiLower(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}
