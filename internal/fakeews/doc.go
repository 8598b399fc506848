// Package fakeews is an Exchange server for tests: as much of Exchange Web Services as the monitors
// of presence/ews and foreign clients ask for. What a real one would refuse, it refuses.
package fakeews
