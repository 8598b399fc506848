package auth_test

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/openblustar/blustar/auth"
)

// A host asks the guard about each request. No other part of the library is
// needed, and no network here.
func Example() {
	accounts, err := auth.NewLocalAccounts([]auth.Account{
		// The hash is made once by auth.HashPassword, here of "secret".
		{Account: `DE\tom`, PasswordHash: "$2a$10$.SP2jm6VRYcUDJYa/ify3OMgpMf/DCli9/yQQERryteIeA8ZRAajq"},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	guard, err := auth.New(auth.Config{Verifier: accounts, AMCC: accounts})
	if err != nil {
		fmt.Println(err)
		return
	}

	// The first request of a client has no credentials.
	request := auth.Request{
		Client: "sip:tom@example.com sip:tom@192.0.2.7:5060",
		Source: netip.MustParseAddr("192.0.2.7"),
		Method: "SUBSCRIBE",
	}
	decision := guard.Check(context.Background(), request)
	fmt.Println(decision.Verdict.StatusCode(), decision.Header[0].Name)

	// The client answers.
	credentials, err := auth.NewCredentials(`DE\tom`, []byte("secret"))
	if err != nil {
		fmt.Println(err)
		return
	}
	answer := request
	answer.Rauth, err = credentials.Encrypt(auth.Tuz{}, decision.Header[0].Value)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(guard.Check(context.Background(), answer).Identity.Account)

	// It has a session now.
	fmt.Println(guard.Check(context.Background(), request).Verdict)
	// Output:
	// 401 X-BSS-auth
	// de\tom
	// accept
}

// A client encrypts its credentials with the key of the 401.
func ExampleCredentials_Encrypt() {
	credentials, err := auth.NewCredentials(`example\alice`, []byte("secret"))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer credentials.Wipe()

	const key = "01234567890123456789012345678901234567890123456789012345" // X-BSS-auth
	rauth, err := credentials.Encrypt(auth.Tuz{}, key)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("X-BSS-rauth:", rauth)
	fmt.Println(credentials)
	// Output:
	// X-BSS-rauth: VUJDf4D4XJgP/K8mntoWjQSeSrU3n19P/J0fOiHb6U5Xz+lgE41HVEnql+HEji2WqWhuhzKmEP+W
	// {example\alice [redacted] false}
}
