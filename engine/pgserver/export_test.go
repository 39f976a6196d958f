package pgserver

// What tests with servers look at.
var (
	EndTimes = endTimes
	Logs     = logs
)
