package source_test

import (
	"context"
	"fmt"

	"github.com/openblustar/blustar/presence/source"
)

// door prints what it is told.
type door struct{ src *source.Source[string] }

func (d *door) Changed() {
	v, known := d.src.Read()
	fmt.Println(d.src.Key(), "is", v.Value, known)
}

// Doors of a building, told by its alarm system: any kind of value has an owner, a time
// and those who listen.
func Example() {
	doors, err := source.New(source.Config[string]{
		Name:  "door",
		Equal: func(a, b string) bool { return a == b },
		Check: func(key, v string) (string, error) {
			if v != "open" && v != "shut" {
				return "", fmt.Errorf("door %s: %q: want open or shut", key, v)
			}
			return v, nil
		},
	})
	if err != nil {
		panic(err)
	}
	defer doors.Shutdown(context.Background())

	d := &door{}
	if d.src, err = doors.Join("front", d); err != nil {
		panic(err)
	}
	_ = doors.Set("front", "open")
	fmt.Println(doors.Set("front", "ajar"))
	doors.Clear("front")
	d.src.Leave(d)
	// Output:
	// front is open true
	// door front: "ajar": want open or shut
	// front is  false
}
