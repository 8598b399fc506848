// Package auth decides whether a request comes from whom it should: the
// X-BSS-auth challenge of the BluStar clients, Digest for others, sessions and
// throttling, in one [Guard].
package auth
