package pidf

import (
	"strconv"
	"strings"
)

// The enumerations of RFC 4480's schema, separated by spaces.
const (
	activities = "appointment away breakfast busy dinner holiday in-transit looking-for-work meal meeting on-the-phone " +
		"performance permanent-absence playing presentation shopping sleeping spectator steering travel tv unknown vacation " +
		"working worship other"
	moods = "afraid amazed angry annoyed anxious ashamed bored brave calm cold confused contented cranky curious depressed " +
		"disappointed disgusted distracted embarrassed excited flirtatious frustrated grumpy guilty happy hot humbled " +
		"humiliated hungry hurt impressed in_awe in_love indignant interested invincible jealous lonely mean moody nervous " +
		"neutral offended playful proud relieved remorseful restless sad sarcastic serious shocked shy sick sleepy stressed " +
		"surprised thirsty unknown worried other"
	relationships  = "assistant associate family friend other self supervisor unknown"
	serviceClasses = "courier electronic freight in-person postal unknown"
)

// choices checks an element of the shape of activities against a list of names.
func (v *validator) choices(step string, a *Activities, list string) {
	if a == nil {
		return
	}
	v.in(step, "", func() {
		v.xmlID(a.ID)
		v.notes(a.Notes)
		for _, c := range a.Values {
			switch {
			case !isNCName(c.Name) || !strings.Contains(" "+list+" ", " "+c.Name+" "):
				v.report(c.Name, "unknown value")
			case c.Text != "" && c.Name != "other":
				v.report(c.Name, "has content")
			case c.Name == "unknown" && len(a.Values) > 1:
				v.report(c.Name, "not alone")
			}
		}
		v.extra(&a.Extra, NSRPID)
	})
}

func (v *validator) privacy(p *Privacy) {
	v.choices("privacy", (*Activities)(p), "audio text video unknown")
}

func (v *validator) placeIs(p *PlaceIs) {
	v.xmlID(p.ID)
	v.notes(p.Notes)
	medium := func(step, value, list string) {
		if value != "" {
			v.oneOf(step, value, list)
		}
	}
	medium("audio", p.Audio, audioPlaces)
	medium("video", p.Video, videoPlaces)
	medium("text", p.Text, textPlaces)
	v.extra(&p.Extra, NSRPID)
}

func (v *validator) statusIcon(i *StatusIcon) {
	if i != nil {
		v.in("status-icon", "", func() { v.xmlID(i.ID) })
	}
}

func (v *validator) userInput(u *UserInput) {
	if u == nil {
		return
	}
	v.in("user-input", "", func() {
		v.xmlID(u.ID)
		v.oneOf("text()", u.State, userInputs)
		if u.IdleThreshold < 0 {
			v.report("@idle-threshold", strconv.Itoa(u.IdleThreshold)+" is not positive")
		}
	})
}
