package msgraph

import "log/slog"

// logFailures logs the first of several failures in a row, and their end.
func logFailures(log *slog.Logger, what string, err error, failures int) {
	switch {
	case err == nil:
		log.Info(what+": Graph answers again", "failures", failures-1)
	case failures == 1:
		log.Warn(what+": Graph does not answer", "error", err)
	default:
		log.Debug(what+": Graph does not answer", "error", err, "failures", failures)
	}
}
