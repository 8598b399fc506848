package server

import (
	"net"
	"os"
)

// notifySystemd tells the service manager that started the program how it is doing
// (sd_notify(3)): "READY=1", "STOPPING=1". Where none did, it does nothing.
func notifySystemd(state string) {
	name := os.Getenv("NOTIFY_SOCKET")
	if name == "" {
		return
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		return // it will say that nothing came
	}
	defer conn.Close()
	_, _ = conn.Write([]byte(state))
}
