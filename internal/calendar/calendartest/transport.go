package calendartest

import (
	"context"
	"io"
	"net/http"
	"sync"
)

// Transport returns a RoundTripper that has requests answered by h without a network,
// so that both run on the clock of synctest. Answers may be streamed: what h writes can
// be read at once. The context of a request ends when its answer has been closed.
func Transport(h http.Handler) http.RoundTripper { return transport{h} }

type transport struct{ handler http.Handler }

func (t transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(r.Context())
	got := r.Clone(ctx)
	got.RequestURI, got.RemoteAddr = r.URL.RequestURI(), "192.0.2.9:40000"
	if got.Host == "" {
		got.Host = r.URL.Host
	}
	if got.Body == nil {
		got.Body = http.NoBody
	}
	reader, writer := io.Pipe()
	w := &responseWriter{header: make(http.Header), body: writer, begun: make(chan struct{})}
	go func() {
		defer writer.Close()
		defer got.Body.Close()
		t.handler.ServeHTTP(w, got)
		w.WriteHeader(http.StatusOK)
	}()
	stop := context.AfterFunc(ctx, func() { reader.CloseWithError(ctx.Err()) })
	body := &closer{ReadCloser: reader, close: func() { stop(); cancel() }}
	select {
	case <-w.begun:
	case <-ctx.Done():
		body.Close()
		return nil, ctx.Err()
	}
	return &http.Response{
		Status: http.StatusText(w.status), StatusCode: w.status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: w.sent, Body: body, ContentLength: -1, Request: r,
	}, nil
}

type closer struct {
	io.ReadCloser
	close func()
}

func (c *closer) Close() error {
	defer c.close()
	return c.ReadCloser.Close()
}

type responseWriter struct {
	header http.Header
	body   *io.PipeWriter
	once   sync.Once
	begun  chan struct{}
	status int // valid once begun is closed, as is sent
	sent   http.Header
}

func (w *responseWriter) Header() http.Header { return w.header }

func (w *responseWriter) WriteHeader(status int) {
	w.once.Do(func() {
		w.status, w.sent = status, w.header.Clone()
		close(w.begun)
	})
}

func (w *responseWriter) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.body.Write(p)
}

// Flush does nothing: what is written can be read already.
func (w *responseWriter) Flush() { w.WriteHeader(http.StatusOK) }
