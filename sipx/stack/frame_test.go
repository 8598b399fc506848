package stack_test

import (
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/openblustar/blustar/sipx/stack"
)

// chunks is a connection that delivers data in parts of some size.
type chunks struct {
	net.Conn
	data []byte
	size int
}

func (c *chunks) Read(p []byte) (int, error) {
	if len(c.data) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(c.size, len(p))], c.data)
	c.data = c.data[n:]
	return n, nil
}

// Framing looks at each byte once, however a message comes (BSX-4): the time for a
// byte does not depend on the size of the message, nor on that of its parts.
func BenchmarkFrames(b *testing.B) {
	for _, size := range []int{1 << 10, 1 << 13, 1 << 16} {
		for _, part := range []int{1, 100, 4096} {
			b.Run(fmt.Sprintf("%d_in_%d", size, part), func(b *testing.B) {
				data := []byte("A\r\nl: " + fmt.Sprint(size/2) + "\r\n" + strings.Repeat("a\n", size/4) + "\r\n" + strings.Repeat("x", size/2))
				b.SetBytes(int64(len(data)))
				for b.Loop() {
					n := 0
					_ = stack.Frames(&chunks{data: data, size: part}, 1<<20, func([]byte, bool) { n++ })
					if n != 1 {
						b.Fatal(n, "messages")
					}
				}
			})
		}
	}
}

func (c *chunks) SetReadDeadline(time.Time) error { return nil }

// frames cuts a stream that comes in parts of a size.
func frames(data []byte, size, limit int) (messages []string) {
	_ = stack.Frames(&chunks{data: slices.Clone(data), size: size}, limit, func(msg []byte, bad bool) {
		messages = append(messages, fmt.Sprintf("%v %s", bad, msg))
	})
	return messages
}

func TestFrames(t *testing.T) {
	for name, test := range map[string]struct {
		stream string
		want   []string
	}{
		"two":            {"A\r\nl: 2\r\n\r\nxyB\r\n\r\n", []string{"false A\r\nl: 2\r\n\r\nxy", "false B\r\n\r\n"}},
		"LF alone":       {"A\nContent-Length : 1\n\nxB\n\n", []string{"false A\nContent-Length : 1\n\nx", "false B\n\n"}},
		"between":        {"\r\n\r\n\r\nA\r\n\r\n\r\n\r\nB\r\n\r\n", []string{"false A\r\n\r\n", "false B\r\n\r\n"}},
		"body of lines":  {"A\r\nl: 4\r\n\r\n\r\n\r\nB\r\n\r\n", []string{"false A\r\nl: 4\r\n\r\n\r\n\r\n", "false B\r\n\r\n"}},
		"too large":      {"A\r\nl: 2000\r\n\r\n" + strings.Repeat("x", 2000) + "B\r\n\r\n", []string{"true A\r\nl: 2000\r\n\r\n", "false B\r\n\r\n"}},
		"much too large": {"A\r\nl: 200000000\r\n\r\nB\r\n\r\n", []string{"true A\r\nl: 200000000\r\n\r\n"}},
		"negative":       {"A\r\nl: -2\r\n\r\nB\r\n\r\n", []string{"true A\r\nl: -2\r\n\r\n"}},
		"two lengths":    {"A\r\nl: 2\r\nContent-Length: 3\r\n\r\nxyz", []string{"true A\r\nl: 2\r\nContent-Length: 3\r\n\r\n"}},
		"cut off":        {"A\r\nl: 2\r\n\r\nx", nil},
		"nothing":        {"", nil},
	} {
		for _, size := range []int{1, 2, 3, 7, 4096} {
			require.Equal(t, test.want, frames([]byte(test.stream), size, 1000), "%s in parts of %d", name, size)
		}
	}
	endless := frames([]byte(strings.Repeat("a", 100<<10)), 1000, 1000)
	require.Len(t, endless, 1)
	require.Less(t, len(endless[0]), 70<<10)
}

// How a stream is cut does not depend on the parts in which it comes.
func FuzzFrames(f *testing.F) {
	f.Add([]byte("A\r\nl: 2\r\n\r\nxyB\r\n\r\n\r\n\r\nC\n\n"), 3)
	f.Add([]byte("\r\nA\r\nContent-Length: 2000\r\n\r\nx"), 1)
	f.Add([]byte("A\r\nl: 1\r\nl: 2\r\n\r\nx"), 2)
	f.Fuzz(func(t *testing.T, data []byte, size int) {
		if size <= 0 || size > 1<<16 || len(data) > 1<<16 {
			return
		}
		whole, parts := frames(data, 1<<16, 1000), frames(data, size, 1000)
		if !slices.Equal(whole, parts) {
			t.Fatalf("%q\nwhole: %q\nin parts of %d: %q", data, whole, size, parts)
		}
	})
}
