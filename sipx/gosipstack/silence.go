package gosipstack

import "github.com/ghettovoice/gosip/log"

// silence is a log.Logger that keeps everything to itself: what gosip logs has
// whole messages in it.
type silence struct{}

func (silence) Print(...any)                           {}
func (silence) Printf(string, ...any)                  {}
func (silence) Trace(...any)                           {}
func (silence) Tracef(string, ...any)                  {}
func (silence) Debug(...any)                           {}
func (silence) Debugf(string, ...any)                  {}
func (silence) Info(...any)                            {}
func (silence) Infof(string, ...any)                   {}
func (silence) Warn(...any)                            {}
func (silence) Warnf(string, ...any)                   {}
func (silence) Error(...any)                           {}
func (silence) Errorf(string, ...any)                  {}
func (silence) Fatal(...any)                           {}
func (silence) Fatalf(string, ...any)                  {}
func (silence) Panic(...any)                           {}
func (silence) Panicf(string, ...any)                  {}
func (silence) Prefix() string                         { return "" }
func (silence) Fields() log.Fields                     { return nil }
func (silence) SetLevel(uint32)                        {}
func (s silence) WithPrefix(string) log.Logger         { return s }
func (s silence) WithFields(map[string]any) log.Logger { return s }
