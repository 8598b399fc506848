package auth

// HashFor is what a password is compared with.
func (l *LocalAccounts) HashFor(c Credentials) string {
	hash, _, _ := l.hash(c)
	return string(hash)
}
