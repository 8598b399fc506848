package dispatch_test

import (
	"context"
	"fmt"

	"github.com/openblustar/blustar/sipx/dispatch"
)

// The requests of one sender are handled one after another, as they came.
func Example() {
	d := dispatch.New(dispatch.Config{})
	d.Start()
	for i := range 3 {
		taken := d.Submit(dispatch.Job{
			Lane: dispatch.Lane{User: "tom", Host: "example.com"}, // dispatch.LaneOf(req)
			Task: dispatch.TaskFunc(func() { fmt.Println("request", i+1) }),
		})
		if !taken {
			fmt.Println("503")
		}
	}
	_ = d.Stop(context.Background()) // waits for them
	// Output:
	// request 1
	// request 2
	// request 3
}
