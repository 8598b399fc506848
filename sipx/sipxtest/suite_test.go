package sipxtest_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/openblustar/blustar/sipx"
	"github.com/openblustar/blustar/sipx/sipxtest"
	"github.com/openblustar/blustar/sipx/stacktest"
)

func TestSuite(t *testing.T) {
	network := sipxtest.NewNetwork(sipxtest.Config{Timeout: 2 * time.Second})
	var host atomic.Int32
	stacktest.Run(t, func(*testing.T) sipx.Stack {
		return network.NewStack(fmt.Sprintf("192.0.2.%d:5060", host.Add(1)))
	})
}
