package caldav

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// BSP-3-6: a multi-status in ISO-8859-1 or US-ASCII is read, whether the document or the Content-Type says so; the
// latter counts.
func TestCharsets(t *testing.T) {
	const status = `<multistatus xmlns="DAV:"><response><href>/caf` + "\xE9" + `/</href></response><sync-token>caf` + "\xE9" + `</sync-token></multistatus>`
	for name, test := range map[string]struct{ contentType, document, want string }{
		"declared":          {"application/xml", `<?xml version="1.0" encoding="ISO-8859-1"?>` + status, "café"},
		"parameter":         {`application/xml; charset="iso-8859-1"`, status, "café"},
		"both":              {"application/xml;charset=iso-8859-1", `<?xml version="1.0" encoding="ISO-8859-1"?>` + status, "café"},
		"parameter differs": {"application/xml;charset=iso-8859-1", `<?xml version="1.0" encoding="us-ascii"?>` + status, "café"},
		"ASCII":             {"application/xml", `<?xml version="1.0" encoding="US-ASCII"?>` + strings.ReplaceAll(status, "\xE9", "&#233;"), "café"},
		"UTF-8":             {"application/xml; charset=utf-8", strings.ReplaceAll(status, "\xE9", "é"), "café"},
	} {
		t.Run(name, func(t *testing.T) {
			resp := &http.Response{Header: http.Header{"Content-Type": {test.contentType}}, Body: io.NopCloser(strings.NewReader(test.document))}
			body, err := decodedBody(resp)
			require.NoError(t, err)
			token, err := readMultiStatus(body, 10, func(*response) error { return nil })
			require.NoError(t, err)
			require.Equal(t, test.want, token)
		})
	}
	for _, bad := range []string{`<?xml version="1.0" encoding="koi8-r"?>` + status, status} {
		_, err := readMultiStatus(io.NopCloser(strings.NewReader(bad)), 10, func(*response) error { return nil })
		require.Error(t, err)
	}
	_, err := decodedBody(&http.Response{Header: http.Header{"Content-Type": {"application/xml; charset=koi8-r"}}, Body: io.NopCloser(strings.NewReader(""))})
	require.Error(t, err)
}
