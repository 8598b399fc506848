package fakeews

import (
	"cmp"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"
)

func (e *Server) answer(w http.ResponseWriter, q *Request, p *parsed) {
	op := &p.Body.Operation
	own := e.Mailboxes[strings.ToLower(q.As)]
	switch {
	case q.As != "" && own == nil:
		Fault(w, "ErrorNonExistentMailbox", "")
		return
	case own != nil && own.Fails != "":
		Fault(w, own.Fails, "")
		return
	}
	switch q.Operation {
	case "FindItem":
		if own == nil && len(op.Folders) == 1 {
			own = e.Mailboxes[op.Folders[0].Mailbox]
		}
		if own == nil {
			e.Say(w, q, `<m:FindItemResponseMessage ResponseClass="Error"><m:MessageText>No.</m:MessageText><m:ResponseCode>ErrorFolderNotFound</m:ResponseCode><m:DescriptiveLinkKey>0</m:DescriptiveLinkKey></m:FindItemResponseMessage>`)
			return
		}
		e.findItem(w, q, own, p)
	case "GetFolder":
		e.Say(w, q, Success("GetFolder", `<m:Folders><t:CalendarFolder><t:FolderId Id="CAL=" ChangeKey="1"/><t:ParentFolderId Id="ROOT="/>`+
			`<t:FolderClass>IPF.Appointment</t:FolderClass><t:DisplayName>Calendar</t:DisplayName><t:TotalCount>1</t:TotalCount>`+
			`<t:ChildFolderCount>0</t:ChildFolderCount></t:CalendarFolder></m:Folders>`))
	case "Subscribe":
		e.serial++
		id, backEnd := fmt.Sprintf("SUB%d=", e.serial), e.backEnd(q)
		e.Subscriptions[id] = &Subscription{q.As, backEnd}
		if q.Affinity && q.Cookie == "" {
			http.SetCookie(w, &http.Cookie{Name: "X-BackEndOverrideCookie", Value: backEnd + "~1941996295", Path: "/", Secure: true, HttpOnly: true})
		}
		e.Say(w, q, Success("Subscribe", `<m:SubscriptionId>`+id+`</m:SubscriptionId>`))
	case "Unsubscribe":
		delete(e.Subscriptions, op.Subscription)
		e.Say(w, q, Success("Unsubscribe", ""))
	case "GetUserOofSettingsRequest":
		Envelope(w, `<m:GetUserOofSettingsResponse><m:ResponseMessage ResponseClass="Success"><m:ResponseCode>NoError</m:ResponseCode></m:ResponseMessage>`+
			`<t:OofSettings>`+cmp.Or(own.OutOfOffice, `<t:OofState>Disabled</t:OofState><t:ExternalAudience>All</t:ExternalAudience>`)+
			`</t:OofSettings><m:AllowExternalOof>All</m:AllowExternalOof></m:GetUserOofSettingsResponse>`)
	case "GetServerTimeZones":
		e.Say(w, q, Success("GetServerTimeZones", `<m:TimeZoneDefinitions><t:TimeZoneDefinition Id="UTC" Name="(UTC) Coordinated Universal Time">`+
			`<t:Periods><t:Period Bias="PT0S" Name="Standard" Id="std"/></t:Periods><t:TransitionsGroups><t:TransitionsGroup Id="0"><t:Transition>`+
			`<t:To Kind="Period">std</t:To></t:Transition></t:TransitionsGroup></t:TransitionsGroups><t:Transitions><t:Transition>`+
			`<t:To Kind="Group">0</t:To></t:Transition></t:Transitions></t:TimeZoneDefinition></m:TimeZoneDefinitions>`))
	case "GetUserAvailabilityRequest":
		e.freeBusy(w, p)
	default:
		Fault(w, "ErrorInvalidRequest", "")
	}
}

// backEnd returns the mailbox server that a request gets to.
func (e *Server) backEnd(q *Request) string {
	if q.Affinity && q.Cookie != "" {
		name, _, _ := strings.Cut(q.Cookie, "~")
		return name
	}
	if b := e.Mailboxes[strings.ToLower(q.Anchor)]; b != nil {
		return b.backEnd
	}
	return ""
}

func (e *Server) findItem(w http.ResponseWriter, q *Request, b *Mailbox, p *parsed) {
	view := p.Body.Operation.View
	from, _ := time.Parse(time.RFC3339, view.Start)
	to, _ := time.Parse(time.RFC3339, view.End)
	found := b.within(from, to)
	all := len(found) <= view.Max || view.Max == 0
	if !all {
		found = found[:view.Max]
	}
	var items strings.Builder
	for _, i := range found {
		items.WriteString(`<t:CalendarItem><t:ItemId Id="` + i.ID + `" ChangeKey="CK"/>`)
		if i.Subject != "" {
			items.WriteString(`<t:Subject>` + Escape(i.Subject) + `</t:Subject>`)
		}
		fmt.Fprintf(&items, `<t:Sensitivity>%s</t:Sensitivity><t:Start>%s</t:Start><t:End>%s</t:End><t:IsAllDayEvent>%t</t:IsAllDayEvent>`+
			`<t:LegacyFreeBusyStatus>%s</t:LegacyFreeBusyStatus>`, cmp.Or(i.Sensitivity, "Normal"), Zulu(i.From), Zulu(i.To), i.AllDay, cmp.Or(i.Status, "Busy"))
		if i.Location != "" {
			items.WriteString(`<t:Location>` + Escape(i.Location) + `</t:Location>`)
		}
		fmt.Fprintf(&items, `<t:IsCancelled>%t</t:IsCancelled><t:MyResponseType>%s</t:MyResponseType><t:StartTimeZone Id="UTC"/><t:EndTimeZone Id="UTC"/>`+
			`<t:IsOnlineMeeting>%t</t:IsOnlineMeeting></t:CalendarItem>`, i.Cancelled, cmp.Or(i.Response, "Accept"), i.Online)
	}
	e.Say(w, q, Success("FindItem", fmt.Sprintf(`<m:RootFolder TotalItemsInView="%d" IncludesLastItemInRange="%t"><t:Items>%s</t:Items></m:RootFolder>`,
		len(found), all, items.String())))
}

func (b *Mailbox) within(from, to time.Time) []Item {
	var found []Item
	for _, i := range b.Items {
		if i.To.After(from) && i.From.Before(to) {
			found = append(found, i)
		}
	}
	slices.SortStableFunc(found, func(x, y Item) int { return x.From.Compare(y.From) })
	return found
}

func (e *Server) freeBusy(w http.ResponseWriter, p *parsed) {
	op := &p.Body.Operation
	const local = "2006-01-02T15:04:05"
	from, _ := time.Parse(local, strings.TrimSuffix(op.From, "Z"))
	to, _ := time.Parse(local, strings.TrimSuffix(op.To, "Z"))
	var out strings.Builder
	for _, mail := range op.Mails {
		b := e.Mailboxes[strings.ToLower(mail)]
		if b == nil || b.Fails != "" {
			code := "ErrorMailRecipientNotFound"
			if b != nil {
				code = b.Fails
			}
			out.WriteString(`<m:FreeBusyResponse><m:ResponseMessage ResponseClass="Error"><m:MessageText>No.</m:MessageText><m:ResponseCode>` + code +
				`</m:ResponseCode><m:DescriptiveLinkKey>0</m:DescriptiveLinkKey></m:ResponseMessage><m:FreeBusyView><t:FreeBusyViewType>None</t:FreeBusyViewType></m:FreeBusyView></m:FreeBusyResponse>`)
			continue
		}
		kind := "Detailed"
		if b.FreeBusyOnly {
			kind = "FreeBusy"
		}
		out.WriteString(`<m:FreeBusyResponse><m:ResponseMessage ResponseClass="Success"><m:ResponseCode>NoError</m:ResponseCode></m:ResponseMessage>` +
			`<m:FreeBusyView><t:FreeBusyViewType>` + kind + `</t:FreeBusyViewType>`)
		if found := b.within(from, to); len(found) > 0 {
			out.WriteString(`<t:CalendarEventArray>`)
			for _, i := range found {
				fmt.Fprintf(&out, `<t:CalendarEvent><t:StartTime>%s</t:StartTime><t:EndTime>%s</t:EndTime><t:BusyType>%s</t:BusyType>`,
					i.From.UTC().Format(local), i.To.UTC().Format(local), cmp.Or(i.Status, "Busy"))
				private := i.Sensitivity == "Private"
				if !b.FreeBusyOnly {
					out.WriteString(`<t:CalendarEventDetails>`)
					if !private {
						out.WriteString(`<t:Subject>` + Escape(i.Subject) + `</t:Subject><t:Location>` + Escape(i.Location) + `</t:Location>`)
					}
					fmt.Fprintf(&out, `<t:IsMeeting>false</t:IsMeeting><t:IsRecurring>false</t:IsRecurring><t:IsException>false</t:IsException>`+
						`<t:IsReminderSet>false</t:IsReminderSet><t:IsPrivate>%t</t:IsPrivate></t:CalendarEventDetails>`, private)
				}
				out.WriteString(`</t:CalendarEvent>`)
			}
			out.WriteString(`</t:CalendarEventArray>`)
		}
		out.WriteString(`</m:FreeBusyView></m:FreeBusyResponse>`)
	}
	Envelope(w, `<m:GetUserAvailabilityResponse><m:FreeBusyResponseArray>`+out.String()+`</m:FreeBusyResponseArray></m:GetUserAvailabilityResponse>`)
}

// stream answers GetStreamingEvents, as Exchange does: an envelope for each message,
// with an XML declaration, and nothing between.
func (e *Server) stream(w http.ResponseWriter, r *http.Request, q *Request, p *parsed) {
	op := &p.Body.Operation
	l := &Stream{IDs: op.Subscriptions, events: make(chan string, 100), gone: make(chan struct{})}
	defer close(l.gone)
	e.mu.Lock()
	backEnd := e.backEnd(q)
	bad := ""
	for _, id := range l.IDs {
		if s := e.Subscriptions[id]; s == nil || s.backEnd != backEnd {
			bad += `<m:SubscriptionId>` + id + `</m:SubscriptionId>`
		}
	}
	if bad == "" {
		e.Streams[l] = struct{}{}
	}
	e.mu.Unlock()
	defer e.With(func() { delete(e.Streams, l) })
	say := func(class, code, content string) {
		text := EnvelopeOf(`<m:GetStreamingEventsResponse><m:ResponseMessages><m:GetStreamingEventsResponseMessage ResponseClass="` + class +
			`"><m:ResponseCode>` + code + `</m:ResponseCode>` + content + `</m:GetStreamingEventsResponseMessage></m:ResponseMessages></m:GetStreamingEventsResponse>`)
		half := len(text) / 2
		_, _ = io.WriteString(w, text[:half])
		_ = http.NewResponseController(w).Flush()
		_, _ = io.WriteString(w, text[half:])
		_ = http.NewResponseController(w).Flush()
	}
	w.Header().Set("Content-Type", "text/xml; charset=utf-8")
	if bad != "" {
		say("Error", "ErrorSubscriptionNotFound", `<m:DescriptiveLinkKey>0</m:DescriptiveLinkKey><m:ErrorSubscriptionIds>`+bad+
			`</m:ErrorSubscriptionIds><m:ConnectionStatus>Closed</m:ConnectionStatus>`)
		return
	}
	const ok = `<m:ConnectionStatus>OK</m:ConnectionStatus>`
	say("Success", "NoError", ok)
	end := time.NewTimer(time.Duration(op.Minutes) * time.Minute)
	defer end.Stop()
	beat := time.NewTicker(e.Heartbeat)
	defer beat.Stop()
	for {
		select {
		case <-r.Context().Done():
			return
		case <-end.C:
			say("Success", "NoError", `<m:ConnectionStatus>Closed</m:ConnectionStatus>`)
			return
		case <-beat.C:
			mute := false
			e.With(func() { mute = e.Mute })
			if !mute {
				say("Success", "NoError", ok)
			}
		case n := <-l.events:
			say("Success", "NoError", n)
		}
	}
}
