package ews

import (
	"strconv"
	"strings"
	"time"
)

// utc writes a time as EWS wants it. Fractions of a second are dropped.
func utc(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }

// findItemLimit is what a server returns at most for one CalendarView
// (EWSFindCountLimit).
const findItemLimit = 1000

// findItem asks for the appointments of a mailbox within a window. The server
// expands series. With impersonation the calendar is that of the mailbox
// impersonated; without, the mailbox is named.
func findItem(mail string, impersonate bool, from, to time.Time) request {
	fields := ""
	for _, f := range []string{
		"item:Subject", "item:Sensitivity", "calendar:Start", "calendar:End", "calendar:IsAllDayEvent",
		"calendar:LegacyFreeBusyStatus", "calendar:Location", "calendar:IsCancelled", "calendar:MyResponseType",
		"calendar:IsOnlineMeeting",
	} {
		fields += `<t:FieldURI FieldURI="` + f + `"/>`
	}
	r := request{operation: "FindItem", mailbox: mail, anchor: mail}
	folder := `<t:DistinguishedFolderId Id="calendar"/>`
	if impersonate {
		r.as = mail
	} else {
		folder = `<t:DistinguishedFolderId Id="calendar"><t:Mailbox><t:EmailAddress>` + escape(mail) +
			`</t:EmailAddress></t:Mailbox></t:DistinguishedFolderId>`
	}
	r.body = `<m:FindItem Traversal="Shallow"><m:ItemShape><t:BaseShape>IdOnly</t:BaseShape><t:AdditionalProperties>` + fields +
		`</t:AdditionalProperties></m:ItemShape><m:CalendarView MaxEntriesReturned="` + strconv.Itoa(findItemLimit) +
		`" StartDate="` + utc(from) + `" EndDate="` + utc(to) + `"/><m:ParentFolderIds>` + folder +
		`</m:ParentFolderIds></m:FindItem>`
	return r
}

// subscribe asks to be told of what changes in the calendar of a mailbox.
func subscribe(mail, anchor string, a *affinity) request {
	events := ""
	for _, e := range []string{"Created", "Deleted", "Modified", "Moved", "Copied", "FreeBusyChanged"} {
		events += `<t:EventType>` + e + `Event</t:EventType>`
	}
	return request{
		operation: "Subscribe", mailbox: mail, as: mail, anchor: anchor, affinity: a,
		body: `<m:Subscribe><m:StreamingSubscriptionRequest><t:FolderIds><t:DistinguishedFolderId Id="calendar"/></t:FolderIds><t:EventTypes>` +
			events + `</t:EventTypes></m:StreamingSubscriptionRequest></m:Subscribe>`,
	}
}

// getStreamingEvents asks for the events of subscriptions, for as long as wait:
// whole minutes, from 1 to 30.
func getStreamingEvents(ids []string, anchor string, a *affinity, wait time.Duration) request {
	var b strings.Builder
	b.WriteString(`<m:GetStreamingEvents><m:SubscriptionIds>`)
	for _, id := range ids {
		b.WriteString(`<t:SubscriptionId>` + escape(id) + `</t:SubscriptionId>`)
	}
	b.WriteString(`</m:SubscriptionIds><m:ConnectionTimeout>` + strconv.Itoa(int(wait/time.Minute)) +
		`</m:ConnectionTimeout></m:GetStreamingEvents>`)
	return request{operation: "GetStreamingEvents", as: anchor, anchor: anchor, affinity: a, body: b.String()}
}

// unsubscribe ends a subscription.
func unsubscribe(id, mail, anchor string, a *affinity) request {
	return request{
		operation: "Unsubscribe", mailbox: mail, as: mail, anchor: anchor, affinity: a,
		body: `<m:Unsubscribe><m:SubscriptionId>` + escape(id) + `</m:SubscriptionId></m:Unsubscribe>`,
	}
}

// maxAvailability is how many mailboxes one GetUserAvailability may name.
const maxAvailability = 100

// getUserAvailability asks for what the service account may see of calendars. Times
// without an offset are in UTC then.
func getUserAvailability(mails []string, from, to time.Time) request {
	const never = `<t:Bias>0</t:Bias><t:Time>00:00:00</t:Time><t:DayOrder>0</t:DayOrder><t:Month>0</t:Month><t:DayOfWeek>Sunday</t:DayOfWeek>`
	var b strings.Builder
	b.WriteString(`<m:GetUserAvailabilityRequest><t:TimeZone><t:Bias>0</t:Bias><t:StandardTime>` + never +
		`</t:StandardTime><t:DaylightTime>` + never +
		`</t:DaylightTime></t:TimeZone><m:MailboxDataArray>`)
	for _, mail := range mails {
		b.WriteString(`<t:MailboxData><t:Email><t:Address>` + escape(mail) +
			`</t:Address></t:Email><t:AttendeeType>Required</t:AttendeeType><t:ExcludeConflicts>false</t:ExcludeConflicts></t:MailboxData>`)
	}
	const local = "2006-01-02T15:04:05"
	b.WriteString(`</m:MailboxDataArray><t:FreeBusyViewOptions><t:TimeWindow><t:StartTime>` + from.UTC().Format(local) +
		`</t:StartTime><t:EndTime>` +
		to.UTC().Format(local) + `</t:EndTime></t:TimeWindow><t:MergedFreeBusyIntervalInMinutes>30</t:MergedFreeBusyIntervalInMinutes>` +
		`<t:RequestedView>Detailed</t:RequestedView></t:FreeBusyViewOptions></m:GetUserAvailabilityRequest>`)
	r := request{operation: "GetUserAvailability", body: b.String()}
	if len(mails) == 1 {
		r.mailbox = mails[0]
	}
	return r
}

// getUserOofSettings asks what the owner of a mailbox says of being out of office.
func getUserOofSettings(mail string) request {
	return request{
		operation: "GetUserOofSettings", mailbox: mail, as: mail, anchor: mail,
		body: `<m:GetUserOofSettingsRequest><t:Mailbox><t:Address>` + escape(mail) +
			`</t:Address></t:Mailbox></m:GetUserOofSettingsRequest>`,
	}
}
