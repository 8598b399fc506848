package directory_test

import (
	"context"
	"fmt"
	"strings"

	"github.com/openblustar/blustar/directory"
)

func ExampleParseAddress() {
	for _, uri := range []string{"sip:Peter.Test@aastra.com:5060;transport=tcp", "tel:+1-425-555-0102;ext=3"} {
		a, err := directory.ParseAddress(uri)
		fmt.Println(a, err)
	}
	// Output:
	// sip:peter.test@aastra.com <nil>
	// tel:+14255550102 <nil>
}

func ExampleReadUsers() {
	users, err := directory.ReadUsers(strings.NewReader(`{"users": [
		{"id": "tom", "account": "DE\\tom", "display_name": "Tom Hanks", "sip": ["tom@example.com"], "tel": ["2719"]}
	]}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	a, _ := directory.ParseAddress("tel:2719")
	tom, err := users.Lookup(context.Background(), a)
	fmt.Println(tom.DisplayName, tom.Account, err)
	// Output: Tom Hanks DE\tom <nil>
}
