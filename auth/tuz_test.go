package auth_test

import (
	"encoding/hex"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/auth"
)

// digits is the X-BSS-auth of the known vectors: 56 characters.
const digits = "01234567890123456789012345678901234567890123456789012345"

// The published dump of a configuration file, password foo123: 40×A, 8×B, 8×A
// (BSP-2.10-5).
func TestTuzPublishedContainer(t *testing.T) {
	want, err := hex.DecodeString("5542437f80f85c980ffcaf269eda168d0081579f6f753530b69d8a953a432dbb5d" +
		strings.Repeat("ed1c342b903d5511", 5) + "89b58aa6c89920c3" + "ed1c342b903d5511")
	require.NoError(t, err)
	text := strings.Repeat("A", 40) + strings.Repeat("B", 8) + strings.Repeat("A", 8)

	got, err := auth.Tuz{}.Encrypt("foo123", []byte(text))
	require.NoError(t, err)
	require.Equal(t, want, got)

	back, err := auth.Tuz{}.Decrypt("foo123", want)
	require.NoError(t, err)
	require.Equal(t, text, string(back))
}

// Vectors of credentials that two independent implementations agree on
// (BSP-2.10-4, BSP-2.10-5).
func TestTuzCredentials(t *testing.T) {
	for _, v := range []struct{ credentials, rauth string }{
		{`example\alice:secret`, "VUJDf4D4XJgP/K8mntoWjQSeSrU3n19P/J0fOiHb6U5Xz+lgE41HVEnql+HEji2WqWhuhzKmEP+W"},
		{`amcc:amccpw`, "VUJDf4D4XJgP/K8mntoWjQWeSrU3n19P/J0fOiHb6U5X37GZ+bQD+tsiDCMybZGWyA=="},
		{`d\u:1234`, "VUJDf4D4XJgP/K8mntoWjQCeSrU3n19P/J0fOiHb6U5XuHoJzobnBpQ="},
	} {
		t.Run(v.credentials, func(t *testing.T) {
			c, err := auth.ParseCredentials([]byte(v.credentials))
			require.NoError(t, err)
			got, err := c.Encrypt(auth.Tuz{}, digits)
			require.NoError(t, err)
			require.Equal(t, v.rauth, got)

			c, err = auth.DecryptCredentials(auth.Tuz{}, digits, v.rauth)
			require.NoError(t, err)
			require.Equal(t, v.credentials, c.Name.String()+":"+string(c.Password.Reveal()))
		})
	}
}
