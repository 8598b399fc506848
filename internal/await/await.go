// Package await waits for what takes no context.
package await

import "context"

// Return waits until f has returned or ctx has ended, the error of which it returns then. f goes on
// in a goroutine that ends with it.
func Return(ctx context.Context, f func()) error {
	done := make(chan struct{})
	go func() {
		f()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
