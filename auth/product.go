package auth

import (
	"slices"
	"strconv"
	"strings"
)

// DefaultCapable reports whether a User-Agent is that of a BluStar product from
// version 3.0.1 on, which can authenticate (§2.10): "Aastra BluStar Client/3.0.1.0",
// "Aastra BluStar PC Client/3.1.0", "Aastra BluStar iOS/3.2".
func DefaultCapable(userAgent string) bool {
	agent := " " + strings.ToLower(userAgent[:min(len(userAgent), 1024)])
	for {
		before, after, found := strings.Cut(agent, "blustar")
		if !found {
			return false
		}
		word := strings.HasSuffix(before, " ") || strings.HasSuffix(before, "(")
		if word && slices.Compare(productVersion(after), []int{3, 0, 1}) >= 0 {
			return true
		}
		agent = after
	}
}

// productVersion returns the version in what follows a product's name: after a slash,
// or the first word that is one. nil means that there is none.
func productVersion(s string) []int {
	if s != "" && !strings.ContainsRune("/ (),;", rune(s[0])) {
		return nil // the name goes on: another product
	}
	if end := strings.IndexAny(s, "(),;"); end >= 0 {
		s = s[:end]
	}
	words := strings.Fields(s)
	if _, v, ok := strings.Cut(s, "/"); ok {
		words = append(strings.Fields(v), "")[:1]
	}
	for _, w := range words {
		var version []int
		for part := range strings.SplitSeq(strings.TrimPrefix(w, "v"), ".") {
			n, err := strconv.ParseUint(part, 10, 31)
			if err != nil {
				version = nil
				break
			}
			version = append(version, int(n))
		}
		if version != nil {
			return version
		}
	}
	return nil
}
