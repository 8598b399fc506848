package fakeews

import (
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// Say answers a request with a response message.
func (e *Server) Say(w http.ResponseWriter, q *Request, message string) {
	Envelope(w, `<m:`+q.Operation+`Response><m:ResponseMessages>`+message+`</m:ResponseMessages></m:`+q.Operation+`Response>`)
}

// Success returns a response message without an error.
func Success(operation, content string) string {
	return `<m:` + operation + `ResponseMessage ResponseClass="Success"><m:ResponseCode>NoError</m:ResponseCode>` + content + `</m:` + operation + `ResponseMessage>`
}

// Envelope answers with the content of a SOAP body.
func Envelope(w http.ResponseWriter, body string) {
	w.Header().Set("Content-Type", "text/xml; charset=utf-8")
	_, _ = io.WriteString(w, EnvelopeOf(body))
}

// EnvelopeOf returns an envelope around the content of a SOAP body.
func EnvelopeOf(body string) string {
	return `<?xml version="1.0" encoding="utf-8"?><s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Header>` +
		`<h:ServerVersionInfo MajorVersion="15" MinorVersion="2" MajorBuildNumber="1544" MinorBuildNumber="4" Version="V2017_07_11" xmlns:h="` + types +
		`"/></s:Header><s:Body xmlns:m="http://schemas.microsoft.com/exchange/services/2006/messages" xmlns:t="` + types + `">` + body + `</s:Body></s:Envelope>`
}

const types = "http://schemas.microsoft.com/exchange/services/2006/types"

// Fault answers with an error; more goes into its detail.
func Fault(w http.ResponseWriter, code, more string) {
	w.Header().Set("Content-Type", "text/xml; charset=utf-8")
	w.WriteHeader(http.StatusInternalServerError)
	_, _ = io.WriteString(w, EnvelopeOf(`<s:Fault><faultcode xmlns:a="`+types+`">a:`+code+`</faultcode><faultstring xml:lang="de-DE">Geht nicht.</faultstring><detail>`+
		`<e:ResponseCode xmlns:e="http://schemas.microsoft.com/exchange/services/2006/errors">`+code+`</e:ResponseCode>`+more+`</detail></s:Fault>`))
}

// Busy is the answer to one who has asked too much.
func Busy(w http.ResponseWriter, wait time.Duration) {
	Fault(w, "ErrorServerBusy", `<t:MessageXml><t:Value Name="BackOffMilliseconds">`+fmt.Sprint(wait.Milliseconds())+`</t:Value></t:MessageXml>`)
}

// Escape returns text as XML.
func Escape(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s))
	return b.String()
}

// Zulu returns a time as Exchange writes it.
func Zulu(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }
