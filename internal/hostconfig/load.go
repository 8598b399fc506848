// Package hostconfig is the configuration file of the example programs: its keys, what
// they may be, and what they are to the packages of the library. [Load] reads it. What
// is asked of others, directories, calendars and so on, is in methods that open them;
// and [Ask] tries them.
package hostconfig

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/openblustar/blustar/internal/strictjson"
)

// Error is a bad configuration. It reads "file: key: reason".
type Error struct {
	File string
	Err  error
}

func (e *Error) Error() string {
	file := e.File
	if file == "" {
		file = "built-in configuration"
	}
	return file + ": " + OneLine(e.Err.Error())
}

func (e *Error) Unwrap() error { return e.Err }

// Wrong says that a key is wrong, and why. Without a key, the file as a whole is.
func Wrong(key, format string, args ...any) error {
	return &strictjson.Error{Field: key, Reason: fmt.Sprintf(format, args...)}
}

// maxFile bounds a configuration file, in bytes.
const maxFile = 1 << 20

// Load reads and checks a configuration file. Change, which may be nil, has the last
// word before the checks: for what a command line says. What the files of directory,
// accounts and certificate hold is checked when they are opened. The error is an *Error.
func Load(name string, change func(*Config)) (*Config, error) {
	c := Default()
	c.Name = name
	data, err := ReadFile(name, maxFile)
	if err == nil {
		err = strictjson.Decode(data, c)
	}
	if err == nil {
		err = c.resolve(filepath.Dir(name))
	}
	if err == nil {
		if change != nil {
			change(c)
		}
		err = c.Check()
	}
	if err != nil {
		return nil, c.Bad("", err)
	}
	if err := c.Store.checkFiles(); err != nil {
		return nil, c.Bad("store.nats", err)
	}
	if _, err := c.OpenSources(nil, slog.New(slog.DiscardHandler)); err != nil {
		return nil, err
	}
	return c, nil
}

// Bad makes err an *Error of this key, or of one below it where err names it. Of nil it
// makes nil.
func (c *Config) Bad(key string, err error) error {
	if err == nil {
		return nil
	}
	return &Error{c.Name, Below(key, err)}
}

// Below makes err one that is wrong with this key, or with one below it where err names
// it. Without a key it is err.
func Below(key string, err error) error {
	below, ok := errors.AsType[*strictjson.Error](err)
	switch {
	case key == "":
		return err
	case ok && below.Field != "":
		return Wrong(key+"."+below.Field, "%s", below.Reason)
	}
	return Wrong(key, "%s", err)
}

// Only refuses the sections that a program does not serve, so that none is without
// effect. It is given those that it does.
func (c *Config) Only(keys ...string) error {
	v, standard := reflect.ValueOf(*c), reflect.ValueOf(*Default())
	for i := range v.NumField() {
		key := v.Type().Field(i).Tag.Get("json")
		if key != "" && !slices.Contains(keys, key) && !reflect.DeepEqual(v.Field(i).Interface(), standard.Field(i).Interface()) {
			return c.Bad("", Wrong(key, "this program has none"))
		}
	}
	return nil
}

// resolve makes the paths absolute, and fills the defaults of optional objects
// in.
func (c *Config) resolve(folder string) error {
	folder, err := filepath.Abs(folder)
	if err != nil {
		return err
	}
	paths := []*string{&c.TLS.Cert, &c.TLS.Key, &c.TLS.CAFile, &c.Accounts, &c.Policy, &c.HTTP.TokenFile}
	if s := c.Store; s != nil {
		paths = append(paths, &s.File)
		if n := s.NATS; n != nil {
			n.complete()
			s.Node = cmp.Or(s.Node, hostname())
			paths = append(paths, &n.CredentialsFile, &n.CAFile)
		}
	}
	if d := c.Directory; d != nil {
		paths = append(paths, &d.File)
		if l := d.LDAP; l != nil {
			l.complete()
			paths = append(paths, &l.CAFile, &l.BindPasswordFile)
		}
	}
	if ad := c.ActiveDirectory; ad != nil {
		paths = append(paths, &ad.CAFile)
	}
	if p := c.PBX; p != nil {
		paths = append(paths, &p.PasswordFile)
	}
	if l := c.Calendar; l != nil {
		l.complete()
		paths = append(paths, &l.CAFile, &l.PasswordFile)
	}
	if m := c.Microsoft; m != nil {
		paths = append(paths, &m.SecretFile, &m.CertificateFile, &m.KeyFile)
	}
	for _, p := range paths {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(folder, *p)
		}
	}
	return nil
}

func (l *LDAP) complete() {
	for _, s := range []struct {
		v   *string
		def string
	}{
		{&l.Filter, "(objectClass=person)"}, {&l.IDAttribute, "entryUUID"}, {&l.AccountAttribute, "uid"},
		{&l.MailAttribute, "mail"}, {&l.NameAttribute, "displayName"},
	} {
		if *s.v == "" {
			*s.v = s.def
		}
	}
	if l.SIPAttributes == nil {
		l.SIPAttributes = []string{"mail"}
	}
	if l.TelAttributes == nil {
		l.TelAttributes = []string{"telephoneNumber"}
	}
	if l.LineAttributes == nil {
		l.LineAttributes = []string{"telephoneNumber"}
	}
	if l.Cache == nil {
		five := Duration(5 * time.Minute)
		l.Cache = &five
	}
}

func (n *NATS) complete() {
	n.Bucket = cmp.Or(n.Bucket, "blustar")
	n.Replicas = cmp.Or(n.Replicas, 1)
	n.Lease = cmp.Or(n.Lease, Duration(10*time.Second))
}

func hostname() string {
	name, _ := os.Hostname()
	return name
}

// ReadFile reads a file of at most limit bytes.
func ReadFile(name string, limit int64) ([]byte, error) {
	info, err := os.Stat(name)
	if path, ok := errors.AsType[*fs.PathError](err); ok {
		return nil, path.Err // who calls names the file
	}
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return nil, errors.New("is a folder")
	}
	if info.Size() > limit {
		return nil, fmt.Errorf("larger than %d bytes", limit)
	}
	return os.ReadFile(name)
}

// OneLine keeps a message to one line, whatever it quotes.
func OneLine(s string) string { return strings.Join(strings.FieldsFunc(s, isBreak), " ") }

func isBreak(r rune) bool { return r == '\n' || r == '\r' }
