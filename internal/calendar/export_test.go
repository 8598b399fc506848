package calendar

// WindowsZones is the table, for the test that all of its zones exist.
const WindowsZones = windowsZones

// Places is the other table.
const Places = places
