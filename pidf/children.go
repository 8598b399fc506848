package pidf

import (
	"slices"

	"github.com/openblustar/blustar/pidf/internal/slab"
)

// One lists a child that may come once.
func One[T any, P interface {
	*T
	Element
}](f *Fields, name string, v **T, r Rule) {
	if (!f.spare || *v != nil || r != 0) && !f.passes(name, r) {
		listOne[T, P](f, name, v, r)
	}
}

func listOne[T any, P interface {
	*T
	Element
}](f *Fields, name string, v **T, r Rule) {
	if *v != nil && f.short() {
		f.element(f.tag(name), P(*v).extra(), P(*v), nil)
		return
	}
	if f.skip(name, r) {
		return
	}
	switch {
	case f.mode == readChild:
		for more := true; more; more = f.again(name) {
			if f.claim(true, *v != nil) {
				if child := P(slab.New[T](f.d.memory)); f.read(child.extra(), child.Fields) {
					*v = child
				}
			}
		}
	case *v != nil:
		f.child(name, P(*v))
	case f.mode == validating && f.v.unreadable(f, name, P(new(T))):
	case f.needed(name, r):
		f.child(name, P(new(T)))
	}
}

// Many lists children of one name.
func Many[T any, P interface {
	*T
	Element
}](f *Fields, name string, v *[]T) {
	if (!f.spare || len(*v) > 0) && !f.passes(name, 0) {
		listMany[T, P](f, name, v)
	}
}

func listMany[T any, P interface {
	*T
	Element
}](f *Fields, name string, v *[]T) {
	if f.short() {
		for i := range *v {
			f.put(name, P(&(*v)[i]))
		}
		return
	}
	if f.skip(name, 0) {
		return
	}
	switch f.mode {
	case readChild:
		for more := true; more; more = f.again(name) {
			if !f.claim(false, false) {
				continue
			}
			n := len(*v)
			switch {
			case f.d.memory != nil:
				*v = slab.Append(f.d.memory, *v, *new(T))
			case n < cap(*v):
				*v = (*v)[:n+1]
			default:
				*v = slices.Grow(*v, f.d.siblings(n))[:n+1]
			}
			child := P(&(*v)[n])
			if !f.read(child.extra(), child.Fields) {
				clear((*v)[n:])
				*v = (*v)[:n]
			}
		}
	case counting:
		f.n += len(*v)
	default:
		for i := range *v {
			f.child(name, P(&(*v)[i]))
		}
	}
}

// Mixed lists children of several names, whose order says something. New returns what a child of a name is read into,
// and child the name and the element of what is there; no element where there is none of that name.
func Mixed[T any](f *Fields, v *[]T, new func(name string) T, child func(*T) (string, Element)) {
	f.i++
	switch f.mode {
	case readAttrs:
		f.begin()
		fallthrough
	case readChild:
		for f.name != "" {
			item := new(f.name)
			_, e := child(&item)
			if e == nil {
				return
			}
			if f.claim(false, false) && f.read(e.extra(), e.Fields) {
				*v = append(*v, item)
			}
			if f.done == unknown {
				return
			}
			f.advance()
		}
	case counting:
		f.n += len(*v)
	default:
		for i := range *v {
			if name, e := child(&(*v)[i]); e != nil {
				f.child(name, e)
			}
		}
	}
}

// child passes on a child that is there.
func (f *Fields) child(name string, e Element) {
	switch f.mode {
	case writing:
		f.put(name, e)
	case counting:
		f.next(name)
	case validating:
		f.v.child(f, name, e.extra(), e.Fields)
	}
}

// inline lists a child whose fields are in the Go type of its parent. What it holds besides them is in x.
func (f *Fields) inline(name string, x *Extra, r Rule, fields func(*Fields)) {
	if f.short() {
		f.element(f.tag(name), x, nil, fields)
		return
	}
	if f.skip(name, r) {
		return
	}
	switch f.mode {
	case readChild:
		for more := true; more; more = f.again(name) {
			before := len(f.loose)
			if !f.claim(true, false) {
				continue
			}
			if i := f.i; len(f.loose) < before { // it takes the place of another
				*x = Extra{}
				f.mode = clearing
				fields(f)
				f.i = i
			}
			f.read(x, fields)
		}
	case readEnd:
		f.needed(name, r)
	case writing, counting:
		if (!f.missing() || !x.isEmpty() || f.holds(fields)) && f.next(name) {
			f.element(f.w.startTag(f.ns, name), x, nil, fields)
		}
	case validating:
		if f.missing() && x.isEmpty() && !f.holds(fields) {
			f.v.report(name, "missing")
			return
		}
		f.v.child(f, name, x, fields)
	}
}

// Inline lists a mandatory child whose fields are in the Go type of its parent. What it holds besides them is in x.
func (f *Fields) Inline(name string, x *Extra, fields func(*Fields)) {
	f.inline(name, x, Need, fields)
}

// holds reports whether any of the fields would be written.
func (f *Fields) holds(fields func(*Fields)) bool {
	outer := f.frame
	var none Extra
	mode := f.mode
	f.mode, f.frame = counting, frame{x: &none, own: outer.ns, ns: outer.ns}
	fields(f)
	n := f.n
	f.mode, f.frame = mode, outer
	return n > 0
}
