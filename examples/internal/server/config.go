package server

import (
	"strings"

	"github.com/openblustar/blustar/internal/hostconfig"
)

// config is the configuration: of a file, or of the demo.
type config struct {
	*hostconfig.Config
	demo      bool      // the built-in directory and accounts
	overrides overrides // by the command line
}

// loadConfig reads and checks a configuration file. The error is a *hostconfig.Error.
func loadConfig(name string, o overrides) (*config, error) {
	c, err := hostconfig.Load(name, o.apply)
	if err != nil {
		return nil, err
	}
	return &config{Config: c, overrides: o}, nil
}

// overrides are what the command line says in place of the configuration.
type overrides struct {
	listen string  // with commas between; empty: as configured
	http   *string // nil: as configured
}

func (o overrides) apply(c *hostconfig.Config) {
	if o.listen != "" {
		c.Listen = strings.Split(o.listen, ",")
	}
	if o.http != nil {
		c.HTTP.Listen = *o.http
	}
}
