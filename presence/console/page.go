package console

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"net/http"
	"time"
)

//go:embed page
var files embed.FS

// policy lets the page load nothing but its own script and style, and speak to nobody
// but this server.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// file is a part of the page.
type file struct {
	mediaType string
	data      []byte
	tag       string
}

var pages = map[string]file{
	"/{$}":         read("page/index.html", "text/html; charset=utf-8"),
	"/console.css": read("page/console.css", "text/css; charset=utf-8"),
	"/console.js":  read("page/console.js", "text/javascript; charset=utf-8"),
	"/favicon.svg": read("page/favicon.svg", "image/svg+xml"),
}

func read(name, mediaType string) file {
	data, err := files.ReadFile(name)
	if err != nil {
		panic(err) // it is built in
	}
	sum := sha256.Sum256(data)
	return file{mediaType, data, `"` + hex.EncodeToString(sum[:8]) + `"`}
}

func (f file) serve(w http.ResponseWriter, r *http.Request) error {
	h := w.Header()
	h.Set("Content-Type", f.mediaType)
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-cache") // asked again: the ETag says that it is the same
	h.Set("ETag", f.tag)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(f.data))
	return nil
}
