package fakeews

import (
	"bytes"
	"crypto/hmac"
	"crypto/md5"
	"encoding/base64"
	"encoding/binary"
	"strings"
	"unicode/utf16"

	//lint:ignore SA1019 NTLM is made of it
	"golang.org/x/crypto/md4"
)

// ntlm is the server's half of NTLMv2 for one connection ([MS-NLMP] §3.2.5,
// §3.3.2), as much of it as tells a right password from a wrong one.
type ntlm struct {
	user, domain, password string
	challenge              []byte
	signedIn               bool
}

// answer returns the token to answer the client's with, and whether it is signed in.
func (n *ntlm) answer(token string) (string, bool) {
	message, err := base64.StdEncoding.DecodeString(token)
	if err != nil || len(message) < 12 || !bytes.HasPrefix(message, []byte("NTLMSSP\x00")) {
		return "", false
	}
	switch binary.LittleEndian.Uint32(message[8:]) {
	case 1:
		n.challenge = []byte("chaLLeng")
		return base64.StdEncoding.EncodeToString(n.challengeMessage()), false
	case 3:
		n.signedIn = n.challenge != nil && n.verify(message)
		n.challenge = nil
	}
	return "", n.signedIn
}

func (n *ntlm) challengeMessage() []byte {
	target := wide(n.domain)
	info := binary.LittleEndian.AppendUint16(nil, 2) // MsvAvNbDomainName
	info = binary.LittleEndian.AppendUint16(info, uint16(len(target)))
	info = append(append(info, target...), 0, 0, 0, 0)
	m := []byte("NTLMSSP\x00\x02\x00\x00\x00")
	field := func(b []byte, offset int) {
		m = binary.LittleEndian.AppendUint16(m, uint16(len(b)))
		m = binary.LittleEndian.AppendUint16(m, uint16(len(b)))
		m = binary.LittleEndian.AppendUint32(m, uint32(offset))
	}
	field(target, 56)
	m = binary.LittleEndian.AppendUint32(m, 0x00828201) // Unicode, NTLM, always sign, target info, extended session security
	m = append(m, n.challenge...)
	m = append(m, make([]byte, 8)...)
	field(info, 56+len(target))
	m = append(m, make([]byte, 8)...) // version
	return append(append(m, target...), info...)
}

func (n *ntlm) verify(m []byte) bool {
	field := func(at int) []byte {
		if len(m) < at+8 {
			return nil
		}
		length, offset := int(binary.LittleEndian.Uint16(m[at:])), int(binary.LittleEndian.Uint32(m[at+4:]))
		if offset+length > len(m) {
			return nil
		}
		return m[offset : offset+length]
	}
	response, domain, user := field(20), field(28), field(36)
	if len(response) < 16 {
		return false
	}
	hash := md4.New()
	hash.Write(wide(n.password))
	key := mac(hash.Sum(nil), append(wide(strings.ToUpper(n.user)), domain...))
	return bytes.EqualFold(user, wide(n.user)) && hmac.Equal(response[:16], mac(key, append(bytes.Clone(n.challenge), response[16:]...)))
}

func mac(key, data []byte) []byte {
	h := hmac.New(md5.New, key)
	h.Write(data)
	return h.Sum(nil)
}

func wide(s string) (b []byte) {
	for _, u := range utf16.Encode([]rune(s)) {
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	return b
}
