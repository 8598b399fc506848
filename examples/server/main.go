// Command server is a complete BluStar presence server, made of nothing but the
// library's public packages.
//
//	server                      # a demo on loopback, ready at once
//	server -config server.json
//	server -listen udp:0.0.0.0:5060 -http 127.0.0.1:8081   # elsewhere than it says
//	server check -config …      # checks a configuration and says what it would do
//	server health               # asks a server on this machine whether it is well
//	server version
//	server hash-password        # reads a password on standard input, prints its hash
//
// What it does is in examples/internal/server, because there is a second program that
// does it: examples/cluster/server, one of several nodes.
package main

import "github.com/openblustar/blustar/examples/internal/server"

func main() { server.Main(nil) }
