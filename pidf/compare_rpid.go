package pidf

import (
	"strconv"
	"time"
)

// interval adds when an element holds. Its identifier says nothing.
func (c *collector) interval(from, until time.Time) {
	c.time("@from", from)
	c.time("@until", until)
}

func (c *collector) choices(step string, a *Activities) {
	if a == nil {
		return
	}
	c.say(step, "")
	c.in(step, func() {
		c.interval(a.From, a.Until)
		c.notes(a.Notes)
		for _, v := range a.Values {
			c.say(v.Name, v.Text)
			c.maybe(v.Name+"/@xml:lang", v.Lang)
		}
		c.extra(&a.Extra)
	})
}

func (c *collector) statusIcon(i *StatusIcon) {
	if i == nil {
		return
	}
	c.say("status-icon", i.URI)
	c.in("status-icon", func() {
		c.interval(i.From, i.Until)
		c.extra(&i.Extra)
	})
}

func (c *collector) userInput(u *UserInput) {
	if u == nil {
		return
	}
	c.say("user-input", u.State)
	c.in("user-input", func() {
		if u.IdleThreshold != 0 {
			c.say("@idle-threshold", strconv.Itoa(u.IdleThreshold))
		}
		c.time("@last-input", u.LastInput)
		c.extra(&u.Extra)
	})
}
