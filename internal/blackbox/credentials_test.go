package blackbox_test

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/des"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/md5"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The cipher of tuz.md, written from that text alone.

var tuzSignature = []byte{0x55, 0x42, 0x43, 0x7f, 0x80, 0xf8, 0x5c, 0x98, 0x0f, 0xfc, 0xaf, 0x26, 0x9e, 0xda, 0x16, 0x8d}

const tuzConstants = "a0534dd825c396 ac1e9e81a8c300 8fa32580e288fc 685195c4edf89c d37bb74c69d5a6 5e7a71cc434e5e " +
	"a687e081e39c0f 9939d29d5e6733 e9f571a1e37bea 2b2ca781d302a1 33aa27789a2109 5953440b2a5510 " +
	"a1654bcf1c9413 827345a70ab078 38cca8a46f0253 0d09f0d4658a60 0e42522927ca17 e1b5d2b92b7749"

// desPC1 and desIP are the tables of FIPS 46: bit i of the result is bit
// table[i] of the input, counted from 1.
var desPC1 = []int{57, 49, 41, 33, 25, 17, 9, 1, 58, 50, 42, 34, 26, 18, 10, 2, 59, 51, 43, 35, 27, 19, 11, 3, 60, 52, 44, 36,
	63, 55, 47, 39, 31, 23, 15, 7, 62, 54, 46, 38, 30, 22, 14, 6, 61, 53, 45, 37, 29, 21, 13, 5, 28, 20, 12, 4}

var desIP = []int{58, 50, 42, 34, 26, 18, 10, 2, 60, 52, 44, 36, 28, 20, 12, 4, 62, 54, 46, 38, 30, 22, 14, 6, 64, 56, 48, 40, 32, 24, 16, 8,
	57, 49, 41, 33, 25, 17, 9, 1, 59, 51, 43, 35, 27, 19, 11, 3, 61, 53, 45, 37, 29, 21, 13, 5, 63, 55, 47, 39, 31, 23, 15, 7}

func bit(b []byte, i int) bool { return b[i/8]&(0x80>>(i%8)) != 0 }

func setBit(b []byte, i int) { b[i/8] |= 0x80 >> (i % 8) }

func permute(in []byte) []byte {
	out := make([]byte, 8)
	for i, from := range desIP {
		if bit(in, from-1) {
			setBit(out, i)
		}
	}
	return out
}

func permuteBack(in []byte) []byte {
	out := make([]byte, 8)
	for i, to := range desIP {
		if bit(in, i) {
			setBit(out, to-1)
		}
	}
	return out
}

// desKey lays 56 key bits out as crypto/des wants them.
func desKey(bits []byte) []byte {
	key := make([]byte, 8)
	for i, to := range desPC1 {
		if bit(bits, i) {
			setBit(key, to-1)
		}
	}
	return key
}

func tuzKeys(password string) []byte {
	var keys []byte
	buffer := make([]byte, 8)
	constants := strings.Fields(tuzConstants)
	for k := range 3 {
		for round := range 6 {
			for i := range 8 {
				if at := round*8 + i; at < len(password) {
					buffer[i] ^= password[at]
				}
			}
			constant, _ := hex.DecodeString(constants[k*6+round])
			block, _ := des.NewCipher(desKey(constant))
			out := make([]byte, 8)
			block.Encrypt(out, permuteBack(buffer))
			buffer = permute(out)
		}
		keys = append(keys, desKey(buffer[:7])...)
	}
	return keys
}

func tuzEncrypt(password string, plaintext []byte) []byte {
	block, err := des.NewTripleDESCipher(tuzKeys(password))
	if err != nil {
		panic(err)
	}
	pad := (8 - len(plaintext)%8) % 8
	text := append([]byte("Tuzo v1.3 rev1 \x00"), plaintext...)
	text = append(text, make([]byte, pad)...)
	out := append(append([]byte{}, tuzSignature...), byte(pad))
	for i := 0; i < len(text); i += 8 {
		b := make([]byte, 8)
		block.Encrypt(b, permuteBack(text[i:i+8]))
		out = append(out, permute(b)...)
	}
	return out
}

// tuzBase64 is the value of X-BSS-rauth.
func tuzBase64(key, credentials string) string {
	return base64.StdEncoding.EncodeToString(tuzEncrypt(key, []byte(credentials)))
}

// The vectors of tuz.md: what the other tests authenticate with is right.
func TestTuzVectors_BSP_2_10_5(t *testing.T) {
	t.Parallel()
	require.Equal(t, "5542437f80f85c980ffcaf269eda168d0081579f6f753530b69d8a953a432dbb5d"+
		strings.Repeat("ed1c342b903d5511", 5)+"89b58aa6c89920c3ed1c342b903d5511",
		hex.EncodeToString(tuzEncrypt("foo123", []byte(strings.Repeat("A", 40)+strings.Repeat("B", 8)+strings.Repeat("A", 8)))))
	key := "01234567890123456789012345678901234567890123456789012345"
	require.Equal(t, "VUJDf4D4XJgP/K8mntoWjQSeSrU3n19P/J0fOiHb6U5Xz+lgE41HVEnql+HEji2WqWhuhzKmEP+W", tuzBase64(key, `example\alice:secret`))
	require.Equal(t, "VUJDf4D4XJgP/K8mntoWjQWeSrU3n19P/J0fOiHb6U5X37GZ+bQD+tsiDCMybZGWyA==", tuzBase64(key, `amcc:amccpw`))
	require.Equal(t, "VUJDf4D4XJgP/K8mntoWjQCeSrU3n19P/J0fOiHb6U5XuHoJzobnBpQ=", tuzBase64(key, `d\u:1234`))
}

func hexMD5(s string) string {
	sum := md5.Sum([]byte(s))
	return hex.EncodeToString(sum[:])
}

func hexSHA256(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

var digestField = regexp.MustCompile(`(\w+)=(?:"((?:[^"\\]|\\.)*)"|([^",\s]+))`)

// digestAnswer is the Authorization of a client that has the credentials.
func digestAnswer(t *testing.T, challenge string, m *message, credentials string) string {
	t.Helper()
	require.True(t, strings.HasPrefix(challenge, "Digest "), challenge)
	fields := map[string]string{}
	for _, f := range digestField.FindAllStringSubmatch(challenge, -1) {
		fields[f[1]] = f[2] + f[3]
	}
	user, password, _ := strings.Cut(credentials, ":")
	hash, algorithm := hexMD5, fields["algorithm"]
	if strings.EqualFold(algorithm, "SHA-256") {
		hash = hexSHA256
	}
	target := strings.Fields(m.start)[1]
	cnonce, nc := token(), "00000001"
	ha1 := hash(user + ":" + fields["realm"] + ":" + password)
	ha2 := hash(m.method() + ":" + target)
	require.Contains(t, fields["qop"], "auth", challenge)
	response := hash(strings.Join([]string{ha1, fields["nonce"], nc, cnonce, "auth", ha2}, ":"))
	quoted := strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(user)
	value := `Digest username="` + quoted + `", realm="` + fields["realm"] + `", nonce="` + fields["nonce"] + `", uri="` + target +
		`", response="` + response + `", cnonce="` + cnonce + `", qop=auth, nc=` + nc
	if algorithm != "" {
		value += ", algorithm=" + algorithm
	}
	if fields["opaque"] != "" {
		value += `, opaque="` + fields["opaque"] + `"`
	}
	return value
}

// writeCertificate puts a certificate for the loopback into the folder.
func writeCertificate(t *testing.T, dir string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	secret, err := x509.MarshalECPrivateKey(key)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "server.pem"),
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "server.key"),
		pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: secret}), 0o600))
}

// aesBase64 is the value of X-BSS-rauth under the cipher aes-gcm of server.md.
func aesBase64(key, credentials string) string {
	sum := sha256.Sum256([]byte(key))
	block, _ := aes.NewCipher(sum[:])
	gcm, _ := cipher.NewGCM(block)
	nonce := make([]byte, gcm.NonceSize())
	_, _ = rand.Read(nonce)
	return base64.StdEncoding.EncodeToString(gcm.Seal(nonce, nonce, []byte(credentials), nil))
}
